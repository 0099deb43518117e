//! The benches over a mirror run and say everything they should. How fast anything is, is no matter of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bugstream_kit::broker::Broker;
use bugstream_kit::config::Nats as NatsConfig;
use bugstream_kit::consume::{self, Handler, Lease, Outcome, Received};
use bugstream_kit::service::Context;
use bugstream_proto::Lane;
use bugstream_proto::topology::{self, Start};
use bugstream_testkit::bench::corpus::Store;
use bugstream_testkit::bench::{latency, memory, rebuild, replay};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::minio::Minio;
use bugstream_testkit::nats::Nats;
use serde_json::Value;
use tokio::sync::Notify;

use crate::in_order;

const SPREAD: [&str; 3] = ["lowest", "median", "highest"];

/// What a bench over a mirror needs; all of it goes away with this.
struct Parts {
    nats: Nats,
    elastic: Elastic,
    folder: tempfile::TempDir,
}

impl Parts {
    async fn start() -> Self {
        Self {
            nats: Nats::start().await,
            elastic: Elastic::shared(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn servers(&self, store: Option<Store>) -> rebuild::Servers {
        let folder = self.folder.path();
        rebuild::Servers {
            nats_url: self.nats.url(),
            elastic: self.elastic.node().to_owned(),
            prefix: self.elastic.prefix().to_owned(),
            store: store.unwrap_or_else(|| Store::Folder(folder.join("objects"))),
            folder: folder.to_owned(),
            processes: Vec::new(),
            processors: rebuild::Processors {
                all: 1,
                elasticsearch: 1,
            },
        }
    }
}

fn json(report: &impl serde::Serialize) -> Value {
    serde_json::to_value(report).expect("a report is JSON")
}

const FEW: rebuild::Options = rebuild::Options {
    issues: 40,
    rounds: 1,
    connections: 2,
    bulk_bytes: 200_000,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_writes_what_the_raw_load_writes_and_both_have_a_time() {
    let parts = Parts::start().await;
    let report = rebuild::run(FEW, &parts.servers(None), |_| {}).await.expect("a report");
    let report = json(&report);
    assert_eq!(
        (&report["bench"], &report["store"]),
        (&"rebuild".into(), &"folder".into())
    );
    assert_eq!(report["mirror"]["issues"], 40);
    let (documents, events) = (
        report["documents"].as_u64(),
        report["mirror"]["timeline_events"].as_u64(),
    );
    assert!(documents >= events.map(|events| events + 40), "{report}");
    for way in ["rebuild", "raw_bulk"] {
        for figure in ["seconds", "documents_per_second", "bulks"] {
            in_order(&report[way][figure], SPREAD);
        }
    }
    in_order(&report["ratio"], SPREAD);
    in_order(&report["memory_mb"], SPREAD);
    assert!(report["met"].is_boolean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_an_s3_store_is_measured_as_well() {
    let (parts, minio) = (Parts::start().await, Minio::shared().await);
    let servers = parts.servers(Some(Store::S3(minio.bucket())));
    let report = rebuild::run(FEW, &servers, |_| {}).await.expect("a report");
    assert_eq!(json(&report)["store"], "s3");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_told_of_indexer_and_rebuild() {
    let parts = Parts::start().await;
    let options = memory::Options {
        few: 20,
        many: 60,
        connections: 2,
        bulk_bytes: 200_000,
    };
    let report = memory::run(options, &parts.servers(None), |_| {})
        .await
        .expect("a report");
    let report = json(&report);
    for program in ["indexer", "rebuild"] {
        let mb = |name: &str| report[program][name].as_f64().expect("a number");
        assert!(
            mb("few_mb") > 5.0 && mb("many_mb") > 5.0 && mb("growth") > 0.1,
            "{report}"
        );
    }
}

struct Nothing(AtomicU64, Notify, u64);

impl Handler for Nothing {
    async fn handle(&self, _: &Received, _: &Lease) -> Outcome {
        if self.0.fetch_add(1, Ordering::Relaxed) + 1 == self.2 {
            self.1.notify_one();
        }
        Outcome::Done
    }
}

/// As the program that the real bench starts.
async fn replayed(nats_url: &str, events: u64) -> anyhow::Result<Duration> {
    let context = Context::new("replay");
    let nats = NatsConfig {
        url: nats_url.to_owned(),
        ..NatsConfig::default()
    };
    let broker = Broker::connect(&nats, &context).await?;
    let handler = Arc::new(Nothing(AtomicU64::new(0), Notify::new(), events));
    let options = consume::Options::new(topology::rebuild(Start::NewestOfEach), 16, Lane::Index);
    let begin = Instant::now();
    let consuming = Box::pin(consume::consume(&broker, options, Arc::clone(&handler), &context));
    let all = async {
        handler.1.notified().await;
        context.stop.soft();
        begin.elapsed()
    };
    let (consumed, took) = tokio::join!(consuming, all);
    consumed.map(|()| took).context("the loop")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_consumers_handle_and_ack_every_event() {
    let nats = Nats::start().await;
    let (options, servers) = (
        replay::Options { issues: 320, rounds: 1 },
        replay::Servers {
            nats_url: nats.url(),
            processes: Vec::new(),
        },
    );
    let report = replay::run(options, &servers, replayed, |_| {})
        .await
        .expect("a report");
    let report = json(&report);
    for figure in ["events_per_second", "bare_events_per_second", "ratio"] {
        in_order(&report[figure], SPREAD);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_found_some_time_after_its_debounce() {
    let options = latency::Options {
        at_rest: 2,
        under_load: 4,
        per_second: 2,
    };
    let report = latency::run(options, Elastic::shared(), |_| {})
        .await
        .expect("a report");
    let report = json(&report);
    for load in ["at_rest", "under_load"] {
        in_order(&report[load], ["p50_ms", "p99_ms", "highest_ms"]);
    }
}
