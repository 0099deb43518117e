//! One issue whose timeline is larger than anybody would write: an indexer takes it, in memory that its size bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::{self, Settings};
use bugstream_kit::log::Log;
use bugstream_kit::objects::Objects;
use bugstream_proto::message::{Change, Downloaded};
use bugstream_proto::{Event, IssueId, Part, RepoName, v1};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::nats::Nats;
use bugstream_testkit::process::{Launch, Service};
use bugstream_testkit::wait;
use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::stage::observer;

/// How many megabytes, where somebody wants to see more than the usual.
const MEGABYTES: &str = "BUGSTREAM_TEST_TIMELINE_MB";
/// An event's share of a megabyte.
const IN_A_MEGABYTE: usize = 50;
/// A busy machine and a program without optimisation take their time.
const LONG: Duration = Duration::from_secs(300);

fn configuration(nats: &Nats, elastic: &Elastic, folder: &std::path::Path) -> String {
    format!(
        "[nats]\nurl = '{}'\n[object_store]\nurl = '{}'\n[elasticsearch]\nnode = '{}'\nprefix = '{}'\n[[repositories]]\n\
         name = 'a/b'\n[indexer]\nreplicas = 0\n",
        nats.url(),
        folder.join("objects").display(),
        elastic.node(),
        elastic.prefix(),
    )
}

fn timeline(events: usize) -> String {
    let body = "A word of a long comment. ".repeat(1_000_000 / IN_A_MEGABYTE / 26);
    let comment = |id: usize| format!(r#"{{"event":"commented","id":{id},"body":"{body}"}}"#);
    format!("[{}]", (0..events).map(comment).collect::<Vec<_>>().join(","))
}

/// Logs an issue as a downloader does.
async fn download(log: &Log, objects: &Objects, issue: &IssueId, timeline: String, events: usize) {
    let (revision, nonce) = (log.next_revision(None), Chance::system().nonce());
    let put = |part, bytes: String| objects.put(issue, revision, &nonce, part, Bytes::from(bytes));
    let number = issue.number();
    let change = Change::Downloaded(Downloaded {
        issue: put(Part::Issue, json!({"number": number, "title": "t"}).to_string())
            .await
            .unwrap(),
        timeline: put(Part::Timeline, timeline).await.unwrap(),
        timeline_events: events.try_into().unwrap(),
    });
    let now = Clock::system().now();
    let side = v1::SideMarks {
        timeline: events.try_into().unwrap(),
        issue: true,
    };
    let event = Event {
        issue: issue.clone(),
        revision,
        occurred_at: now,
        marks: v1::Marks {
            public: Some(side),
            private: Some(v1::SideMarks::default()),
        },
        cause: v1::Cause::new(v1::Reason::Manual, now),
        change,
    };
    log.publish(&event, None, &nonce).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_of_many_megabytes_is_indexed_whole_in_memory_that_its_size_bounds() {
    let megabytes: usize = std::env::var(MEGABYTES).map_or(12, |text| text.parse().unwrap());
    let (nats, elastic, folder) = (Nats::start().await, Elastic::shared(), tempfile::tempdir().unwrap());
    let file = folder.path().join("bugstream.toml");
    std::fs::write(&file, configuration(&nats, &elastic, folder.path())).unwrap();
    let settings = Settings::load(Some(&file), |_| None, &[]).unwrap();
    let objects = Objects::open(&config::ObjectStore::read(&settings).unwrap()).unwrap();
    let broker = observer(&config::Nats::read(&settings).unwrap()).await;
    let log = Log::new(broker.jetstream.clone(), Clock::system());
    let repository: RepoName = "a/b".parse().unwrap();
    let events = megabytes * IN_A_MEGABYTE;
    let timeline = timeline(events);
    let size = timeline.len() as u64;
    download(&log, &objects, &repository.issue(1).unwrap(), timeline, events).await;
    download(&log, &objects, &repository.issue(2).unwrap(), "[]".to_owned(), 0).await;
    let port = bugstream_stack::ports::free().unwrap();
    let environment = BTreeMap::from([
        ("BUGSTREAM_CONFIG".to_owned(), file.display().to_string()),
        ("INDEXER_HEALTH_LISTEN".to_owned(), format!("127.0.0.1:{port}")),
    ]);
    let mut indexer = Service::start(Launch {
        name: "indexer",
        environment,
        health_port: port,
        log: folder.path().join("indexer.log"),
    })
    .unwrap();
    wait::until_true("both are indexed whole", LONG, async || {
        let count = async |alias: &str| {
            elastic.refresh().await;
            let path = format!("/{}/_count", elastic.name(alias));
            elastic.call(Method::GET, &path, None).await.1["count"].as_u64()
        };
        count("issues").await == Some(2) && count("timelines").await == Some(events as u64)
    })
    .await;
    let most = indexer.memory_high_water();
    eprintln!("{size} bytes of timeline: at most {most} bytes resident");
    assert!(most < 150_000_000 + 3 * size, "{most} bytes for a timeline of {size}");
    indexer.stop().await.unwrap();
}
