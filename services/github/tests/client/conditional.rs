//! Asking for changes only; and timelines that change while they are read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bugstream_github::{Client, Config, Error, IssueAnswer, Known, KnownPage, RawTimeline, TimelineAnswer, comments};
use bugstream_proto::IssueId;
use bugstream_testkit::github::{Change, Meanwhile, Route, Simulator};
use bytes::Bytes;
use serde_json::Value;

use crate::{client, clock, config, found, issue, repository, simulator, tokens, with_tokens};

async fn long(github: &Simulator, events: usize) -> IssueId {
    let number = github.open("a long one", "").await.unwrap();
    github.lengthen(number, events).unwrap();
    repository(github).issue(number).unwrap()
}

fn same(timeline: &RawTimeline, github: &Simulator, issue: &IssueId) {
    let events: Vec<Value> = serde_json::from_slice(&timeline.bytes).unwrap();
    assert!(
        events == github.timeline(issue.number()).unwrap(),
        "the timeline differs"
    );
    let of_pages: u32 = timeline.pages.iter().map(|page| page.events).sum();
    assert_eq!((timeline.events as usize, of_pages), (events.len(), timeline.events));
}

async fn whole(client: &Client, issue: &IssueId) -> RawTimeline {
    client.whole_timeline(issue).await.unwrap()
}

/// Asks for what changed since, counting how often the stored bytes were wanted.
async fn since(client: &Client, issue: &IssueId, before: &RawTimeline) -> (TimelineAnswer, usize) {
    let fetched = AtomicUsize::new(0);
    let stored = || -> futures_util::future::BoxFuture<'_, Option<Bytes>> {
        fetched.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Some(before.bytes.clone()) })
    };
    let known = Known {
        pages: &before.pages,
        stored: Some(&stored),
        ..Known::default()
    };
    let answer = client.timeline(issue, &known).await.unwrap();
    (answer, fetched.load(Ordering::SeqCst))
}

fn changed(answer: (TimelineAnswer, usize)) -> RawTimeline {
    match answer.0 {
        TimelineAnswer::Whole(timeline) => timeline,
        TimelineAnswer::Unchanged => panic!("unchanged"),
    }
}

#[tokio::test]
async fn an_unchanged_issue_costs_nothing_and_a_changed_one_is_found() {
    let github = simulator().await;
    let (client, issue) = (client(&github.url()), issue(&github, 1));
    let first = found(&client, &issue).await;
    let spent = github.requests().spent();
    for _ in 0..3 {
        let again = client.issue(&issue, first.validator.as_ref()).await.unwrap();
        assert_eq!(again, IssueAnswer::Unchanged);
    }
    assert_eq!((github.requests().spent(), github.requests().status(304)), (spent, 3));
    github.edit(1, [Change::Title("new".to_owned())]).await.unwrap();
    let IssueAnswer::Found(second) = client.issue(&issue, first.validator.as_ref()).await.unwrap() else {
        panic!("not found")
    };
    assert_ne!(second, first);
    github.delete(1).await.unwrap();
    let gone = client.issue(&issue, second.validator.as_ref()).await.unwrap();
    assert_eq!(gone, IssueAnswer::Gone);
}

