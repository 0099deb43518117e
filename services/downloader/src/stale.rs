//! Clears away what lies on a scheduled subject and will never fire: without a valid schedule, or long past it. It would
//! stay for ever, and a deadline among them would keep that issue from getting another.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use bugstream_kit::broker::Broker;
use bugstream_kit::dead_letter::{DeadLetters, Kind, Origin, Rejection};
use bugstream_kit::service::Context;
use bugstream_proto::{Lane, Verb, header, topology};
use time::OffsetDateTime;

use crate::deps::Deps;
use crate::failure::Failure;

/// Between two checks.
const EVERY: Duration = Duration::from_secs(300);
/// What is younger is left alone: a busy server fires late by less than a second.
const LATE: Duration = Duration::from_secs(600);
/// The subjects on which everything must have a schedule.
const SCHEDULED: [Verb; 4] = [
    Verb::Debounce,
    Verb::Deadline,
    Verb::Retry(Lane::Download),
    Verb::Retry(Lane::Backfill),
];

/// Checks now and then until a stop. A check that fails is made again at the next time.
pub(crate) async fn watch(broker: &Broker, deps: &Deps, context: &Context) -> anyhow::Result<()> {
    let letters = DeadLetters::new(broker.jetstream.clone(), context.clock.clone(), context.service);
    while context.stop.sleep(context.chance.jitter(EVERY)).await {
        if let Err(error) = clear(deps, &letters, deps.clock.now()).await {
            tracing::warn!(%error, "could not check for stale schedules");
        }
    }
    Ok(())
}

/// Puts aside every stale message; answers how many.
pub(crate) async fn clear(deps: &Deps, letters: &DeadLetters, now: OffsetDateTime) -> Result<usize, Failure> {
    let mut cleared = 0;
    for verb in SCHEDULED {
        let mut from = 1;
        // In order of arrival: behind the first one that is young there are only younger ones.
        while let Some(message) = deps.queue.next(&verb.wildcard(), from).await? {
            if message.time > now - LATE {
                break;
            }
            if let Some(why) = stale(&message, now) {
                put_aside(&message, why, deps, letters).await?;
                cleared += 1;
            }
            from = message.sequence + 1;
        }
    }
    Ok(cleared)
}

/// Why a message will never fire, if so.
fn stale(message: &StreamMessage, now: OffsetDateTime) -> Option<&'static str> {
    match header::scheduled_at(&message.headers) {
        None => Some("no valid schedule on a scheduled subject: it would never fire"),
        Some(at) if at <= now - LATE => Some("its schedule is long over and did not fire"),
        Some(_) => None,
    }
}

async fn put_aside(message: &StreamMessage, why: &str, deps: &Deps, letters: &DeadLetters) -> Result<(), Failure> {
    let origin = Origin {
        stream: topology::DOWNLOADS,
        subject: &message.subject,
        sequence: message.sequence,
        attempts: 0,
        headers: Some(&message.headers),
        payload: &message.payload,
    };
    letters.publish(origin, &Rejection::new(Kind::Schedule, why)).await?;
    Ok(deps.queue.delete(message.sequence).await?)
}
