//! What counts as a deletion, and above all what does not.

use std::time::Duration;

use bugstream_downloader::Config;
use bugstream_kit::clock::Clock;
use bugstream_kit::deletions::Stage as Held;
use bugstream_kit::log::Logged;
use bugstream_kit::service::Context;
use bugstream_proto::v1::Confirmation;
use bugstream_proto::{Lane, Nonce, Part, Verb};
use bugstream_testkit::github::{Change, Fault, FaultRule, Route};
use bugstream_testkit::wait;
use bytes::Bytes;

use crate::stage::{PATIENCE, Stage, deleted, issue};

/// Waits for what the bucket says of an issue.
async fn held(stage: &Stage, number: u64, held: Option<Held>) {
    wait::until_true(&format!("issue {number} is {held:?}"), PATIENCE, || async {
        let evidence = stage.deletions.evidence(&issue(number)).await;
        evidence.expect("the bucket answers").map(|evidence| evidence.stage) == held
    })
    .await;
}

/// Lets the next answer with issue 1 be this one and none come after it until the faults are cleared, so that the second
/// look is never over before the test has looked at the first.
fn answers_once(stage: &Stage, fault: Fault) {
    for (times, fault) in [(1, fault), (1_000_000, Fault::Status(503))] {
        let rule = FaultRule::next(times, fault).issue(1).route(Route::Issue);
        stage.github.fault(rule);
    }
}

async fn buried(stage: &Stage, number: u64, before: &Logged, confirmation: Confirmation) -> Logged {
    let event = stage.event_after(number, before.sequence).await;
    assert_eq!(deleted(&event).confirmation(), confirmation);
    assert_eq!(event.event.marks, before.event.marks);
    wait::until_true("every object is purged", PATIENCE, || async {
        stage.keys(number).await == 0
    })
    .await;
    held(stage, number, None).await;
    event
}

#[tokio::test]
async fn a_signed_webhook_and_github_together_delete_at_once() {
    let stage = Stage::set().await;
    let config = Config {
        confirm_delay: Duration::from_secs(3600),
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    let (before, other) = (stage.download(1).await, stage.download(2).await);
    stage.github.delete(1).await.unwrap();
    stage.webhook(1, "deleted").await;
    let event = buried(&stage, 1, &before, Confirmation::Webhook).await;
    assert_eq!(deleted(&event).status, 410);
    assert_eq!(stage.keys(2).await, 2, "another issue keeps what it has");
    assert_eq!(stage.newest(2).await.unwrap(), other);
    downloader.end().await;
}

#[tokio::test]
async fn without_a_webhook_a_second_look_after_the_delay_decides() {
    // Real time alone never gets there, however long the test stands still.
    let delay = Duration::from_secs(3600);
    let stage = Stage::set().await;
    let config = Config {
        confirm_delay: delay,
        ..stage.config()
    };
    let context = Context {
        clock: Clock::stepping(),
        ..Context::new("downloader")
    };
    let downloader = Stage::start_in(config, context);
    let before = stage.download(1).await;
    stage.download(2).await;
    stage.github.hide(1).await.unwrap();
    stage.ask(1).await;
    let seen = stage
        .deletions
        .evidence(&issue(1))
        .await
        .unwrap()
        .expect("a first sign");
    assert_eq!((seen.status, seen.stage), (404, Held::Seen));
    assert_eq!(stage.newest(1).await.unwrap(), before, "one answer is not enough");
    stage.ask(1).await;
    assert_eq!(stage.newest(1).await.unwrap(), before, "nor are two at once");
    assert_eq!(
        stage.waiting(Verb::Retry(Lane::Download)).await,
        1,
        "a look is scheduled"
    );

    downloader.context.clock.advance(delay);
    stage.queue(1).await;
    let event = buried(&stage, 1, &before, Confirmation::SecondLook).await;
    assert!(event.event.occurred_at - seen.first_seen >= delay);
    downloader.end().await;
}

#[tokio::test]
async fn a_404_that_passes_deletes_nothing() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    answers_once(&stage, Fault::NotFound);
    stage.queue(1).await;
    held(&stage, 1, Some(Held::Seen)).await;
    stage.github.clear_faults();
    held(&stage, 1, None).await;
    stage.idle().await;
    assert_eq!(stage.newest(1).await.unwrap(), before);
    downloader.end().await;
}

