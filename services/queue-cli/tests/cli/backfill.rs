//! `backfill`: what it would take, asking for it, following it, ending it.

use bugstream_kit::broker::Broker;
use bugstream_kit::config;
use bugstream_kit::watermarks::{Backfill, Phase, Watermarks};
use bugstream_proto::{RepoName, Task, topology, v1};
use bugstream_testkit::github::{Options, Route, Simulator};
use bugstream_testkit::nats::Nats;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::mirror::Mirror;
use crate::operator::Operator;

const BEGAN: OffsetDateTime = datetime!(2026-11-21 09:30 UTC);

fn repository() -> RepoName {
    "a/b".parse().expect("a repository")
}

async fn marks(nats: &Nats) -> Watermarks {
    let section = config::Nats {
        url: nats.url(),
        ..config::Nats::default()
    };
    let broker = Broker::connect_once(&section, "test").await.expect("it answers");
    Watermarks::open(&broker).await.expect("the bucket is there")
}

fn running() -> Backfill {
    Backfill {
        run: "a-run".to_owned(),
        phase: Phase::Running,
        listed: "all".to_owned(),
        rows: 1_200,
        estimated_rows: 5_000,
        spent: 1_212,
        began: Some(BEGAN),
        last_run: Some(BEGAN + time::Duration::seconds(300)),
        ..Backfill::default()
    }
}

/// Plays the downloader: writes how far it is.
async fn set(marks: &Watermarks, record: &Backfill) {
    let write = |found: &mut Backfill| {
        record.clone_into(found);
        true
    };
    marks.change(&repository(), write).await.expect("written");
}

async fn asked(nats: &Nats) -> v1::BackfillRequested {
    let jetstream = nats.jetstream().await;
    let stream = jetstream
        .get_stream(topology::TASKS)
        .await
        .expect("the stream is there");
    let subject = Task::Backfill.due(&repository()).to_string();
    let message = stream
        .get_last_raw_message_by_subject(&subject)
        .await
        .expect("it waits");
    let request = v1::TaskRequested::read(&repository(), &message.payload, BEGAN).expect("well-formed");
    request.backfill.expect("it says what")
}

