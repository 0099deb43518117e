//! Looking at what was put aside, having it tried again, removing it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bugstream_kit::clock::Clock;
use bugstream_kit::config::Settings;
use bugstream_kit::dead_letter::{DeadLetters, Kind, Origin, Rejection};
use bugstream_proto::{Task, Verb, topology, v1};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use prost::Message as _;
use serde_json::{Value, json};

use crate::mirror::{Mirror, ONLY_WHEN_ASKED, SOON};
use crate::operator::{Operator, issue};

/// A service that puts messages aside.
struct Service {
    letters: DeadLetters,
}

impl Service {
    async fn named(nats: &Nats, service: &'static str) -> Self {
        let letters = DeadLetters::new(nats.jetstream().await, Clock::default(), service);
        Self { letters }
    }

    /// Puts one aside; `sequence` tells it from others.
    async fn puts_aside(&self, stream: &'static str, subject: &str, sequence: u64, payload: &[u8], kind: Kind) {
        let origin = Origin {
            stream,
            subject,
            sequence,
            attempts: 3,
            headers: None,
            payload,
        };
        let why = Rejection::new(kind, format!("{subject} was refused"));
        self.letters.publish(origin, &why).await.expect("stored");
    }
}

/// One of each sort, in this order: their ids are 1 to 9.
async fn one_of_each(nats: &Nats) {
    let (downloader, indexer) = (
        Service::named(nats, "downloader").await,
        Service::named(nats, "indexer").await,
    );
    let repair = v1::Cause::new(v1::Reason::Repair, time::OffsetDateTime::UNIX_EPOCH);
    let repair = v1::DownloadRequested::new(&issue("a/b", 2), repair).encode_to_vec();
    downloader
        .puts_aside(topology::DOWNLOADS, "download.a.b.1", 1, b"garbage", Kind::Payload)
        .await;
    downloader
        .puts_aside(topology::DOWNLOADS, "retry.backfill.a.b.2", 2, &repair, Kind::Other)
        .await;
    downloader
        .puts_aside(topology::DOWNLOADS, "download.12345", 3, b"", Kind::Subject)
        .await;
    downloader
        .puts_aside(topology::DOWNLOADS, "download.not.configured.4", 4, b"", Kind::Subject)
        .await;
    downloader
        .puts_aside(topology::TASKS, "task.sweep.a.b", 5, b"garbage", Kind::Payload)
        .await;
    indexer
        .puts_aside(topology::ISSUES, "issue.A.b.6", 6, b"garbage", Kind::Object)
        .await;
    indexer
        .puts_aside(topology::INDEXING, "index.a.b.6", 7, b"garbage", Kind::Payload)
        .await;
    indexer.puts_aside("BUILDS", "build.firefox", 8, b"", Kind::Other).await;
    nats.publish_by_hand("dead.letter.office", "\u{1b}[2Jgarbage")
        .await
        .expect("taken");
}

async fn with_one_of_each() -> (Nats, Operator) {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    assert_eq!(operator.run("dead-letters list").await.out(), "no letters\n");
    one_of_each(&nats).await;
    (nats, operator)
}

fn ids(found: &Value) -> Vec<u64> {
    let letters = found["letters"].as_array().expect("a list");
    letters
        .iter()
        .map(|letter| letter["id"].as_u64().expect("a number"))
        .collect()
}

async fn subjects(nats: &Nats, stream: &str) -> BTreeSet<String> {
    let stream = nats.jetstream().await.get_stream(stream).await.expect("it exists");
    let subjects = stream.info_with_subjects(">").await.expect("the server answers");
    subjects
        .map_ok(|(subject, _)| subject)
        .try_collect()
        .await
        .expect("all pages")
}

fn set(subjects: &[&str]) -> BTreeSet<String> {
    subjects.iter().map(|subject| (*subject).to_owned()).collect()
}

