//! What GitHub says of issues, timelines, repositories and lists, right and wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use bugstream_github::{Client, Error, IssueAnswer, MovedAnswer, RawTimeline, RepoAnswer};
use bugstream_testkit::github::{Change, Fault, FaultRule, Options, Route, Simulator};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{TOKEN, client, clock, config, issue, repository, simulator, tokens};

fn events(timeline: &RawTimeline) -> Vec<Value> {
    let events: Vec<Value> = serde_json::from_slice(&timeline.bytes).unwrap();
    assert_eq!(events.len(), timeline.events as usize);
    events
}

async fn with_comments(simulator: &Simulator, count: usize) -> u64 {
    let number = simulator.open("many comments", "").await.unwrap();
    let comments = (0..count).map(|n| Change::Comment(format!("comment {n}")));
    simulator.edit(number, comments).await.unwrap();
    number
}

#[tokio::test]
async fn an_issue_is_answered_with_its_validator() {
    let github = simulator().await;
    let IssueAnswer::Found(raw) = client(&github.url()).issue(&issue(&github, 1), None).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(
        serde_json::from_slice::<Value>(&raw.bytes).unwrap(),
        github.issue(1).unwrap()
    );
    assert!(raw.validator.unwrap().etag.starts_with("W/"));
}

#[tokio::test]
async fn recorded_bytes_arrive_as_they_are() {
    let github = simulator().await;
    let json = "{ \"number\" : 900,\n \"id\": 18446744073709551616, \"x\": 1e400, \"title\": \"\\u00e4 😀\" }";
    let event = r#"{"event" : "labeled", "id": 1E+2, "label":{"name":"\/"}}"#;
    github
        .put_raw(900, json, &format!("[{event},\n {event}]"))
        .await
        .unwrap();
    let client = client(&github.url());
    let id = issue(&github, 900);
    let IssueAnswer::Found(raw) = client.issue(&id, None).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(raw.bytes, json);
    assert_eq!(
        client.whole_timeline(&id).await.unwrap().bytes,
        format!("[{event},{event}]")
    );
}

#[tokio::test]
async fn every_page_of_a_timeline_is_fetched_and_no_more() {
    let github = simulator().await;
    let client = client(&github.url());
    for (comments, requests) in [(0, 1), (1, 1), (100, 1), (101, 2), (250, 3)] {
        let number = with_comments(&github, comments).await;
        let timeline = client.whole_timeline(&issue(&github, number)).await.unwrap();
        assert_eq!(timeline.events as usize, comments);
        assert_eq!(events(&timeline), github.timeline(number).unwrap());
        assert_eq!(
            github.requests().count(Route::Timeline, number),
            requests,
            "{comments} events"
        );
    }
}

