//! Starting telemetry once a process, and flushing it at the end.

use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::format::JsonWithTrace;
use crate::{metrics, otlp};

/// What is logged when nobody says otherwise: our own steps, and of the libraries only what went wrong.
///
/// `opentelemetry` covers the SDK and the exporters too, because a filter matches by prefix.
pub const DEFAULT_FILTER: &str =
    "info,async_nats=warn,h2=warn,hyper=warn,hyper_util=warn,opentelemetry=warn,reqwest=warn,rustls=warn";

/// The longest that [`Telemetry::shutdown`] may take: well inside the time that an orchestrator grants after
/// SIGTERM, long enough for one batch over a slow link.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// One subscriber and one pair of providers a process; the tracing crates allow no second.
static STARTED: AtomicBool = AtomicBool::new(false);

/// What the chassis knows and telemetry needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// `service.name` of traces and metrics, for example `indexer`.
    pub service: &'static str,
    /// `service.version` of traces and metrics.
    pub version: &'static str,
    /// The shape of log lines.
    pub format: Format,
    /// Directives as in `RUST_LOG`; [`DEFAULT_FILTER`] where there are none. They govern the log only, not traces.
    pub filter: Option<String>,
    /// Base URL of an OTLP collector that speaks HTTP with protobuf (`/v1/traces` and `/v1/metrics` are
    /// appended), as in `OTEL_EXPORTER_OTLP_ENDPOINT`. Without one, or with an empty one, nothing is exported.
    pub otlp_endpoint: Option<String>,
}

/// The shape of log lines, which go to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, with `trace_id` and `span_id` where there is a span.
    Json,
}

/// A log format that is neither `text` nor `json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFormat(String);

impl std::fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown log format {:?}: write text or json", self.0)
    }
}

impl std::error::Error for UnknownFormat {}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// The right to flush. Dropping it flushes as well, so that an early return loses nothing.
#[must_use = "dropping it at once ends the export of traces and metrics"]
#[derive(Debug, Default)]
pub struct Telemetry {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

/// Starts the log, traces and metrics of this process, and makes `ring` the process-wide TLS provider.
///
/// Call it before anything logs, counts or opens a TLS connection. A second call in one process (services that
/// share a test process) changes nothing and returns a handle that flushes nothing.
///
/// # Errors
/// A filter that does not parse, an endpoint that is not a URL, or a subscriber that someone else installed.
pub fn start(options: Options) -> anyhow::Result<Telemetry> {
    // Exporters and every other client build on it; "already installed" is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if STARTED.swap(true, Ordering::SeqCst) {
        return Ok(Telemetry::default());
    }
    install(&options).inspect_err(|_| STARTED.store(false, Ordering::SeqCst))
}

fn install(options: &Options) -> anyhow::Result<Telemetry> {
    let filter = filter(options)?;
    let providers = otlp::providers(options)?;
    let tracer = providers.tracer.tracer(options.service);
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(traces)
        .with(log(options.format).with_filter(filter))
        .try_init()
        .context("another tracing subscriber is installed in this process")?;
    // Between the making of the subscriber and its installation another thread finds tracing enabled and nobody there:
    // what it met then for the first time would stay disabled for ever.
    tracing::callsite::rebuild_interest_cache();
    if let Some(meter) = &providers.meter {
        metrics::use_provider(meter.clone());
    }
    Ok(Telemetry {
        tracer: Some(providers.tracer),
        meter: providers.meter,
    })
}

fn filter(options: &Options) -> anyhow::Result<EnvFilter> {
    let given = options
        .filter
        .as_deref()
        .map(str::trim)
        .filter(|given| !given.is_empty());
    let directives = given.unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder()
        .parse(directives)
        .with_context(|| format!("the log filter does not parse: {directives:?} (RUST_LOG)"))
}

fn log<S>(format: Format) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let stderr = std::io::stderr;
    match format {
        Format::Text => tracing_subscriber::fmt::layer()
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal())
            .boxed(),
        Format::Json => tracing_subscriber::fmt::layer()
            .json()
            .with_writer(stderr)
            .event_format(JsonWithTrace::new())
            .boxed(),
    }
}

impl Telemetry {
    /// Sends what is still held, within [`FLUSH_LIMIT`], and ends the export. Never panics.
    ///
    /// It blocks the calling thread, and needs nothing of the async runtime that it may be called on.
    pub fn shutdown(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        let (done, finished) = mpsc::channel();
        let mut waiting = 0;
        if let Some(tracer) = self.tracer.take() {
            waiting += usize::from(apart(&done, move || tracer.shutdown_with_timeout(FLUSH_LIMIT)));
        }
        if let Some(meter) = self.meter.take() {
            waiting += usize::from(apart(&done, move || meter.shutdown_with_timeout(FLUSH_LIMIT)));
        }
        drop(done);
        wait(&finished, waiting);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Runs a flush on a thread of its own: the SDK's time limits are per signal, and not every part keeps them.
/// False if there is no thread left to have; then what is held is lost, which is better than a hang.
fn apart(done: &mpsc::Sender<OTelSdkResult>, flush: impl FnOnce() -> OTelSdkResult + Send + 'static) -> bool {
    let done = done.clone();
    std::thread::Builder::new()
        .name("telemetry-flush".to_owned())
        .spawn(move || {
            // The receiver is gone only when the limit has passed.
            let _ = done.send(flush());
        })
        .is_ok()
}

fn wait(finished: &mpsc::Receiver<OTelSdkResult>, count: usize) {
    let deadline = Instant::now() + FLUSH_LIMIT;
    for _ in 0..count {
        let left = deadline.saturating_duration_since(Instant::now());
        match finished.recv_timeout(left) {
            Err(_) | Ok(Err(OTelSdkError::Timeout(_))) => {
                tracing::warn!(limit_s = FLUSH_LIMIT.as_secs(), "telemetry was not flushed in time");
                return;
            }
            // What else failed, the SDK has logged itself.
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(filter: Option<&str>) -> Options {
        Options {
            service: "test",
            version: "0",
            format: Format::Text,
            filter: filter.map(str::to_owned),
            otlp_endpoint: None,
        }
    }

    #[test]
    fn formats_have_two_names() {
        assert_eq!("text".parse(), Ok(Format::Text));
        assert_eq!("json".parse(), Ok(Format::Json));
        let error = "JSON".parse::<Format>().expect_err("names are in lower case");
        assert_eq!(error.to_string(), r#"unknown log format "JSON": write text or json"#);
    }

    #[test]
    fn the_default_filter_parses_and_quietens_libraries() {
        for nothing in [None, Some(""), Some(" ")] {
            let filter = filter(&options(nothing)).expect("the default parses").to_string();
            assert!(filter.contains("async_nats=warn"), "{filter}");
        }
    }

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let error = filter(&options(Some("info,=;"))).expect_err("not a filter");
        assert!(format!("{error:#}").contains("info,=;"), "{error:#}");
    }
}
