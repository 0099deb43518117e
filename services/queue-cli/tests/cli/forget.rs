//! `forget`: of an issue that is forgotten nothing is left, wherever one looks, and it does not come back.

use async_nats::jetstream::stream::Stream;
use bugstream_kit::dead_letter::{DeadLetters, Kind, Origin, Rejection};
use bugstream_kit::requests::Requests;
use bugstream_kit::service::Stop;
use bugstream_proto::{IssueId, RepoName, topology, v1};
use bugstream_testkit::github::{Change, Route};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use http::Method;
use serde_json::{Value, json};

use crate::mirror::{Mirror, SOON};
use crate::operator::Operator;

const SECRET: &str = "Xylophone-Quokka";
const NUMBER: u64 = 5;

fn issue(mirror: &Mirror, number: u64) -> IssueId {
    let repo: RepoName = mirror.github.repository().parse().expect("a repository");
    repo.issue(number).expect("a number")
}

async fn stream(mirror: &Mirror, name: &str) -> Stream {
    let stream = mirror.nats.jetstream().await.get_stream(name).await;
    stream.expect("the stream is there")
}

/// Documents of any index, hidden ones and stubs included, that hold the secret anywhere in what is stored.
async fn found(mirror: &Mirror) -> usize {
    mirror.elastic.refresh().await;
    let path = format!(
        "/{}bugstream-*/_search?expand_wildcards=all&size=10000",
        mirror.elastic.prefix()
    );
    let (status, answer) = mirror.elastic.call(Method::POST, &path, Some(&json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    let hits = answer["hits"]["hits"].as_array().expect("hits");
    hits.iter()
        .filter(|hit| hit["_source"].to_string().contains(SECRET))
        .count()
}

/// Files of the object store that hold it.
fn stored(mirror: &Mirror) -> usize {
    let mut left = vec![mirror.dir.path().join("objects")];
    let mut found = 0;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                std::fs::read_dir(path)
                    .expect("readable")
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else if String::from_utf8_lossy(&std::fs::read(path).expect("readable")).contains(SECRET) {
            found += 1;
        }
    }
    found
}

/// A letter about the issue, and one about another.
async fn put_aside(mirror: &Mirror, numbers: [u64; 2]) {
    let clock = bugstream_kit::clock::Clock::system();
    let letters = DeadLetters::new(mirror.nats.jetstream().await, clock, "indexer");
    for number in numbers {
        let subject = format!("issue.{}.{number}", mirror.github.repository().replace('/', "."));
        let origin = Origin {
            stream: topology::ISSUES,
            subject: &subject,
            sequence: number,
            attempts: 1,
            headers: None,
            payload: b"",
        };
        let why = Rejection::new(Kind::Other, "for a test");
        letters.publish(origin, &why).await.expect("stored");
    }
}

/// Requests for the issue in several lanes, none of which is due.
async fn wait_in_lanes(mirror: &Mirror) {
    let requests = Requests::new(mirror.nats.jetstream().await);
    let later = bugstream_kit::clock::Clock::system().now() + time::Duration::hours(1);
    let cause = || v1::Cause::new(v1::Reason::Manual, later);
    let issue = issue(mirror, NUMBER);
    requests.debounce(&issue, cause(), later).await.expect("stored");
    requests.deadline(&issue, cause(), later).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_it_anywhere_and_it_does_not_come_back() {
    let mut mirror = Mirror::empty("").await;
    mirror
        .github
        .edit(NUMBER, [Change::Title(format!("{SECRET} one"))])
        .await
        .expect("edited");
    mirror.start();
    mirror.did("add-range download 1 20").await;
    mirror.drained().await;
    let words = [
        Change::Body(format!("{SECRET} two")),
        Change::Comment(format!("{SECRET} three")),
    ];
    mirror.github.edit(NUMBER, words).await.expect("edited");
    mirror.did("add download 5").await;
    mirror.drained().await;
    mirror.did("rebuild").await;
    put_aside(&mirror, [NUMBER, 6]).await;
    wait_in_lanes(&mirror).await;
    assert!(
        found(&mirror).await >= 4 && stored(&mirror) >= 3,
        "it is in two generations and in old revisions"
    );

    let would = mirror.operator.run("forget 5 --dry-run --output json").await.report();
    assert_eq!(would["removed"]["events"], 2, "{would}");
    assert!(
        found(&mirror).await >= 4 && stored(&mirror) >= 3,
        "a dry run changes nothing"
    );
    let did = mirror.operator.run("forget 5 --output json").await.report();
    let removed = &did["removed"];
    assert_eq!(removed, &would["removed"], "it did what it said");
    assert_eq!(
        (&removed["requests"], &removed["dead_letters"]),
        (&json!(2), &json!(1)),
        "{did}"
    );
    assert_eq!((found(&mirror).await, stored(&mirror)), (0, 0));
    let letters = stream(&mirror, topology::DEAD_LETTERS).await;
    assert_eq!(
        letters.cached_info().state.messages,
        1,
        "the other issue's letter stays"
    );

    mirror.did("forget 5").await;
    let asked = mirror.github.requests().count(Route::Issue, NUMBER);
    let (code, error) = mirror.operator.run("add download 6 5").await.refused();
    assert!(
        code == 1 && error.contains("#5 is forgotten, and not downloaded any more; nothing was queued"),
        "{error}"
    );
    let subject = format!("download.{}.5", mirror.github.repository().replace('/', "."));
    mirror.nats.publish_by_hand(&subject, "").await.expect("stored");
    mirror.did("add-range download 1 20").await;
    mirror.did("add index 5").await;
    mirror.drained().await;
    assert_eq!(
        mirror.github.requests().count(Route::Issue, NUMBER),
        asked,
        "github was not asked for it"
    );
    assert_eq!((found(&mirror).await, stored(&mirror)), (0, 0));
    mirror.is_clean().await;
    mirror.did("rollback 1").await;
    assert_eq!(found(&mirror).await, 0, "nor does it come back with an old generation");

    mirror.did("forget 5 --allow").await;
    mirror.drained().await;
    wait::until_true("it is there again", SOON, async || found(&mirror).await >= 2).await;
    mirror.is_clean().await;
    let (code, error) = mirror.operator.run("forget 5 --allow").await.refused();
    assert!(
        code == 1 && error.contains("is not forgotten: there is nothing to allow"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on_without_any_service_and_names_who_else_carries_it() {
    let mut mirror = Mirror::empty("").await;
    let title = Change::Title(format!("{SECRET} one"));
    mirror.github.edit(NUMBER, [title]).await.expect("edited");
    let mut source = mirror.github.issue(NUMBER).expect("it is there");
    source["repository"] = json!({"full_name": mirror.github.repository(), "private": false});
    for other in [2, 9] {
        let reference = Change::CrossReference(Box::new(source.clone()));
        mirror.github.edit(other, [reference]).await.expect("edited");
    }
    mirror.start();
    mirror.did("add-range download 1 20").await;
    mirror.drained().await;
    mirror.stops.iter().for_each(Stop::soft);
    while mirror.services.join_next().await.is_some() {}
    let mut killed = mirror.operator.start("forget 5");
    assert!(killed.told().await.contains("the log says that it is forgotten"));
    killed.kill().await;
    let did = mirror.operator.run("forget 5 --output json").await.report();
    assert_eq!(did["besides"]["merge_asked"], json!(true), "{did}");
    assert!(mirror.files(NUMBER, "issue.json").is_empty());
    mirror.elastic.refresh().await;
    let left = json!({"term": {"bug_number": NUMBER}});
    for index in ["issues", "timelines"] {
        assert!(
            mirror.elastic.hits(index, left.clone()).await.is_empty(),
            "no indexer has to run"
        );
    }
    let named: Vec<&str> = did["besides"]["timelines"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let repository = mirror.github.repository();
    for other in [2, 9] {
        assert!(named.contains(&format!("{repository}#{other}").as_str()), "{did}");
    }
    assert!(found(&mirror).await >= 2, "what others carry stays, and is named");
}

#[tokio::test]
async fn an_issue_that_the_log_does_not_know_is_told_so() {
    let nats = Nats::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let operator = Operator::of(&nats)
        .with("OBJECT_STORE_URL", folder.path().display().to_string())
        .with("ELASTIC_NODE", "http://127.0.0.1:9");
    for line in ["forget 7", "forget 7 --dry-run", "forget 7 --allow"] {
        let (code, error) = operator.run(line).await.refused();
        assert_eq!(code, 1, "{line}");
        assert!(
            error.starts_with("error: the log does not know a/b#7, so nothing of it is stored"),
            "{line}: {error}"
        );
    }
}
