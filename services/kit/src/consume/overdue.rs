//! Schedules that a server will never fire, because it lost sight of them.
//!
//! Seen with nats-server 2.15.1 after a kill -9: scheduled messages are still there, or are there again, their time
//! passes, and nothing happens. The request would be lost, and a deadline among them would keep its issue from getting
//! another. So each is published to its target as the server would have done, then deleted. Should the server fire it
//! after all, the issue is asked for twice: a request is a trigger to read current state, so that does no harm.
//!
//! What lies further ahead than anybody schedules was scheduled by a clock that was wrong, and would come as late as the
//! clock was ahead. It is fired too: early does no harm, and late would.
//!
//! What lies on a scheduled subject without a valid schedule would never fire either. It is put aside as a dead letter.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_STREAM, NATS_SCHEDULE_TARGET};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError, Stream};
use bugstream_proto::task::Stage;
use bugstream_proto::topology::Filter;
use bugstream_proto::{Lane, Verb, header};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::settle::Settler;
use crate::dead_letter::{Kind, Origin, Rejection};

/// What is younger is left alone: a busy server fires late by less than a second, and begins again within a few.
const LATE: Duration = Duration::from_secs(10);

/// The longest waits are deadlines and tasks, of an hour or so; whoever makes them longer than this gets them earlier.
const AHEAD: Duration = Duration::from_secs(12 * 60 * 60);

/// A look at very many schedules takes a while; this many times as long there is none.
const REST: u32 = 20;

/// Looks every `ghost_pause` until a stop, then never ends.
pub(super) async fn watch(settler: &Settler) {
    let (spec, stop) = (&settler.options.spec, &settler.context.stop);
    let mut pause = settler.options.ghost_pause;
    let schedulers = schedulers(spec.filter);
    while !schedulers.is_empty() && stop.sleep(pause).await {
        let begin = Instant::now();
        for subjects in &schedulers {
            if let Err(why) = look(settler, subjects).await {
                tracing::debug!(
                    consumer = spec.name,
                    why,
                    "could not look for schedules that never fire"
                );
            }
        }
        pause = settler.options.ghost_pause.max(begin.elapsed() * REST);
    }
    std::future::pending().await
}

/// The scheduled subjects whose targets a consumer gets.
fn schedulers(due: Filter) -> Vec<String> {
    let verbs: &[Verb] = match due {
        Filter::Tasks => return vec![Stage::Scheduled.wildcard()],
        Filter::Verb(Verb::Download) => &[Verb::Debounce, Verb::Deadline, Verb::Retry(Lane::Download)],
        Filter::Verb(Verb::Backfill) => &[Verb::Retry(Lane::Backfill)],
        Filter::Verb(Verb::Index) => &[Verb::Retry(Lane::Index)],
        Filter::Verb(_) => &[],
    };
    verbs.iter().map(|verb| verb.wildcard()).collect()
}

/// Deals with everything that will never fire.
async fn look(settler: &Settler, subjects: &str) -> Result<(), String> {
    let stream = settler
        .broker
        .jetstream
        .get_stream_no_info(settler.options.spec.stream)
        .await
        .map_err(|error| error.to_string())?;
    let (now, mut from) = (settler.context.clock.now(), 1);
    // In order of arrival: behind the first one that is young there are only younger ones. One that comes from the future
    // is not young: a clock was wrong.
    while let Some(message) = next(&stream, subjects, from).await? {
        if (now - LATE..now + LATE).contains(&message.time) {
            break;
        }
        if let Err(why) = deal(&message, now, &stream, settler).await {
            tracing::warn!(subject = %message.subject, why, "a schedule that will never fire stays for now");
        }
        from = message.sequence + 1;
    }
    Ok(())
}

async fn deal(
    message: &StreamMessage,
    now: OffsetDateTime,
    stream: &Stream<()>,
    settler: &Settler,
) -> Result<(), String> {
    match fate(message, now) {
        Fate::Waits => return Ok(()),
        Fate::Overdue(target) => fire(message, target, settler).await?,
        Fate::Never => put_aside(message, settler).await?,
    }
    delete(stream, message.sequence).await
}

/// What becomes of a message on a scheduled subject.
#[derive(Debug, PartialEq, Eq)]
enum Fate<'a> {
    /// Its time is still to come, or has just come.
    Waits,
    /// Its time is over and it lies there still, or is further ahead than any.
    Overdue(&'a str),
    /// It has no valid schedule.
    Never,
}

