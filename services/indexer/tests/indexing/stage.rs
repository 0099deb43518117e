//! What the tests share: an installation of its own on the shared Elasticsearch, and a running indexer that follows a
//! log which the test writes as the downloader would.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bugstream_archive::names::Names;
use bugstream_archive::{Archived, Marks, Rules};
use bugstream_indexer::bulk::{Batch, Bulker, Options, Written};
use bugstream_indexer::config::{Config, Indexer};
use bugstream_indexer::indices::{IndexError, Indices};
use bugstream_kit::broker::Broker;
use bugstream_kit::chance::Chance;
use bugstream_kit::config::{self, Compression, Elasticsearch, ObjectStore, Repositories, Repository};
use bugstream_kit::elastic::Transport;
use bugstream_kit::log::{Log, Logged};
use bugstream_kit::objects::Objects;
use bugstream_kit::service::Context;
use bugstream_proto::message::{Change, Downloaded};
use bugstream_proto::{Event, IssueId, Part, topology, v1};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::nats::Nats;
use bugstream_testkit::queues::Queues;
use bugstream_testkit::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How long anything here may take; the machine may be busy with other tests, and stand still for seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// An installation on the shared Elasticsearch, without a service.
pub(crate) struct Installation {
    pub(crate) elastic: Elastic,
    pub(crate) indices: Arc<Indices>,
    pub(crate) bulker: Bulker,
    _senders: JoinSet<anyhow::Result<()>>,
}

pub(crate) fn transport(node: &str) -> Transport {
    let config = Elasticsearch {
        node: node.to_owned(),
        ..Elasticsearch::default()
    };
    bugstream_kit::elastic::transport(&config).unwrap()
}

impl Installation {
    pub(crate) fn new() -> Self {
        let elastic = Elastic::shared();
        let transport = transport(elastic.node());
        let names = Names::new(elastic.prefix()).unwrap();
        let indices = Arc::new(Indices::new(transport.clone(), names, Some(0), "test".to_owned()));
        let options = Options {
            connections: 2,
            bytes: 5_000_000,
            in_flight: 64_000_000,
        };
        let (bulker, senders) = Bulker::new(transport, Arc::clone(&indices), options, Chance::seeded(1));
        let mut running = JoinSet::new();
        running.spawn(senders.run());
        Self {
            elastic,
            indices,
            bulker,
            _senders: running,
        }
    }

    /// What another indexer of this installation does at its start.
    pub(crate) async fn ensure_beside(&self) -> Result<(), IndexError> {
        let names = self.indices.names().clone();
        Indices::new(transport(self.elastic.node()), names, Some(0), "test".to_owned())
            .ensure()
            .await
    }

    /// Writes documents through an alias named without prefix.
    pub(crate) async fn write(&self, alias: &str, documents: &[(&str, u64, Value)]) -> Vec<Written> {
        let alias = self.elastic.name(alias);
        let mut batch = Batch::default();
        for (id, version, document) in documents {
            batch.push(&alias, id, *version, |out| {
                serde_json::to_writer(out, document).unwrap()
            });
        }
        self.bulker.write(batch).await.unwrap()
    }
}

