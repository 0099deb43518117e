//! One pipeline for one test: real NATS and Elasticsearch, a simulated GitHub, every service in this process.
//!
//! Services read a real `bugstream.toml`, so the tests go through the configuration as an operator's start does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bugstream_kit::broker::Broker;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::{self, Settings};
use bugstream_kit::health::Health;
use bugstream_kit::objects::Objects;
use bugstream_kit::service::Context;
use bugstream_proto::{ObjectKey, RepoName, topology};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Delivery, Options, Simulator, Webhook};
use bugstream_testkit::minio::{Bucket, Minio};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::queues::Queues;
use bugstream_testkit::{rig, wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How long anything may take here. Debounces are a second; a busy machine takes its time.
pub(crate) const SOON: Duration = Duration::from_secs(180);
/// For a test that counts requests to GitHub, as [`Play::extra`]: nothing but what was asked for is downloaded.
pub(crate) const ONLY_WHEN_ASKED: &str = "sweep_interval_s = 0\ndeliveries_interval_s = 0\naudit_round_s = 0\n";
/// The webhook's secret.
pub(crate) const SECRET: &str = "it is a secret to everybody";

/// Where the raw JSON lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Store {
    /// In a local directory.
    #[default]
    Directory,
    /// In a bucket of a real S3 server.
    S3,
}

/// How a stage differs from the usual one.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    /// Issues of the seed.
    pub(crate) issues: u64,
    /// Quiet seconds.
    pub(crate) inactivity_delay_s: u64,
    /// The longest wait in seconds.
    pub(crate) longest_wait_s: u64,
    /// Receivers side by side.
    pub(crate) receivers: usize,
    /// The object store.
    pub(crate) store: Store,
    /// The clock of every service.
    pub(crate) clock: Clock,
    /// More lines for `[downloader]`, and tables behind it.
    pub(crate) extra: String,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            issues: 20,
            inactivity_delay_s: 1,
            longest_wait_s: 20,
            receivers: 1,
            store: Store::default(),
            clock: Clock::system(),
            extra: String::new(),
        }
    }
}

/// A running pipeline. Dropping it stops everything; [`Stage::stop`] also checks how it ended.
pub(crate) struct Stage {
    pub(crate) github: Simulator,
    pub(crate) elastic: Elastic,
    pub(crate) nats: Nats,
    pub(crate) broker: Broker,
    /// Addresses of the receivers' webhook endpoint.
    pub(crate) receivers: Vec<String>,
    pub(crate) http: reqwest::Client,
    pub(crate) repo: RepoName,
    /// Path of the configuration file.
    pub(crate) config: PathBuf,
    /// The S3 server, with [`Store::S3`].
    pub(crate) minio: Option<Minio>,
    /// What the indexer says of itself.
    pub(crate) indexer: Health,
    pub(crate) objects: Objects,
    clock: Clock,
    services: JoinSet<anyhow::Result<()>>,
    stops: Vec<bugstream_kit::service::Stop>,
    _dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn set(play: Play) -> Self {
        let elastic = Elastic::shared();
        let node = format!("node = '{}'", elastic.node());
        Self::set_before(play, elastic, &node).await
    }

    /// With another Elasticsearch, which services are told of by `keys` of `[elasticsearch]`.
    pub(crate) async fn set_before(play: Play, elastic: Elastic, keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nats = Nats::start().await;
        let github = Simulator::start(Options {
            issues: play.issues,
            ..Options::default()
        })
        .await
        .unwrap();
        let minio = match play.store {
            Store::Directory => None,
            Store::S3 => Some(Minio::start().await),
        };
        let store = match &minio {
            None => format!("url = '{}'", dir.path().join("objects").display()),
            Some(minio) => bucket(&minio.bucket()),
        };
        let config = dir.path().join("bugstream.toml");
        std::fs::write(&config, configuration(&play, &nats, &elastic, keys, &github, &store)).unwrap();
        let settings = settings(&config);
        let objects = Objects::open(&config::ObjectStore::read(&settings).unwrap()).unwrap();
        let broker = observer(&config::Nats::read(&settings).unwrap()).await;
        let repo: RepoName = github.repository().parse().unwrap();
        let http = reqwest::Client::new();
        let (services, stops) = (JoinSet::new(), Vec::new());
        let receivers = Vec::new();
        let mut stage = Self {
            github,
            elastic,
            nats,
            broker,
            receivers,
            http,
            repo,
            config,
            minio,
            indexer: Health::default(),
            objects,
            clock: play.clock,
            services,
            stops,
            _dir: dir,
        };
        stage.start_all(play.receivers).await;
        stage
    }