#[tokio::test]
async fn letters_are_listed_by_what_is_asked_and_counted_by_kind() {
    let (_nats, operator) = with_one_of_each().await;
    let list = async |filter: &str| {
        operator
            .run(&format!("dead-letters list --output json {filter}"))
            .await
            .json()
    };
    let all = list("").await;
    assert_eq!(ids(&all), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(
        (&all["total"], &all["kinds"], &all["warnings"]),
        (
            &json!(9),
            &json!({ "payload": 3, "other": 2, "subject": 2, "object": 1, "no letter": 1 }),
            &json!([])
        )
    );
    assert_eq!(all["letters"][5]["issue"], "a/b#6");
    let table: [(&str, &[u64]); 12] = [
        ("--reason PAYLOAD", &[1, 5, 7]),
        ("--reason firefox", &[8]),
        ("--reason payload --reason sweep", &[5]),
        ("--service indexer", &[6, 7, 8]),
        ("--service letter.office", &[9]),
        ("--repository not/configured", &[4]),
        ("--repository a/b --reason refused --service downloader", &[1, 2, 5]),
        ("--newer-than 1h", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("--older-than 1h", &[]),
        ("3 1 3 77", &[1, 3]),
        ("1 6 --service indexer", &[6]),
        ("--limit 2", &[8, 9]),
    ];
    for (filter, wanted) in table {
        assert_eq!(ids(&list(filter).await), wanted, "{filter}");
    }
    assert_eq!(list("--limit 2").await["total"], 9);
    let table = operator.run("dead-letters list").await.out();
    assert!(
        !table.contains('\u{1b}') && table.contains("9 letters · no letter 1 · object 1 · "),
        "{table}"
    );
    let status = operator.run("status").await.out;
    assert!(
        status.contains("9 letters, oldest ") && status.contains(" (queue-cli dead-letters list)"),
        "{status}"
    );
}

#[tokio::test]
async fn one_letter_is_shown_with_all_that_is_known() {
    let (_nats, operator) = with_one_of_each().await;
    let show = async |id: u64| {
        operator
            .run(&format!("dead-letters show {id} --output json"))
            .await
            .json()
    };
    let repair = show(2).await;
    let message = repair["message"].as_str().expect("it is kept");
    assert!(message == "repair request of 1970-01-01T00:00:00Z", "{message}");
    assert_eq!(
        (&repair["subject"], &repair["attempts"], &repair["retry"]),
        (
            &json!("retry.backfill.a.b.2"),
            &json!(3),
            &json!("asks for a download of a/b#2")
        )
    );
    let garbage = show(1).await;
    assert_eq!(
        (&garbage["payload"]["size"], &garbage["payload"]["hex"]),
        (&json!(7), &json!(""))
    );
    assert_eq!(show(9).await["kind"], "no letter");
    let (code, error) = operator.run("dead-letters show 77").await.refused();
    assert_eq!(
        (code, error.as_str()),
        (
            1,
            "error: there is no letter 77\n  queue-cli dead-letters list shows them\n"
        )
    );
}

#[tokio::test]
async fn a_retry_asks_for_the_same_anew_and_leaves_what_it_cannot() {
    let (nats, operator) = with_one_of_each().await;
    let dry = operator.run("dead-letters retry --dry-run").await;
    assert_eq!(dry.code, 1, "{dry:?}");
    assert!(
        dry.out.starts_with(
            "would retry 5 letters: 2 downloads when the quota allows, 1 index request, 1 task; nothing was changed\n\
             4 letters cannot be retried:\n"
        ),
        "{}",
        dry.out
    );
    assert_eq!(subjects(&nats, topology::DOWNLOADS).await, BTreeSet::new());
    let retried = operator.run("dead-letters retry --output json").await;
    let found = retried.report();
    let left = found["cannot_be_retried"].as_array().expect("a list").iter();
    let left: Vec<_> = left.map(|one| one["id"].as_u64().expect("a number")).collect();
    assert_eq!((retried.code, left), (1, vec![3, 4, 8, 9]));
    assert_eq!(
        subjects(&nats, topology::DOWNLOADS).await,
        set(&["backfill.a.b.1", "backfill.a.b.2"])
    );
    assert_eq!(subjects(&nats, topology::INDEXING).await, set(&["index.a.b.6"]));
    assert_eq!(subjects(&nats, topology::TASKS).await, set(&["task.sweep.a.b"]));
    assert_eq!(
        subjects(&nats, topology::ISSUES).await,
        BTreeSet::new(),
        "nothing is published to the log"
    );
    let stream = nats
        .jetstream()
        .await
        .get_stream(topology::DOWNLOADS)
        .await
        .expect("it exists");
    let request = stream
        .get_last_raw_message_by_subject("backfill.a.b.2")
        .await
        .expect("it waits");
    let request = v1::DownloadRequested::decode(request.payload).expect("a request");
    assert_eq!(
        request.cause.expect("it says why").reason(),
        v1::Reason::Repair,
        "as it was asked for"
    );

    let again = operator.run("dead-letters retry 1 2 3").await;
    assert!(
        again.code == 1
            && again
                .out
                .starts_with("retried 0 letters\n1 letter cannot be retried:\n  3  download.12345: "),
        "{again:?}"
    );
    let configured = operator.clone().with("GITHUB_REPO_PUBLIC", "not/configured");
    assert_eq!(
        configured.run("dead-letters retry 4").await.out(),
        "retried 1 letter: 1 download\n"
    );
    assert!(
        subjects(&nats, topology::DOWNLOADS)
            .await
            .contains("download.not.configured.4")
    );
}

#[tokio::test]
async fn what_waits_already_keeps_its_place() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    operator.run("add-range download 1 1").await.out();
    let service = Service::named(&nats, "downloader").await;
    service
        .puts_aside(topology::DOWNLOADS, "download.a.b.1", 1, b"", Kind::Other)
        .await;
    service
        .puts_aside(topology::DOWNLOADS, "backfill.a.b.1", 2, b"", Kind::Other)
        .await;
    service
        .puts_aside(topology::TASKS, "task.sweep.a.b", 3, b"", Kind::Other)
        .await;
    let tasks = bugstream_kit::tasks::Tasks::new(nats.jetstream().await);
    let later = Clock::default().now() + time::Duration::hours(1);
    let scheduled = tasks
        .schedule(Task::Sweep, issue("a/b", 1).repo(), bytes::Bytes::new(), later)
        .await;
    scheduled.expect("stored");
    assert_eq!(
        operator.run("dead-letters retry").await.out(),
        "retried 3 letters: 2 requests waited already\n"
    );
    assert_eq!(subjects(&nats, topology::DOWNLOADS).await, set(&["backfill.a.b.1"]));
    assert_eq!(subjects(&nats, topology::TASKS).await, set(&["schedule.sweep.a.b"]));
    assert_eq!(operator.run("dead-letters list").await.out(), "no letters\n");
}

#[tokio::test]
async fn a_purge_takes_what_was_asked_and_nothing_else() {
    let (nats, operator) = with_one_of_each().await;
    let left = async || ids(&operator.run("dead-letters list --output json").await.json());
    assert_eq!(
        operator
            .run("dead-letters purge --reason payload --dry-run")
            .await
            .out(),
        "would purge 3 letters; nothing was changed\n"
    );
    assert_eq!(
        operator.run("dead-letters purge --reason payload").await.out(),
        "purged 3 letters\n"
    );
    assert_eq!(
        operator.run("dead-letters purge 9 9 1").await.out(),
        "purged 1 letter\n"
    );
    assert_eq!(left().await, [2, 3, 4, 6, 8]);
    assert_eq!(
        operator.run("dead-letters purge --dry-run").await.out(),
        "would purge 5 letters; nothing was changed\n"
    );
    assert_eq!(
        operator.run("dead-letters purge --output json").await.json(),
        json!({ "dry_run": false, "letters": 5 })
    );
    assert_eq!(left().await, [0_u64; 0]);
    assert_eq!(
        subjects(&nats, topology::DOWNLOADS).await,
        BTreeSet::new(),
        "nothing was tried again"
    );
}

/// More than are read at once, several about each issue.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_letters_take_seconds() {
    const LETTERS: u64 = 12_000;
    const ISSUES: u64 = 4_000;
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    operator.run("length").await.out();
    let service = Service::named(&nats, "indexer").await;
    let begin = Instant::now();
    stream::iter(1..=LETTERS)
        .for_each_concurrent(256, async |number| {
            let subject = format!("issue.a.b.{}", number % ISSUES + 1);
            service
                .puts_aside(topology::ISSUES, &subject, number, b"", Kind::Object)
                .await;
        })
        .await;
    // So fast is this machine now.
    let (put_aside, begin) = (begin.elapsed(), Instant::now());
    let list = operator.run("dead-letters list --output json").await.report();
    assert_eq!((list["total"].as_u64(), ids(&list).len()), (Some(LETTERS), 50));
    let listed = begin.elapsed();
    let retried = operator.run("dead-letters retry --output json").await.report();
    println!(
        "put aside in {put_aside:?}, listed in {listed:?}, retried in {:?}",
        begin.elapsed() - listed
    );
    assert_eq!(retried["letters"], LETTERS);
    let requests = retried["index"].as_u64().expect("a number");
    assert!(
        (ISSUES..ISSUES + 2_001).contains(&requests),
        "several letters, one request: {requests}"
    );
    assert_eq!(subjects(&nats, topology::INDEXING).await.len() as u64, ISSUES);
    assert_eq!(operator.run("dead-letters list").await.out(), "no letters\n");
    let most = Duration::from_secs(60) + 10 * put_aside;
    assert!(begin.elapsed() < most, "{:?} of {most:?}", begin.elapsed());
}

