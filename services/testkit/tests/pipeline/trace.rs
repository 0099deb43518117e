//! One trace an issue: from the webhook through the debounce and the log to the document.

use bugstream_proto::{Verb, topology};
use bugstream_telemetry::{Format, Options};
use bugstream_testkit::github::Change;
use bugstream_testkit::wait;

use crate::stage::{Play, SOON, Stage};

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
    let stage = Stage::set(Play {
        inactivity_delay_s: 3,
        ..Play::default()
    })
    .await;
    stage
        .github
        .edit(7, [Change::Title("follow me".to_owned())])
        .await
        .unwrap();
    let trace_id = trace_of(&stage, Verb::Debounce).await;
    stage.titled(7, "follow me").await;
    assert_eq!(trace_of(&stage, Verb::Issue).await, trace_id, "the event of the log");
    let document = stage.issue_document(7).await.unwrap();
    assert_eq!(document["bugstream"]["trace_id"], trace_id.as_str(), "the document");
    stage.stop().await;
    telemetry.shutdown();
}

/// The trace id in the header of the newest message about issue 7 of one kind.
async fn trace_of(stage: &Stage, verb: Verb) -> String {
    let stream = if verb == Verb::Issue {
        topology::ISSUES
    } else {
        topology::DOWNLOADS
    };
    let stream = stage.broker.jetstream.get_stream(stream).await.unwrap();
    let subject = verb.of(&stage.repo.issue(7).unwrap()).to_string();
    let message = wait::until("the message is there", SOON, || async {
        stream.get_last_raw_message_by_subject(&subject).await.ok()
    })
    .await;
    let parent = message
        .headers
        .get("traceparent")
        .expect("every message carries its trace")
        .as_str();
    parent
        .split('-')
        .nth(1)
        .expect("version, trace id, parent id, flags")
        .to_owned()
}
