//! What is recorded arrives at the collector, and the end is never late.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use bugstream_telemetry::{FLUSH_LIMIT, Options, metrics, names, start};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use tracing::info_span;

use crate::alone::alone;
use crate::collector::{Collector, attribute, listen};
use crate::options;

fn exporting(endpoint: &str) -> Options {
    Options {
        otlp_endpoint: Some(endpoint.to_owned()),
        ..options()
    }
}

#[test]
fn metrics_arrive_with_their_unit_and_labels() {
    alone("export::metrics_arrive_with_their_unit_and_labels", || {
        // Before the start there is nowhere to count to; that must not keep later counts from arriving.
        metrics::count(names::WEBHOOKS_RECEIVED, 100, &[]);
        let collector = Collector::start();
        let telemetry = start(exporting(&collector.endpoint)).expect("it starts");
        metrics::count(names::WEBHOOKS_RECEIVED, 1, &[names::WebhookResult::Accepted.into()]);
        metrics::count(names::WEBHOOKS_RECEIVED, 2, &[names::WebhookResult::Accepted.into()]);
        metrics::observe(names::BULK_DURATION, 0.2, &[]);
        metrics::set(names::AUDIT_SHARE, 0.25, &[names::label::repository("a/b")]);
        metrics::set(names::AUDIT_SHARE, 0.5, &[names::label::repository("a/b")]);
        telemetry.shutdown();

        let exported = collector.exported();
        let Some(Data::Sum(sum)) = &exported.metric(names::WEBHOOKS_RECEIVED.name).data else {
            panic!("a counter is a sum");
        };
        assert_eq!(sum.data_points.len(), 1, "one set of labels: {sum:?}");
        assert_eq!(sum.data_points[0].value, Some(Value::AsInt(3)));
        assert_eq!(sum.data_points[0].attributes[0].key, names::WebhookResult::KEY);
        let bulk = exported.metric(names::BULK_DURATION.name);
        assert_eq!(bulk.unit, "s");
        let Some(Data::Histogram(histogram)) = &bulk.data else {
            panic!("a measure is a histogram");
        };
        assert_eq!(histogram.data_points[0].explicit_bounds, names::BULK_DURATION.bounds);
        let Some(Data::Gauge(gauge)) = &exported.metric(names::AUDIT_SHARE.name).data else {
            panic!("what is looked at is a gauge");
        };
        assert_eq!(gauge.data_points.len(), 1, "the last value: {gauge:?}");
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(0.5)));
    });
}

#[test]
fn everything_names_its_service() {
    alone("export::everything_names_its_service", || {
        let collector = Collector::start();
        let telemetry = start(exporting(&collector.endpoint)).expect("it starts");
        drop(info_span!(names::span::INDEX).entered());
        metrics::count(names::BULK_BYTES, 1, &[]);
        telemetry.shutdown();

        let resources = collector.exported().resources;
        assert_eq!(resources.len(), 2, "traces and metrics");
        for resource in &resources {
            assert_eq!(attribute(resource, "service.name"), Some("telemetry-test"));
            assert_eq!(attribute(resource, "service.version"), Some("1.2.3"));
        }
    });
}

/// The exporter must not need the runtime whose only thread waits for it.
#[test]
fn a_flush_works_on_the_only_thread_of_a_runtime() {
    alone("export::a_flush_works_on_the_only_thread_of_a_runtime", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let collector = Collector::start();
            let telemetry = start(exporting(&collector.endpoint)).expect("it starts");
            drop(info_span!(names::span::STORE).entered());
            telemetry.shutdown();
            collector.exported().span(names::span::STORE);
        });
    });
}

#[test]
fn an_early_return_flushes_too() {
    alone("export::an_early_return_flushes_too", || {
        let collector = Collector::start();
        let telemetry = start(exporting(&collector.endpoint)).expect("it starts");
        drop(info_span!(names::span::STORE).entered());
        drop(telemetry);
        collector.exported().span(names::span::STORE);
    });
}

#[test]
fn a_second_start_leaves_the_first_alone() {
    alone("export::a_second_start_leaves_the_first_alone", || {
        let collector = Collector::start();
        let first = start(exporting(&collector.endpoint)).expect("it starts");
        start(options()).expect("a second start is no error").shutdown();
        drop(info_span!(names::span::STORE).entered());
        first.shutdown();
        collector.exported().span(names::span::STORE);
    });
}

#[test]
fn a_collector_that_never_answers_does_not_hold_the_end_up() {
    alone(
        "export::a_collector_that_never_answers_does_not_hold_the_end_up",
        || {
            let (_listener, endpoint) = listen();
            let telemetry = start(exporting(&endpoint)).expect("it starts");
            drop(info_span!(names::span::STORE).entered());
            metrics::count(names::BULK_BYTES, 1, &[]);
            let ran = awake(|| telemetry.shutdown());
            assert!(ran < FLUSH_LIMIT + Duration::from_secs(2), "{ran:?}");
        },
    );
}

/// How long some work takes of the time in which this process runs. What the machine stands still meanwhile counts for a
/// moment.
fn awake(work: impl FnOnce()) -> Duration {
    const TICK: Duration = Duration::from_millis(20);
    let (working, done) = channel::<()>();
    std::thread::scope(|scope| {
        let clock = scope.spawn(move || {
            let mut ran = Duration::ZERO;
            while done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                ran += TICK;
            }
            ran
        });
        work();
        drop(working);
        clock.join().expect("it only counts")
    })
}

#[test]
fn a_bad_endpoint_is_refused_and_named_and_may_be_corrected() {
    alone(
        "export::a_bad_endpoint_is_refused_and_named_and_may_be_corrected",
        || {
            let error = start(exporting("localhost:4318")).expect_err("it is not a URL");
            assert!(format!("{error:#}").contains("localhost:4318"), "{error:#}");
            let collector = Collector::start();
            let telemetry = start(exporting(&collector.endpoint)).expect("it starts");
            drop(info_span!(names::span::STORE).entered());
            telemetry.shutdown();
            collector.exported().span(names::span::STORE);
        },
    );
}
