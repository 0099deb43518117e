//! The one place that acks: turns a decision into ack, delayed NAK, schedule, or dead letter and termination.

use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use bugstream_proto::{IssueId, topology, v1};
use bugstream_telemetry::names;
use prost::Message as _;

use super::{Address, Lease, Options, Outcome, Received};
use crate::broker::Broker;
use crate::consume::gate::Gate;
use crate::consume::pace::Pace;
use crate::dead_letter::{DeadLetters, Kind, Origin, Rejection};
use crate::publish::PublishError;
use crate::requests::Requests;
use crate::service::Context;

/// The first and the longest wait of what failed.
const BASE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);
/// The same for what is addressed to no issue: tasks are few and stay in their consumer, where a wait for a limit counts
/// as an attempt too.
const LONGEST_OF_A_TASK: Duration = Duration::from_secs(15);
/// What waits for longer leaves the consumer at once: thousands that wait for a limit's reset would exhaust
/// `max_ack_pending`.
const LONGEST_NAK: Duration = Duration::from_secs(60);

pub(super) struct Settler {
    pub(super) broker: Broker,
    pub(super) requests: Requests,
    pub(super) dead_letters: DeadLetters,
    pub(super) context: Context,
    pub(super) gate: Gate,
    pub(super) pace: Pace,
    pub(super) options: Options,
}

/// The bounded label of a decision.
pub(super) fn label(outcome: &Outcome) -> names::Outcome {
    match outcome {
        Outcome::Done => names::Outcome::Done,
        Outcome::Retry { .. } | Outcome::Hold { .. } => names::Outcome::Retry,
        Outcome::Reject(_) => names::Outcome::Reject,
    }
}

impl Settler {
    /// Carries out a decision. Without a lease nothing is done: the message is someone else's by now.
    pub(super) async fn settle<A: Address>(
        &self,
        message: &Message,
        received: Option<&Received<A>>,
        outcome: Outcome,
        lease: &Lease,
    ) {
        if lease.check().is_err() {
            tracing::warn!(subject = %message.subject, "decided too late; the message will be delivered again");
            return;
        }
        if !matches!(outcome, Outcome::Hold { .. }) {
            self.gate.succeeded();
        }
        let settled = match outcome {
            Outcome::Done => {
                self.pace.succeeded();
                acked(message, AckKind::Ack).await
            }
            Outcome::Reject(why) => self.reject(message, received, &why).await,
            Outcome::Hold { after, why, ready } => {
                let wait = self.gate.close(after, &why, ready);
                acked(message, AckKind::Nak(Some(wait))).await
            }
            Outcome::Retry { after, why } => self.retry(message, received, after, &why).await,
        };
        if let Err(error) = settled {
            tracing::warn!(subject = %message.subject, error, "could not settle a message; it will be delivered again");
        }
    }

    async fn retry<A: Address>(
        &self,
        message: &Message,
        received: Option<&Received<A>>,
        after: Option<Duration>,
        why: &str,
    ) -> Result<(), String> {
        let attempts = received.map_or(0, |received| received.attempts);
        let is_task = received.is_some_and(|received| received.subject.issue().is_none());
        let longest = if is_task { LONGEST_OF_A_TASK } else { LONGEST };
        let wait = after.unwrap_or_else(|| self.context.chance.backoff(BASE, longest, attempts));
        let wait = self.pace.turn(wait);
        tracing::info!(subject = %message.subject, attempts, why, wait_s = wait.as_secs_f64(), "will try again");
        let leaves = received.filter(|_| attempts + 1 >= self.options.naks || wait > LONGEST_NAK);
        match leaves.and_then(|received| Some((received, received.subject.issue()?))) {
            None => acked(message, AckKind::Nak(Some(wait))).await,
            Some((received, issue)) => match self.schedule(received, issue, wait).await {
                Ok(()) => acked(message, AckKind::Ack).await,
                Err(error) => {
                    acked(message, AckKind::Nak(Some(wait))).await?;
                    Err(error.to_string())
                }
            },
        }
    }

    /// Schedules a request, or for an event of the log an index request, on a subject of its own.
    async fn schedule<A>(&self, received: &Received<A>, issue: &IssueId, wait: Duration) -> Result<(), PublishError> {
        let now = self.context.clock.now();
        let payload = if self.options.spec.stream == topology::ISSUES {
            let cause = v1::Cause::new(v1::Reason::Reindex, now);
            v1::IndexRequested::new(issue, cause).encode_to_vec().into()
        } else {
            received.payload.clone()
        };
        let (lane, attempts, trace) = (
            self.options.retry_lane,
            received.attempts + 1,
            received.headers.as_ref(),
        );
        self.requests
            .retry(lane, issue, payload, attempts, now + wait, trace)
            .await
    }

    async fn reject<A>(
        &self,
        message: &Message,
        received: Option<&Received<A>>,
        why: &Rejection,
    ) -> Result<(), String> {
        let origin = Origin {
            stream: self.options.spec.stream,
            subject: &message.subject,
            sequence: received.map_or_else(|| sequence_of(message), |received| received.sequence),
            attempts: received.map_or(1, |received| received.attempts + 1),
            headers: received.map_or(message.headers.as_ref(), |received| received.headers.as_ref()),
            payload: &message.payload,
        };
        match self.dead_letters.publish(origin, why).await {
            Ok(()) => {
                self.take_out_of_log(origin.sequence, why).await?;
                acked(message, AckKind::Term).await
            }
            Err(error) => {
                acked(message, AckKind::Nak(Some(BASE))).await?;
                Err(error.to_string())
            }
        }
    }
}

impl Settler {
    /// What is no event has no place in the log: as the newest message of its subject it would hide the issue's state.
    /// Its dead letter keeps what is known of it. An event of a newer contract version ([`Kind::Other`]) stays.
    async fn take_out_of_log(&self, sequence: u64, why: &Rejection) -> Result<(), String> {
        if self.options.spec.stream != topology::ISSUES || !matches!(why.kind, Kind::Payload | Kind::Subject) {
            return Ok(());
        }
        let stream = self
            .broker
            .jetstream
            .get_stream_no_info(topology::ISSUES)
            .await
            .map_err(|e| e.to_string())?;
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            // A redelivery after the first attempt did it, or the server said no to a message that is gone.
            Err(_) if stream.get_raw_message(sequence).await.is_err() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn sequence_of(message: &Message) -> u64 {
    message.info().map_or(0, |info| info.stream_sequence)
}

async fn acked(message: &Message, kind: AckKind) -> Result<(), String> {
    message.ack_with(kind).await.map_err(|error| error.to_string())
}
