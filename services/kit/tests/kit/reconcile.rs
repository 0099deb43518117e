//! What a start makes of a server: from empty, as it was, changed by an operator, or incompatible.

use std::time::Duration;

use async_nats::jetstream::{consumer, stream};
use bugstream_kit::broker::Broker;
use bugstream_kit::service::Context;
use bugstream_proto::topology::{self, CONSUMERS};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use futures_util::StreamExt;
use time::OffsetDateTime;

use crate::harness::{Bench, SOON, config};

/// Everything that reconciling could change, and when the streams were made.
async fn everything(bench: &Bench) -> (Vec<(stream::Config, OffsetDateTime)>, Vec<consumer::Config>) {
    let names = topology::streams().into_iter().map(|stream| stream.name);
    let buckets = topology::buckets()
        .into_iter()
        .map(|bucket| format!("KV_{}", bucket.bucket));
    let mut streams = Vec::new();
    for name in names.chain(buckets) {
        let info = bench.stream(&name).await.cached_info().clone();
        streams.push((info.config, info.created));
    }
    let mut consumers = Vec::new();
    for spec in CONSUMERS {
        let info = bench.stream(spec.stream).await.consumer_info(spec.name).await;
        consumers.push(info.expect("the consumer is there").config);
    }
    (streams, consumers)
}

#[tokio::test]
async fn an_empty_server_gets_everything_and_a_second_start_changes_nothing() {
    let bench = Bench::start().await;
    let found = everything(&bench).await;
    for (wanted, (found, _)) in topology::streams().iter().zip(&found.0) {
        assert_eq!(found.subjects, wanted.subjects);
        assert_eq!(found.retention, wanted.retention);
        assert_eq!(found.max_messages_per_subject.max(0), wanted.max_messages_per_subject);
        assert_eq!(found.allow_message_schedules, wanted.allow_message_schedules);
    }
    let client = bench.nats.client().await;
    let mut changes = client
        .subscribe("$JS.EVENT.ADVISORY.STREAM.*.>")
        .await
        .expect("subscribed");
    bugstream_testkit::nats::round_trip(&client).await;
    // What the first start did may be told late; the server tells in order.
    make(&bench, "BEFORE").await;
    while !next(&mut changes).await.ends_with("CREATED.BEFORE") {}
    Broker::connect_once(&config(&bench.nats), "again")
        .await
        .expect("a second start");
    assert_eq!(everything(&bench).await, found);
    make(&bench, "AFTER").await;
    let first = next(&mut changes).await;
    assert!(first.ends_with("CREATED.AFTER"), "nothing was even touched: {first}");
}

/// Makes a stream that is none of ours.
async fn make(bench: &Bench, name: &str) {
    let config = stream::Config {
        name: name.to_owned(),
        ..stream::Config::default()
    };
    bench.broker.jetstream.create_stream(config).await.expect("it is new");
}

/// What the server tells next.
async fn next(changes: &mut async_nats::Subscriber) -> String {
    let told = tokio::time::timeout(SOON, changes.next()).await;
    told.expect("in time")
        .expect("the connection lives")
        .subject
        .to_string()
}

#[tokio::test]
async fn several_services_may_start_at_once_on_an_empty_server() {
    let nats = Nats::start().await;
    let config = config(&nats);
    let starts = (0..5).map(|_| Broker::connect_once(&config, "one of many"));
    for started in futures_util::future::join_all(starts).await {
        started.expect("a lost race is no error");
    }
}

#[tokio::test]
async fn what_the_operator_chose_stays_and_what_we_need_comes_back() {
    let bench = Bench::start().await;
    let mut config = bench.stream(topology::ISSUES).await.cached_info().config.clone();
    config.max_bytes = 123_456_789;
    config.metadata.insert("owner".to_owned(), "the operator".to_owned());
    config.allow_direct = false;
    config.duplicate_window = Duration::from_secs(5);
    bench
        .broker
        .jetstream
        .update_stream(config)
        .await
        .expect("an operator's change");
    let again = crate::harness::config(&bench.nats);
    Broker::connect_once(&again, "again").await.expect("it starts");
    let found = bench.stream(topology::ISSUES).await.cached_info().config.clone();
    assert_eq!(found.max_bytes, 123_456_789);
    assert_eq!(found.metadata.get("owner").map(String::as_str), Some("the operator"));
    assert!(found.allow_direct);
    assert_eq!(found.duplicate_window, Duration::from_secs(120));
}

#[tokio::test]
async fn what_cannot_be_changed_in_place_is_refused_by_name_and_left_alone() {
    let nats = Nats::start().await;
    let jetstream = nats.jetstream().await;
    let other = stream::Config {
        name: topology::DOWNLOADS.to_owned(),
        subjects: vec!["download.>".to_owned()],
        ..stream::Config::default()
    };
    jetstream.create_stream(other).await.expect("someone else's stream");
    let stored = jetstream
        .publish("download.a.b.1", "precious".into())
        .await
        .expect("sent");
    stored.await.expect("stored");

    let context = Context::new("test-service");
    let patient = tokio::time::timeout(SOON, Broker::connect(&config(&nats), &context)).await;
    let error = patient
        .expect("waiting mends nothing")
        .expect_err("it cannot be used")
        .to_string();
    assert!(
        error.contains("stream DOWNLOADS exists with retention Limits"),
        "{error}"
    );
    assert!(error.contains("delete it by hand"), "{error}");
    let stream = jetstream
        .get_stream(topology::DOWNLOADS)
        .await
        .expect("it is still there");
    assert_eq!(stream.cached_info().state.messages, 1, "and nothing of it was deleted");
}

#[tokio::test]
async fn a_service_that_starts_first_waits_for_its_server_and_says_so() {
    let mut nats = Nats::start().await;
    let config = config(&nats);
    nats.kill9();
    let context = Context::new("test-service");
    let connecting = Broker::connect(&config, &context);
    let restarting = async {
        wait::until_true("readiness says so", SOON, || async {
            context.health.away().await.contains_key("nats")
        })
        .await;
        nats.restart().await;
    };
    let (connected, ()) = tokio::join!(connecting, restarting);
    connected.expect("it waited");
    wait::until_true("it is ready", SOON, || async { context.health.away().await.is_empty() }).await;
}

#[tokio::test]
async fn a_command_does_not_wait_for_a_server_that_is_away() {
    let mut nats = Nats::start().await;
    let config = config(&nats);
    nats.kill9();
    let answer = tokio::time::timeout(SOON, Broker::connect_once(&config, "queue-cli")).await;
    let error = answer.expect("in time").expect_err("no server").to_string();
    assert!(error.contains("NATS_URL"), "{error}");
}