    async fn start_all(&mut self, receivers: usize) {
        for _ in 0..receivers {
            self.start_receiver().await;
        }
        self.start_downloader();
        self.start_indexer();
        let hook = Webhook {
            url: self.receivers[0].clone(),
            secret: SECRET.to_owned(),
        };
        self.github.set_webhook(Some(hook));
        let contexts: Vec<_> = self.receivers.clone();
        for url in contexts {
            let ready = url.replace("/github/receive", "/readyz");
            let http = self.http.clone();
            wait::until_true("the receiver is ready", SOON, || {
                let get = http.get(&ready).send();
                async move { get.await.is_ok_and(|answer| answer.status().is_success()) }
            })
            .await;
        }
    }

    async fn start_receiver(&mut self) {
        let config = bugstream_webhook_receiver::Config::read(&settings(&self.config)).unwrap();
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        self.receivers
            .push(format!("http://{}/github/receive", listener.local_addr().unwrap()));
        let context = self.context("webhook-receiver");
        self.services
            .spawn(bugstream_webhook_receiver::run_on(listener, config, context));
    }

    fn start_downloader(&mut self) {
        let config = bugstream_downloader::Config::read(&settings(&self.config)).unwrap();
        let context = self.context("downloader");
        self.run(move || bugstream_downloader::run(config, context));
    }

    fn start_indexer(&mut self) {
        let config = bugstream_indexer::config::Config::read(&settings(&self.config)).unwrap();
        let context = self.context("indexer");
        self.indexer = context.health.clone();
        self.run(move || bugstream_indexer::run(config, context));
    }

    /// A service drives its own future, as its `main` does.
    fn run<R, F>(&mut self, service: R)
    where
        R: FnOnce() -> F + Send + 'static,
        F: Future<Output = anyhow::Result<()>>,
    {
        let runtime = tokio::runtime::Handle::current();
        self.services.spawn_blocking(move || runtime.block_on(service()));
    }

    fn context(&mut self, service: &'static str) -> Context {
        let context = Context {
            clock: self.clock.clone(),
            ..Context::new(service)
        };
        self.stops.push(context.stop.clone());
        context
    }

    /// Stops every service softly and checks that none ended with an error, that nothing waits, and nothing died.
    pub(crate) async fn stop(mut self) {
        self.drained().await;
        assert_eq!(self.dead_letters().await, 0, "nothing became a dead letter");
        for stop in &self.stops {
            stop.soft();
        }
        while let Some(ended) = self.services.join_next().await {
            ended
                .expect("no service panicked")
                .expect("no service ended with an error");
        }
    }

    /// Edits an issue; returns when the receiver has taken every webhook of it.
    pub(crate) async fn edit(&self, number: u64, changes: impl IntoIterator<Item = Change>) {
        let deliveries = self.github.edit(number, changes).await.unwrap();
        self.taken(&deliveries).await;
    }

    /// Sees to it that the receiver takes all of these, however often GitHub has to send them.
    pub(crate) async fn taken(&self, deliveries: &[Delivery]) {
        rig::taken(&self.github, deliveries, SOON).await;
    }

