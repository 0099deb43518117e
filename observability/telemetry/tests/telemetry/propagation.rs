//! A trace goes on through message headers.

use async_nats::HeaderMap;
use bugstream_telemetry::{Options, names, propagation, start};
use tracing::{Span, info_span};

use crate::alone::alone;
use crate::collector::Collector;
use crate::options;

/// The trace and span ids of a `traceparent`.
fn ids(headers: &HeaderMap) -> (String, String) {
    let traceparent = headers.get("traceparent").expect("a trace context").as_str();
    let parts: Vec<&str> = traceparent.split('-').collect();
    (parts[1].to_owned(), parts[2].to_owned())
}

/// What a service publishes while `span` is entered.
fn publish(span: &Span) -> HeaderMap {
    let mut headers = HeaderMap::new();
    span.in_scope(|| propagation::inject(&mut headers));
    headers
}

/// The OTLP ids are bytes, the headers' are hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_consumer_continues_the_trace_of_the_producer() {
    alone("propagation::a_consumer_continues_the_trace_of_the_producer", || {
        let collector = Collector::start();
        let endpoint = Some(collector.endpoint.clone());
        let telemetry = start(Options {
            otlp_endpoint: endpoint,
            ..options()
        })
        .expect("it starts");
        let headers = publish(&info_span!(names::span::RECEIVE));

        let handle = info_span!(names::span::HANDLE);
        propagation::set_parent(&handle, Some(&headers));
        let (trace, sender) = ids(&headers);
        assert_eq!(propagation::trace_id(&handle), Some(trace.clone()));
        drop(handle);
        telemetry.shutdown();

        let exported = collector.exported();
        let handle = exported.span(names::span::HANDLE);
        assert_eq!(
            (hex(&handle.trace_id), hex(&handle.parent_span_id)),
            (trace, sender.clone())
        );
        assert_eq!(hex(&exported.span(names::span::RECEIVE).span_id), sender);
    });
}

#[test]
fn what_was_coalesced_is_linked() {
    alone("propagation::what_was_coalesced_is_linked", || {
        let collector = Collector::start();
        let endpoint = Some(collector.endpoint.clone());
        let telemetry = start(Options {
            otlp_endpoint: endpoint,
            ..options()
        })
        .expect("it starts");
        let before = publish(&info_span!(names::span::RECEIVE));
        let after = publish(&info_span!(names::span::PUBLISH));

        let bulk = info_span!(names::span::BULK);
        propagation::link(&bulk, &before);
        // The ids of the span are fixed from here on; links may still come.
        let own = propagation::trace_id(&bulk).expect("telemetry has started");
        propagation::link(&bulk, &after);
        propagation::link(&bulk, &HeaderMap::new());
        drop(bulk);
        telemetry.shutdown();

        let exported = collector.exported();
        let bulk = exported.span(names::span::BULK);
        assert_eq!(hex(&bulk.trace_id), own);
        let linked: Vec<_> = bulk
            .links
            .iter()
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect();
        assert_eq!(linked, [ids(&before), ids(&after)]);
        assert!(
            linked.iter().all(|(trace, _)| *trace != own),
            "links join traces, they do not merge them"
        );
    });
}

#[test]
fn without_a_collector_and_with_a_silent_log_the_trace_goes_on() {
    alone(
        "propagation::without_a_collector_and_with_a_silent_log_the_trace_goes_on",
        || {
            let telemetry = start(Options {
                filter: Some("off".to_owned()),
                ..options()
            })
            .expect("it starts");
            let first = publish(&info_span!(names::span::RECEIVE));

            let handle = info_span!(names::span::HANDLE);
            propagation::set_parent(&handle, Some(&first));
            let second = publish(&handle);
            let mut third = HeaderMap::new();
            propagation::inject_span(&handle, &mut third);

            assert_eq!(ids(&first).0, ids(&second).0, "one trace");
            assert_ne!(ids(&first).1, ids(&second).1, "two spans");
            assert_eq!(second, third, "entered or not, a span is the same");
            assert!(
                second
                    .get("traceparent")
                    .expect("a trace context")
                    .as_str()
                    .ends_with("-01"),
                "sampled"
            );
            telemetry.shutdown();
        },
    );
}

#[test]
fn a_message_queued_by_hand_begins_a_trace() {
    alone("propagation::a_message_queued_by_hand_begins_a_trace", || {
        let telemetry = start(options()).expect("it starts");
        let around = info_span!("around");
        let _entered = around.enter();
        for headers in [None, Some(HeaderMap::new())] {
            let handle = info_span!(parent: None, names::span::HANDLE);
            propagation::set_parent(&handle, headers.as_ref());
            let own = propagation::trace_id(&handle).expect("a trace of its own");
            assert_eq!(own.len(), 32);
            assert_ne!(Some(own), propagation::trace_id(&around));
        }
        telemetry.shutdown();
    });
}

#[test]
fn a_verbose_log_does_not_cut_the_trace() {
    alone("propagation::a_verbose_log_does_not_cut_the_trace", || {
        let telemetry = start(Options {
            filter: Some("trace".to_owned()),
            ..options()
        })
        .expect("it starts");
        let handle = info_span!(names::span::HANDLE);
        let inner = handle.in_scope(|| tracing::debug_span!("detail"));
        let headers = handle.in_scope(|| publish(&inner));
        assert_eq!(Some(ids(&headers).0), propagation::trace_id(&handle));
        telemetry.shutdown();
    });
}
