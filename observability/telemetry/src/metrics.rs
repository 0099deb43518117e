//! Counting and measuring by name, so that a call site is one line.
//!
//! ```
//! use bugstream_telemetry::{metrics, names};
//!
//! metrics::count(names::WEBHOOKS_RECEIVED, 1, &[names::WebhookResult::Accepted.into()]);
//! metrics::observe(names::MESSAGE_DURATION, 0.25, &[names::label::service("indexer")]);
//! ```
//!
//! Instruments are made on first use and kept. Without an OTLP endpoint every call is a look-up and no more.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use opentelemetry::metrics::{Counter as CounterOf, Gauge as GaugeOf, Histogram as HistogramOf, Meter};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::names::{Counter, Gauge, Histogram};

/// The instrumentation scope of every metric.
const SCOPE: &str = "bugstream";

/// Instruments of one kind, by name.
struct Made<T>(LazyLock<RwLock<HashMap<&'static str, T>>>);

static COUNTERS: Made<CounterOf<u64>> = Made::none();
static HISTOGRAMS: Made<HistogramOf<f64>> = Made::none();
static GAUGES: Made<GaugeOf<f64>> = Made::none();

impl<T: Clone> Made<T> {
    const fn none() -> Self {
        Self(LazyLock::new(RwLock::default))
    }

    /// The one of that name, made now if it is not there yet.
    fn get(&self, name: &'static str, build: impl FnOnce(&Meter) -> T) -> T {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(name).or_insert_with(|| build(&global::meter(SCOPE))).clone()
        })
    }

    fn forget(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Adds `n` to a counter.
pub fn count(metric: Counter, n: u64, labels: &[KeyValue]) {
    let made = COUNTERS.get(metric.name, |meter| build_counter(meter, metric));
    made.add(n, labels);
}

/// Records one value, in the metric's own unit.
pub fn observe(metric: Histogram, value: f64, labels: &[KeyValue]) {
    let made = HISTOGRAMS.get(metric.name, |meter| build_histogram(meter, metric));
    made.record(value, labels);
}

/// Says what a value is now, in the metric's own unit.
pub fn set(metric: Gauge, value: f64, labels: &[KeyValue]) {
    let made = GAUGES.get(metric.name, |meter| build_gauge(meter, metric));
    made.record(value, labels);
}

/// Sends metrics through `provider` from now on. What was made before had nowhere to go and is made anew.
pub(crate) fn use_provider(provider: SdkMeterProvider) {
    global::set_meter_provider(provider);
    COUNTERS.forget();
    HISTOGRAMS.forget();
    GAUGES.forget();
}

fn build_counter(meter: &Meter, metric: Counter) -> CounterOf<u64> {
    meter
        .u64_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.help)
        .build()
}

fn build_gauge(meter: &Meter, metric: Gauge) -> GaugeOf<f64> {
    meter
        .f64_gauge(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.help)
        .build()
}

fn build_histogram(meter: &Meter, metric: Histogram) -> HistogramOf<f64> {
    meter
        .f64_histogram(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.help)
        .with_boundaries(metric.bounds.to_vec())
        .build()
}