    /// Runs queue-cli in a process of its own and returns its standard output.
    pub(crate) async fn queue_cli(&self, arguments: &[&str]) -> String {
        let output = self.queue_cli_output(arguments).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "queue-cli {arguments:?}: {out}{err}");
        out.into_owned()
    }

    pub(crate) async fn queue_cli_output(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = tokio::process::Command::new(queue_cli_binary());
        command
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .env_remove("BUGSTREAM_CONFIG");
        command.output().await.unwrap()
    }

    /// Publishes as `nats pub SUBJECT TEXT` does.
    pub(crate) async fn nats_pub(&self, subject: &str, text: &str) {
        self.nats.publish_by_hand(subject, text).await.unwrap();
    }

    /// Documents behind an alias that match a query, by id, as an analyst or an anonymous reader would find them.
    pub(crate) async fn search(&self, alias: &str, query: Value) -> BTreeMap<String, Value> {
        let hits = self.elastic.hits(alias, query).await;
        hits.into_iter()
            .map(|hit| (hit["_id"].as_str().unwrap().to_owned(), hit["_source"].clone()))
            .collect()
    }

    /// Everything of one issue behind an alias.
    pub(crate) async fn documents(&self, alias: &str, number: u64) -> BTreeMap<String, Value> {
        self.search(alias, json!({"term": {"bug_number": number}})).await
    }

    /// The one document of an issue in `issues`.
    pub(crate) async fn issue_document(&self, number: u64) -> Option<Value> {
        self.documents("issues", number).await.into_values().next()
    }

    /// Waits until the issue document has this title.
    pub(crate) async fn titled(&self, number: u64, title: &str) {
        wait::until_true(
            &format!("issue {number} is found with title {title:?}"),
            SOON,
            || async {
                self.issue_document(number)
                    .await
                    .is_some_and(|document| document["title"] == title)
            },
        )
        .await;
    }

    /// Waits until issue and timeline are searchable exactly as GitHub has them, on the side where they belong.
    pub(crate) async fn equals_github(&self, number: u64) {
        wait::until_true(
            &format!("issue {number} is searchable as GitHub has it"),
            SOON,
            || async { self.difference(number).await.is_none() },
        )
        .await;
    }

    /// The first difference between GitHub and what is searchable for an issue.
    pub(crate) async fn difference(&self, number: u64) -> Option<String> {
        let (Some(issue), Some(timeline)) = (self.github.issue(number), self.github.timeline(number)) else {
            let left = [
                self.documents("issues", number).await,
                self.documents("timelines", number).await,
            ]
            .concat_len();
            return (left > 0).then(|| format!("{left} documents of an issue that is gone"));
        };
        let Some(document) = self.issue_document(number).await else {
            return Some("no document".to_owned());
        };
        let private = document["__WEBCOMPAT_PRIVATE_ISSUE__"] == true;
        let fields: &[&str] = if private {
            &["updated_at", "state"]
        } else {
            &["title", "body", "updated_at", "state"]
        };
        if let Some(field) = fields.iter().find(|field| document[**field] != issue[**field]) {
            return Some(format!("{field}: {} is not {}", document[*field], issue[*field]));
        }
        let found = self.documents("timelines", number).await;
        if found.len() != timeline.len() {
            return Some(format!("{} timeline events of {}", found.len(), timeline.len()));
        }
        let wrong = timeline.iter().enumerate().find(|(position, event)| {
            let id = format!("{}/{number}/{position}", self.repo);
            found
                .get(&id)
                .is_none_or(|document| document["event"] != event["event"] || document["id"] != event["id"])
        });
        wrong.map(|(position, _)| format!("timeline position {position}"))
    }

    /// Waits until no request waits or is scheduled and every event is indexed.
    ///
    /// The queues are asked one after another, and work goes from each to each: so all of them must have been empty twice
    /// with nothing published in between.
    pub(crate) async fn drained(&self) {
        let mut before = self.pending().await;
        wait::until_true("every queue is empty", SOON, async || {
            let now = self.pending().await;
            let before = std::mem::replace(&mut before, now);
            before == now && now.0 == 0
        })
        .await;
    }

    /// How many messages wait, and how many were ever published to each stream.
    async fn pending(&self) -> (u64, [u64; 3]) {
        let js = &self.broker.jetstream;
        let (mut pending, mut published) = (0, [0; 3]);
        let streams = [topology::DOWNLOADS, topology::INDEXING, topology::ISSUES];
        for (stream, published) in streams.into_iter().zip(&mut published) {
            let state = js.get_stream(stream).await.unwrap().cached_info().state.clone();
            *published = state.last_sequence;
            pending += if stream == topology::ISSUES { 0 } else { state.messages };
        }
        let (events, _) = Queues::new(js.clone()).events().await.unwrap();
        (pending + events, published)
    }

    /// How many messages of a consumer were delivered more than once and are not done yet.
    pub(crate) async fn redelivered(&self, spec: topology::ConsumerSpec) -> usize {
        let stream = self.broker.jetstream.get_stream(spec.stream).await.unwrap();
        stream.consumer_info(spec.name).await.unwrap().num_redelivered
    }

    pub(crate) async fn dead_letters(&self) -> u64 {
        self.broker
            .jetstream
            .get_stream(topology::DEAD_LETTERS)
            .await
            .unwrap()
            .cached_info()
            .state
            .messages
    }

    /// Every object whose key belongs to an issue.
    pub(crate) async fn objects_of(&self, number: u64) -> Vec<ObjectKey> {
        self.objects.keys(&self.repo.issue(number).unwrap()).await.unwrap()
    }

    /// Downloads that GitHub has served for an issue: requests for the issue itself.
    pub(crate) fn downloads_of(&self, number: u64) -> u64 {
        self.github
            .requests()
            .count(bugstream_testkit::github::Route::Issue, number)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for stop in &self.stops {
            stop.hard();
        }
    }
}