#[tokio::test]
async fn disabled_issues_stop_the_work_until_they_are_enabled_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.github.set_issues_enabled(false).await.unwrap();
    stage.webhook(1, "deleted").await;
    let why = downloader.away("downloader-live").await;
    assert!(why.contains("bugstream-demo/web-bugs has its issues disabled"), "{why}");
    assert_eq!(stage.waiting(Verb::Download).await, 1, "nothing is acked");

    stage.github.set_issues_enabled(true).await.unwrap();
    stage.idle().await;
    downloader.ready().await;
    assert_eq!(stage.newest(1).await.unwrap(), before);
    downloader.end().await;
}

#[tokio::test]
async fn a_404_of_a_repository_without_issues_is_no_deletion() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.github.set_issues_enabled(false).await.unwrap();
    stage.github.fault(FaultRule::next(1, Fault::NotFound).issue(1));
    stage.webhook(1, "deleted").await;
    let why = downloader.away("downloader-live").await;
    assert!(why.contains("has its issues disabled"), "{why}");
    assert_eq!(
        stage.github.requests().of(Route::Repository),
        1,
        "the repository was asked"
    );
    assert_eq!(stage.newest(1).await.unwrap(), before);
    downloader.end().await;
}

#[tokio::test]
async fn an_issue_is_not_gone_while_no_other_answers() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    stage.github.hide(1).await.unwrap();
    stage.github.hide(2).await.unwrap();
    stage.webhook(1, "deleted").await;
    wait::until_true("the other was asked twice", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, 2) >= 3
    })
    .await;
    assert_eq!(stage.newest(1).await.unwrap(), before);
    assert_eq!(stage.deletions.evidence(&issue(1)).await.unwrap(), None);
    let why = downloader.away("issues of bugstream-demo/web-bugs").await;
    assert!(why.contains("nothing deleted"), "{why}");

    // Any issue that answers is a witness, also one that the log did not know before.
    stage.download_live(3).await;
    downloader.ready().await;
    buried(&stage, 1, &before, Confirmation::Webhook).await;
    downloader.end().await;
}

#[tokio::test]
async fn when_very_many_are_gone_the_one_that_answered_last_is_the_witness() {
    let stage = Stage::set().await;
    let config = Config {
        deletions_per_hour: 2,
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    // More than are asked as witnesses, at both ends of the log.
    let known = [1, 2, 3, 4, 5, 6, 20, 7, 8, 9, 10, 11, 12];
    for number in known {
        stage.download(number).await;
    }
    stage.ask(20).await;
    for number in known.into_iter().filter(|number| *number != 20) {
        stage.github.delete(number).await.unwrap();
    }
    for number in [1, 2, 3] {
        stage.webhook(number, "deleted").await;
    }
    let why = downloader.away("deletions").await;
    assert!(why.contains("queue-cli deletions"), "{why}");
    stage.idle().await;
    let left = async |number| stage.keys(number).await;
    assert_eq!([left(1).await, left(2).await, left(3).await].iter().sum::<usize>(), 2);
    downloader.end().await;
}

#[tokio::test]
async fn an_issue_that_became_a_discussion_is_closed_and_not_deleted() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.github.convert_to_discussion(1).await.unwrap();
    let event = stage.download(1).await;
    assert!(event.sequence > before.sequence);
    stage.holds_what_github_has(1, &event).await;
    downloader.end().await;
}

