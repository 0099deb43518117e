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
use crate::queue::Queue;

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
        if let Err(error) = clear(&deps.queue, &letters, deps.clock.now()).await {
            tracing::warn!(%error, "could not check for stale schedules");
        }
    }
    Ok(())
}

/// Puts aside every stale message; answers how many.
async fn clear(queue: &Queue, letters: &DeadLetters, now: OffsetDateTime) -> Result<usize, Failure> {
    let mut cleared = 0;
    for verb in SCHEDULED {
        let mut from = 1;
        // In order of arrival: behind the first one that is young there are only younger ones.
        while let Some(message) = queue.next(&verb.wildcard(), from).await? {
            if message.time > now - LATE {
                break;
            }
            if let Some(why) = stale(&message, now) {
                put_aside(&message, why, queue, letters).await?;
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

async fn put_aside(message: &StreamMessage, why: &str, queue: &Queue, letters: &DeadLetters) -> Result<(), Failure> {
    let origin = Origin {
        stream: topology::DOWNLOADS,
        subject: &message.subject,
        sequence: message.sequence,
        attempts: 0,
        headers: Some(&message.headers),
        payload: &message.payload,
    };
    letters.publish(origin, &Rejection::new(Kind::Schedule, why)).await?;
    Ok(queue.delete(message.sequence).await?)
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bugstream_kit::config;
    use bugstream_proto::{RepoName, v1};
    use prost::Message as _;

    use super::*;

    #[tokio::test]
    async fn what_never_fires_becomes_a_dead_letter_and_blocks_nothing_more() {
        let nats = bugstream_testkit::nats::Nats::start().await;
        let section = config::Nats {
            url: nats.url(),
            ..config::Nats::default()
        };
        let broker = Broker::connect_once(&section, "test").await.unwrap();
        let issue = |number| RepoName::new("a", "b").unwrap().issue(number).unwrap();
        nats.publish_by_hand("deadline.a.b.1", "no schedule").await.unwrap();
        nats.publish_by_hand("debounce.nonsense", "").await.unwrap();
        let context = Context::new("downloader");
        let requests = bugstream_kit::requests::Requests::new(broker.jetstream.clone());
        let now = context.clock.now();
        let cause = v1::Cause::new(v1::Reason::Manual, now);
        requests.deadline(&issue(2), cause, now + 3 * LATE).await.unwrap();
        let queue = Queue::new(broker.jetstream.clone());
        let letters = DeadLetters::new(broker.jetstream.clone(), context.clock.clone(), "downloader");

        assert_eq!(clear(&queue, &letters, now).await.unwrap(), 0, "all are young");
        assert_eq!(clear(&queue, &letters, now + 2 * LATE).await.unwrap(), 2);
        assert_eq!(clear(&queue, &letters, now + 2 * LATE).await.unwrap(), 0);
        let left = queue.next(">", 1).await.unwrap().expect("the good one stays");
        assert_eq!(left.subject.as_str(), "deadline.a.b.2");
        assert!(queue.next(">", left.sequence + 1).await.unwrap().is_none());

        let stream = broker.jetstream.get_stream(topology::DEAD_LETTERS).await.unwrap();
        let letter = stream.get_last_raw_message_by_subject("dead.downloader").await.unwrap();
        let letter = v1::DeadLetter::decode(letter.payload).unwrap();
        assert_eq!((letter.kind.as_str(), letter.payload.len()), ("schedule", 0));
    }

    #[test]
    fn only_what_is_long_over_or_has_no_schedule_is_stale() {
        let now = time::macros::datetime!(2026-11-21 12:00 UTC);
        let target = Verb::Download.of(&RepoName::new("a", "b").unwrap().issue(1).unwrap());
        let with = |at: Option<OffsetDateTime>| {
            let mut headers = HeaderMap::new();
            if let Some(at) = at {
                header::schedule(&mut headers, at, &target);
            }
            let message = StreamMessage {
                subject: "debounce.a.b.1".into(),
                sequence: 1,
                headers,
                payload: bytes::Bytes::new(),
                time: now,
            };
            stale(&message, now).is_some()
        };
        assert!(with(None) && with(Some(now - LATE)));
        assert!(!with(Some(now - LATE / 2)) && !with(Some(now + LATE)));
    }
}
