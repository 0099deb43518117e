//! An issue's journeys: by webhook, by hand, by command, into privacy and back, and out of the world.

use std::time::{Duration, Instant};

use bugstream_kit::clock::Clock;
use bugstream_proto::topology::DOWNLOADER_LIVE;
use bugstream_proto::{Verb, topology};
use bugstream_testkit::github::Change;
use bugstream_testkit::wait;
use serde_json::json;

use crate::stage::{ONLY_WHEN_ASKED, Play, SOON, Stage, Store};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_becomes_a_search_result_in_both_indices() {
    by_webhook(Store::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_becomes_a_search_result_in_both_indices_over_s3() {
    by_webhook(Store::S3).await;
}

async fn by_webhook(store: Store) {
    let stage = Stage::set(Play {
        store,
        ..Play::default()
    })
    .await;
    let comment = "it still does not play".to_owned();
    let changes = [
        Change::Title("Video does not play".to_owned()),
        Change::Comment(comment.clone()),
    ];
    stage.edit(7, changes).await;
    stage.titled(7, "Video does not play").await;
    stage.equals_github(7).await;
    let comments = stage
        .search("timelines", json!({"match_phrase": {"body": comment}}))
        .await;
    assert_eq!(comments.len(), 1, "the comment is found by its words");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_publish_by_hand_downloads_an_issue() {
    let stage = Stage::set(Play::default()).await;
    let subject = format!("download.{}.3", stage.repo.to_string().replace('/', "."));
    stage.nats_pub(&subject, "").await;
    stage.equals_github(3).await;
    let shouted = format!("download.{}.4", stage.repo.to_string().to_uppercase().replace('/', "."));
    stage.nats_pub(&shouted, "").await;
    stage.equals_github(4).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_cli_downloads_one_issue_or_a_range() {
    let stage = Stage::set(Play::default()).await;
    stage.queue_cli(&["add", "download", "5"]).await;
    stage.equals_github(5).await;
    stage.queue_cli(&["add-range", "download", "1", "20"]).await;
    for number in stage.github.numbers() {
        stage.equals_github(number).await;
    }
    stage.drained().await;
    assert_eq!(
        stage.queue_cli(&["length"]).await,
        "download.length = 0\nindex.length = 0\n"
    );
    stage.stop().await;
}

/// Longer than any machine stands still.
const QUIET_S: u64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_webhooks_to_two_receivers_are_one_download() {
    let clock = Clock::stepping();
    let stage = Stage::set(Play {
        receivers: 2,
        inactivity_delay_s: QUIET_S,
        longest_wait_s: 2 * QUIET_S,
        clock: clock.clone(),
        extra: ONLY_WHEN_ASKED.to_owned(),
        ..Play::default()
    })
    .await;
    for poke in 0..50_usize {
        let hook = bugstream_testkit::github::Webhook {
            url: stage.receivers[poke % 2].clone(),
            secret: crate::stage::SECRET.to_owned(),
        };
        stage.github.set_webhook(Some(hook));
        if poke == 49 {
            assert_eq!(
                stage.downloads_of(9),
                0,
                "nothing is downloaded before the issue falls quiet"
            );
            // The last one says "in an hour" as if it had come an hour ago: the quiet is over now.
            clock.step(-time::Duration::seconds(QUIET_S.cast_signed()));
        }
        stage.edit(9, [Change::Title(format!("poke {poke}"))]).await;
    }
    stage.titled(9, "poke 49").await;
    // The deadline that the first webhook set was cleared by the download, so nothing follows.
    stage.drained().await;
    assert_eq!(stage.downloads_of(9), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_never_falls_quiet_is_downloaded_by_its_deadline() {
    let clock = Clock::stepping();
    let stage = Stage::set(Play {
        inactivity_delay_s: QUIET_S,
        longest_wait_s: QUIET_S,
        clock: clock.clone(),
        extra: ONLY_WHEN_ASKED.to_owned(),
        ..Play::default()
    })
    .await;
    let number = restless(&stage, &clock).await;
    wait::until_true(
        "a download although the issue is quiet in an hour only",
        SOON,
        async || stage.downloads_of(number) > 0,
    )
    .await;
    stage.titled(number, "poke 9").await;
    let debounce = Verb::Debounce.of(&stage.repo.issue(number).unwrap()).to_string();
    let requests = stage.broker.jetstream.get_stream(topology::DOWNLOADS).await.unwrap();
    requests
        .get_last_raw_message_by_subject(&debounce)
        .await
        .expect("it was the deadline: the debounce still waits");
}

/// Pokes an issue whose deadline is in a few seconds ten times: the last nine put its quiet off by an hour. Where the
/// machine stood still meanwhile, that may have come too late: then with another issue.
async fn restless(stage: &Stage, clock: &Clock) -> u64 {
    let soon = Duration::from_secs(5);
    let back = time::Duration::seconds(QUIET_S.cast_signed()) - soon;
    for number in stage.github.numbers() {
        clock.step(-back);
        let first = Instant::now();
        stage.edit(number, [Change::Title("poke 0".to_owned())]).await;
        clock.step(back);
        for poke in 1..=9 {
            stage.edit(number, [Change::Title(format!("poke {poke}"))]).await;
        }
        if first.elapsed() < soon {
            return number;
        }
    }
    panic!("this machine needs more than {soon:?} for ten webhooks")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_issue_disappears_from_searches_and_object_store() {
    out_of_the_world(Store::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_issue_disappears_from_searches_and_object_store_over_s3() {
    out_of_the_world(Store::S3).await;
}

async fn out_of_the_world(store: Store) {
    let stage = Stage::set(Play {
        store,
        ..Play::default()
    })
    .await;
    stage.queue_cli(&["add-range", "download", "1", "20"]).await;
    stage.equals_github(6).await;
    stage.equals_github(8).await;
    stage.drained().await;
    assert_eq!(stage.objects_of(6).await.len(), 2);
    stage.taken(&stage.github.delete(6).await.unwrap()).await;
    wait::until_true("the deleted issue is nowhere", SOON, || async {
        stage.difference(6).await.is_none() && stage.objects_of(6).await.is_empty()
    })
    .await;
    stage.equals_github(8).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_timeline_events_leave_nothing_visible() {
    let stage = Stage::set(Play::default()).await;
    let words = ["walnut", "chestnut", "hazelnut"].map(|nut| Change::Comment(format!("a {nut} comment")));
    stage.edit(2, words).await;
    stage.equals_github(2).await;
    let events = stage.github.timeline(2).unwrap().len();
    let is_nut = |event: &serde_json::Value| event["body"].as_str().is_some_and(|body| body.contains("nut comment"));
    assert_eq!(stage.github.remove_events(2, is_nut).await.unwrap(), 3);
    stage.equals_github(2).await;
    assert_eq!(stage.documents("timelines", 2).await.len(), events - 3);
    let nuts = stage
        .search(
            "timelines",
            json!({"query_string": {"query": "walnut OR chestnut OR hazelnut"}}),
        )
        .await;
    assert!(nuts.is_empty(), "{nuts:?}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_turns_private_and_back_is_only_where_it_belongs() {
    into_privacy_and_back(Store::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_turns_private_and_back_is_only_where_it_belongs_over_s3() {
    into_privacy_and_back(Store::S3).await;
}

async fn into_privacy_and_back(store: Store) {
    let stage = Stage::set(Play {
        store,
        ..Play::default()
    })
    .await;
    stage.queue_cli(&["add", "download", "11"]).await;
    stage.equals_github(11).await;
    for round in 0..2 {
        stage.taken(&stage.github.make_private(11).await.unwrap()).await;
        wait::until_true(&format!("private only, round {round}"), SOON, || async {
            found(&stage, 11).await == (0, 0, 1, stage.github.timeline(11).unwrap().len())
        })
        .await;
        let document = stage.issue_document(11).await.unwrap();
        assert_eq!(document["__WEBCOMPAT_PRIVATE_ISSUE__"], true);
        assert_ne!(
            document["title"], "In the moderation queue.",
            "title and body come from the private partner"
        );
        stage.taken(&stage.github.make_public(11).await.unwrap()).await;
        wait::until_true(&format!("public again, round {round}"), SOON, || async {
            let (issues, events, private_issues, private_events) = found(&stage, 11).await;
            let timeline = stage.github.timeline(11).unwrap().len();
            (issues, private_issues, events + private_events) == (1, 0, timeline)
        })
        .await;
    }
    let (.., private_events) = found(&stage, 11).await;
    let references = stage
        .github
        .timeline(11)
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "cross-referenced")
        .count();
    assert!(
        private_events > 0 && private_events <= references,
        "only references to the private partner stay private"
    );
    assert_eq!(
        stage.issue_document(11).await.unwrap()["title"],
        stage.github.issue(11).unwrap()["title"]
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_waits_for_an_s3_that_was_killed() {
    let stage = Stage::set(Play {
        store: Store::S3,
        ..Play::default()
    })
    .await;
    stage.queue_cli(&["add", "download", "7"]).await;
    stage.equals_github(7).await;
    stage.drained().await;
    let minio = stage.minio.as_ref().unwrap();
    minio.kill9();
    let change = Change::Title("Written while nothing could be stored".to_owned());
    stage.edit(7, [change]).await;
    wait::until_true("the downloader came back to what it could not store", SOON, || async {
        // Before it asks GitHub it looks for what it has: while the store is away GitHub hears nothing.
        stage.redelivered(DOWNLOADER_LIVE).await > 0
    })
    .await;
    minio.restart().await;
    stage.titled(7, "Written while nothing could be stored").await;
    stage.equals_github(7).await;
    stage.stop().await;
}

/// How many documents of an issue are found: public issues and events, private issues and events.
async fn found(stage: &Stage, number: u64) -> (usize, usize, usize, usize) {
    let count = async |alias| stage.documents(alias, number).await.len();
    (
        count("issues-public").await,
        count("timelines-public").await,
        count("issues-private").await,
        count("timelines-private").await,
    )
}
