//! What the tests share: an installation of its own on the shared Elasticsearch, and a running indexer that follows a
//! log which the test writes as the downloader would.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
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
use bugstream_proto::{Event, IssueId, Part, v1};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How long anything here may take; the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
    _store: tempfile::TempDir,
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
            _store: store,
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
        let archived = Archived::parse(&raw, &timeline).unwrap();
        let (timeline_events, marks) = (archived.timeline().len() as u32, archived.classify(&rules()));
        let marks = past(newest.as_ref()).grow(&marks);
        let (revision, nonce) = (self.log.next_revision(newest.as_ref()), self.context.chance.nonce());
        let put = |part, bytes: Vec<u8>| self.objects.put(issue, revision, &nonce, part, bytes.into());
        let change = Change::Downloaded(Downloaded {
            issue: put(Part::Issue, raw).await.unwrap(),
            timeline: put(Part::Timeline, timeline).await.unwrap(),
            timeline_events,
        });
        self.publish(issue, newest.as_ref(), revision, marks, change).await
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
    /// which alone takes as long as other things may.
    pub(crate) async fn settled(&self) {
        wait::until_true("the indexer to be done", 2 * PATIENCE, async || {
            self.pending().await == Some(0)
        })
        .await;
    }

    /// Messages of the log and the requests that are not acknowledged.
    pub(crate) async fn pending(&self) -> Option<u64> {
        let mut pending = 0;
        for spec in [
            bugstream_proto::topology::INDEXER_REQUESTS,
            bugstream_proto::topology::INDEXER,
        ] {
            let stream = self.broker.jetstream.get_stream(spec.stream).await.ok()?;
            let mut consumer = stream
                .get_consumer::<async_nats::jetstream::consumer::pull::Config>(spec.name)
                .await
                .ok()?;
            let info = consumer.info().await.ok()?;
            pending += info.num_pending + info.num_ack_pending as u64;
        }
        Some(pending)
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
        let stream = self
            .broker
            .jetstream
            .get_stream(bugstream_proto::topology::DEAD_LETTERS)
            .await
            .unwrap();
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
