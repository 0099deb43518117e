//! The other part beneath a receiver: the two messages of each webhook, published by a bare client, each with its PubAck.
//!
//! The messages are what the receiver publishes, header by header, and are ready before the clock starts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::{self, context::PublishErrorKind};
use bugstream_proto::{IssueId, RepoName, Verb, header, topology, v1};
use bytes::Bytes;
use prost::Message as _;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::PATIENCE;
use super::bodies::REPOSITORY;
use super::load::finish;

/// The receiver's own defaults.
const DEBOUNCE: Duration = Duration::from_secs(300);
const DEADLINE: Duration = Duration::from_secs(1800);

/// A context of the usual form: 55 bytes that the receiver's messages have too.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Every delivery made up by this process: an id that was seen before would be stored only once.
static MADE: AtomicU64 = AtomicU64::new(0);

struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// The debounce and the deadline of a webhook.
struct Pair(Message, Message);

/// A bare client and the stream it publishes to.
#[derive(Clone)]
pub(super) struct Publishes {
    jetstream: jetstream::Context,
}

impl Publishes {
    pub(super) async fn connect(nats_url: &str) -> anyhow::Result<Self> {
        let client = async_nats::connect(nats_url).await.context("cannot connect to NATS")?;
        let mut jetstream = jetstream::new(client);
        jetstream.set_timeout(PATIENCE);
        Ok(Self { jetstream })
    }

    /// Publishes both messages of a webhook for each issue, this many webhooks at the same time; how long it took.
    ///
    /// # Errors
    /// A message that was not acknowledged, but for a deadline that gives way to an earlier one.
    pub(super) async fn publish_all(&self, issues: &[u64], connections: usize) -> anyhow::Result<Duration> {
        let pairs = Arc::new(Mutex::new(pairs(issues)?));
        let begin = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            workers.spawn(self.clone().publish_what_is_left(Arc::clone(&pairs)));
        }
        finish(workers).await?;
        Ok(begin.elapsed())
    }

    async fn publish_what_is_left(self, pairs: Arc<Mutex<VecDeque<Pair>>>) -> anyhow::Result<()> {
        while let Some(Pair(debounce, deadline)) = next(&pairs) {
            tokio::try_join!(self.publish(debounce), self.publish(deadline))?;
        }
        Ok(())
    }

    async fn publish(&self, message: Message) -> anyhow::Result<()> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let ack = self.jetstream.publish_with_headers(subject, headers, payload).await?;
        match ack.await {
            Err(error) if error.kind() != PublishErrorKind::WrongLastSequence => Err(error).context("no PubAck"),
            _ => Ok(()),
        }
    }

    /// Empties the stream, so that every measurement begins alike.
    pub(super) async fn empty(&self) -> anyhow::Result<()> {
        let stream = self.jetstream.get_stream(topology::DOWNLOADS).await;
        let stream = stream.context("the receiver makes the streams when it starts")?;
        stream.purge().await.context("cannot purge the stream")?;
        Ok(())
    }

    /// How many messages wait in the stream.
    pub(super) async fn waiting(&self) -> anyhow::Result<u64> {
        let stream = self.jetstream.get_stream(topology::DOWNLOADS).await;
        Ok(stream.context("the stream is gone")?.cached_info().state.messages)
    }
}

fn next(pairs: &Mutex<VecDeque<Pair>>) -> Option<Pair> {
    pairs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn pairs(issues: &[u64]) -> anyhow::Result<VecDeque<Pair>> {
    let repository: RepoName = REPOSITORY.parse().context("a repository's name")?;
    let now = now();
    issues
        .iter()
        .map(|number| Ok(pair(&repository.issue(*number).context("an issue's number")?, now)))
        .collect()
}

fn pair(issue: &IssueId, now: OffsetDateTime) -> Pair {
    let delivery = v1::Delivery {
        hook_id: 292_430_182,
        delivery_id: format!("72d3162e-cc78-11e3-81ac-{:012x}", MADE.fetch_add(1, Ordering::Relaxed)),
        event: "issues".to_owned(),
        action: "labeled".to_owned(),
    };
    let mut debounce = scheduled(Verb::Debounce, issue, &delivery, (now, DEBOUNCE));
    header::identify(&mut debounce.headers, &delivery, &Verb::Debounce.of(issue));
    let mut deadline = scheduled(Verb::Deadline, issue, &delivery, (now, DEADLINE));
    deadline.headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    Pair(debounce, deadline)
}

fn scheduled(verb: Verb, issue: &IssueId, delivery: &v1::Delivery, (now, wait): (OffsetDateTime, Duration)) -> Message {
    let mut headers = HeaderMap::new();
    header::schedule(&mut headers, now + wait, &Verb::Download.of(issue));
    headers.insert("traceparent", TRACEPARENT);
    let cause = v1::Cause::of_delivery(delivery.clone(), now);
    Message {
        subject: verb.of(issue).to_string(),
        headers,
        payload: v1::DownloadRequested::new(issue, cause).encode_to_vec().into(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "schedules are read by the server, whose clock is the machine's"
)]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
