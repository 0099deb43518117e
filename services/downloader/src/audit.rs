//! A slow audit of every issue that the log knows. It finds what no webhook and no list tells: silent deletions,
//! transfers, cross-references on dormant issues.
//!
//! It walks the log by number and requests what it finds there, so it asks GitHub nothing itself. Its pace keeps within
//! three bounds: a round takes its time; what the audit costs stays below its share of the quota, as measured; and it
//! asks for nothing while many requests wait. With a token whose answers "unchanged" are free only the first one counts;
//! with an App, whose validators die every hour, the second does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bugstream_github::Priority;
use bugstream_kit::config::Repository;
use bugstream_kit::log::LogError;
use bugstream_kit::watermarks::{Audit, Marked, State};
use bugstream_proto::topology::{DOWNLOADER_BACKFILL, DOWNLOADS};
use bugstream_proto::{IssueId, RepoName, v1};
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;

use crate::spending::Left;
use crate::tasks::{Layers, Next, Stopped};

/// Waiting requests up to which the audit adds more.
const ROOM: u64 = 200;
/// The log is asked for so many numbers at once.
const AT_ONCE: usize = 64;
/// Between two steps at most, and between two looks at a log that knows nothing yet.
const LONGEST: Duration = Duration::from_secs(300);
/// Between two steps at least; in a long round.
const SHORTEST: Duration = Duration::from_millis(250);
const WORTHWHILE: Duration = Duration::from_secs(60);
/// What an audited issue costs before anything was measured: its own page and its timeline's.
const COST: f64 = 2.0;
/// What a credential may spend in an hour, as long as GitHub has not said.
const HOURLY: u64 = 5_000;
/// A measured cost below this one counts as this one.
const FREE: f64 = 0.05;

/// How long a task of this round may wait for its next step.
pub(crate) fn longest_wait(round: Duration) -> Duration {
    round.clamp(SHORTEST, LONGEST)
}

/// Asks for the issues whose turn it is.
pub(crate) async fn step(repository: &Repository, layers: &Layers) -> Result<Next, Stopped> {
    let Some(round) = layers.freshness.audit_round else {
        return Ok(Next::Asked);
    };
    let (repo, deps) = (&repository.name, &layers.deps);
    let now = deps.clock.now();
    let Marked { record, revision } = deps.watermarks.read::<Audit>(repo).await?;
    let mut record = if is_over(&record, now, round) {
        begin(record, repo, now, layers).await?
    } else {
        record
    };
    record.state = State::On;
    if record.position < record.last {
        let left = Left::of(&deps.client(repo, Priority::Background).quotas());
        record.cost = cost(record.cost, layers.meter.read(repo, left));
        let pace = Pace {
            round,
            elapsed: since(record.began, now),
            budget: budget(layers, repo, since(record.last_run, now).clamp(SHORTEST, LONGEST)),
            room: ROOM.saturating_sub(waiting(layers).await?),
        };
        let due = pace.due(&record);
        let asked = walk(&mut record, due, repo, layers).await?;
        layers.meter.asked(repo, asked);
        if record.position >= record.last {
            record.finished = Some(now);
            tracing::info!(repository = %repo, round = record.round, asked = record.asked, "audit round done");
        }
    }
    record.last_run = Some(now);
    let wait = wait(&record, round);
    deps.watermarks.swap(repo, record, revision).await?;
    Ok(Next::In(wait))
}

/// Whether a new round is to begin: the last one is done, and its time is over.
fn is_over(record: &Audit, now: OffsetDateTime, round: Duration) -> bool {
    record
        .began
        .is_none_or(|began| record.position >= record.last && began + round <= now)
}

/// A new round over what the log knows now. None begins while it knows nothing.
async fn begin(record: Audit, repo: &RepoName, now: OffsetDateTime, layers: &Layers) -> Result<Audit, Stopped> {
    let known = layers.deps.log.known(repo).await?;
    let Some(last) = known.last().map(IssueId::number) else {
        return Ok(record);
    };
    tracing::info!(repository = %repo, round = record.round + 1, known = known.len(), "audit round begins");
    Ok(Audit {
        round: record.round + 1,
        began: Some(now),
        position: 0,
        last,
        known: known.len() as u64,
        asked: 0,
        passed: 0,
        cost: if record.round == 0 { COST } else { record.cost },
        ..record
    })
}