#[tokio::test]
async fn who_received_it_asks_again_as_long_as_it_may() {
    let github = with_tokens(["one", "two"]).await;
    let config = Config {
        credentials: tokens(["one", "two"]),
        ..config(&github.url())
    };
    let clock = clock();
    let client = Client::new(config, clock.clone()).unwrap();
    github.leave_quota("one", 100, 600);
    let first = found(&client, &issue(&github, 1)).await;
    for _ in 0..5 {
        let again = client
            .issue(&issue(&github, 1), first.validator.as_ref())
            .await
            .unwrap();
        assert_eq!(again, IssueAnswer::Unchanged, "though the other one has more left");
    }
    assert_eq!((github.requests().by("one"), github.requests().by("two")), (6, 0));
    github.leave_quota("one", 1, 600);
    let timeline = whole(&client, &issue(&github, 1)).await;
    assert_eq!(github.requests().by("two"), 1);
    found(&client, &issue(&github, 1)).await;
    let page = timeline.pages[0].validator.as_ref().unwrap();
    assert_ne!(page.credential, first.validator.as_ref().unwrap().credential);
    let known = Known {
        credential: first.validator.as_ref().map(|one| one.credential.as_str()),
        ..Known::default()
    };
    // The one who knows it has nothing left: the other one has never seen it.
    github.leave_quota("one", 0, 600);
    let answer = client
        .issue(&issue(&github, 1), first.validator.as_ref())
        .await
        .unwrap();
    assert!(matches!(answer, IssueAnswer::Found(_)), "{answer:?}");
    clock.advance(Duration::from_secs(601));
    github.advance(Duration::from_secs(601));
    let TimelineAnswer::Whole(timeline) = client.timeline(&issue(&github, 1), &known).await.unwrap() else {
        panic!("unchanged")
    };
    let page = timeline.pages[0].validator.as_ref().unwrap();
    assert_eq!(
        Some(page.credential.as_str()),
        known.credential,
        "one credential knows all of the issue"
    );
}

#[tokio::test]
async fn an_unchanged_timeline_costs_nothing_and_reads_nothing() {
    for links in [true, false] {
        let github = simulator().await;
        github.links_on_304(links);
        let client = client(&github.url());
        // Thousands once are enough.
        let full = if links { (3_000, 30) } else { (300, 3) };
        for (events, pages) in [(0, 1), (5, 1), (250, 3), full] {
            let id = long(&github, events).await;
            github.forget_requests();
            let first = whole(&client, &id).await;
            same(&first, &github, &id);
            assert_eq!((github.requests().total(), github.requests().spent()), (pages, pages));
            github.forget_requests();
            let mut last = first;
            // Behind a full last page there may be another one: that it is empty is known the second time.
            if (events, pages) == full {
                last = changed(since(&client, &id, &last).await);
                assert_eq!(last.pages.last().unwrap().events, 0);
                assert_eq!(github.requests().spent(), 1);
                github.forget_requests();
            }
            let answer = since(&client, &id, &last).await;
            assert_eq!(answer, (TimelineAnswer::Unchanged, 0), "{events} events");
            let empty = u64::from((events, pages) == full);
            assert_eq!(
                (github.requests().total(), github.requests().spent()),
                (pages + empty, 0)
            );
        }
    }
}

#[tokio::test]
async fn what_changed_is_joined_with_what_did_not() {
    for links in [true, false] {
        let github = simulator().await;
        github.links_on_304(links);
        let client = client(&github.url());
        for (events, edit, fetched, spent) in [
            // Behind the last page, on a new one, and in the middle.
            (250, Meanwhile::Edit(vec![Change::Comment("new".to_owned())]), 1, 1),
            (200, Meanwhile::Edit(vec![Change::Comment("new".to_owned())]), 1, 1),
            (100, Meanwhile::Edit(vec![Change::Comment("new".to_owned())]), 1, 1),
            (50, Meanwhile::Edit(vec![Change::Comment("new".to_owned())]), 0, 1),
            (301, Meanwhile::Remove(150), 1, 2),
            (301, Meanwhile::Insert(250), 1, 2),
            (201, Meanwhile::Remove(200), 1, 1),
        ] {
            let id = long(&github, events).await;
            let before = whole(&client, &id).await;
            // The next who asks for the issue's first page changes it, unseen.
            github.during_walk(id.number(), 1, 1, edit.clone());
            whole(&client, &id).await;
            github.forget_requests();
            let answer = since(&client, &id, &before).await;
            assert_eq!(answer.1, fetched, "{events} {edit:?}");
            let after = changed(answer);
            same(&after, &github, &id);
            assert_eq!(github.requests().spent(), spent, "{events} {edit:?}");
            github.forget_requests();
            let _ = since(&client, &id, &after).await;
            assert!(
                github.requests().spent() <= 1,
                "at most the empty page behind a full one"
            );
        }
    }
}

