//! The consumer loop that every service shares: a pull consumer, a handler that decides, and one place that acks.
//!
//! Invariants:
//! - It asks for as many messages as it has free slots ([`pull`]), so that nothing waits in a client's buffer with its
//!   ack wait running.
//! - Messages of one issue, or of one task, are handled in order, one after another, whatever their spelling.
//! - The handler returns a decision; only [`settle`] acks. A message is acked after its effect is durable, terminated
//!   after its dead letter has its PubAck, and otherwise comes back.
//! - A lease ends before the server's ack wait does: a handler that lost it writes nothing more.
//! - Nothing is ever lost to a count of deliveries. What keeps failing leaves the consumer for a schedule of its own,
//!   so that it cannot exhaust `max_ack_pending` and stop what is fresh. Where very many fail their retries are spread
//!   out ([`pace`]), so that a round of them does not stand before what is fresh either.
//! - What a server lost sight of in a crash is published again ([`ghosts`], [`overdue`]).
//! - When a whole part is away the loop stops asking ([`Outcome::Hold`]), then asks for one message at a time.

mod address;
mod gate;
mod ghosts;
mod lease;
mod order;
mod overdue;
mod pace;
mod pull;
mod settle;
mod work;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use bugstream_proto::reconcile::reconcile_consumer;
use bugstream_proto::topology::ConsumerSpec;
use bugstream_proto::{IssueId, Lane, Subject};
use bugstream_telemetry::{metrics, names};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

pub use address::Address;
pub use lease::{Lease, LeaseLost};

use crate::broker::Broker;
use crate::dead_letter::{DeadLetters, Kind, Rejection};
use crate::requests::Requests;
use crate::service::{Context, DRAIN};
use gate::Gate;
use order::Order;
use pace::Pace;
use pull::Pull;
use settle::Settler;

/// What the handler decided on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The effect is durable, or there is nothing to do.
    Done,
    /// This message failed for now. `after` is the wait if something prescribes it; otherwise the loop backs off.
    Retry {
        /// The wait, if something prescribes it.
        after: Option<Duration>,
        /// For the log. Never quotes content.
        why: String,
    },
    /// This message can never succeed.
    Reject(Rejection),
    /// A part beneath is away, so no other message would fare better: ask for none until `after`.
    Hold {
        /// The wait, if something prescribes it (a rate limit's reset).
        after: Option<Duration>,
        /// For the log and `/readyz`.
        why: String,
        /// Whether the service counts as ready meanwhile: a rate limit is no fault.
        ready: bool,
    },
}

impl Outcome {
    /// A retry that backs off.
    #[must_use]
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            why: why.into(),
        }
    }

    /// A hold because a part is away: backs off, and the service is not ready.
    #[must_use]
    pub fn away(why: impl Into<String>) -> Self {
        Self::Hold {
            after: None,
            why: why.into(),
            ready: false,
        }
    }

    /// A rejection.
    #[must_use]
    pub fn reject(kind: Kind, reason: impl Into<String>) -> Self {
        Self::Reject(Rejection::new(kind, reason))
    }
}

/// A message as a handler sees it. The right to ack it stays with the loop.
#[derive(Debug, Clone)]
pub struct Received<A = Subject> {
    /// Its parsed subject.
    pub subject: A,
    /// Its subject as it was spelled, for a dead letter.
    pub spelling: async_nats::Subject,
    /// Its payload.
    pub payload: Bytes,
    /// Its headers.
    pub headers: Option<HeaderMap>,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Failed attempts before this one, those before a `retry.…` schedule included.
    pub attempts: u64,
    /// How often the server delivered this very message, this time included.
    pub deliveries: u64,
}

impl Received {
    /// The issue it is about.
    #[must_use]
    pub fn issue(&self) -> &IssueId {
        &self.subject.issue
    }
}

/// Decides what becomes of a message. Must be idempotent: delivery is at least once.
pub trait Handler<A: Address = Subject>: Send + Sync + 'static {
    /// Does the work and decides. Until it first waits for something it runs in the loop itself, so it does not compute
    /// for long before that. Checks the lease before each write that must not come late.
    fn handle(&self, message: &Received<A>, lease: &Lease) -> impl Future<Output = Outcome> + Send;
}