/// Requests that many issues from the record's position on, and moves it; answers how many. What the log knows as
/// deleted is passed by.
async fn walk(record: &mut Audit, most: u64, repo: &RepoName, layers: &Layers) -> Result<u64, Stopped> {
    let mut asked = 0;
    while asked < most && record.position < record.last {
        let until = record.last.min(record.position + AT_ONCE as u64);
        let issues: Vec<IssueId> = (record.position + 1..=until)
            .filter_map(|number| repo.issue(number).ok())
            .collect();
        let looks = stream::iter(issues).map(|issue| look(issue, layers)).buffered(AT_ONCE);
        let looked: Vec<(IssueId, Seen)> = looks.try_collect().await?;
        for (issue, seen) in looked {
            if seen == Seen::There && asked == most {
                return Ok(asked);
            }
            record.position = issue.number();
            match seen {
                Seen::Unknown => {}
                Seen::Gone => record.passed += 1,
                Seen::There => {
                    let cause = v1::Cause::new(v1::Reason::Audit, layers.deps.clock.now());
                    layers.deps.requests.backfill(&issue, cause).await?;
                    record.passed += 1;
                    record.asked += 1;
                    asked += 1;
                }
            }
        }
    }
    Ok(asked)
}

/// What the log knows of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Unknown,
    Gone,
    There,
}

async fn look(issue: IssueId, layers: &Layers) -> Result<(IssueId, Seen), Stopped> {
    let seen = match layers.deps.log.newest(&issue).await {
        Ok(None) => Seen::Unknown,
        Ok(Some(newest)) if newest.event.objects().is_empty() => Seen::Gone,
        Ok(Some(_)) | Err(LogError::Unreadable { .. }) => Seen::There,
        Err(error) => return Err(error.into()),
    };
    Ok((issue, seen))
}

/// What bounds a step.
#[derive(Debug)]
struct Pace {
    round: Duration,
    /// Since the round began.
    elapsed: Duration,
    /// Primary quota that this step may cost.
    budget: f64,
    /// Requests that may be added to those that wait.
    room: u64,
}

impl Pace {
    /// How many issues to ask for now.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a pace need not be exact"
    )]
    fn due(&self, record: &Audit) -> u64 {
        let share = self.elapsed.as_secs_f64() / self.round.as_secs_f64().max(f64::EPSILON);
        let ought = (record.known as f64 * share.min(1.0)).ceil() as u64;
        let affordable = (self.budget / record.cost.max(FREE)).ceil() as u64;
        ought.saturating_sub(record.passed).min(affordable).min(self.room)
    }
}

/// Until about one more issue is due, but long enough for a step to be worth its while.
fn wait(record: &Audit, round: Duration) -> Duration {
    let known = u32::try_from(record.known.max(1)).unwrap_or(u32::MAX);
    let shortest = (round / 100).clamp(SHORTEST, WORTHWHILE);
    (round / known).max(shortest).min(longest_wait(round))
}

fn since(then: Option<OffsetDateTime>, now: OffsetDateTime) -> Duration {
    let passed = then.map(|then| now - then);
    passed.and_then(|passed| passed.try_into().ok()).unwrap_or_default()
}

/// Moves the measured cost towards what the last step's issues cost: quota spent since, and how many they were.
#[expect(clippy::cast_precision_loss, reason = "an average")]
fn cost(known: f64, measured: Option<(u64, u64)>) -> f64 {
    match measured {
        None | Some((_, 0)) => known,
        Some((spent, asked)) => known.midpoint(spent as f64 / asked as f64),
    }
}

/// The audit's share of what a repository's credentials may spend in that time.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn budget(layers: &Layers, repo: &RepoName, time: Duration) -> f64 {
    let quotas = layers.deps.client(repo, Priority::Background).quotas();
    let hourly: u64 = quotas.iter().map(|quota| quota.limit.unwrap_or(HOURLY)).sum();
    hourly as f64 * f64::from(layers.freshness.audit_percent) / 100.0 * time.as_secs_f64() / 3600.0
}

