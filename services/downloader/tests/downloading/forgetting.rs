//! An issue that an operator had forgotten does not come back.

use std::time::Duration;

use bugstream_kit::log::Logged;
use bugstream_proto::{Change, Event, Nonce, Part, Verb, v1};
use bugstream_testkit::github::{Change as Edit, FaultRule, Route};
use bugstream_testkit::wait;
use bytes::Bytes;

use crate::racing::SLOW;
use crate::stage::{PATIENCE, Stage, downloaded, issue};

/// Says in the log that an issue is forgotten, as `queue-cli forget` does first of all.
async fn forget(stage: &Stage, before: &Logged) -> Logged {
    let event = Event {
        revision: stage.log.next_revision(Some(before)),
        change: Change::Forgotten,
        ..before.event.clone()
    };
    let published = stage.log.publish(&event, Some(before), &Nonce::from_bits(1)).await;
    published.expect("nobody else publishes");
    stage.newest(event.issue.number()).await.expect("it is there")
}

#[tokio::test]
async fn whoever_asks_for_a_forgotten_issue_github_is_not_asked_and_nothing_is_stored() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    let forgotten = forget(&stage, &before).await;
    stage.github.edit(1, [Edit::Title("News".to_owned())]).await.unwrap();
    let asked = stage.github.requests().count(Route::Issue, 1);
    stage.webhook(1, "edited").await;
    stage.idle().await;
    stage.webhook(1, "deleted").await;
    stage.idle().await;
    for reason in [
        v1::Reason::Manual,
        v1::Reason::Sweep,
        v1::Reason::Audit,
        v1::Reason::Repair,
    ] {
        let cause = v1::Cause::new(reason, before.event.occurred_at);
        stage.requests.backfill(&issue(1), cause).await.expect("stored");
        stage.idle().await;
    }
    assert_eq!(stage.newest(1).await, Some(forgotten), "no event followed");
    assert_eq!(stage.github.requests().count(Route::Issue, 1), asked);
    assert_eq!(
        stage.keys(1).await,
        0,
        "what was left of it went with the first request"
    );
    assert_eq!(stage.dead_letters().await, 0);
    downloader.end().await;
}

#[tokio::test]
async fn a_download_that_was_under_way_when_the_forget_came_leaves_nothing() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.github.edit(1, [Edit::Title("News".to_owned())]).await.unwrap();
    stage
        .github
        .fault(FaultRule::next(1, SLOW).route(Route::Timeline).issue(1));
    let asked = stage.github.requests().count(Route::Issue, 1);
    stage.queue(1).await;
    wait::until_true("the issue is fetched", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, 1) > asked
    })
    .await;
    let forgotten = forget(&stage, &before).await;
    stage.objects.purge_all(&issue(1)).await.expect("the store answers");
    stage.idle().await;
    assert_eq!(stage.newest(1).await, Some(forgotten), "no event followed");
    assert_eq!(stage.keys(1).await, 0);
    downloader.end().await;
}

#[tokio::test]
async fn once_it_is_allowed_again_it_is_downloaded_as_if_it_were_new() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    let forgotten = forget(&stage, &before).await;
    stage.ask(1).await;
    let allowed = Event {
        revision: stage.log.next_revision(Some(&forgotten)),
        change: Change::Deleted(v1::IssueDeleted::default()),
        ..forgotten.event.clone()
    };
    let published = stage
        .log
        .publish(&allowed, Some(&forgotten), &Nonce::from_bits(2))
        .await;
    published.expect("nobody else publishes");
    let sequence = stage.newest(1).await.expect("it is there").sequence;
    stage.queue(1).await;
    let event = stage.event_after(1, sequence).await;
    stage.holds_what_github_has(1, &event).await;
    assert_eq!(event.event.marks, before.event.marks, "marks only grow");
    downloader.end().await;
}

#[tokio::test]
async fn a_collection_runs_by_itself_and_takes_what_is_old_and_nothing_else() {
    let stage = Stage::set().await;
    let (nobodys, nonce) = (issue(3), Nonce::from_bits(7));
    let orphan = stage
        .objects
        .put(&nobodys, 1, &nonce, Part::Issue, Bytes::from_static(b"{}"));
    orphan.await.expect("stored");
    let downloader = stage.start();
    let first = stage.download(1).await;
    stage.github.edit(1, [Edit::Title("News".to_owned())]).await.unwrap();
    let second = stage.download(1).await;
    stage.kill(downloader).await;
    // So short only once nothing is under way: a download that stands still between its object and its event would lose
    // the object.
    let mut config = stage.config();
    config.retention.interval = Some(Duration::from_secs(1));
    config.retention.rules.revisions = Some(Duration::from_secs(1));
    config.retention.rules.orphans = Duration::from_secs(1);
    let downloader = stage.start_with(config);
    wait::until_true("what is old is gone", PATIENCE, || async {
        let events = stage.log.history(&issue(1)).await.expect("the log answers");
        events.len() == 1 && stage.keys(1).await == 2 && stage.keys(3).await == 0
    })
    .await;
    assert_eq!(stage.newest(1).await.as_ref(), Some(&second));
    stage.holds_what_github_has(1, &second).await;
    let old = &downloaded(&first).issue;
    assert!(!stage.objects.exists(old).await.expect("the store answers"));
    assert_eq!(
        stage.waiting(Verb::Download).await,
        0,
        "nothing had to be downloaded again"
    );
    downloader.end().await;
}