/// Ids of the documents that a query finds, sorted.
pub(crate) async fn ids(elastic: &Elastic, target: &str, query: Value) -> Vec<String> {
    let mut ids: Vec<String> = elastic
        .hits(target, query)
        .await
        .iter()
        .map(|hit| hit["_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

/// An object that cannot be read.
pub(crate) struct Held {
    file: PathBuf,
    aside: PathBuf,
}

impl Held {
    pub(crate) fn let_go(self) {
        std::fs::rename(self.aside, self.file).unwrap();
    }
}

/// A running indexer with its own broker, object store and prefix.
pub(crate) struct Stage {
    pub(crate) elastic: Elastic,
    pub(crate) nats: Nats,
    pub(crate) broker: Broker,
    pub(crate) objects: Objects,
    pub(crate) log: Log,
    pub(crate) context: Context,
    pub(crate) config: Config,
    service: JoinSet<anyhow::Result<()>>,
    store: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let elastic = Elastic::shared();
        let node = elastic.node().to_owned();
        let mut stage = Self::prepare(elastic, &node).await;
        stage.follow();
        stage
    }

    /// Everything but the indexer; it will look for Elasticsearch at `node`.
    pub(crate) async fn prepare(elastic: Elastic, node: &str) -> Self {
        let nats = Nats::start().await;
        let store = tempfile::tempdir().unwrap();
        let context = Context::new("indexer");
        let config = configuration(&nats, &elastic, node, store.path());
        let broker = Broker::connect(&config.nats, &Context::new("test")).await.unwrap();
        let objects = Objects::open(&config.object_store).unwrap();
        let log = Log::new(broker.jetstream.clone(), context.clock.clone());
        let service = JoinSet::new();
        Self {
            elastic,
            nats,
            broker,
            objects,
            log,
            context,
            config,
            service,
            store,
        }
    }

    pub(crate) fn follow(&mut self) {
        self.service
            .spawn(bugstream_indexer::run(self.config.clone(), self.context.clone()));
    }

    /// Stops the service and starts it again with another configuration.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&mut Config)) {
        self.context.stop.soft();
        self.service
            .join_next()
            .await
            .expect("it was started")
            .unwrap()
            .unwrap();
        change(&mut self.config);
        self.context = Context::new("indexer");
        self.follow();
    }

    /// Stops the service, which must not have failed.
    pub(crate) async fn stop(mut self) {
        self.context.stop.soft();
        while let Some(ended) = self.service.join_next().await {
            ended.unwrap().unwrap();
        }
    }

    /// Stores a download and publishes its event, as the downloader does; answers the event's revision.
    pub(crate) async fn download(&self, issue: &IssueId, raw: &Value, timeline: &[Value]) -> u64 {
        let (raw, timeline) = (serde_json::to_vec(raw).unwrap(), serde_json::to_vec(timeline).unwrap());
        self.download_raw(issue, raw, timeline).await
    }

    /// The same with bytes as they may be.
    pub(crate) async fn download_raw(&self, issue: &IssueId, raw: Vec<u8>, timeline: Vec<u8>) -> u64 {
        let newest = self.log.newest(issue).await.unwrap();
        let (revision, marks, change) = self.store(issue, newest.as_ref(), raw, timeline).await;
        self.publish(issue, newest.as_ref(), revision, marks, change).await
    }

    /// The first download of an issue, whose objects are gone before anybody hears of it.
    pub(crate) async fn download_and_lose(&self, issue: &IssueId, raw: &Value) {
        let (raw, timeline) = (serde_json::to_vec(raw).unwrap(), b"[]".to_vec());
        let (revision, marks, change) = self.store(issue, None, raw, timeline).await;
        self.objects.purge_below(issue, revision + 1).await.unwrap();
        self.publish(issue, None, revision, marks, change).await;
    }

    async fn store(
        &self,
        issue: &IssueId,
        newest: Option<&Logged>,
        raw: Vec<u8>,
        timeline: Vec<u8>,
    ) -> (u64, Marks, Change) {
        let archived = Archived::parse(&raw, &timeline).unwrap();
        let (timeline_events, marks) = (archived.timeline().len() as u32, archived.classify(&rules()));
        let marks = past(newest).grow(&marks);
        let (revision, nonce) = (self.log.next_revision(newest), self.context.chance.nonce());
        let put = |part, bytes: Vec<u8>| self.objects.put(issue, revision, &nonce, part, bytes.into());
        let change = Change::Downloaded(Downloaded {
            issue: put(Part::Issue, raw).await.unwrap(),
            timeline: put(Part::Timeline, timeline).await.unwrap(),
            timeline_events,
        });
        (revision, marks, change)
    }

    pub(crate) async fn delete(&self, issue: &IssueId) -> u64 {
        let newest = self.log.newest(issue).await.unwrap();
        let revision = self.log.next_revision(newest.as_ref());
        self.publish(
            issue,
            newest.as_ref(),
            revision,
            past(newest.as_ref()),
            Change::Deleted(v1::IssueDeleted::default()),
        )
        .await
    }

    pub(crate) async fn publish(
        &self,
        issue: &IssueId,
        newest: Option<&Logged>,
        revision: u64,
        marks: Marks,
        change: Change,
    ) -> u64 {
        let occurred_at = self.context.clock.now();
        let cause = v1::Cause::new(v1::Reason::Manual, occurred_at);
        let event = Event {
            issue: issue.clone(),
            revision,
            occurred_at,
            marks: marks.into(),
            cause,
            change,
        };
        self.log
            .publish(&event, newest, &self.context.chance.nonce())
            .await
            .unwrap();
        revision
    }

    /// Waits until the log has an event of the issue beyond that revision.
    pub(crate) async fn published_after(&self, issue: &IssueId, revision: u64) {
        wait::until_true("a newer event", PATIENCE, async || {
            let newest = self.log.newest(issue).await.unwrap();
            newest.is_some_and(|newest| newest.event.revision > revision)
        })
        .await;
    }

    /// Waits until nothing of the log or the requests is unacknowledged. A rebuild that was killed may have left a pause,
    /// and a dead process messages, for a minute each.
    pub(crate) async fn settled(&self) {
        wait::until_true("the indexer to be done", 2 * PATIENCE, async || {
            let look = self.undone().await;
            // Twice the same: what moved from one stream to the other between the two would have been counted in neither.
            matches!(look, Some((0, _))) && look == self.undone().await
        })
        .await;
    }

    /// How many requests, scheduled ones too, and events are not acknowledged; and where both streams end.
    async fn undone(&self) -> Option<(u64, [u64; 2])> {
        let jetstream = &self.broker.jetstream;
        let requests = jetstream
            .get_stream(topology::INDEXING)
            .await
            .ok()?
            .cached_info()
            .state
            .clone();
        let (events, end) = Queues::new(jetstream.clone()).events().await?;
        Some((requests.messages + events, [requests.last_sequence, end]))
    }

    /// Waits until the server knows that whoever rebuilt and was dropped is gone: whoever asks before is told that another
    /// rebuild is at work.
    pub(crate) async fn nobody_rebuilds(&self) {
        let records = self.broker.jetstream.get_key_value(topology::WATERMARKS).await.unwrap();
        let record = records.get("rebuild").await.unwrap().expect("somebody took the turn");
        let record: Value = serde_json::from_slice(&record).unwrap();
        let Some(holder) = record["holder"].as_str() else {
            return;
        };
        wait::until_true("nobody to answer for the rebuild", PATIENCE, async || {
            let asked = self.broker.client.request(holder.to_owned(), "".into()).await;
            asked.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders)
        })
        .await;
    }

    /// Keeps the newest download of an issue from being read, as a store does that is away: no rebuild can end before it is
    /// let go.
    pub(crate) async fn hold(&self, issue: &IssueId) -> Held {
        let newest = self.log.newest(issue).await.unwrap().unwrap();
        let file = self.store.path().join(&newest.event.objects()[0].key);
        let aside = file.with_extension("aside");
        std::fs::rename(&file, &aside).unwrap();
        // A link to itself is neither a file nor missing.
        std::os::unix::fs::symlink(&file, &file).unwrap();
        Held { file, aside }
    }

    /// The revision that a document is visible at, through an alias named without prefix.
    pub(crate) async fn visible(&self, alias: &str) -> Vec<(String, u64)> {
        let hits = self.elastic.hits(alias, json!({"match_all": {}})).await;
        let mut visible: Vec<(String, u64)> = hits
            .iter()
            .map(|hit| {
                (
                    hit["_id"].as_str().unwrap().to_owned(),
                    hit["_source"]["bugstream"]["revision"].as_u64().unwrap(),
                )
            })
            .collect();
        visible.sort();
        visible
    }

    /// Every document behind an alias, by id.
    pub(crate) async fn sources(&self, alias: &str) -> BTreeMap<String, Value> {
        let hits = self.elastic.hits(alias, json!({"match_all": {}})).await;
        let mut sources = BTreeMap::new();
        for mut hit in hits {
            sources.insert(hit["_id"].as_str().unwrap().to_owned(), hit["_source"].take());
        }
        sources
    }

    /// The object `bugstream` of an issue's document: the rest may be what no parser here takes.
    pub(crate) async fn additions(&self, number: u64) -> Value {
        self.elastic.refresh().await;
        let path = format!("/{}/_search", self.elastic.name("issues"));
        let body = json!({"query": {"term": {"bug_number": number}}, "_source": ["bugstream"]});
        let (_, mut found) = self.elastic.call(http::Method::POST, &path, Some(&body)).await;
        found["hits"]["hits"][0]["_source"]["bugstream"].take()
    }

    pub(crate) async fn dead_letters(&self) -> Vec<v1::DeadLetter> {
        use prost::Message as _;
        let stream = self.broker.jetstream.get_stream(topology::DEAD_LETTERS).await.unwrap();
        let mut letters = Vec::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            letters.push(v1::DeadLetter::decode(message.payload).unwrap());
        }
        letters
    }
}

