//! Filling, counting and emptying the queues.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use bugstream_proto::{Lane, topology, v1};
use bugstream_queue_cli::Screen;
use bugstream_testkit::nats::Nats;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::operator::{AT_ONCE, Operator, issue, requests};

/// Schedules that do not fire during a test.
const LATER: OffsetDateTime = datetime!(2099-01-01 00:00 UTC);

async fn stream(nats: &Nats, name: &str) -> Stream {
    nats.jetstream()
        .await
        .get_stream(name)
        .await
        .expect("the stream exists")
}

async fn message(nats: &Nats, stream_name: &str, subject: &str) -> StreamMessage {
    let stream = stream(nats, stream_name).await;
    stream.get_last_raw_message_by_subject(subject).await.expect(subject)
}

async fn subjects(nats: &Nats, stream_name: &str) -> Vec<String> {
    let stream = stream(nats, stream_name).await;
    let found = stream.info_with_subjects(">").await.expect("the server answers");
    let mut subjects: Vec<_> = found
        .map_ok(|(subject, _)| subject)
        .try_collect()
        .await
        .expect("all pages");
    subjects.sort();
    subjects
}

fn cause() -> v1::Cause {
    v1::Cause::new(v1::Reason::Manual, LATER)
}

#[tokio::test]
async fn a_fresh_server_has_two_empty_queues() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    assert_eq!(
        operator.run("length").await.out(),
        "download.length = 0\nindex.length = 0\n"
    );
    assert_eq!(operator.run("length download").await.out(), "download.length = 0\n");
    assert_eq!(operator.run("length index").await.out(), "index.length = 0\n");
    assert_eq!(
        operator.run("purge index").await.out(),
        "purged 0 requests for 0 issues from index\n"
    );
    assert_eq!(operator.run("noop").await.out(), "");
}

#[tokio::test]
async fn single_issues_are_queued_by_hand() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    assert_eq!(
        operator.run("add download 7").await.out(),
        "queued 1 issue of a/b for download\n"
    );
    assert_eq!(
        operator.run("add index 9 8 9").await.out(),
        "queued 2 issues of a/b for index\n"
    );
    assert_eq!(subjects(&nats, topology::DOWNLOADS).await, ["download.a.b.7"]);
    assert_eq!(
        subjects(&nats, topology::INDEXING).await,
        ["index.a.b.8", "index.a.b.9"]
    );
    let stored = message(&nats, topology::DOWNLOADS, "download.a.b.7").await;
    let request = v1::DownloadRequested::read(&issue("a/b", 7), &stored.payload, LATER).expect("well-formed");
    assert_eq!(request.cause_or(LATER).reason(), v1::Reason::Manual);
    let named = operator.clone().with("GITHUB_REPO_PUBLIC", "");
    assert_eq!(
        named
            .run("add download 3 --repository C/my.Repo --output json")
            .await
            .json(),
        json!({ "queue": "download", "repository": "c/my.repo", "queued": 1, "waiting": 0 })
    );
    assert_eq!(
        subjects(&nats, topology::DOWNLOADS).await,
        ["download.a.b.7", "download.c.my%2Erepo.3"]
    );
}

#[tokio::test]
async fn a_range_waits_for_quota_and_keeps_its_place() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    let range = "add-range download 1 500";
    assert_eq!(
        operator.run(range).await.out(),
        "queued 500 issues of a/b for download\n"
    );
    let first = message(&nats, topology::DOWNLOADS, "backfill.a.b.1").await.sequence;
    assert_eq!(
        operator.run("add-range download 1 501").await.out(),
        "queued 1 issue of a/b for download; 500 waited already and kept their place\n"
    );
    assert_eq!(
        message(&nats, topology::DOWNLOADS, "backfill.a.b.1").await.sequence,
        first
    );
    assert_eq!(operator.run("length download").await.out(), "download.length = 501\n");
    assert_eq!(
        operator.run("add-range index 5 5").await.out(),
        "queued 1 issue of a/b for index\n"
    );
    assert_eq!(subjects(&nats, topology::INDEXING).await, ["index.a.b.5"]);
}

#[tokio::test]
async fn more_subjects_than_fit_one_page_are_counted() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    assert_eq!(
        operator.run("add-range index 1 100500").await.out(),
        "queued 100,500 issues of a/b for index\n"
    );
    assert_eq!(operator.run("length index").await.out(), "index.length = 100500\n");
    assert_eq!(
        operator.run("purge index").await.out(),
        "purged 100,500 requests for 100,500 issues from index\n"
    );
}