#[tokio::test]
async fn a_timeline_with_a_failing_page_is_no_timeline() {
    let github = simulator().await;
    let number = with_comments(&github, 250).await;
    let client = client(&github.url());
    for (fault, want) in [
        (Fault::Status(502), "trouble (502)"),
        (Fault::Truncated, "connection"),
        (Fault::NotFound, "(404)"),
    ] {
        for failing in 1..=3 {
            let before = github.requests().count(Route::Timeline, number);
            github.fault(FaultRule::next(failing - 1, Fault::Slow(0)).route(Route::Timeline));
            github.fault(FaultRule::next(1, fault.clone()).route(Route::Timeline));
            let error = client.whole_timeline(&issue(&github, number)).await.unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
            assert_eq!(github.requests().count(Route::Timeline, number), before + failing);
            github.clear_faults();
        }
    }
    assert_eq!(
        client.whole_timeline(&issue(&github, number)).await.unwrap().events,
        250
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let github = simulator().await;
    let client = client(&github.url());
    assert_eq!(
        client.issue(&issue(&github, 99_999), None).await.unwrap(),
        IssueAnswer::NotFound
    );
    github.hide(3).await.unwrap();
    assert_eq!(
        client.issue(&issue(&github, 3), None).await.unwrap(),
        IssueAnswer::NotFound
    );
    github.delete(2).await.unwrap();
    assert_eq!(client.issue(&issue(&github, 2), None).await.unwrap(), IssueAnswer::Gone);
    assert!(matches!(
        client.whole_timeline(&issue(&github, 2)).await,
        Err(Error::Vanished { status: 410 })
    ));
    github.set_issues_enabled(false).await.unwrap();
    assert_eq!(
        client.issue(&issue(&github, 1), None).await.unwrap(),
        IssueAnswer::IssuesDisabled
    );
    let RepoAnswer::Found(found) = client.repository(&repository(&github)).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(
        (found.has_issues, found.private, found.name),
        (false, false, repository(&github))
    );
    let nowhere = "no/where".parse().unwrap();
    assert_eq!(client.repository(&nowhere).await.unwrap(), RepoAnswer::NotFound);
}

#[tokio::test]
async fn a_transferred_issue_is_found_in_another_repository() {
    let github = simulator().await;
    let client = client(&github.url());
    github.put_repository("other/place", 4711, false).await.unwrap();
    let number = github.transfer(5, "other/place").await.unwrap();
    let IssueAnswer::Moved(location) = client.issue(&issue(&github, 5), None).await.unwrap() else {
        panic!("not moved")
    };
    assert!(matches!(
        client.whole_timeline(&issue(&github, 5)).await,
        Err(Error::Vanished { status: 404 })
    ));
    let MovedAnswer::Found(moved) = client.moved_issue(&location).await.unwrap() else {
        panic!("not seen")
    };
    assert_eq!(moved.repository.id, 4711);
    assert_eq!(moved.issue.to_string(), format!("other/place#{number}"));
    github.delete(("other/place", number)).await.unwrap();
    assert_eq!(client.moved_issue(&location).await.unwrap(), MovedAnswer::Unseen);
}

#[tokio::test]
async fn a_renamed_repository_keeps_its_id() {
    let github = simulator().await;
    let client = client(&github.url());
    let old = issue(&github, 5);
    let RepoAnswer::Found(before) = client.repository(old.repo()).await.unwrap() else {
        panic!("not found")
    };
    github.rename_repository("bugstream-demo/renamed").await.unwrap();
    let IssueAnswer::Moved(location) = client.issue(&old, None).await.unwrap() else {
        panic!("not moved")
    };
    let MovedAnswer::Found(moved) = client.moved_issue(&location).await.unwrap() else {
        panic!("not seen")
    };
    assert_eq!(moved.repository.id, before.id);
    assert_eq!(moved.issue.to_string(), "bugstream-demo/renamed#5");
    let RepoAnswer::Found(after) = client.repository(old.repo()).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(
        (after.id, after.name.to_string()),
        (before.id, "bugstream-demo/renamed".to_owned())
    );
    assert!(
        !client
            .issues_since(old.repo(), OffsetDateTime::UNIX_EPOCH)
            .await
            .unwrap()
            .numbers
            .is_empty()
    );
}

#[tokio::test]
async fn a_list_is_walked_to_its_end() {
    let options = Options {
        issues: 250,
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    };
    let github = Simulator::start(options).await.unwrap();
    let client = client(&github.url());
    let mut page = client
        .issues_since(&repository(&github), OffsetDateTime::UNIX_EPOCH)
        .await
        .unwrap();
    let mut seen = page.numbers.clone();
    while let Some(cursor) = page.next {
        page = client.issues_after(&cursor).await.unwrap();
        seen.extend(&page.numbers);
    }
    assert_eq!(seen.len(), github.numbers().len());
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), github.numbers().iter().collect());
    assert_eq!(github.requests().of(Route::List), 3);
    github.edit(7, [Change::Title("changed".to_owned())]).await.unwrap();
    let changed = OffsetDateTime::parse(
        github.issue(7).unwrap()["updated_at"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    let since = client
        .issues_since(&repository(&github), changed.unwrap())
        .await
        .unwrap();
    assert_eq!((since.numbers, since.next), (vec![7], None));
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_wrong() {
    let github = simulator().await;
    let wrong = config(&github.url());
    let wrong = bugstream_github::Config {
        credentials: tokens(["wrong-one"]),
        ..wrong
    };
    let client = Client::new(wrong, clock()).unwrap();
    let error = client.issue(&issue(&github, 1), None).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(!crate::printed(&error).contains("wrong-one"));
}

#[tokio::test]
async fn github_in_trouble_is_no_answer() {
    let github = simulator().await;
    let client = client(&github.url());
    let impatient = bugstream_github::Config {
        timeout: Duration::from_millis(200),
        ..config(&github.url())
    };
    github.fault(FaultRule::next(1, Fault::Slow(60_000)));
    let late = Client::new(impatient, clock()).unwrap();
    let error = late.issue(&issue(&github, 1), None).await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    github.clear_faults();
    for (fault, want) in [
        (Fault::Status(500), "Server { status: 500 }"),
        (Fault::Status(503), "Server { status: 503 }"),
        (Fault::Status(422), "Unexpected { status: 422 }"),
        (Fault::Status(451), "Forbidden { status: 451"),
        (Fault::Status(403), "Forbidden { status: 403"),
        (Fault::Truncated, "Transport("),
    ] {
        github.fault(FaultRule::next(1, fault));
        let error = client.issue(&issue(&github, 1), None).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(want), "{error:?}");
    }
    assert!(matches!(
        client.issue(&issue(&github, 1), None).await.unwrap(),
        IssueAnswer::Found(_)
    ));
}

#[tokio::test]
async fn what_is_not_github_s_is_refused_without_reading_all_of_it() {
    let github = simulator().await;
    let elsewhere = simulator().await;
    let small = bugstream_github::Config {
        max_body: 1 << 20,
        ..config(&github.url())
    };
    let client = Client::new(small, clock()).unwrap();
    let number = with_comments(&github, 250).await;
    for (fault, want) in [
        (Fault::Huge(100 << 20), "larger than 1048576 bytes"),
        (Fault::InvalidUtf8, "not UTF-8"),
        (Fault::Html, "does not say that it is JSON"),
        (Fault::HtmlAsJson, "it is not JSON"),
        (Fault::WrongType, "does not say that it is JSON"),
        (Fault::HalfBody, "malformed"),
        (Fault::LinkLoop, "the pages do not end"),
        (Fault::LinkTo(elsewhere.url()), "at another origin"),
    ] {
        github.fault(FaultRule::next(1, fault.clone()).route(Route::Timeline).page(2));
        let error = client.whole_timeline(&issue(&github, number)).await.unwrap_err();
        assert!(error.to_string().contains(want), "{fault:?}: {error}");
        assert!(!crate::printed(&error).contains(TOKEN));
    }
    assert_eq!(elsewhere.requests().total(), 0, "the token never follows");
    assert_eq!(
        client.whole_timeline(&issue(&github, number)).await.unwrap().events,
        250
    );
}

#[tokio::test]
async fn an_enterprise_server_has_its_api_below_a_path() {
    let options = Options {
        tokens: vec![TOKEN.to_owned()],
        base_path: "/api/v3".to_owned(),
        issues: 120,
        ..Options::default()
    };
    let github = Simulator::start(options).await.unwrap();
    let client = client(&github.url());
    let number = with_comments(&github, 150).await;
    crate::found(&client, &issue(&github, number)).await;
    assert_eq!(
        client.whole_timeline(&issue(&github, number)).await.unwrap().events,
        150
    );
    let first = client
        .issues_since(&repository(&github), OffsetDateTime::UNIX_EPOCH)
        .await
        .unwrap();
    assert!(
        !client
            .issues_after(&first.next.unwrap())
            .await
            .unwrap()
            .numbers
            .is_empty()
    );
}
