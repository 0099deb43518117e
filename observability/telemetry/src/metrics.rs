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

/// The instruments of the process, by name.
#[derive(Default)]
struct Instruments {
    counters: HashMap<&'static str, CounterOf<u64>>,
    histograms: HashMap<&'static str, HistogramOf<f64>>,
    gauges: HashMap<&'static str, GaugeOf<f64>>,
}

static INSTRUMENTS: LazyLock<RwLock<Instruments>> = LazyLock::new(RwLock::default);

/// Adds `n` to a counter.
pub fn count(metric: Counter, n: u64, labels: &[KeyValue]) {
    counter(metric).add(n, labels);
}

/// Records one value, in the metric's own unit.
pub fn observe(metric: Histogram, value: f64, labels: &[KeyValue]) {
    histogram(metric).record(value, labels);
}

/// Says what a value is now, in the metric's own unit.
pub fn set(metric: Gauge, value: f64, labels: &[KeyValue]) {
    gauge(metric).record(value, labels);
}

/// Sends metrics through `provider` from now on. What was made before had nowhere to go and is made anew.
pub(crate) fn use_provider(provider: SdkMeterProvider) {
    global::set_meter_provider(provider);
    *INSTRUMENTS.write().unwrap_or_else(PoisonError::into_inner) = Instruments::default();
}

fn counter(metric: Counter) -> CounterOf<u64> {
    let known = INSTRUMENTS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .counters
        .get(metric.name)
        .cloned();
    known.unwrap_or_else(|| {
        let mut all = INSTRUMENTS.write().unwrap_or_else(PoisonError::into_inner);
        all.counters
            .entry(metric.name)
            .or_insert_with(|| build_counter(&meter(), metric))
            .clone()
    })
}

fn histogram(metric: Histogram) -> HistogramOf<f64> {
    let known = INSTRUMENTS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .histograms
        .get(metric.name)
        .cloned();
    known.unwrap_or_else(|| {
        let mut all = INSTRUMENTS.write().unwrap_or_else(PoisonError::into_inner);
        all.histograms
            .entry(metric.name)
            .or_insert_with(|| build_histogram(&meter(), metric))
            .clone()
    })
}

fn gauge(metric: Gauge) -> GaugeOf<f64> {
    let known = INSTRUMENTS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .gauges
        .get(metric.name)
        .cloned();
    known.unwrap_or_else(|| {
        let mut all = INSTRUMENTS.write().unwrap_or_else(PoisonError::into_inner);
        all.gauges
            .entry(metric.name)
            .or_insert_with(|| build_gauge(&meter(), metric))
            .clone()
    })
}

fn meter() -> Meter {
    global::meter(SCOPE)
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
