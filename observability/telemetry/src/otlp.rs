//! The tracer and meter providers: with an exporter where an endpoint is configured, without one otherwise.
//!
//! The SDK's exporters run on plain threads, which is why the HTTP client is the blocking one: it needs no async
//! runtime, works while the service's runtime is busy, and still flushes after that has ended.

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::start::Options;

/// A bulk request is linked to every issue in it; the SDK's usual 128 links would lose most of a large one.
const MAX_LINKS: u32 = 2_048;

/// What traces and metrics are sent through.
pub(crate) struct Providers {
    /// Always there: without an exporter it still makes the ids that messages carry on.
    pub(crate) tracer: SdkTracerProvider,
    /// Only with an exporter: a metric that nobody collects is not worth its memory.
    pub(crate) meter: Option<SdkMeterProvider>,
}

/// Builds both. Nothing is sent before there is something to send, so a collector that is away is no error.
pub(crate) fn providers(options: &Options) -> anyhow::Result<Providers> {
    let tracer = SdkTracerProvider::builder()
        .with_max_links_per_span(MAX_LINKS)
        .with_resource(resource(options));
    let Some(endpoint) = options.otlp_endpoint.as_deref().filter(|given| !given.is_empty()) else {
        return Ok(Providers {
            tracer: tracer.build(),
            meter: None,
        });
    };
    let context = || format!("the OTLP endpoint cannot be used: {endpoint:?} (OTEL_EXPORTER_OTLP_ENDPOINT)");
    let spans = span_exporter(endpoint).with_context(context)?;
    let metrics = metric_exporter(endpoint).with_context(context)?;
    let meter = SdkMeterProvider::builder()
        .with_resource(resource(options))
        .with_periodic_exporter(metrics);
    Ok(Providers {
        tracer: tracer.with_batch_exporter(spans).build(),
        meter: Some(meter.build()),
    })
}

fn resource(options: &Options) -> Resource {
    Resource::builder()
        .with_service_name(options.service)
        .with_attribute(KeyValue::new("service.version", options.version))
        .build()
}

fn span_exporter(endpoint: &str) -> anyhow::Result<SpanExporter> {
    Ok(SpanExporter::builder()
        .with_http()
        .with_endpoint(signal(endpoint, "traces")?)
        .build()?)
}

fn metric_exporter(endpoint: &str) -> anyhow::Result<MetricExporter> {
    Ok(MetricExporter::builder()
        .with_http()
        .with_endpoint(signal(endpoint, "metrics")?)
        .build()?)
}

/// The address of one signal. The exporter appends the path only to what it reads from the environment itself.
fn signal(endpoint: &str, name: &str) -> anyhow::Result<String> {
    let http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
    anyhow::ensure!(http, "it begins with neither http:// nor https://");
    Ok(format!("{}/v1/{name}", endpoint.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_a_path_below_the_base() {
        for (base, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector/otlp/", "https://collector/otlp/v1/traces"),
        ] {
            assert_eq!(signal(base, "traces").expect("a URL"), expected);
        }
    }

    #[test]
    fn an_address_without_a_scheme_is_refused() {
        let error = signal("localhost:4318", "traces").expect_err("no scheme");
        assert!(error.to_string().contains("http://"), "{error}");
    }
}