#[tokio::test]
async fn a_repository_that_nobody_may_see_any_more_stops_the_work_until_it_is_back() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = [stage.download(1).await, stage.download(2).await];
    stage.github.hide_repository("bugstream-demo/web-bugs", true);
    stage.webhook(1, "deleted").await;
    stage.queue(2).await;
    let why = downloader.away("downloader-live").await;
    assert!(why.contains("the token may not see it"), "{why}");
    assert_eq!(stage.waiting(Verb::Download).await, 2, "nothing is acked");
    stage.github.hide_repository("bugstream-demo/web-bugs", false);
    stage.idle().await;
    downloader.ready().await;
    assert_eq!([stage.newest(1).await.unwrap(), stage.newest(2).await.unwrap()], before);
    downloader.end().await;
}

#[tokio::test]
async fn an_issue_that_went_where_nobody_may_look_leaves_a_tombstone_without_a_place() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    stage.github.transfer(1, "bugstream-demo/secret").await.unwrap();
    stage.github.hide_repository("bugstream-demo/secret", true);
    stage.webhook(1, "transferred").await;
    let event = buried(&stage, 1, &before, Confirmation::Webhook).await;
    assert_eq!((deleted(&event).status, deleted(&event).moved_to.clone()), (301, None));
    downloader.end().await;
}

#[tokio::test]
async fn a_webhook_that_github_does_not_bear_out_yet_is_looked_into_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    let asked = stage.github.requests().count(Route::Issue, 1);
    // The right answer, and then none.
    answers_once(&stage, Fault::Slow(0));
    stage.webhook(1, "deleted").await;
    wait::until_true("the second look has begun", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, 1) >= asked + 2
    })
    .await;
    assert_eq!(stage.newest(1).await.unwrap(), before, "github still has it");
    stage.github.delete(1).await.unwrap();
    stage.github.clear_faults();
    buried(&stage, 1, &before, Confirmation::Webhook).await;
    downloader.end().await;
}

#[tokio::test]
async fn a_transferred_issue_leaves_a_tombstone_with_its_new_place() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    let number = stage.github.transfer(1, "bugstream-demo/elsewhere").await.unwrap();
    stage.queue(1).await;
    let event = buried(&stage, 1, &before, Confirmation::SecondLook).await;
    assert_eq!(deleted(&event).status, 301);
    let place = deleted(&event).moved_to.clone().expect("the place can be seen");
    let moved = place.issue.expect("it has a name").id().unwrap();
    assert_eq!(moved.to_string(), format!("bugstream-demo/elsewhere#{number}"));
    downloader.end().await;
}

#[tokio::test]
async fn a_renamed_repository_is_followed_and_nothing_is_deleted() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.github.rename_repository("bugstream-demo/renamed").await.unwrap();
    stage
        .github
        .edit(1, [Change::Body("after the rename".to_owned())])
        .await
        .unwrap();
    let event = stage.download(1).await;
    assert!(event.sequence > before.sequence);
    stage.holds_what_github_has(1, &event).await;
    assert!(
        event.event.objects()[0]
            .key
            .starts_with("issues/bugstream-demo/web-bugs/1/")
    );
    assert_eq!(stage.deletions.evidence(&issue(1)).await.unwrap(), None);
    downloader.end().await;
}

#[tokio::test]
async fn a_tombstone_that_is_asked_for_again_purges_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    stage.github.delete(1).await.unwrap();
    stage.webhook(1, "deleted").await;
    let tombstone = buried(&stage, 1, &before, Confirmation::Webhook).await;
    let (nonce, raw) = (Nonce::from_bits(9), Bytes::from_static(b"{}"));
    let (issue, revision) = (issue(1), before.event.revision);
    stage
        .objects
        .put(&issue, revision, &nonce, Part::Issue, raw)
        .await
        .unwrap();
    stage.ask(1).await;
    assert_eq!(stage.keys(1).await, 0);
    assert_eq!(stage.newest(1).await.unwrap(), tombstone);
    downloader.end().await;
}