#[tokio::test]
async fn a_dry_run_computes_from_two_requests() {
    let nats = Nats::start().await;
    let options = Options {
        issues: 230,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.expect("it starts");
    let operator = Operator::of(&nats)
        .with("GITHUB_REPO_PUBLIC", simulator.repository())
        .with("GITHUB_PERSONAL_ACCESS_TOKEN", "a-token")
        .with("GITHUB_API_URL", simulator.url());
    let newest = simulator.numbers().into_iter().max().expect("230 issues");
    let found = operator.run("backfill --dry-run --output json").await.json();
    assert_eq!(
        (&found["issues"]["at_most"], &found["issues"]["from"]),
        (&json!(newest), &json!("measured"))
    );
    assert_eq!(found["requests"], newest.div_ceil(100) + newest);
    assert_eq!(found["timeline_pages"]["from"], "assumed", "the log is empty");
    assert_eq!(
        (&found["credentials"][0]["limit"], &found["reserve_percent"]),
        (&json!(5_000), &json!(20))
    );
    assert!(found["seconds"].as_u64() < Some(60), "720 requests a minute: {found}");
    let requests = simulator.requests();
    assert_eq!(
        (requests.of(Route::List), requests.total()),
        (1, 2),
        "one of a row, one of the quota"
    );
    assert_eq!(simulator.requests().of(Route::Timeline), 0);
    let text = operator.run("backfill --dry-run --state open").await.out();
    let first = text.lines().next().expect("a line");
    assert!(
        first.starts_with(&format!("a backfill of {} takes at most ", simulator.repository())),
        "{text}"
    );
    assert!(text.contains("--since and --state select fewer"), "{text}");
    assert_eq!(
        operator.run("length").await.out(),
        "download.length = 0\nindex.length = 0\n"
    );
}

#[tokio::test]
async fn asked_for_once_it_waits_for_a_downloader() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats).with("GITHUB_API_URL", "http://127.0.0.1:1");
    let line = "backfill --state closed --since 2026-01-31 --detach";
    insta::assert_snapshot!(operator.run(line).await.out(), @r#"
    asked for a backfill of a/b; the downloader does it
      queue-cli backfill follows it
    "#);
    let first = asked(&nats).await;
    assert_eq!(
        (first.state(), first.since()),
        (v1::ListState::Closed, Some(datetime!(2026-01-31 00:00 UTC)))
    );
    assert_eq!(operator.run(line).await.code, 0);
    assert_eq!(asked(&nats).await.run, first.run, "the one that waits keeps its place");
    insta::assert_snapshot!(operator.run("backfill --cancel").await.out(), @r#"cancelled the backfill of a/b before it began"#);
    insta::assert_snapshot!(operator.run("backfill --cancel").await.out(), @r#"no backfill of a/b is under way"#);
}

#[tokio::test]
async fn one_that_is_under_way_is_followed_to_its_end() {
    let nats = Nats::start().await;
    let (operator, marks) = (Operator::of(&nats), marks(&nats).await);
    set(&marks, &running()).await;
    let mut following = operator.start("backfill");
    let mut again = operator.start("backfill --output json");
    following.told().await;
    again.told().await;
    let done = Backfill {
        phase: Phase::Done,
        rows: 5_000,
        spent: 5_050,
        queued: 2,
        ended: Some(BEGAN + time::Duration::seconds(3_600)),
        ..running()
    };
    set(&marks, &done).await;
    insta::assert_snapshot!(following.end().await.out(), @r#"
    mirrored 5,000 issues of a/b in 1 h with 5,050 requests
      2 issues could not be fetched at once and went to the queue
    "#);
    insta::assert_snapshot!(again.end().await.out(), @r#"{"issues":5000,"phase":"done","queued":2,"repository":"a/b","requests":5050,"seconds":3600}"#);
}

#[tokio::test]
async fn who_goes_away_leaves_it_running() {
    let nats = Nats::start().await;
    let (operator, marks) = (Operator::of(&nats), marks(&nats).await);
    set(&marks, &running()).await;
    let mut following = operator.start("backfill");
    let far = following.told().await;
    assert!(far.starts_with("  1,200 of 5,000 issues · 4.0 a second"), "{far}");
    following.interrupt().await;
    let ran = following.end().await;
    assert_eq!(ran.code, 1, "it is not done: {}", ran.err);
    insta::assert_snapshot!(ran.out, @r#"
    the backfill of a/b goes on without you, at 1,200 issues
      queue-cli backfill follows it again; queue-cli backfill --cancel ends it
    "#);
    assert_eq!(
        marks.read::<Backfill>(&repository()).await.expect("there").record.phase,
        Phase::Running
    );
}

#[tokio::test]
async fn one_that_broke_off_says_why_and_what_to_do() {
    let nats = Nats::start().await;
    let (operator, marks) = (Operator::of(&nats), marks(&nats).await);
    set(&marks, &running()).await;
    let mut following = operator.start("backfill");
    following.told().await;
    let failed = Backfill {
        phase: Phase::Failed,
        why: Some("GitHub shows no issues of a/b (404)".to_owned()),
        ..running()
    };
    set(&marks, &failed).await;
    let ran = following.end().await;
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err, @r#"
    error: the backfill of a/b failed after 1,200 issues: GitHub shows no issues of a/b (404)
      queue-cli backfill begins it again; what did not change costs nothing with a token
    "#);
}

#[tokio::test]
async fn another_than_the_one_under_way_is_refused() {
    let nats = Nats::start().await;
    let (operator, marks) = (
        Operator::of(&nats).with("GITHUB_API_URL", "http://127.0.0.1:1"),
        marks(&nats).await,
    );
    set(&marks, &running()).await;
    let (code, error) = operator.run("backfill --state open").await.refused();
    assert_eq!(code, 1);
    insta::assert_snapshot!(error, @r#"
    error: another backfill is under way: all issues
      without --since and --state it is followed; with --restart yours begins
    "#);
    assert_eq!(operator.run("backfill --state open --restart --detach").await.code, 0);
    assert_eq!(asked(&nats).await.state(), v1::ListState::Open);
    let record = marks.read::<Backfill>(&repository()).await.expect("there").record;
    assert_eq!(
        (record.phase, record.run.as_str()),
        (Phase::Cancelled, "a-run"),
        "until the downloader begins"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_downloader_does_it() {
    let mut mirror = Mirror::empty("").await;
    mirror.start();
    let found = mirror.operator.run("backfill --output json").await.report();
    assert_eq!(
        (&found["phase"], &found["issues"], &found["queued"]),
        (&json!("done"), &json!(20), &json!(0))
    );
    assert_eq!(found["requests"], 1 + 20, "a page, and each timeline");
    mirror.drained().await;
    mirror.is_clean().await;
    let again = mirror.operator.run("backfill --output json").await.report();
    assert_eq!(
        (&again["issues"], &again["requests"]),
        (&json!(20), &json!(0)),
        "nothing changed: it costs nothing"
    );
    let known = mirror.operator.run("backfill --dry-run --output json").await.json();
    assert_eq!(
        (&known["timeline_pages"]["from"], &known["timeline_pages"]["issues"]),
        (&json!("measured"), &json!(20))
    );
}
