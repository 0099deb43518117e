//! One test's servers, its downloaders, and what they left behind.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Stream;
use bugstream_downloader::{Config, Freshness, run};
use bugstream_kit::broker::Broker;
use bugstream_kit::config::{self, Settings};
use bugstream_kit::deletions::Deletions;
use bugstream_kit::log::{Log, Logged};
use bugstream_kit::objects::Objects;
use bugstream_kit::requests::Requests;
use bugstream_kit::service::Context;
use bugstream_kit::watermarks::Watermarks;
use bugstream_proto::{Change, Downloaded, IssueId, RepoName, Verb, topology, v1};
use bugstream_testkit::github::{Options, Simulator};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use prost::Message as _;
use tokio::task::JoinSet;

/// Longer than anything here takes on a busy machine that stands still now and then, the ten seconds of a lease that
/// nobody gives back included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// How long the test's own questions to the broker may take. The services' five seconds would end a test in which the
/// server merely stood still.
const ANSWER: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) nats: Nats,
    pub(crate) github: Simulator,
    pub(crate) broker: Broker,
    pub(crate) log: Log,
    pub(crate) requests: Requests,
    pub(crate) deletions: Deletions,
    pub(crate) objects: Objects,
    folder: tempfile::TempDir,
}

/// A downloader that runs in this process.
pub(crate) struct Running {
    pub(crate) context: Context,
    task: JoinSet<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(mut self) {
        self.context.stop.soft();
        let ended = self.task.join_next().await.expect("it runs until it is stopped");
        ended.expect("no panic").expect("a stop that was asked for is no error");
    }

    /// Ends it without the two seconds that a soft stop takes. A panic before that would have ended it already.
    pub(crate) async fn end(mut self) {
        assert!(self.task.try_join_next().is_none(), "it still runs");
        self.task.shutdown().await;
    }

    /// Waits until it ends by itself, and says why.
    pub(crate) async fn failed(mut self) -> String {
        let ended = self.task.join_next().await.expect("it was started");
        format!("{:#}", ended.expect("no panic").expect_err("it cannot work"))
    }

    /// Ends it in the middle of whatever it does, as a crash would.
    pub(crate) async fn crash(mut self) {
        self.task.shutdown().await;
    }

    /// Waits until a part shows as away, and says why.
    pub(crate) async fn away(&self, part: &str) -> String {
        wait::until(&format!("{part} shows as away"), PATIENCE, || async {
            self.context.health.away().await.remove(part)
        })
        .await
    }