#[tokio::test]
async fn stored_bytes_that_cannot_be_had_or_are_others_are_not_used() {
    let github = simulator().await;
    let client = client(&github.url());
    let id = long(&github, 250).await;
    let before = whole(&client, &id).await;
    github
        .edit(id.number(), [Change::Comment("new".to_owned())])
        .await
        .unwrap();
    for bytes in [None, Some("[]"), Some("no json")] {
        let stored = || -> futures_util::future::BoxFuture<'_, Option<Bytes>> {
            Box::pin(async move { bytes.map(Bytes::from) })
        };
        let known = Known {
            pages: &before.pages,
            stored: Some(&stored),
            ..Known::default()
        };
        let TimelineAnswer::Whole(timeline) = client.timeline(&id, &known).await.unwrap() else {
            panic!("unchanged")
        };
        same(&timeline, &github, &id);
    }
}

#[tokio::test]
async fn validators_of_nobody_and_of_other_bytes_are_harmless() {
    let github = simulator().await;
    let client = client(&github.url());
    let id = long(&github, 150).await;
    let mut before = whole(&client, &id).await;
    for page in &mut before.pages {
        page.validator.as_mut().unwrap().credential = "token-00000000".to_owned();
    }
    same(&changed(since(&client, &id, &before).await), &github, &id);
    let nothing = KnownPage {
        validator: None,
        events: 7,
    };
    before.pages = vec![nothing; 5];
    same(&changed(since(&client, &id, &before).await), &github, &id);
}

#[tokio::test]
async fn a_timeline_that_changes_under_the_walk_is_read_again() {
    let github = simulator().await;
    let client = client(&github.url());
    // The second walk is the truth, and has another number of comments than the issue had: a third one, which is free,
    // says the same.
    for what in [Meanwhile::Insert(3), Meanwhile::Remove(0)] {
        let id = long(&github, 350).await;
        let raw = found(&client, &id).await;
        github.forget_requests();
        github.during_walk(id.number(), 2, 1, what.clone());
        let known = Known {
            comments: comments(&raw.bytes),
            ..Known::default()
        };
        assert!(known.comments.is_some());
        let TimelineAnswer::Whole(timeline) = client.timeline(&id, &known).await.unwrap() else {
            panic!("unchanged")
        };
        same(&timeline, &github, &id);
        let requests = github.requests();
        assert_eq!(requests.of(Route::Timeline), 12, "{what:?}");
        assert!(requests.spent() <= 8, "{what:?}: {} spent", requests.spent());
    }
}

#[tokio::test]
async fn a_timeline_without_signs_of_change_is_read_once() {
    let github = simulator().await;
    let client = client(&github.url());
    let id = long(&github, 350).await;
    let raw = found(&client, &id).await;
    github.forget_requests();
    let known = Known {
        comments: comments(&raw.bytes),
        ..Known::default()
    };
    client.timeline(&id, &known).await.unwrap();
    assert_eq!(github.requests().of(Route::Timeline), 4);
    // A count that is never right is believed when two walks agree; the second one is free.
    let known = Known {
        comments: Some(1_000_000),
        ..Known::default()
    };
    github.forget_requests();
    client.timeline(&id, &known).await.unwrap();
    assert_eq!((github.requests().total(), github.requests().spent()), (8, 4));
}

#[tokio::test]
async fn a_timeline_that_never_stands_still_is_an_error() {
    let github = simulator().await;
    let client = client(&github.url());
    let id = long(&github, 350).await;
    github.during_walk(id.number(), 2, 100, Meanwhile::Insert(3));
    let error = client.whole_timeline(&id).await.unwrap_err();
    assert!(matches!(error, Error::Unstable), "{error}");
    assert_eq!(github.requests().of(Route::Timeline), 16);
}