/// How a consumer is worked.
#[derive(Debug, Clone)]
pub struct Options {
    /// The consumer.
    pub spec: ConsumerSpec,
    /// Messages under way at once.
    pub slots: usize,
    /// Where what keeps failing is scheduled again: its own lane, or [`Lane::Index`] for an event of the log. Not used
    /// for what is addressed to no issue.
    pub retry_lane: Lane,
    /// Failures after which it leaves the consumer for a schedule. Delayed NAKs before that, if they are short.
    pub naks: u64,
    /// The longest time a message may be held, whatever progress is reported.
    pub longest_lease: Duration,
    /// Between two looks for requests that the server will never deliver, and schedules that it will never fire.
    pub ghost_pause: Duration,
}

impl Options {
    /// A consumer with usual values: 3 NAKs, ten minutes.
    #[must_use]
    pub fn new(spec: ConsumerSpec, slots: usize, retry_lane: Lane) -> Self {
        Self {
            spec,
            slots,
            retry_lane,
            naks: 3,
            longest_lease: Duration::from_secs(600),
            ghost_pause: Duration::from_secs(15),
        }
    }
}

/// Consumes until a soft stop, then waits for what is under way.
///
/// # Errors
/// Only if a handler panicked: the message comes back to the next process.
pub async fn consume<A: Address, H: Handler<A>>(
    broker: &Broker,
    options: Options,
    handler: Arc<H>,
    context: &Context,
) -> anyhow::Result<()> {
    let settler = Settler {
        broker: broker.clone(),
        requests: Requests::new(broker.jetstream.clone()),
        dead_letters: DeadLetters::new(broker.jetstream.clone(), context.clock.clone(), context.service),
        context: context.clone(),
        gate: Gate::new(options.spec.name, context),
        pace: Pace::new(),
        options: options.clone(),
    };
    let shared = Arc::new(Shared {
        handler,
        settler,
        order: Order::default(),
    });
    // On a thread of the runtime, where the connection is too: to wake one another, and what is spawned, is cheap there.
    let mut working = JoinSet::new();
    working.spawn(work(
        broker.clone(),
        options.clone(),
        Arc::clone(&shared),
        context.clone(),
    ));
    let (spec, stop) = (&options.spec, &context.stop);
    tokio::select! {
        Some(worked) = working.join_next() => worked??,
        () = ghosts::watch(broker, spec, options.ghost_pause, stop) => {}
        () = overdue::watch(&shared.settler) => {}
    }
    broker.flush().await;
    Ok(())
}

/// Pulls and works until a soft stop, then waits for what is under way.
async fn work<A: Address, H: Handler<A>>(
    broker: Broker,
    options: Options,
    shared: Arc<Shared<H>>,
    context: Context,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let slots = Arc::new(Semaphore::new(options.slots));
    let mut failures = 0;
    while !context.stop.is_asked() {
        match pull_until_stop(&broker, &options.spec, &shared, &slots, &mut tasks).await {
            Ok(()) => failures = 0,
            Err(PullError::Panicked(panicked)) => return Err(panicked.into()),
            Err(PullError::Failed(why)) => {
                metrics::count(
                    names::CONSUMERS_REBUILT,
                    1,
                    &[names::label::consumer(options.spec.name)],
                );
                tracing::warn!(consumer = options.spec.name, why, "consumer failed; building it again");
                let wait = context
                    .chance
                    .backoff(Duration::from_millis(250), Duration::from_secs(10), failures);
                failures += 1;
                context.stop.sleep(wait).await;
            }
        }
    }
    drain(tasks, &context, options.spec.name).await
}

struct Shared<H> {
    handler: Arc<H>,
    settler: Settler,
    order: Order,
}

/// Why pulling ended before a stop was asked for.
enum PullError {
    /// The consumer or the connection: it is built again.
    Failed(String),
    /// A handler panicked: the process must end.
    Panicked(JoinError),
}