    pub(crate) async fn ready(&self) {
        wait::until_true("everything is ready", PATIENCE, || async {
            self.context.health.away().await.is_empty()
        })
        .await;
    }
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(Options::default()).await
    }

    pub(crate) async fn set_with(github: Options) -> Self {
        let nats = Nats::start().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let section = config::Nats {
            url: nats.url(),
            ..config::Nats::default()
        };
        let mut broker = Broker::connect_once(&section, "test").await.expect("the server is up");
        broker.jetstream = jetstream::ContextBuilder::new()
            .timeout(ANSWER)
            .build(broker.client.clone());
        let store = config::ObjectStore {
            url: url_of(&folder),
            compression: config::Compression::None,
            s3: config::S3::default(),
        };
        Self {
            github: Simulator::start(github).await.expect("a free port"),
            log: Log::new(broker.jetstream.clone(), Context::new("test").clock),
            requests: Requests::new(broker.jetstream.clone()),
            deletions: Deletions::open(&broker).await.expect("the bucket is there"),
            objects: Objects::open(&store).expect("a directory"),
            nats,
            broker,
            folder,
        }
    }

    pub(crate) fn store_directory(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    pub(crate) fn config(&self) -> Config {
        let store = self.store_directory().display().to_string();
        let environment = [
            ("NATS_URL", self.nats.url()),
            ("OBJECT_STORE_URL", store),
            ("GITHUB_API_URL", self.github.url()),
            ("GITHUB_ORG", "bugstream-demo".to_owned()),
            ("GITHUB_REPO_PUBLIC", "web-bugs".to_owned()),
            ("GITHUB_REPO_PRIVATE", "web-bugs-private".to_owned()),
            ("DOWNLOADER_HEALTH_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        let value = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
        let settings = Settings::load(None, value, &[]).expect("good settings");
        let config = Config::read(&settings).expect("a good configuration");
        Config {
            // Time enough for what a test does between the first sign and the second look.
            confirm_delay: Duration::from_secs(4),
            // Nobody asks but the test.
            freshness: Freshness {
                sweep: None,
                deliveries: None,
                audit_round: None,
                ..config.freshness
            },
            ..config
        }
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(self.config())
    }

    pub(crate) fn start_with(&self, config: Config) -> Running {
        Self::start_in(config, Context::new("downloader"))
    }

    pub(crate) fn start_in(config: Config, context: Context) -> Running {
        let mut task = JoinSet::new();
        task.spawn(run(config, context.clone()));
        Running { context, task }
    }

    /// The message of `nats pub`, which lies in its stream when this returns: without a PubAck the server may have read
    /// it and not stored it yet, and whoever looks then finds nothing to wait for.
    pub(crate) async fn publish(&self, subject: &str, payload: &'static str) {
        let sent = self.broker.jetstream.publish(subject.to_owned(), payload.into()).await;
        sent.expect("it is sent").await.expect("it is stored");
    }

    /// Queues an issue by hand.
    pub(crate) async fn queue(&self, number: u64) {
        let subject = format!("download.bugstream-demo.web-bugs.{number}");
        self.publish(&subject, "").await;
    }

    /// As the receiver does for a delivery that does not wait.
    pub(crate) async fn webhook(&self, number: u64, action: &str) {
        let delivery = v1::Delivery {
            hook_id: 1,
            delivery_id: format!("{action}-{number}"),
            event: "issues".to_owned(),
            action: action.to_owned(),
        };
        let cause = v1::Cause::of_delivery(delivery, Context::new("test").clock.now());
        self.requests
            .download(&issue(number), cause)
            .await
            .expect("the server takes it");
    }

    pub(crate) async fn newest(&self, number: u64) -> Option<Logged> {
        self.log.newest(&issue(number)).await.expect("the log answers")
    }

    /// Waits for an event of an issue after `sequence`.
    pub(crate) async fn event_after(&self, number: u64, sequence: u64) -> Logged {
        let what = format!("an event of issue {number}");
        wait::until(&what, PATIENCE, || async {
            self.newest(number).await.filter(|newest| newest.sequence > sequence)
        })
        .await
    }

    /// Queues an issue and waits for its event, whatever else waits.
    pub(crate) async fn download_live(&self, number: u64) -> Logged {
        let before = self.newest(number).await.map_or(0, |newest| newest.sequence);
        self.queue(number).await;
        self.event_after(number, before).await
    }

    /// What the bucket of watermarks keeps of every credential's quota.
    pub(crate) async fn kept_quotas(&self) -> Vec<serde_json::Value> {
        let watermarks = Watermarks::open(&self.broker).await.expect("the bucket is there");
        watermarks.quotas().await.expect("the bucket answers")
    }

    /// Queues an issue and waits for its event.
    pub(crate) async fn download(&self, number: u64) -> Logged {
        let before = self.newest(number).await.map_or(0, |newest| newest.sequence);
        self.queue(number).await;
        let event = self.event_after(number, before).await;
        self.idle().await;
        event
    }

    /// Queues an issue and waits until the request is dealt with, whatever came of it.
    pub(crate) async fn ask(&self, number: u64) {
        self.queue(number).await;
        self.idle().await;
    }

    /// Waits until no request is due or under way.
    pub(crate) async fn idle(&self) {
        wait::until_true("no request is due or under way", PATIENCE, || async {
            self.waiting(Verb::Download).await == 0 && self.waiting(Verb::Backfill).await == 0
        })
        .await;
    }

    /// Messages on the subjects of a verb.
    pub(crate) async fn waiting(&self, verb: Verb) -> usize {
        use futures_util::TryStreamExt as _;
        let stream = self.stream(topology::DOWNLOADS).await;
        let subjects = stream
            .info_with_subjects(verb.wildcard())
            .await
            .expect("the stream answers");
        let subjects: Vec<(String, usize)> = subjects.try_collect().await.expect("the stream answers");
        subjects.iter().map(|(_, count)| count).sum()
    }

    pub(crate) async fn stream(&self, name: &str) -> Stream {
        self.broker
            .jetstream
            .get_stream(name)
            .await
            .expect("the stream is there")
    }

    /// Waits for the newest dead letter.
    pub(crate) async fn dead_letter(&self) -> v1::DeadLetter {
        let stream = self.stream(topology::DEAD_LETTERS).await;
        let letter = wait::until("a dead letter", PATIENCE, || async {
            stream.get_last_raw_message_by_subject("dead.downloader").await.ok()
        })
        .await;
        v1::DeadLetter::decode(letter.payload).expect("a dead letter")
    }

    pub(crate) async fn dead_letters(&self) -> u64 {
        let mut stream = self.stream(topology::DEAD_LETTERS).await;
        stream.info().await.expect("the stream answers").state.messages
    }

    /// What the object store has for an event, checked against what GitHub serves now.
    pub(crate) async fn holds_what_github_has(&self, number: u64, event: &Logged) {
        let downloaded = downloaded(event);
        let issue = self.objects.get(&downloaded.issue).await.expect("the issue's object");
        let timeline = self
            .objects
            .get(&downloaded.timeline)
            .await
            .expect("the timeline's object");
        let issue: serde_json::Value = serde_json::from_slice(&issue).expect("JSON");
        let timeline: Vec<serde_json::Value> = serde_json::from_slice(&timeline).expect("JSON");
        assert_eq!(Some(issue), self.github.issue(number));
        assert_eq!(timeline.len(), downloaded.timeline_events as usize);
        assert_eq!(Some(timeline), self.github.timeline(number));
    }

    pub(crate) async fn keys(&self, number: u64) -> usize {
        self.objects
            .keys(&issue(number))
            .await
            .expect("the store answers")
            .len()
    }
}

pub(crate) fn url_of(folder: &tempfile::TempDir) -> url::Url {
    url::Url::from_directory_path(folder.path().join("objects")).expect("an absolute path")
}

pub(crate) fn issue(number: u64) -> IssueId {
    let repo: RepoName = "bugstream-demo/web-bugs".parse().expect("a repository");
    repo.issue(number).expect("a number")
}

pub(crate) fn downloaded(event: &Logged) -> &Downloaded {
    match &event.event.change {
        Change::Downloaded(downloaded) => downloaded,
        gone => panic!("issue {} is gone: {gone:?}", event.event.issue),
    }
}

pub(crate) fn deleted(event: &Logged) -> &v1::IssueDeleted {
    match &event.event.change {
        Change::Deleted(deleted) => deleted,
        other => panic!("issue {} is not deleted: {other:?}", event.event.issue),
    }
}
