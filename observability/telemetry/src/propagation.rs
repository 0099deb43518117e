//! Trace context in message headers: W3C `traceparent` and `tracestate`.
//!
//! One trace an issue: whoever publishes injects, whoever handles sets the parent. What was coalesced into one
//! message (webhooks that a later one replaced, issues that share a bulk request) is linked.
//!
//! Order matters once: [`set_parent`] must come before the span is entered, and before [`trace_id`],
//! [`inject_span`] or a child span asks for its ids, because ids are fixed by then.

use async_nats::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Puts the context of the span that is entered now into the headers of a message about to be published.
///
/// Outside of any span, or before telemetry is started, the headers stay as they are.
pub fn inject(headers: &mut HeaderMap) {
    inject_context(&Context::current(), headers);
}

/// Puts the context of `span` into the headers, whether or not it is entered.
pub fn inject_span(span: &Span, headers: &mut HeaderMap) {
    inject_context(&span.context(), headers);
}

/// Makes `span` a child of the span whose context is in the headers, in the same trace.
///
/// Headers without a valid context, or none at all (a message queued by hand), leave it the root of a new trace.
pub fn set_parent(span: &Span, headers: Option<&HeaderMap>) {
    let Some(parent) = headers.and_then(extract) else {
        return;
    };
    let parent = Context::new().with_remote_span_context(parent);
    if let Err(reason) = span.set_parent(parent) {
        tracing::debug!(%reason, "span has not taken its parent from the message");
    }
}

/// Links `span` to the span whose context is in the headers: related work of another trace.
///
/// Links may be added as long as the span is open.
pub fn link(span: &Span, headers: &HeaderMap) {
    if let Some(linked) = extract(headers) {
        span.add_link(linked);
    }
}

/// The trace that `span` belongs to, as 32 hexadecimal digits in lower case.
///
/// None if the span is disabled or telemetry has not been started.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let ids = span.span_context();
    ids.is_valid().then(|| ids.trace_id().to_string())
}

fn inject_context(context: &Context, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(context, &mut Outgoing(headers));
}

/// Starts from an empty context: what this thread happens to work on is not what the sender worked on.
fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers));
    let span = context.span();
    let ids = span.span_context();
    ids.is_valid().then(|| ids.clone())
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    /// An empty `tracestate` says nothing and is left out; a value that a header cannot hold is left out too,
    /// since it came from outside and `insert` would panic on it.
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            return;
        }
        if let Ok(value) = value.parse::<HeaderValue>() {
            self.0.insert(key, value);
        }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(HeaderValue::as_str)
    }

    /// Only ever asked for by propagators that scan for prefixes; the W3C one names its keys.
    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_ref()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(traceparent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent);
        headers
    }

    #[test]
    fn a_context_survives_the_headers() {
        let mut incoming = headers(PARENT);
        incoming.insert("tracestate", "vendor=value");
        let ids = extract(&incoming).expect("a valid context");
        let mut outgoing = HeaderMap::new();
        inject_context(&Context::new().with_remote_span_context(ids), &mut outgoing);
        assert_eq!(outgoing, incoming);
    }

    #[test]
    fn an_empty_tracestate_is_not_sent() {
        let ids = extract(&headers(PARENT)).expect("a valid context");
        let mut outgoing = HeaderMap::new();
        inject_context(&Context::new().with_remote_span_context(ids), &mut outgoing);
        assert_eq!(outgoing, headers(PARENT));
    }

    #[test]
    fn what_is_not_a_context_is_ignored() {
        for wrong in [
            "",
            "00",
            "00-0-0-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(extract(&headers(wrong)), None, "{wrong:?}");
        }
        assert_eq!(extract(&HeaderMap::new()), None);
    }

    #[test]
    fn without_telemetry_nothing_is_injected() {
        let mut outgoing = HeaderMap::new();
        inject(&mut outgoing);
        assert!(outgoing.is_empty());
        assert_eq!(trace_id(&Span::none()), None);
    }
}