/// Requests of the slow lane that wait or are under way.
async fn waiting(layers: &Layers) -> Result<u64, Stopped> {
    let look = async {
        let stream = layers
            .broker
            .jetstream
            .get_stream_no_info(DOWNLOADS)
            .await
            .map_err(away)?;
        let consumer = stream.consumer_info(DOWNLOADER_BACKFILL.name).await.map_err(away)?;
        Ok::<_, LogError>(consumer.num_pending + consumer.num_ack_pending as u64)
    };
    Ok(look.await?)
}

fn away(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}

/// What the last step asked for, and what was left of the quotas then, by repository. Lost at a restart, which costs one
/// measurement.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<HashMap<RepoName, (Left, u64)>>);

impl Meter {
    /// Notes what is left now, and answers what the last step's issues cost each, if that is known.
    fn read(&self, repo: &RepoName, left: Left) -> Option<(u64, u64)> {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, asked) = readings.insert(repo.clone(), (left.clone(), 0))?;
        Some((before.spent(&left), asked))
    }

    fn asked(&self, repo: &RepoName, asked: u64) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = readings.get_mut(repo) {
            reading.1 = asked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(known: u64, passed: u64, cost: f64) -> Audit {
        Audit {
            known,
            passed,
            cost,
            ..Audit::default()
        }
    }

    #[test]
    fn a_round_takes_its_time() {
        let week = Duration::from_secs(604_800);
        let pace = |elapsed: u32| Pace {
            round: week,
            elapsed: week / 100 * elapsed,
            budget: 1e9,
            room: ROOM,
        };
        assert_eq!(pace(1).due(&record(1_000, 0, 0.0)), 10);
        assert_eq!(pace(1).due(&record(1_000, 10, 0.0)), 0, "on time");
        assert_eq!(pace(99).due(&record(100_000, 0, 0.0)), ROOM, "catches up step by step");
        assert_eq!(pace(300).due(&record(10, 8, 0.0)), 2);
    }

    #[test]
    fn it_slows_down_as_it_costs_more_and_while_others_wait() {
        let pace = |budget: f64, room: u64| Pace {
            round: Duration::from_secs(60),
            elapsed: Duration::from_secs(60),
            budget,
            room,
        };
        assert_eq!(pace(20.0, ROOM).due(&record(500, 0, 2.0)), 10);
        assert_eq!(
            pace(20.0, ROOM).due(&record(500, 0, 0.0)),
            ROOM,
            "unchanged costs nothing"
        );
        assert_eq!(pace(0.1, ROOM).due(&record(500, 0, 2.0)), 1, "it never stands still");
        assert_eq!(pace(20.0, 3).due(&record(500, 0, 2.0)), 3);
    }

    #[test]
    fn the_cost_follows_what_is_measured() {
        assert!((cost(2.0, Some((0, 10))) - 1.0).abs() < 1e-9);
        assert!((cost(2.0, Some((40, 10))) - 3.0).abs() < 1e-9);
        assert!((cost(2.0, Some((40, 0))) - 2.0).abs() < 1e-9, "nothing was asked for");
        assert!((cost(2.0, None) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_new_round_begins_when_the_last_one_is_done_and_its_time_is_over() {
        let began = OffsetDateTime::UNIX_EPOCH;
        let round = Duration::from_secs(100);
        let at = |position, seconds| {
            let record = Audit {
                began: Some(began),
                position,
                last: 10,
                ..Audit::default()
            };
            is_over(&record, began + Duration::from_secs(seconds), round)
        };
        assert!(is_over(&Audit::default(), began, round));
        assert!(at(10, 100) && !at(10, 99), "too early");
        assert!(!at(9, 1_000), "late, and not done");
    }

    #[test]
    fn steps_are_as_far_apart_as_issues_are_due() {
        let week = Duration::from_secs(604_800);
        assert_eq!(wait(&record(10, 0, 0.0), week), LONGEST);
        assert_eq!(wait(&record(6_048, 0, 0.0), week), Duration::from_secs(100));
        assert_eq!(wait(&record(200_000, 0, 0.0), week), WORTHWHILE);
        assert_eq!(wait(&record(200_000, 0, 0.0), Duration::from_secs(2)), SHORTEST);
        assert_eq!(wait(&record(0, 0, 0.0), week), LONGEST);
    }
}
