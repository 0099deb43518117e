//! A mirror of a simulated GitHub with the services that keep it, to be looked at and damaged.

use std::path::PathBuf;
use std::time::Duration;

use bugstream_kit::config::Settings;
use bugstream_kit::service::{Context, Stop};
use bugstream_proto::topology;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Options, Simulator};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::queues::Queues;
use bugstream_testkit::wait;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::operator::{Operator, Ran};

/// On a machine that stands still for seconds, where a message whose ack came late is delivered again half a minute later.
pub(crate) const SOON: Duration = Duration::from_secs(180);
pub(crate) const ISSUES: u64 = 20;

/// The end of a configuration whose downloader does nothing by itself, however long a test takes: a sweep after five
/// minutes would find what the test did to GitHub.
pub(crate) const ONLY_WHEN_ASKED: &str =
    "sweep_interval_s = 0\ndeliveries_interval_s = 0\naudit_round_s = 0\n[retention]\ncollect_interval_s = 0\n";

/// A mirror of a simulated GitHub with the services that keep it.
pub(crate) struct Mirror {
    pub(crate) github: Simulator,
    pub(crate) elastic: Elastic,
    pub(crate) nats: Nats,
    pub(crate) operator: Operator,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) services: JoinSet<anyhow::Result<()>>,
    pub(crate) stops: Vec<Stop>,
}

impl Mirror {
    /// Downloads every issue of a fresh GitHub; number 7 is private. Its downloader does only what it is asked for.
    pub(crate) async fn filled() -> Self {
        let mut mirror = Self::empty(ONLY_WHEN_ASKED).await;
        mirror.start();
        mirror.did("add-range download 1 20").await;
        mirror.drained().await;
        mirror.github.make_private(7).await.expect("there is a 7");
        mirror.did("add download 7").await;
        mirror.drained().await;
        mirror
    }

    /// Nothing is mirrored yet, and no service runs. `extra` goes on with the configuration, in the downloader's table.
    pub(crate) async fn empty(extra: &str) -> Self {
        let (nats, elastic) = (Nats::start().await, Elastic::shared());
        let options = Options {
            issues: ISSUES,
            ..Options::default()
        };
        let github = Simulator::start(options).await.expect("it starts");
        let dir = tempfile::tempdir().expect("a folder");
        let mirror = Self {
            operator: Operator::default().with(
                "BUGSTREAM_CONFIG",
                dir.path().join("bugstream.toml").display().to_string(),
            ),
            github,
            elastic,
            nats,
            dir,
            services: JoinSet::new(),
            stops: Vec::new(),
        };
        std::fs::write(mirror.dir.path().join("bugstream.toml"), mirror.configuration() + extra).expect("written");
        mirror
    }

    pub(crate) fn configuration(&self) -> String {
        let (name, api, nats) = (self.github.repository(), self.github.url(), self.nats.url());
        let (node, prefix, objects) = (
            self.elastic.node(),
            self.elastic.prefix(),
            self.dir.path().join("objects"),
        );
        let objects = objects.display();
        format!(
            "[nats]\nurl = '{nats}'\n[object_store]\nurl = '{objects}'\n[elasticsearch]\nnode = '{node}'\nprefix = '{prefix}'\n\
             [github]\napi_url = '{api}'\ntoken = 'a-token'\n[[repositories]]\nname = '{name}'\nprivate = '{name}-private'\n\
             [indexer]\nhealth_listen = '127.0.0.1:0'\nreplicas = 0\n[downloader]\nhealth_listen = '127.0.0.1:0'\nconfirm_delay_s = 1\n"
        )
    }

    pub(crate) fn start(&mut self) {
        let downloader = bugstream_downloader::Config::read(&self.settings()).expect("complete");
        let context = self.context("downloader");
        self.run(move || bugstream_downloader::run(downloader, context));
        self.start_indexer();
    }

    pub(crate) fn start_indexer(&mut self) {
        let indexer = bugstream_indexer::config::Config::read(&self.settings()).expect("complete");
        let context = self.context("indexer");
        self.run(move || bugstream_indexer::run(indexer, context));
    }

    fn settings(&self) -> Settings {
        Settings::load(Some(&self.dir.path().join("bugstream.toml")), |_| None, &[]).expect("well-formed")
    }

    pub(crate) fn context(&mut self, service: &'static str) -> Context {
        let context = Context::new(service);
        self.stops.push(context.stop.clone());
        context
    }

