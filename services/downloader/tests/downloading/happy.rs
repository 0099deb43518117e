//! What comes of a request when nothing goes wrong.

use bugstream_proto::{Verb, v1};
use bugstream_testkit::github::{Change, MODERATION_TITLE, Route};

use crate::stage::{Stage, downloaded, issue};

#[tokio::test]
async fn an_empty_message_by_hand_downloads_an_issue_byte_for_byte() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let (json, timeline) = (
        r#"{"number":77, "title":"\u00fc",  "n":1e400}"#,
        r#"[{"event":"x", "a":1.0}]"#,
    );
    stage.github.put_raw(77, json, timeline).await.unwrap();

    let by_hand = stage.nats.publish_by_hand("download.bugstream-demo.web-bugs.77", "");
    by_hand.await.expect("the server reads it");
    let event = stage.event_after(77, 0).await;
    let stored = downloaded(&event);
    assert_eq!(stage.objects.get(&stored.issue).await.unwrap(), json);
    assert_eq!(stage.objects.get(&stored.timeline).await.unwrap(), timeline);
    assert_eq!(stored.timeline_events, 1);
    assert_eq!(event.event.cause.reason(), v1::Reason::Manual);
    let public = event.event.marks.public.unwrap();
    assert_eq!((public.timeline, public.issue), (1, true));
    downloader.end().await;
}

#[tokio::test]
async fn what_did_not_change_makes_no_event_unless_an_object_is_lost_or_a_repair_is_asked_for() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let first = stage.download(1).await;
    stage.ask(1).await;
    assert_eq!(stage.newest(1).await.unwrap(), first, "nothing changed");
    assert_eq!(stage.github.requests().count(Route::Issue, 1), 2);

    let lost = downloaded(&first).timeline.key.clone();
    stage.objects.delete(&[lost]).await.unwrap();
    let second = stage.download(1).await;
    assert_eq!(
        downloaded(&second).issue,
        downloaded(&first).issue,
        "what is not lost is named again"
    );
    stage.holds_what_github_has(1, &second).await;

    let repair = v1::Cause::new(v1::Reason::Repair, second.event.occurred_at);
    stage.requests.download(&issue(1), repair).await.unwrap();
    let third = stage.event_after(1, second.sequence).await;
    assert_ne!(downloaded(&third).issue.key, downloaded(&second).issue.key);
    assert_ne!(downloaded(&third).timeline.key, downloaded(&second).timeline.key);
    downloader.end().await;
}

#[tokio::test]
async fn a_timeline_of_several_pages_is_one_array_and_may_become_shorter() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let comments = (0..250).map(|n| Change::Comment(format!("comment {n}")));
    stage.github.edit(2, comments).await.unwrap();
    let long = stage.download(2).await;
    assert!(stage.github.requests().count(Route::Timeline, 2) >= 3, "several pages");
    stage.holds_what_github_has(2, &long).await;

    let mut left = 3;
    let removed = stage.github.remove_events(2, |event| {
        let remove = event["event"] == "commented" && left > 0;
        left -= usize::from(remove);
        remove
    });
    assert_eq!(removed.await.unwrap(), 3);
    let short = stage.download(2).await;
    stage.holds_what_github_has(2, &short).await;
    assert_eq!(
        downloaded(&short).timeline_events,
        downloaded(&long).timeline_events - 3
    );
    assert_eq!(short.event.marks, long.event.marks, "marks only grow");
    assert!(short.event.revision > long.event.revision);
    downloader.end().await;
}

#[tokio::test]
async fn an_issue_that_turns_private_has_marks_on_both_sides() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let public = stage.download(3).await;
    stage.github.make_private(3).await.unwrap();
    assert_eq!(stage.github.issue(3).unwrap()["title"], MODERATION_TITLE);
    let private = stage.download(3).await;
    let (before, after) = (public.event.marks, private.event.marks);
    assert_eq!(
        after.public, before.public,
        "what was public stays marked, to be covered by stubs"
    );
    assert!(after.private.unwrap().issue);
    downloader.end().await;
}

#[tokio::test]
async fn the_event_tells_the_first_and_the_last_of_the_coalesced_deliveries_and_the_deadline_is_met() {
    let stage = Stage::set().await;
    let now = bugstream_kit::clock::Clock::system().now();
    let delivery = |id: &str| v1::Delivery {
        hook_id: 1,
        delivery_id: id.to_owned(),
        event: "issues".to_owned(),
        action: "edited".to_owned(),
    };
    let (first, last) = (delivery("first"), delivery("last"));
    let deadline = now + std::time::Duration::from_secs(600);
    let early = v1::Cause::of_delivery(first.clone(), now);
    stage.requests.deadline(&issue(4), early, deadline).await.unwrap();
    let late = v1::Cause::of_delivery(last.clone(), now + std::time::Duration::from_secs(5));
    stage.requests.download(&issue(4), late).await.unwrap();
    assert_eq!(stage.waiting(Verb::Deadline).await, 1);

    let downloader = stage.start();
    let cause = stage.event_after(4, 0).await.event.cause;
    assert_eq!(cause.reason(), v1::Reason::Webhook);
    assert_eq!((cause.first_delivery, cause.last_delivery), (Some(first), Some(last)));
    assert_eq!(cause.first_requested_at, Some(bugstream_proto::message::timestamp(now)));
    stage.idle().await;
    assert_eq!(stage.waiting(Verb::Deadline).await, 0);
    downloader.end().await;
}

#[tokio::test]
async fn both_lanes_are_worked() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let cause = v1::Cause::new(v1::Reason::Range, bugstream_kit::clock::Clock::system().now());
    for number in 1..=20 {
        stage.requests.backfill(&issue(number), cause.clone()).await.unwrap();
    }
    for number in 1..=20 {
        let event = stage.event_after(number, 0).await;
        stage.holds_what_github_has(number, &event).await;
    }
    downloader.end().await;
}

#[tokio::test]
async fn a_deadline_that_was_met_does_not_fire() {
    let stage = Stage::set().await;
    let now = bugstream_kit::clock::Clock::system().now();
    let cause = v1::Cause::new(v1::Reason::Manual, now);
    // Before anybody works: what fires while the test sets its stage cannot be met any more. Hours away, so that however
    // long the download takes its deadline is met; half a day would count as made by a wrong clock, and fire after seconds.
    let deadline = async |number, seconds| {
        let at = now + std::time::Duration::from_secs(seconds);
        let stored = stage.requests.deadline(&issue(number), cause.clone(), at).await;
        stored.expect("the server takes it")
    };
    deadline(1, 6 * 60 * 60).await;
    let downloader = stage.start();
    stage.download(1).await;
    assert_eq!(stage.waiting(Verb::Deadline).await, 0, "what was met is taken back");
    deadline(2, 2).await;
    stage.event_after(2, 0).await;
    stage.idle().await;
    assert_eq!(stage.github.requests().count(Route::Issue, 2), 1, "the other one fired");
    assert_eq!(stage.github.requests().count(Route::Issue, 1), 1, "the met one did not");
    downloader.end().await;
}
