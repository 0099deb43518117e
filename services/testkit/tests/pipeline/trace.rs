//! One trace an issue: from the webhook through the debounce and the log to the document.

use std::collections::BTreeSet;

use bugstream_proto::{Verb, topology};
use bugstream_telemetry::{Format, Options};
use bugstream_testkit::github::Change;
use bugstream_testkit::nats::round_trip;
use futures_util::{FutureExt as _, StreamExt as _};

use crate::stage::{Play, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_the_trace_that_the_webhook_began() {
    let options = Options {
        service: "pipeline-test",
        version: "0",
        format: Format::Text,
        filter: Some("warn".to_owned()),
        otlp_endpoint: None,
    };
    let telemetry = bugstream_telemetry::start(options).unwrap();
    let stage = Stage::set(Play::default()).await;
    let client = stage.nats.client().await;
    let requests = client.subscribe(Verb::Debounce.wildcard()).await.unwrap();
    round_trip(&client).await;
    stage.edit(7, [Change::Title("follow me".to_owned())]).await;
    stage.titled(7, "follow me").await;
    round_trip(&client).await;
    // Usually one; more where the receiver did not answer in time and GitHub sent it once more.
    let begun = traces(requests);
    let trace_id = trace_of_event(&stage).await;
    assert!(
        begun.contains(&trace_id),
        "the event of the log: {trace_id} of {begun:?}"
    );
    let document = stage.issue_document(7).await.unwrap();
    assert_eq!(document["bugstream"]["trace_id"], trace_id.as_str(), "the document");
    stage.stop().await;
    telemetry.shutdown();
}

/// The traces of all requests that came so far, as their headers have them.
fn traces(mut requests: async_nats::Subscriber) -> BTreeSet<String> {
    std::iter::from_fn(|| requests.next().now_or_never().flatten())
        .map(|request| trace_id(&request.headers.expect("every message carries its trace")))
        .collect()
}

/// The trace of the newest event about issue 7.
async fn trace_of_event(stage: &Stage) -> String {
    let log = stage.broker.jetstream.get_stream(topology::ISSUES).await.unwrap();
    let subject = Verb::Issue.of(&stage.repo.issue(7).unwrap()).to_string();
    let event = log.get_last_raw_message_by_subject(&subject).await.unwrap();
    trace_id(&event.headers)
}

fn trace_id(headers: &async_nats::HeaderMap) -> String {
    let parent = headers.get("traceparent").expect("every message carries its trace");
    let id = parent.as_str().split('-').nth(1);
    id.expect("version, trace id, parent id, flags").to_owned()
}