trait ConcatLen {
    fn concat_len(self) -> usize;
}

impl<const N: usize> ConcatLen for [BTreeMap<String, Value>; N] {
    fn concat_len(self) -> usize {
        self.iter().map(BTreeMap::len).sum()
    }
}

/// A connection of the test's own, once the server has taken the streams; it is more patient than the services'.
pub(crate) async fn observer(config: &config::Nats) -> Broker {
    let connect = async || Broker::connect_once(config, "test").await.ok();
    let mut broker = wait::until("the broker takes the streams", SOON, connect).await;
    broker.jetstream.set_timeout(SOON);
    broker
}

fn settings(config: &std::path::Path) -> Settings {
    Settings::load(Some(config), |_| None, &[]).unwrap()
}

fn configuration(play: &Play, nats: &Nats, elastic: &Elastic, keys: &str, github: &Simulator, store: &str) -> String {
    let Play {
        inactivity_delay_s,
        longest_wait_s,
        extra,
        ..
    } = play;
    let (repository, nats, prefix, api) = (github.repository(), nats.url(), elastic.prefix(), github.url());
    format!(
        "[nats]\nurl = '{nats}'\n[object_store]\n{store}\n[elasticsearch]\n{keys}\nprefix = '{prefix}'\n\
         [github]\napi_url = '{api}'\ntoken = 'a-token'\n[[repositories]]\nname = '{repository}'\nprivate = '{repository}-private'\n\
         [webhook_receiver]\nsecrets = ['{SECRET}']\ninactivity_delay_s = {inactivity_delay_s}\nlongest_wait_s = {longest_wait_s}\n\
         [indexer]\nhealth_listen = '127.0.0.1:0'\nreplicas = 0\n[downloader]\nhealth_listen = '127.0.0.1:0'\nconfirm_delay_s = 1\n{extra}"
    )
}

/// The keys of `[object_store]` that open a bucket.
fn bucket(bucket: &Bucket) -> String {
    let Bucket {
        url,
        endpoint,
        access_key_id,
        secret_access_key,
    } = bucket;
    format!(
        "url = '{url}/archive'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\naccess_key_id = '{access_key_id}'\n\
         secret_access_key = '{secret_access_key}'"
    )
}

/// The binary beside this test's: integration tests lie in `target/<profile>/deps`.
fn queue_cli_binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.ancestors().nth(2).unwrap().join("queue-cli");
    assert!(
        binary.exists(),
        "build it first: cargo build -p bugstream-queue-cli ({})",
        binary.display()
    );
    binary
}
