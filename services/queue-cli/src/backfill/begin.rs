//! Asks for a backfill, or ends the one that is under way.

use std::time::Duration;

use bugstream_kit::publish::PublishError;
use bugstream_kit::tasks::Tasks;
use bugstream_kit::watermarks::{Backfill as Record, Phase};
use bugstream_proto::message::timestamp;
use bugstream_proto::{RepoName, Task, v1};
use prost::Message as _;
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::timeout;

use super::{Place, failed};
use crate::cli::{Backfill, State};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, counted, time_of};

/// How long GitHub may take to say how many rows to expect.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for a backfill unless one is under way, and answers with the name of the run before: it has begun as soon as the
/// record has another.
pub(super) async fn begin(asked: &Backfill, place: &Place, deps: &Deps) -> Result<Option<String>, Failure> {
    let record = place.record().await?;
    if record.phase == Phase::Running {
        if !asked.restart {
            return same(asked, &record).map(|()| None);
        }
        end(place, deps).await?;
    }
    let request = v1::BackfillRequested {
        run: format!("{:016x}", deps.context().chance.bits()),
        since: asked.since.map(timestamp),
        state: state(asked.state).into(),
        estimated_rows: rows(asked, place, deps).await,
    };
    let request = v1::TaskRequested {
        backfill: Some(request),
        ..v1::TaskRequested::new(&place.repository, deps.context().clock.now())
    };
    // One that waits already is the same to who follows.
    let tasks = Tasks::new(place.broker.jetstream.clone());
    tasks
        .due(Task::Backfill, &place.repository, &request)
        .await
        .map_err(away)?;
    Ok(Some(record.run))
}

pub(super) fn report(repository: &RepoName) -> Report {
    let text = format!("asked for a backfill of {repository}; the downloader does it\n  queue-cli backfill follows it");
    Report::new(text, json!({ "repository": repository.to_string(), "phase": "asked" }))
}

/// Ends the one that is under way, or waits to be begun.
pub(super) async fn cancel(place: &Place, deps: &Deps) -> Result<Report, Failure> {
    let record = place.record().await?;
    let asked = lying(place).await?;
    if record.phase != Phase::Running && !asked {
        let text = format!("no backfill of {} is under way", place.repository);
        return Ok(Report::new(text, json!({ "cancelled": false })));
    }
    end(place, deps).await?;
    let (rows, far) = match record.phase {
        Phase::Running => (
            record.rows,
            format!("after {}; they stay mirrored", counted(record.rows, "issue")),
        ),
        _ => (0, "before it began".to_owned()),
    };
    let text = format!("cancelled the backfill of {} {far}", place.repository);
    Ok(Report::new(text, json!({ "cancelled": true, "rows": rows })))
}

/// Whether one waits to be begun.
pub(super) async fn lying(place: &Place) -> Result<bool, Failure> {
    let tasks = Tasks::new(place.broker.jetstream.clone());
    let lying = tasks.lying(&Task::Backfill.due(&place.repository)).await;
    Ok(lying.map_err(away)?.is_some())
}

async fn end(place: &Place, deps: &Deps) -> Result<(), Failure> {
    let now = deps.context().clock.now();
    let tasks = Tasks::new(place.broker.jetstream.clone());
    let lying = tasks
        .lying(&Task::Backfill.due(&place.repository))
        .await
        .map_err(away)?;
    let asked = lying.and_then(|lying| run(&lying.payload));
    let cancel = |record: &mut Record| cancel_in(record, asked.as_deref(), now);
    place.marks.change(&place.repository, cancel).await.map_err(failed)?;
    for subject in [
        Task::Backfill.due(&place.repository),
        Task::Backfill.scheduled(&place.repository),
    ] {
        tasks.take_back(&subject).await.map_err(away)?;
    }
    Ok(())
}

/// The run that a request asks for.
fn run(payload: &[u8]) -> Option<String> {
    let run = v1::TaskRequested::decode(payload).ok()?.backfill?.run;
    (!run.is_empty()).then_some(run)
}

/// Ends the run under way, or notes the one that is asked for as ended: a downloader that has its request in hands would
/// begin it although the request is taken back. `false` if there is neither.
fn cancel_in(record: &mut Record, asked: Option<&str>, now: OffsetDateTime) -> bool {
    if record.phase != Phase::Running {
        let Some(asked) = asked.filter(|asked| *asked != record.run) else {
            return false;
        };
        *record = Record {
            run: asked.to_owned(),
            ..Record::default()
        };
    }
    (record.phase, record.ended) = (Phase::Cancelled, Some(now));
    true
}

/// One that lists something else is not what was asked for.
fn same(asked: &Backfill, record: &Record) -> Result<(), Failure> {
    let listed = |state| match state {
        State::Open => "open",
        State::Closed => "closed",
        State::All => "all",
    };
    let other_state = asked.state.is_some_and(|state| listed(state) != record.listed);
    let other_date = asked.since.is_some() && asked.since != record.since;
    if !other_state && !other_date {
        return Ok(());
    }
    let since = record
        .since
        .map_or_else(String::new, |at| format!(" since {}", time_of(at)));
    let problem = format!("another backfill is under way: {} issues{since}", record.listed);
    Err(Failure::failed(problem).with_fix("without --since and --state it is followed; with --restart yours begins"))
}

fn state(asked: Option<State>) -> v1::ListState {
    match asked {
        None | Some(State::All) => v1::ListState::All,
        Some(State::Open) => v1::ListState::Open,
        Some(State::Closed) => v1::ListState::Closed,
    }
}

/// How many rows to expect, for the progress alone: unknown where GitHub cannot be asked from here and now.
async fn rows(asked: &Backfill, place: &Place, deps: &Deps) -> u64 {
    if asked.selects() {
        return 0;
    }
    let ask = async {
        deps.github(&place.repository)
            .ok()?
            .newest_issue(&place.repository)
            .await
            .ok()?
    };
    timeout(PATIENCE, ask).await.ok().flatten().unwrap_or_default()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn away(error: PublishError) -> Failure {
    Failure::failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_is_cancelled_before_it_began_does_not_begin() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let record = |run: &str, phase| Record {
            run: run.to_owned(),
            phase,
            rows: 7,
            ..Record::default()
        };
        let cancelled = |mut record: Record, asked| {
            let changed = cancel_in(&mut record, asked, now);
            changed.then_some((record.run, record.phase, record.rows))
        };
        let of = |run: &str, rows| Some((run.to_owned(), Phase::Cancelled, rows));
        assert_eq!(cancelled(record("a", Phase::Running), Some("a")), of("a", 7));
        assert_eq!(cancelled(record("a", Phase::Cancelled), Some("b")), of("b", 0));
        assert_eq!(cancelled(record("a", Phase::Done), None), None);
        assert_eq!(
            cancelled(record("a", Phase::Done), Some("a")),
            None,
            "its last step is being acked"
        );
    }
}