pub(crate) fn past(newest: Option<&Logged>) -> Marks {
    newest.map_or(Marks::default(), |newest| Marks::from(&newest.event.marks))
}

pub(crate) fn issue(number: u64) -> IssueId {
    rules().repository.issue(number).unwrap()
}

/// An ordinary issue.
pub(crate) fn raw(number: u64, title: &str) -> Value {
    json!({"number": number, "id": number + 1000, "title": title, "body": "Steps to reproduce", "state": "open",
        "labels": [{"name": "browser-firefox", "id": 3}], "user": {"login": "Ann", "id": 5}, "created_at": "2024-05-01T10:00:00Z"})
}

pub(crate) fn commented(id: u64) -> Value {
    json!({"event": "commented", "id": id, "actor": {"login": "Bob"}, "body": "I can see that too",
        "created_at": "2024-05-02T10:00:00Z"})
}

/// An event that only readers of the private side may see.
pub(crate) fn mentioned_in_private() -> Value {
    json!({"event": "cross-referenced", "created_at": "2024-05-03T10:00:00Z", "source": {"type": "issue", "issue": {
        "number": 7, "title": "The real title", "body": "The real body",
        "repository": {"full_name": "demo/web-bugs-private", "private": true},
        "url": "https://api.github.com/repos/demo/web-bugs-private/issues/7"}}})
}

pub(crate) fn rules() -> Rules {
    Rules {
        repository: "demo/web-bugs".parse().unwrap(),
        private_partner: Some("demo/web-bugs-private".parse().unwrap()),
        public: BTreeSet::new(),
    }
}

fn configuration(nats: &Nats, elastic: &Elastic, node: &str, store: &std::path::Path) -> Config {
    let Rules {
        repository,
        private_partner,
        ..
    } = rules();
    let url = format!("file://{}", store.display()).parse().unwrap();
    Config {
        nats: config::Nats {
            url: nats.url(),
            ..config::Nats::default()
        },
        object_store: ObjectStore {
            url,
            compression: Compression::None,
            s3: config::S3::default(),
        },
        elasticsearch: Elasticsearch {
            node: node.to_owned(),
            prefix: elastic.prefix().to_owned(),
            ..Elasticsearch::default()
        },
        repositories: Repositories(vec![Repository {
            name: repository,
            private: private_partner,
            public: Vec::new(),
            credentials: None,
        }]),
        indexer: Indexer {
            health_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            replicas: Some(0),
            ..Indexer::default()
        },
    }
}