impl Mirror {
    async fn letters(&self) -> u64 {
        let stream = self.nats.jetstream().await.get_stream(topology::DEAD_LETTERS).await;
        stream.expect("it exists").cached_info().state.messages
    }

    async fn has_letters(&self, count: u64) {
        wait::until_true("all that is wrong is put aside", SOON, async || {
            self.letters().await == count
        })
        .await;
    }

    /// Publishes by hand what no service understands.
    async fn poison(&self, verb: Verb, number: u64) {
        let subject = verb.of(&issue(&self.github.repository(), number)).to_string();
        self.nats.publish_by_hand(&subject, "garbage").await.expect("taken");
    }

    /// A letter that can be retried, for a page of commands: its id is 1.
    pub(crate) async fn with_a_letter(&self) {
        self.did("length").await;
        self.poison(Verb::Download, 3).await;
        self.has_letters(1).await;
    }

    /// A downloader that knows another repository only, and keeps no timers.
    fn start_downloader_of_another_repository(&mut self) {
        let own = format!(
            "name = '{name}'\nprivate = '{name}-private'\n",
            name = self.github.repository()
        );
        let text = self.configuration().replace(&own, "name = 'else/where'\n") + ONLY_WHEN_ASKED;
        let file = self.dir.path().join("another.toml");
        std::fs::write(&file, text).expect("written");
        let settings = Settings::load(Some(&file), |_| None, &[]).expect("well-formed");
        let config = bugstream_downloader::Config::read(&settings).expect("complete");
        let context = self.context("downloader");
        self.run(move || bugstream_downloader::run(config, context));
    }

