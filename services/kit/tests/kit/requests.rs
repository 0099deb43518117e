//! Requests as the broker keeps them: who replaces whom, who keeps its place, what fires where.

use std::time::Duration;

use bugstream_kit::requests::Queued;
use bugstream_proto::{Lane, header, topology, v1};
use bugstream_testkit::wait;
use prost::Message;

use crate::harness::{Bench, SOON, cause, issue};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn of(reason: v1::Reason) -> v1::Cause {
    v1::Cause {
        reason: reason.into(),
        ..cause()
    }
}

async fn reason_on(bench: &Bench, subject: &str) -> v1::Reason {
    let stream = bench.stream(topology::DOWNLOADS).await;
    let message = stream
        .get_last_raw_message_by_subject(subject)
        .await
        .expect("it is there");
    let request = v1::DownloadRequested::decode(message.payload).expect("a request");
    request.cause.expect("a cause").reason()
}

#[tokio::test]
async fn the_last_debounce_and_the_first_deadline_win() {
    let bench = Bench::start().await;
    let (requests, at) = (bench.requests(), bench.context.clock.now() + DAY);
    for (reason, queued) in [(v1::Reason::Webhook, Queued::New), (v1::Reason::Sweep, Queued::Waiting)] {
        requests.debounce(&issue(1), of(reason), at).await.expect("stored");
        let deadline = requests.deadline(&issue(1), of(reason), at).await.expect("answered");
        assert_eq!(deadline, queued);
    }
    assert_eq!(
        bench.subjects(topology::DOWNLOADS).await,
        ["deadline.a.b.1", "debounce.a.b.1"]
    );
    assert_eq!(reason_on(&bench, "debounce.a.b.1").await, v1::Reason::Sweep);
    assert_eq!(reason_on(&bench, "deadline.a.b.1").await, v1::Reason::Webhook);
}

#[tokio::test]
async fn a_waiting_backfill_keeps_its_place_and_a_waiting_download_is_replaced() {
    let bench = Bench::start().await;
    let requests = bench.requests();
    for number in [1, 2] {
        let queued = requests.backfill(&issue(number), of(v1::Reason::Range)).await;
        assert_eq!(queued.expect("answered"), Queued::New);
        requests
            .download(&issue(number), of(v1::Reason::Range))
            .await
            .expect("stored");
    }
    let again = requests
        .backfill(&issue(1), of(v1::Reason::Audit))
        .await
        .expect("answered");
    assert_eq!(again, Queued::Waiting);
    requests
        .download(&issue(1), of(v1::Reason::Audit))
        .await
        .expect("stored");
    assert_eq!(reason_on(&bench, "backfill.a.b.1").await, v1::Reason::Range);
    assert_eq!(reason_on(&bench, "download.a.b.1").await, v1::Reason::Audit);
    let stream = bench.stream(topology::DOWNLOADS).await;
    let place = |subject: &'static str| async {
        let message = stream.get_last_raw_message_by_subject(subject).await;
        message.expect("it is there").sequence
    };
    assert!(place("backfill.a.b.1").await < place("backfill.a.b.2").await);
    let gives_way = requests
        .download_if_none_waits(&issue(1), of(v1::Reason::Confirm))
        .await;
    assert_eq!(gives_way.expect("answered"), Queued::Waiting);
    assert_eq!(reason_on(&bench, "download.a.b.1").await, v1::Reason::Audit);
}

#[tokio::test]
async fn a_schedule_fires_into_the_download_lane_and_makes_room_for_the_next() {
    let bench = Bench::start().await;
    let (requests, now) = (bench.requests(), bench.context.clock.now());
    let soon = now + Duration::from_millis(300);
    requests
        .debounce(&issue(1), of(v1::Reason::Webhook), soon)
        .await
        .expect("stored");
    requests
        .deadline(&issue(2), of(v1::Reason::Webhook), soon)
        .await
        .expect("stored");
    requests
        .debounce(&issue(3), of(v1::Reason::Webhook), now + DAY)
        .await
        .expect("stored");
    wait::until_true("both fire", SOON, || async {
        bench.subjects(topology::DOWNLOADS).await == ["debounce.a.b.3", "download.a.b.1", "download.a.b.2"]
    })
    .await;
    assert_eq!(reason_on(&bench, "download.a.b.1").await, v1::Reason::Webhook);
    let next = requests
        .deadline(&issue(2), cause(), now + DAY)
        .await
        .expect("answered");
    assert_eq!(next, Queued::New);
}

#[tokio::test]
async fn a_retry_goes_back_to_its_lane_with_its_attempts_and_trace_and_overwrites_no_webhook() {
    let bench = Bench::start().await;
    let (requests, now) = (bench.requests(), bench.context.clock.now());
    requests
        .debounce(&issue(1), of(v1::Reason::Webhook), now + DAY)
        .await
        .expect("stored");
    let payload = v1::DownloadRequested::new(&issue(1), of(v1::Reason::Range)).encode_to_vec();
    let mut trace = async_nats::HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    trace.insert("traceparent", parent);
    requests
        .retry(Lane::Backfill, &issue(1), payload.into(), 7, now, Some(&trace))
        .await
        .expect("stored");
    wait::until_true("it fires", SOON, || async {
        bench.subjects(topology::DOWNLOADS).await == ["backfill.a.b.1", "debounce.a.b.1"]
    })
    .await;
    let stream = bench.stream(topology::DOWNLOADS).await;
    let fired = stream
        .get_last_raw_message_by_subject("backfill.a.b.1")
        .await
        .expect("it is there");
    assert_eq!(header::attempts(Some(&fired.headers)), 7);
    assert_eq!(
        fired.headers.get("traceparent").map(|value| value.as_str()),
        Some(parent)
    );
    assert_eq!(header::scheduled_at(&fired.headers), None);
    assert_eq!(reason_on(&bench, "backfill.a.b.1").await, v1::Reason::Range);
}