/// One issue in every family, one of another repository, and three that no service can serve.
async fn fill(nats: &Nats) {
    let (requests, seven) = (requests(nats).await, issue("a/b", 7));
    requests.debounce(&seven, cause(), LATER).await.expect("stored");
    requests.deadline(&seven, cause(), LATER).await.expect("stored");
    requests.download(&seven, cause()).await.expect("stored");
    requests.backfill(&seven, cause()).await.expect("stored");
    let nothing = Bytes::new();
    let retry = requests.retry(Lane::Download, &seven, nothing.clone(), 2, LATER, None::<&HeaderMap>);
    retry.await.expect("stored");
    requests.download(&issue("c/d", 7), cause()).await.expect("stored");
    requests.index(&seven, cause()).await.expect("stored");
    let retry = requests.retry(Lane::Index, &seven, nothing, 2, LATER, None::<&HeaderMap>);
    retry.await.expect("stored");
    for subject in ["download.12345", "download.a.b.xyz", "backfill.a.b.0", "download.A.B.8"] {
        nats.publish_by_hand(subject, "").await.expect("taken");
    }
}

#[tokio::test]
async fn an_issue_is_counted_once_over_all_subject_families() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    operator.run("length").await.out();
    fill(&nats).await;
    assert_eq!(
        operator.run("length").await.out(),
        "download.length = 6\nindex.length = 1\n"
    );
    assert_eq!(
        operator.run("length --repository a/b").await.out(),
        "download.length = 4\nindex.length = 1\n"
    );
    assert_eq!(
        operator.run("length --output json").await.json(),
        json!({
            "download": {
                "length": 6, "requests": 10, "malformed": 3,
                "by_subject": { "debounce": 1, "deadline": 1, "retry": 1, "download": 5, "backfill": 2 },
            },
            "index": { "length": 1, "requests": 2, "malformed": 0, "by_subject": { "retry": 1, "index": 1 } },
        })
    );
}

#[tokio::test]
async fn a_purge_empties_one_queue_over_all_families() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    operator.run("length").await.out();
    fill(&nats).await;
    assert_eq!(
        operator.run("purge download --dry-run").await.out(),
        "would purge 10 requests for 6 issues from download; nothing was changed\n"
    );
    assert_eq!(
        operator
            .run("purge download --repository a/b --output json")
            .await
            .json(),
        json!({ "queue": "download", "dry_run": false, "requests": 8, "issues": 4 })
    );
    assert_eq!(
        subjects(&nats, topology::DOWNLOADS).await,
        ["download.12345", "download.c.d.7"],
        "what is not that repository's stays"
    );
    assert_eq!(
        operator.run("purge download").await.out(),
        "purged 2 requests for 2 issues from download\n"
    );
    assert_eq!(
        operator.run("length").await.out(),
        "download.length = 0\nindex.length = 1\n"
    );
}

#[tokio::test]
async fn a_command_demands_only_what_it_uses() {
    let nats = Nats::start().await;
    let bare = Operator::default()
        .with("GITHUB_API_URL", "nonsense")
        .with("ELASTIC_NODE", "nonsense");
    let line = format!("--nats-url {} length", nats.url());
    assert_eq!(bare.run(&line).await.out(), "download.length = 0\nindex.length = 0\n");
    let line = format!("purge download --nats-url {}", nats.url());
    assert_eq!(
        bare.run(&line).await.out(),
        "purged 0 requests for 0 issues from download\n"
    );
    let line = format!("add download 5 --repository a/b --nats-url {}", nats.url());
    assert_eq!(bare.run(&line).await.out(), "queued 1 issue of a/b for download\n");
}

#[tokio::test]
async fn a_server_that_went_away_is_named_within_seconds() {
    let mut nats = Nats::start().await;
    let operator = Operator::of(&nats);
    operator.run("length").await.out();
    nats.kill9();
    let answer = tokio::time::timeout(AT_ONCE, operator.run("add-range index 1 10"));
    let (code, error) = answer.await.expect("it does not try for ever").refused();
    let wanted = format!("error: NATS_URL names no server that answers: \"{}\" (", nats.url());
    assert!(code == 1 && error.starts_with(&wanted), "{code}: {error}");
    nats.restart().await;
    assert_eq!(
        operator.run("add-range index 1 10").await.out(),
        "queued 10 issues of a/b for index\n"
    );
}

#[tokio::test]
async fn a_command_line_runs_in_this_process_too() {
    let nats = Nats::start().await;
    let (url, mut out, mut progress, mut err) = (nats.url(), Vec::new(), Vec::new(), Vec::new());
    let environment = |name: &str| (name == "NATS_URL").then(|| url.clone());
    let mut screen = Screen::plain(&mut out, &mut progress);
    let line = ["queue-cli", "add", "index", "5", "--repository", "a/b"];
    assert_eq!(bugstream_queue_cli::run(line, environment, &mut screen).await, 0);
    let mut nothing = Vec::new();
    let mut screen = Screen::plain(&mut nothing, &mut err);
    let line = ["queue-cli", "add", "index", "five"];
    assert_eq!(bugstream_queue_cli::run(line, environment, &mut screen).await, 2);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "queued 1 issue of a/b for index\n"
    );
    assert!(nothing.is_empty() && err.starts_with(b"error: \"five\" is not an issue number"));
}