fn fate(message: &StreamMessage, now: OffsetDateTime) -> Fate<'_> {
    let target = message.headers.get(NATS_SCHEDULE_TARGET);
    match (header::scheduled_at(&message.headers), target) {
        (Some(at), _) if at > now - LATE && at <= now + AHEAD => Fate::Waits,
        (Some(_), Some(target)) => Fate::Overdue(target.as_str()),
        _ => Fate::Never,
    }
}

/// Publishes a message as its schedule would have.
async fn fire(message: &StreamMessage, target: &str, settler: &Settler) -> Result<(), String> {
    tracing::warn!(subject = %message.subject, target, "firing a schedule that the server lost sight of, or that a wrong clock made");
    let own = message.headers.iter().filter(|(name, _)| !is_servers(name.as_ref()));
    let pairs = own.flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
    let mut headers: HeaderMap = pairs.collect();
    headers.insert(NATS_EXPECTED_STREAM, settler.options.spec.stream);
    let payload = message.payload.clone();
    let jetstream = &settler.broker.jetstream;
    let sent = jetstream
        .publish_with_headers(target.to_owned(), headers, payload)
        .await;
    sent.map_err(|error| error.to_string())?
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Schedule, id, expectations: what the server drops when it fires.
fn is_servers(name: &str) -> bool {
    name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"))
}

async fn put_aside(message: &StreamMessage, settler: &Settler) -> Result<(), String> {
    let origin = Origin {
        stream: settler.options.spec.stream,
        subject: &message.subject,
        sequence: message.sequence,
        attempts: 0,
        headers: Some(&message.headers),
        payload: &message.payload,
    };
    let why = "no valid schedule on a scheduled subject: it would never fire";
    let letter = Rejection::new(Kind::Schedule, why);
    let published = settler.dead_letters.publish(origin, &letter).await;
    published.map_err(|error| error.to_string())
}

/// The first message on these subjects at or after a sequence.
async fn next(stream: &Stream<()>, subjects: &str, sequence: u64) -> Result<Option<StreamMessage>, String> {
    found_or_absent(stream.get_first_raw_message_by_subject(subjects, sequence).await)
}

/// Deletes one message. One that is gone already is fine.
async fn delete(stream: &Stream<()>, sequence: u64) -> Result<(), String> {
    let deleted = stream.delete_message(sequence).await;
    match deleted {
        Err(error) if found_or_absent(stream.get_raw_message(sequence).await)?.is_some() => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn found_or_absent(found: Result<StreamMessage, RawMessageError>) -> Result<Option<StreamMessage>, String> {
    match found {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bugstream_proto::{RepoName, topology};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn all_that_is_scheduled_is_watched_by_one_consumer() {
        let consumers = topology::CONSUMERS.iter();
        let mut watched: Vec<String> = consumers.flat_map(|spec| schedulers(spec.filter)).collect();
        let due = topology::CONSUMERS.map(|spec| spec.filter.wildcard());
        let queues = topology::streams()
            .into_iter()
            .filter(|stream| stream.allow_message_schedules);
        let mut scheduled: Vec<String> = queues.flat_map(|stream| stream.subjects).collect();
        scheduled.retain(|subjects| !due.contains(subjects));
        watched.sort();
        scheduled.sort();
        assert_eq!(watched, scheduled);
    }

    #[test]
    fn a_schedule_waits_until_it_is_late_and_what_has_none_never_fires() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let target = Verb::Download.of(&RepoName::new("a", "b").unwrap().issue(1).unwrap());
        let with = |at: Option<OffsetDateTime>| {
            let mut headers = HeaderMap::new();
            if let Some(at) = at {
                header::schedule(&mut headers, at, &target);
            }
            let subject = "debounce.a.b.1".into();
            let payload = bytes::Bytes::new();
            StreamMessage {
                subject,
                sequence: 1,
                headers,
                payload,
                time: now,
            }
        };
        assert_eq!(fate(&with(None), now), Fate::Never);
        assert_eq!(fate(&with(Some(now + LATE)), now), Fate::Waits);
        assert_eq!(fate(&with(Some(now - LATE / 2)), now), Fate::Waits);
        assert_eq!(fate(&with(Some(now + AHEAD)), now), Fate::Waits);
        for at in [now - LATE, now + AHEAD + LATE] {
            assert_eq!(fate(&with(Some(at)), now), Fate::Overdue("download.a.b.1"));
        }
    }
}
