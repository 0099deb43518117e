//! Asking "anything new?" costs GitHub's quota nothing, makes no event, and never hides a change.

use bugstream_downloader::Config;
use bugstream_kit::secret::Secret;
use bugstream_kit::validators::{Record, Validators};
use bugstream_proto::v1;
use bugstream_testkit::github::{Change, Options, Route};

use crate::stage::{Stage, downloaded, issue};

const TOKEN: &str = "good";

/// An ETag belongs to a credential, so there must be one.
async fn set() -> (Stage, Config) {
    let stage = Stage::set_with(Options {
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    })
    .await;
    let mut config = stage.config();
    config.github.token = Some(Secret::new(TOKEN));
    (stage, config)
}

#[tokio::test]
async fn what_did_not_change_costs_no_quota_and_makes_no_event_even_after_a_restart() {
    let (stage, config) = set().await;
    let comments = (0..250).map(|n| Change::Comment(format!("comment {n}")));
    stage.github.edit(2, comments).await.unwrap();
    let downloader = stage.start_with(config.clone());
    let events = [stage.download(1).await, stage.download(2).await];
    let (spent, keys) = (stage.github.requests().spent(), stage.keys(2).await);
    assert!(
        spent >= 6,
        "{spent} requests for two issues and four pages of timelines"
    );
    let again = async || {
        stage.ask(1).await;
        stage.ask(2).await;
    };
    again().await;
    downloader.stop().await;
    let downloader = stage.start_with(config);
    again().await;
    let requests = stage.github.requests();
    assert_eq!((requests.spent(), requests.status(304)), (spent, 2 * spent));
    for (number, event) in [(1, &events[0]), (2, &events[1])] {
        assert_eq!(stage.newest(number).await.as_ref(), Some(event));
    }
    assert_eq!(stage.keys(2).await, keys);
    downloader.end().await;
}

#[tokio::test]
async fn only_the_half_that_changed_is_fetched_and_stored_and_the_other_is_named_again() {
    let (stage, config) = set().await;
    let downloader = stage.start_with(config);
    let first = stage.download(1).await;
    let unchanged = |route| stage.github.requests().of_status(route, 304);

    stage
        .github
        .edit(1, [Change::Body("other words".to_owned())])
        .await
        .unwrap();
    let second = stage.download(1).await;
    assert_eq!((unchanged(Route::Issue), unchanged(Route::Timeline)), (0, 1));
    assert_eq!(downloaded(&second).timeline, downloaded(&first).timeline);
    stage.holds_what_github_has(1, &second).await;

    stage.github.edit(1, [Change::Reference]).await.unwrap();
    let third = stage.download(1).await;
    assert_eq!((unchanged(Route::Issue), unchanged(Route::Timeline)), (1, 1));
    assert_eq!(downloaded(&third).issue, downloaded(&second).issue);
    stage.holds_what_github_has(1, &third).await;

    stage.ask(1).await;
    assert_eq!((unchanged(Route::Issue), unchanged(Route::Timeline)), (2, 2));
    assert_eq!(stage.newest(1).await, Some(third));
    downloader.end().await;
}

#[tokio::test]
async fn of_a_long_timeline_only_the_pages_that_changed_are_fetched() {
    let (stage, config) = set().await;
    let downloader = stage.start_with(config);
    let comments = (0..250).map(|n| Change::Comment(format!("comment {n}")));
    stage.github.edit(1, comments).await.unwrap();
    stage.download(1).await;
    let before = stage.github.requests();
    stage
        .github
        .edit(1, [Change::Comment("one more".to_owned())])
        .await
        .unwrap();
    let event = stage.download(1).await;
    stage.holds_what_github_has(1, &event).await;
    let after = stage.github.requests();
    assert_eq!(after.of_status(Route::Timeline, 304), 2);
    assert_eq!(after.spent() - before.spent(), 2, "the issue and one page");
    downloader.end().await;
}

#[tokio::test]
async fn a_lost_or_damaged_object_is_fetched_whole_whatever_the_validators_say() {
    let (stage, config) = set().await;
    let downloader = stage.start_with(config);
    let first = stage.download(1).await;
    let lost = downloaded(&first).timeline.key.clone();
    stage.objects.delete(&[lost]).await.unwrap();
    let second = stage.download(1).await;
    stage.holds_what_github_has(1, &second).await;
    assert_eq!(downloaded(&second).issue, downloaded(&first).issue);

    // Found out only when its bytes are needed beside a new timeline.
    let damaged = stage.store_directory().join(&downloaded(&second).issue.key);
    std::fs::write(damaged, "{}").unwrap();
    stage.github.edit(1, [Change::Reference]).await.unwrap();
    let third = stage.download(1).await;
    stage.holds_what_github_has(1, &third).await;
    assert_ne!(downloaded(&third).issue.key, downloaded(&second).issue.key);
    downloader.end().await;
}

#[tokio::test]
async fn a_repair_fetches_and_stores_everything_anew() {
    let (stage, config) = set().await;
    let downloader = stage.start_with(config);
    let first = stage.download(1).await;
    let repair = v1::Cause::new(v1::Reason::Repair, first.event.occurred_at);
    stage.requests.download(&issue(1), repair).await.unwrap();
    let second = stage.event_after(1, first.sequence).await;
    assert_eq!(stage.github.requests().status(304), 0);
    assert_ne!(downloaded(&second).issue.key, downloaded(&first).issue.key);
    assert_ne!(downloaded(&second).timeline.key, downloaded(&first).timeline.key);
    downloader.end().await;
}

#[tokio::test]
async fn validators_of_other_bytes_than_the_newest_are_not_sent_and_are_mended() {
    let (stage, config) = set().await;
    let downloader = stage.start_with(config);
    let first = stage.download(1).await;
    let validators = Validators::open(&stage.broker).await.unwrap();
    let good = validators.read(&issue(1)).await.unwrap();
    let mut of_a_lost_race = good.clone();
    for sha256 in [
        &mut of_a_lost_race.issue.as_mut().expect("it has an etag").sha256,
        &mut of_a_lost_race.timeline.as_mut().expect("it has an etag").sha256,
    ] {
        *sha256 = "0".repeat(64);
    }
    for record in [of_a_lost_race, Record::default()] {
        let before = stage.github.requests().status(304);
        validators.write(&issue(1), &record).await.unwrap();
        stage.ask(1).await;
        assert_eq!(
            stage.github.requests().status(304),
            before,
            "nothing was asked conditionally"
        );
        assert_eq!(
            stage.newest(1).await.as_ref(),
            Some(&first),
            "equal bytes make no event either"
        );
        assert_eq!(validators.read(&issue(1)).await.unwrap(), good);
    }
    downloader.end().await;
}

#[tokio::test]
async fn a_deleted_issue_leaves_no_validators_behind() {
    let (stage, config) = set().await;
    let downloader = stage.start_with(config);
    let before = stage.download(1).await;
    stage.download(2).await;
    stage.github.delete(1).await.unwrap();
    stage.webhook(1, "deleted").await;
    stage.event_after(1, before.sequence).await;
    stage.idle().await;
    let validators = Validators::open(&stage.broker).await.unwrap();
    assert_eq!(validators.read(&issue(1)).await.unwrap(), Record::default());
    assert_ne!(validators.read(&issue(2)).await.unwrap(), Record::default());
    downloader.end().await;
}