    async fn ends(&mut self) {
        self.stops.drain(..).for_each(|stop| stop.soft());
        let ended = self.services.join_next().await.expect("it ran");
        ended.expect("it did not panic").expect("it ended well");
    }

    /// Someone has Elasticsearch refuse everything about one issue, or no longer.
    async fn refuse(&self, number: Option<u64>) {
        let pipeline = self.elastic.name("refusing");
        let path = format!("/_ingest/pipeline/{pipeline}");
        let indices = self.elastic.name("bugstream-issues-*");
        let settings = format!("/{indices}/_settings?expand_wildcards=all");
        let set = |name: &str| json!({ "index.final_pipeline": name });
        let calls = match number {
            Some(number) => {
                let of = format!("ctx.bug_number == {number}");
                let text = json!({ "set": { "field": "refused", "value": "no number", "if": of } });
                let convert = json!({ "convert": { "field": "refused", "type": "integer", "if": of } });
                let body = json!({ "processors": [text, convert] });
                [
                    (Method::PUT, &path, Some(body)),
                    (Method::PUT, &settings, Some(set(&pipeline))),
                ]
            }
            None => [
                (Method::PUT, &settings, Some(set("_none"))),
                (Method::DELETE, &path, None),
            ],
        };
        for (method, path, body) in calls {
            let (status, answer) = self.elastic.call(method, path, body.as_ref()).await;
            assert!(status < 300, "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_the_cause_is_mended_empties_the_stream() {
    let mut mirror = Mirror::empty("").await;
    mirror.start_downloader_of_another_repository();
    mirror.did("add-range download 1 20").await;
    mirror.has_letters(20).await;
    mirror.ends().await;
    mirror.start();
    let retried = mirror.operator.run("dead-letters retry").await.out();
    assert_eq!(retried, "retried 20 letters: 20 downloads when the quota allows\n");
    mirror.drained().await;
    assert_eq!(mirror.letters().await, 0);
    mirror.is_clean().await;

    mirror.refuse(Some(5)).await;
    std::fs::write(mirror.file(9, "issue.json"), "{").expect("written");
    mirror.did("add index 5 9").await;
    for (verb, number) in [(Verb::Index, 3), (Verb::Download, 4), (Verb::Issue, 6)] {
        mirror.poison(verb, number).await;
    }
    mirror.nats.publish_by_hand("download.12345", "").await.expect("taken");
    mirror.has_letters(6).await;
    mirror.drained().await;
    let list = mirror.operator.run("dead-letters list --output json").await.json();
    assert_eq!(
        list["kinds"],
        json!({ "document": 1, "object": 1, "payload": 3, "subject": 1 })
    );
    assert_eq!(mirror.verify("").await.0, 1, "5 is not as the log says");

    mirror.refuse(None).await;
    let retried = mirror.operator.run("dead-letters retry").await;
    let told = retried.out.lines().collect::<Vec<_>>();
    assert_eq!(
        (retried.code, told[0], told[1]),
        (
            1,
            "retried 5 letters: 1 download when the quota allows, 4 index requests",
            "1 letter cannot be retried:"
        )
    );
    mirror.drained().await;
    assert_eq!(
        mirror.operator.run("dead-letters purge --reason subject").await.out(),
        "purged 1 letter\n"
    );
    assert_eq!(mirror.operator.run("dead-letters list").await.out(), "no letters\n");
    mirror.is_clean().await;
}