/// Builds the consumer if it is missing, and pulls until something fails or a stop is asked for.
async fn pull_until_stop<A: Address, H: Handler<A>>(
    broker: &Broker,
    spec: &ConsumerSpec,
    shared: &Arc<Shared<H>>,
    slots: &Arc<Semaphore>,
    tasks: &mut JoinSet<()>,
) -> Result<(), PullError> {
    let stop = &shared.settler.context.stop;
    let consumer = reconcile_consumer(&broker.jetstream, spec)
        .await
        .map_err(|error| PullError::Failed(error.to_string()))?;
    let mut pull = Pull::new(broker, consumer).await.map_err(PullError::Failed)?;
    while !stop.is_asked() {
        let Some(first) = free_slot(slots, stop).await else {
            return Ok(());
        };
        let Some(most) = shared.settler.gate.open(stop, slots.available_permits() + 1).await else {
            return Ok(());
        };
        let permits = std::iter::once(first).chain(free_slots(slots).take(most - 1));
        pull.ask(permits).await.map_err(PullError::Failed)?;
        let came = take(&mut pull, shared, slots, tasks).await?;
        reap(tasks, &shared.settler).await?;
        if came == 0 && tasks.is_empty() {
            shared.settler.gate.nothing_waits();
        }
    }
    Ok(())
}

/// Takes note of work that ended. While it is not known whether a part is back, waits for a decision before more is
/// asked for.
async fn reap(tasks: &mut JoinSet<()>, settler: &Settler) -> Result<(), PullError> {
    reap_ended(tasks)?;
    while settler.gate.is_half_open() {
        let ended = tokio::select! {
            () = settler.context.stop.asked() => None,
            ended = tasks.join_next() => ended,
        };
        match ended {
            Some(ended) => ended.map_err(PullError::Panicked)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn reap_ended(tasks: &mut JoinSet<()>) -> Result<(), PullError> {
    while let Some(ended) = tasks.try_join_next() {
        ended.map_err(PullError::Panicked)?;
    }
    Ok(())
}

async fn free_slot(slots: &Arc<Semaphore>, stop: &crate::service::Stop) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        () = stop.asked() => None,
        slot = Arc::clone(slots).acquire_owned() => slot.ok(),
    }
}

/// Every slot that is free now.
fn free_slots(slots: &Arc<Semaphore>) -> impl Iterator<Item = OwnedSemaphorePermit> {
    std::iter::from_fn(|| Arc::clone(slots).try_acquire_owned().ok())
}

/// Starts each message as it arrives, until nothing is asked for any more; answers how many came. As soon as half of the
/// slots are free more is asked for, so that the server never waits for a busy loop; unless a part is away.
async fn take<A: Address, H: Handler<A>>(
    pull: &mut Pull,
    shared: &Arc<Shared<H>>,
    slots: &Arc<Semaphore>,
    tasks: &mut JoinSet<()>,
) -> Result<usize, PullError> {
    let (stop, gate) = (&shared.settler.context.stop, &shared.settler.gate);
    let half = shared.settler.options.slots.div_ceil(2);
    let mut came = 0;
    while let Some((message, permit)) = pull.next().await.map_err(PullError::Failed)? {
        came += 1;
        if stop.is_asked() || gate.is_closed() {
            give_back(&message).await;
            continue;
        }
        work::start(message, permit, shared, tasks);
        if slots.available_permits() >= half && gate.is_open() {
            reap_ended(tasks)?;
            pull.ask(free_slots(slots)).await.map_err(PullError::Failed)?;
        }
    }
    Ok(came)
}

async fn give_back(message: &Message) {
    if let Err(error) = message.ack_with(AckKind::Nak(None)).await {
        tracing::debug!(%error, "could not give a message back; it comes again after its ack wait");
    }
}

/// Waits for what is under way, at most [`DRAIN`]; what is dropped then comes again after its ack wait.
async fn drain(mut tasks: JoinSet<()>, context: &Context, consumer: &str) -> anyhow::Result<()> {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    };
    tokio::select! {
        ended = all => ended,
        () = context.stop.forced() => Ok(()),
        () = tokio::time::sleep(DRAIN) => {
            tracing::warn!(consumer, "stopping with messages under way; they will be delivered again");
            Ok(())
        }
    }
}