    /// A service drives its own future, as its `main` does.
    pub(crate) fn run<R, F>(&mut self, service: R)
    where
        R: FnOnce() -> F + Send + 'static,
        F: Future<Output = anyhow::Result<()>>,
    {
        let runtime = tokio::runtime::Handle::current();
        self.services.spawn_blocking(move || runtime.block_on(service()));
    }

    /// Waits until no request waits and every event is indexed.
    pub(crate) async fn drained(&self) {
        self.drained_within(SOON).await;
    }

    pub(crate) async fn drained_within(&self, deadline: Duration) {
        let jetstream = self.nats.jetstream().await;
        let queues = Queues::new(jetstream.clone());
        // What waits, and where the streams end.
        let look = async || {
            let (mut waits, mut ends) = (0, Vec::new());
            for queue in [topology::DOWNLOADS, topology::INDEXING] {
                let state = jetstream.get_stream(queue).await.ok()?.cached_info().state.clone();
                waits += state.messages;
                ends.push(state.last_sequence);
            }
            let (events, end) = queues.events().await?;
            ends.push(end);
            Some((waits + events, ends))
        };
        wait::until_true("every queue is empty", deadline, async || {
            let one = look().await;
            // Twice the same: what moved from one queue to another between the two would have been counted in neither.
            matches!(one, Some((0, _))) && one == look().await
        })
        .await;
    }

    pub(crate) async fn did(&self, line: &str) {
        let ran = self.operator.run(line).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
    }

    /// A `status` that finds nothing wrong: a downloader has to lead first, and leads no more for a moment when it stood
    /// still for longer than its lease.
    pub(crate) async fn healthy(&self, line: &str) -> Ran {
        let healthy = async || Some(self.operator.run(line).await).filter(|ran| ran.code == 0);
        wait::until("it is healthy", SOON, healthy).await
    }

    /// Exit code and result of a verification.
    pub(crate) async fn verify(&self, flags: &str) -> (i32, Value) {
        let Ran { code, out, err, .. } = self.operator.run(&format!("verify --output json {flags}")).await;
        (
            code,
            serde_json::from_str(&out).unwrap_or_else(|_| panic!("no result: {err}")),
        )
    }

    pub(crate) async fn is_clean(&self) {
        let (code, found) = self.verify("--against-github").await;
        assert_eq!(
            (code, &found["clean"], &found["total"]),
            (0, &json!(true), &json!(0)),
            "{found}"
        );
    }

    pub(crate) fn id(&self, rest: impl std::fmt::Display) -> String {
        format!("{}/{rest}", self.github.repository())
    }

    /// The document with that id on one side, as it is stored.
    pub(crate) async fn source(&self, index: &str, id: &str) -> Value {
        let hits = self.elastic.hits(index, json!({"ids": {"values": [id]}})).await;
        assert_eq!(hits.len(), 1, "{id} in {index}");
        hits[0]["_source"].clone()
    }

    /// Writes a document as a hand does, without a version.
    pub(crate) async fn put(&self, index: &str, id: &str, source: &Value) {
        let path = format!("/{}/_doc/{}", self.elastic.name(index), id.replace('/', "%2F"));
        let (status, answer) = self.elastic.call(Method::PUT, &path, Some(source)).await;
        assert!(status < 300, "{answer}");
    }

    /// Changes members of a document.
    pub(crate) async fn change(&self, index: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut source = self.source(index, id).await;
        change(&mut source);
        self.put(index, id, &source).await;
    }

    pub(crate) async fn remove(&self, index: &str, id: &str) {
        let path = format!("/{}/_doc/{}", self.elastic.name(index), id.replace('/', "%2F"));
        assert_eq!(self.elastic.call(Method::DELETE, &path, None).await.0, 200);
    }

    /// The stored files of an issue with that name.
    pub(crate) fn files(&self, number: u64, name: &str) -> Vec<PathBuf> {
        let root = self.dir.path().join("objects/issues").join(self.id(number));
        let revisions = std::fs::read_dir(root).into_iter().flatten().flatten();
        revisions
            .map(|revision| revision.path().join(name))
            .filter(|file| file.exists())
            .collect()
    }

    pub(crate) fn file(&self, number: u64, name: &str) -> PathBuf {
        self.files(number, name).pop().expect("stored")
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stops.iter().for_each(Stop::hard);
    }
}