#[tokio::test]
async fn an_issue_that_comes_back_is_downloaded_anew() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage.download(2).await;
    let json = stage.github.issue(1).unwrap().to_string();
    stage.github.delete(1).await.unwrap();
    stage.webhook(1, "deleted").await;
    let tombstone = buried(&stage, 1, &before, Confirmation::Webhook).await;
    stage.github.put_raw(1, &json, "[]").await.unwrap();
    let back = stage.download(1).await;
    assert!(back.event.revision > tombstone.event.revision);
    assert_eq!(back.event.marks, before.event.marks, "marks outlive the tombstone");
    stage.holds_what_github_has(1, &back).await;
    downloader.end().await;
}

/// Issues 1, 2 and 3 are deleted with a webhook each, one more than nothing at once is allowed, and 4 stays.
async fn blown(stage: &Stage) -> (crate::stage::Running, Vec<Logged>) {
    let config = Config {
        deletions_per_hour: 1,
        // No look comes due by itself: one that began before a person said yes, and counts after, lets through what it
        // saw itself.
        confirm_delay: Duration::from_secs(3600),
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    let mut before = Vec::new();
    for number in 1..=4 {
        before.push(stage.download(number).await);
    }
    for number in 1..=3 {
        stage.github.delete(number).await.expect("it is there");
        stage.webhook(number, "deleted").await;
        stage.idle().await;
    }
    buried(stage, 1, &before[0], Confirmation::Webhook).await;
    let why = downloader.away("deletions").await;
    assert!(why.contains("queue-cli deletions"), "{why}");
    for number in [2, 3] {
        held(stage, number, Some(Held::Blocked)).await;
        assert_eq!(stage.newest(number).await.as_ref(), before.get(number as usize - 1));
        assert_eq!(stage.keys(number).await, 2, "nothing is purged");
    }
    (downloader, before)
}

#[tokio::test]
async fn what_a_person_approved_is_not_held_back_again_by_a_look_that_was_under_way() {
    let stage = Stage::set().await;
    let (number, now) = (issue(2), Clock::system().now());
    assert!(stage.deletions.hold_back(&number, 404, now).await.unwrap());
    held(&stage, 2, Some(Held::Blocked)).await;
    assert_eq!(stage.deletions.approve(now).await.unwrap(), [issue(2)]);
    assert!(!stage.deletions.hold_back(&number, 404, now).await.unwrap());
    held(&stage, 2, Some(Held::Approved)).await;
}

#[tokio::test]
async fn too_many_deletions_blow_the_fuse_and_a_person_lets_them_through() {
    let stage = Stage::set().await;
    let (downloader, before) = blown(&stage).await;
    stage.ask(2).await;
    held(&stage, 2, Some(Held::Blocked)).await;
    let now = before[0].event.occurred_at;
    let approved = stage.deletions.approve(now).await.unwrap();
    assert_eq!(approved, [issue(2), issue(3)]);
    for number in [2, 3] {
        buried(&stage, number, &before[number as usize - 1], Confirmation::Operator).await;
    }
    assert_eq!(stage.newest(4).await.unwrap(), before[3]);
    downloader.ready().await;
    downloader.end().await;
}

#[tokio::test]
async fn discarded_deletions_keep_the_issues() {
    let stage = Stage::set().await;
    let (downloader, before) = blown(&stage).await;
    let discarded = stage.deletions.discard(before[0].event.occurred_at).await.unwrap();
    assert_eq!(discarded, [issue(2), issue(3)]);
    downloader.ready().await;
    assert!(stage.deletions.pending().await.unwrap().is_empty());
    stage.idle().await;
    for number in [2, 3] {
        assert_eq!(stage.newest(number).await.unwrap(), before[number as usize - 1]);
        assert_eq!(stage.keys(number).await, 2);
    }
    downloader.end().await;
}
