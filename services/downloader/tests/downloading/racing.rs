//! Other workers and newer requests, in the middle of a download.

use bugstream_proto::{Event, Nonce, Verb, topology};
use bugstream_testkit::github::{Change, Fault, FaultRule, Route};
use bugstream_testkit::wait;

use crate::stage::{PATIENCE, Stage, issue};

/// Long enough that what a test does meanwhile is done before, on a machine too that stands still for seconds; shorter than
/// the downloader waits for an answer.
pub(crate) const SLOW: Fault = Fault::Slow(15_000);

/// Waits until the issue was fetched and its timeline is on its way.
async fn midway(stage: &Stage, number: u64) {
    wait::until_true("the issue is fetched", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, number) > 0
    })
    .await;
}

fn slow_timeline(stage: &Stage, number: u64) {
    stage
        .github
        .fault(FaultRule::next(1, SLOW).route(Route::Timeline).issue(number));
}

#[tokio::test]
async fn a_download_that_another_event_overtakes_starts_again_and_leaves_no_object_behind() {
    let stage = Stage::set().await;
    let writer = stage.start();
    let first = stage.download(1).await;
    writer.stop().await;
    stage
        .github
        .edit(1, [Change::Body("changed".to_owned())])
        .await
        .unwrap();

    slow_timeline(&stage, 1);
    let asked = stage.github.requests().count(Route::Issue, 1);
    let downloader = stage.start();
    stage.queue(1).await;
    wait::until_true("the issue is fetched again", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, 1) > asked
    })
    .await;
    let other = Event {
        revision: stage.log.next_revision(Some(&first)),
        ..first.event.clone()
    };
    let nonce = Nonce::from_bits(1);
    let others = stage
        .log
        .publish(&other, Some(&first), &nonce)
        .await
        .expect("the other worker is first");

    let event = stage.event_after(1, others).await;
    stage.holds_what_github_has(1, &event).await;
    stage.idle().await;
    assert_eq!(
        stage.github.requests().count(Route::Issue, 1),
        asked + 2,
        "it started again"
    );
    // The two of the first event, the changed issue of the last one, and nothing of the lost race.
    assert_eq!(stage.keys(1).await, 3);
    downloader.end().await;
}

#[tokio::test]
async fn a_request_that_is_replaced_during_a_slow_download_is_asked_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    slow_timeline(&stage, 1);
    stage.queue(1).await;
    midway(&stage, 1).await;
    stage
        .github
        .edit(1, [Change::Body("changed meanwhile".to_owned())])
        .await
        .unwrap();
    stage.queue(1).await;
    stage.idle().await;
    let newest = stage.newest(1).await.expect("an event");
    stage.holds_what_github_has(1, &newest).await;
    assert_eq!(stage.github.requests().count(Route::Issue, 1), 2);
    downloader.end().await;
}

#[tokio::test]
async fn a_request_that_another_worker_answered_meanwhile_is_asked_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    slow_timeline(&stage, 1);
    stage.queue(1).await;
    midway(&stage, 1).await;
    let stream = stage.stream(topology::DOWNLOADS).await;
    stream
        .purge()
        .filter(Verb::Download.of(&issue(1)).to_string())
        .await
        .unwrap();
    stage.event_after(1, 0).await;
    wait::until_true("the issue is fetched once more", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, 1) >= 2
    })
    .await;
    stage.idle().await;
    assert_eq!(stage.github.requests().count(Route::Issue, 1), 2);
    downloader.end().await;
}
