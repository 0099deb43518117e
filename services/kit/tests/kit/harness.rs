//! A NATS server with our streams, and a consumer loop whose handler is a closure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Stream;
use bugstream_kit::broker::Broker;
use bugstream_kit::config;
use bugstream_kit::consume::{Handler, Lease, Options, Outcome, Received, consume};
use bugstream_kit::log::Log;
use bugstream_kit::requests::Requests;
use bugstream_kit::service::{Context, Stop};
use bugstream_proto::topology::{self, ConsumerSpec};
use bugstream_proto::{IssueId, RepoName, v1};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use futures_util::TryStreamExt;
use prost::Message;
use tokio::task::JoinSet;

/// Longer than anything should take on a busy machine that stands still now and then.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// How long the test's own questions to the broker may take. The services' five seconds would end a test in which the
/// server merely stood still.
const ANSWER: Duration = Duration::from_secs(30);

pub(crate) fn issue(number: u64) -> IssueId {
    RepoName::new("a", "b")
        .and_then(|repo| repo.issue(number))
        .expect("a good id")
}

pub(crate) fn cause() -> v1::Cause {
    v1::Cause::new(v1::Reason::Manual, bugstream_kit::clock::Clock::system().now())
}

pub(crate) fn config(nats: &Nats) -> config::Nats {
    config::Nats {
        url: nats.url(),
        ..config::Nats::default()
    }
}

/// A server with our streams, and a connection.
pub(crate) struct Bench {
    pub(crate) nats: Nats,
    pub(crate) broker: Broker,
    pub(crate) context: Context,
    /// As patient as a test.
    looking: jetstream::Context,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let nats = Nats::start().await;
        let context = Context::new("test-service");
        let broker = Broker::connect(&config(&nats), &context).await.expect("it connects");
        let looking = jetstream::ContextBuilder::new()
            .timeout(ANSWER)
            .build(broker.client.clone());
        Self {
            nats,
            broker,
            context,
            looking,
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        Requests::new(self.broker.jetstream.clone())
    }

    pub(crate) fn log(&self) -> Log {
        Log::new(self.broker.jetstream.clone(), self.context.clock.clone())
    }

    pub(crate) async fn stream(&self, name: &str) -> Stream {
        self.looking.get_stream(name).await.expect("the stream is there")
    }

    /// What lies in a stream, by subject.
    pub(crate) async fn subjects(&self, stream: &str) -> Vec<String> {
        let stream = self.stream(stream).await;
        let subjects = stream.info_with_subjects(">").await.expect("an answer");
        let subjects: BTreeMap<String, usize> = subjects.try_collect().await.expect("an answer");
        subjects.into_keys().collect()
    }

    pub(crate) async fn wait_until_empty(&self, stream: &str, within: Duration) {
        wait::until_true("nothing is left in the stream", within, || async {
            self.messages(stream).await == 0
        })
        .await;
    }

    /// A publish by hand is stored, and an ack takes effect, a moment after the server has read it.
    pub(crate) async fn wait_for_messages(&self, stream: &str, count: u64) {
        wait::until_true("the stream has that many messages", SOON, || async {
            self.messages(stream).await == count
        })
        .await;
    }

    async fn messages(&self, stream: &str) -> u64 {
        self.stream(stream).await.cached_info().state.messages
    }

    pub(crate) async fn dead_letters(&self) -> Vec<v1::DeadLetter> {
        let stream = self.stream(topology::DEAD_LETTERS).await;
        let last = stream.cached_info().state.last_sequence;
        let mut letters = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.expect("it is there");
            assert_eq!(message.subject.as_str(), "dead.test-service");
            letters.push(v1::DeadLetter::decode(message.payload).expect("a dead letter"));
        }
        letters
    }

    pub(crate) async fn wait_for_dead_letters(&self, count: usize) -> Vec<v1::DeadLetter> {
        wait::until("dead letters", SOON, || async {
            let letters = self.dead_letters().await;
            (letters.len() >= count).then_some(letters)
        })
        .await
    }

    /// Waits until every part answers. One look is not enough: a probe gives a server that stands still two seconds.
    pub(crate) async fn ready(&self) {
        wait::until_true("every part answers", SOON, || async {
            self.context.health.away().await.is_empty()
        })
        .await;
    }

    /// Runs a loop whose handler is `act`.
    pub(crate) fn work<F, Fut>(&self, options: Options, act: F) -> Loop
    where
        F: Fn(Received, Lease) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let context = Context {
            stop: self.context.stop.child(),
            ..self.context.clone()
        };
        let stop = context.stop.clone();
        let broker = self.broker.clone();
        let mut running = JoinSet::new();
        running.spawn(async move { consume(&broker, options, Arc::new(Acting(act)), &context).await });
        Loop { stop, running }
    }
}

/// The usual options with a given number of slots.
pub(crate) fn options(spec: ConsumerSpec, slots: usize) -> Options {
    let lane = if spec.stream == topology::DOWNLOADS {
        bugstream_proto::Lane::Download
    } else {
        bugstream_proto::Lane::Index
    };
    Options::new(spec, slots, lane)
}

/// A running loop.
pub(crate) struct Loop {
    pub(crate) stop: Stop,
    running: JoinSet<anyhow::Result<()>>,
}

impl Loop {
    /// Waits for its end, whatever it is.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        let ended = tokio::time::timeout(SOON, self.running.join_next()).await;
        ended
            .expect("it ends")
            .expect("it ran")
            .expect("the loop itself never panics")
    }

    /// Stops it; it must end well.
    pub(crate) async fn stop(self) {
        self.stop.soft();
        self.ended().await.expect("a stop is no error");
    }
}

struct Acting<F>(F);

impl<F, Fut> Handler for Acting<F>
where
    F: Fn(Received, Lease) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    fn handle(&self, message: &Received, lease: &Lease) -> impl Future<Output = Outcome> + Send {
        (self.0)(message.clone(), lease.clone())
    }
}
