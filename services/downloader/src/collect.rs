//! Removes what is old, once a day: events that were superseded long ago, their objects, and objects that no event names.
//! What may go, and why that is safe, is told in [`bugstream_kit::retention`].

use std::time::Duration;

use bugstream_kit::config::Repository;
use bugstream_kit::retention::{CollectError, Collected, Collector, Manner};
use bugstream_kit::watermarks::{Collect, Marked, State};
use bugstream_telemetry::{metrics, names};
use time::OffsetDateTime;

use crate::tasks::{Layers, Next, Stopped};

/// A schedule further ahead than half a day counts as made by a wrong clock and is fired at once. So a longer interval is
/// waited for in parts.
const PART: Duration = Duration::from_secs(6 * 60 * 60);

/// How long the next schedule is ahead at most.
pub(crate) fn longest_wait(interval: Duration) -> Duration {
    interval.min(PART)
}

/// Looks at the next issues, from where the last step ended.
pub(crate) async fn step(repository: &Repository, layers: &Layers) -> Result<Next, Stopped> {
    let (repo, deps) = (&repository.name, &layers.deps);
    let Marked { mut record, revision } = deps.watermarks.read::<Collect>(repo).await?;
    let rest = layers
        .retention
        .interval
        .and_then(|interval| rest(&record, interval, deps.clock.now()));
    if let Some(rest) = rest {
        return Ok(Next::In(longest_wait(rest)));
    }
    if record.position.is_none() {
        record.collected = Collected::default();
    }
    let collector = Collector {
        log: deps.log.clone(),
        objects: deps.objects.clone(),
        rules: layers.retention.rules,
        clock: deps.clock.clone(),
    };
    let done = collector
        .step(repo, record.position.as_deref(), Manner::default())
        .await;
    record.last_run = Some(deps.clock.now());
    record.state = State::On;
    record.position = match done {
        Ok(done) => {
            count(done.collected);
            record.collected.add(done.collected);
            done.next
        }
        Err(CollectError::Log(error)) => return Err(error.into()),
        Err(CollectError::Objects(error)) => return Err(error.into()),
        // A person has to decide. Until then the rest waits too, for it may be as wrong.
        Err(error @ CollectError::TooMany { .. }) => {
            tracing::error!(repository = %repo, %error, "nothing is collected");
            record.state = State::Failing(error.to_string());
            None
        }
    };
    let next = if record.position.is_some() {
        Next::Now
    } else {
        end(&mut record, repository, layers)
    };
    deps.watermarks.swap(repo, record, revision).await?;
    Ok(next)
}

fn end(record: &mut Collect, repository: &Repository, layers: &Layers) -> Next {
    if record.state == State::On {
        record.finished = record.last_run;
        let Collected {
            events,
            objects,
            bytes,
            orphans,
            orphan_bytes,
            ..
        } = record.collected;
        tracing::info!(
            repository = %repository.name,
            events, objects, bytes, orphans, orphan_bytes,
            "collected what is old"
        );
    }
    let interval = layers.retention.interval.map(longest_wait);
    interval.map_or(Next::Asked, Next::In)
}

/// How long the next collection is away; `None` for one that is under way or due.
fn rest(record: &Collect, interval: Duration, now: OffsetDateTime) -> Option<Duration> {
    let last = record
        .last_run
        .filter(|last| record.position.is_none() && *last <= now)?;
    let rest = Duration::try_from(last + interval - now).ok()?;
    (rest > Duration::ZERO).then_some(rest)
}

fn count(collected: Collected) {
    metrics::count(names::COLLECTED_EVENTS, collected.events, &[]);
    for (kind, objects, bytes) in [
        (names::Garbage::Revision, collected.objects, collected.bytes),
        (names::Garbage::Orphan, collected.orphans, collected.orphan_bytes),
    ] {
        metrics::count(names::COLLECTED_OBJECTS, objects, &[kind.into()]);
        metrics::count(names::COLLECTED_BYTES, bytes, &[kind.into()]);
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_day_is_waited_for_in_parts_that_no_clock_is_suspected_of() {
        let (day, now) = (Duration::from_secs(86_400), datetime!(2026-11-21 12:00 UTC));
        let rest_after = |last: OffsetDateTime, position: Option<&str>| {
            let record = Collect {
                position: position.map(str::to_owned),
                last_run: Some(last),
                ..Collect::default()
            };
            rest(&record, day, now)
        };
        assert_eq!(
            rest_after(now - Duration::from_secs(3_600), None),
            Some(day - Duration::from_secs(3_600))
        );
        assert_eq!(
            rest_after(now - Duration::from_secs(3_600), Some("7")),
            None,
            "it is under way"
        );
        assert_eq!(rest_after(now - day, None), None, "it is due");
        assert_eq!(rest_after(now + day, None), None, "a clock was ahead");
        assert_eq!(rest(&Collect::default(), day, now), None, "the first one");
        assert_eq!((longest_wait(day), longest_wait(PART / 2)), (PART, PART / 2));
    }
}
