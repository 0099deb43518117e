//! One trace from message to message, retries and dead letters included.

use std::sync::OnceLock;
use std::time::Duration;

use async_nats::HeaderMap;
use bugstream_kit::consume::{Options, Outcome};
use bugstream_kit::dead_letter::Kind;
use bugstream_proto::topology::{self, DOWNLOADER_LIVE};
use bugstream_telemetry::{Format, Telemetry};
use bugstream_testkit::wait;

use crate::harness::{Bench, SOON, cause, issue, options};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Contexts are made only once telemetry has started; it stays until the process ends.
fn telemetry() {
    static STARTED: OnceLock<Telemetry> = OnceLock::new();
    STARTED.get_or_init(|| {
        let options = bugstream_telemetry::Options {
            service: "test-service",
            version: "0",
            format: Format::Text,
            filter: Some("off".to_owned()),
            otlp_endpoint: None,
        };
        bugstream_telemetry::start(options).expect("it starts once")
    });
}

#[tokio::test]
async fn what_a_handler_publishes_belongs_to_the_trace_of_its_message_after_a_retry_too() {
    telemetry();
    let bench = Bench::start().await;
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    let request = bench
        .broker
        .jetstream
        .publish_with_headers("download.a.b.1", headers, "".into());
    request.await.expect("sent").await.expect("stored");
    let requests = bench.requests();
    let options = Options {
        naks: 1,
        ..options(DOWNLOADER_LIVE, 4)
    };
    let working = bench.work(options, move |message, _| {
        let requests = requests.clone();
        async move {
            if message.attempts == 0 {
                return Outcome::Retry {
                    after: Some(Duration::from_millis(10)),
                    why: "not yet".to_owned(),
                };
            }
            requests.index(&issue(2), cause()).await.expect("stored");
            Outcome::reject(Kind::Other, "enough")
        }
    });
    bench.wait_for_dead_letters(1).await;
    for (stream, subject) in [
        (topology::INDEXING, "index.a.b.2"),
        (topology::DEAD_LETTERS, "dead.test-service"),
    ] {
        let message = wait::until("the message", SOON, || async {
            let stream = bench.stream(stream).await;
            stream.get_last_raw_message_by_subject(subject).await.ok()
        })
        .await;
        let context = message.headers.get("traceparent").expect("it has a context").as_str();
        assert_eq!(context.split('-').nth(1), Some(TRACE), "{subject}");
    }
    working.stop().await;
}
