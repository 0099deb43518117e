//! The work on one message, from its arrival until its decision is carried out.
//!
//! It is polled once where it arrives. What has to wait for nothing ends there, and costs neither a task, nor a timer for
//! its lease, nor a thread that has to be woken. What waits, as most work of a service does, becomes a task.

use std::sync::Arc;

use async_nats::jetstream::Message;
use bugstream_proto::header;
use bugstream_telemetry::{metrics, names, propagation};
use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::order::Turn;
use super::{Address, Handler, Lease, Outcome, Received, Shared, settle};
use crate::dead_letter::{Kind, Rejection};

/// Starts the work on a message. Its place behind others of its issue is taken here, in order of arrival.
pub(super) fn start<A: Address, H: Handler<A>>(
    message: Message,
    permit: OwnedSemaphorePermit,
    shared: &Arc<Shared<H>>,
    tasks: &mut JoinSet<()>,
) {
    let options = &shared.settler.options;
    let lease = Lease::new(options.spec.ack_wait, options.longest_lease);
    let span = tracing::info_span!("handle", consumer = options.spec.name, subject = %message.subject);
    propagation::set_parent(&span, message.headers.as_ref());
    let subject = message.subject.parse::<A>().map_err(|error| error.to_string());
    let turn = subject.as_ref().ok().map(|subject| shared.order.queue(subject.key()));
    let mut work = Box::pin(work(message, subject, turn, lease, Arc::clone(shared), permit));
    if span.in_scope(|| work.as_mut().now_or_never()).is_none() {
        tasks.spawn(work.instrument(span));
    }
}

/// Works until a decision is carried out, the lease is lost, or a hard stop. What can end it early is asked after the
/// work itself, so that work which ends at once sets no timer.
async fn work<A: Address, H: Handler<A>>(
    mut message: Message,
    subject: Result<A, String>,
    turn: Option<Turn>,
    lease: Lease,
    shared: Arc<Shared<H>>,
    permit: OwnedSemaphorePermit,
) {
    let received = received(&mut message, subject);
    tokio::select! {
        biased;
        () = in_turn(&message, received, turn, &shared, &lease) => {}
        () = lease.tick(&message) => {}
        () = shared.settler.context.stop.forced() => {}
    }
    drop(permit);
}

/// Waits for what came before, lets the handler decide, and carries it out.
async fn in_turn<A: Address, H: Handler<A>>(
    message: &Message,
    received: Result<Received<A>, Rejection>,
    mut turn: Option<Turn>,
    shared: &Shared<H>,
    lease: &Lease,
) {
    if let Some(turn) = &mut turn {
        turn.come().await;
    }
    let started = Instant::now();
    let outcome = match &received {
        Ok(received) => shared.handler.handle(received, lease).await,
        Err(rejection) => Outcome::Reject(rejection.clone()),
    };
    let settler = &shared.settler;
    let labels = [
        names::label::consumer(settler.options.spec.name),
        settle::label(&outcome).into(),
    ];
    metrics::count(names::MESSAGES_HANDLED, 1, &labels);
    metrics::observe(names::MESSAGE_DURATION, started.elapsed().as_secs_f64(), &labels);
    settler.settle(message, received.as_ref().ok(), outcome, lease).await;
}

/// What the handler gets. Takes the headers out of the message unless it refuses it: a copy would cost more than
/// everything else here.
fn received<A>(message: &mut Message, subject: Result<A, String>) -> Result<Received<A>, Rejection> {
    let subject = subject.map_err(|why| Rejection::new(Kind::Subject, why))?;
    let info = message
        .info()
        .map_err(|error| Rejection::new(Kind::Other, error.to_string()))?;
    let deliveries = u64::try_from(info.delivered).unwrap_or(1).max(1);
    let sequence = info.stream_sequence;
    let headers = message.message.headers.take();
    Ok(Received {
        subject,
        spelling: message.subject.clone(),
        payload: message.payload.clone(),
        attempts: header::attempts(headers.as_ref()) + deliveries - 1,
        headers,
        sequence,
        deliveries,
    })
}
