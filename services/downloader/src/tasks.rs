//! What the active downloader does without being asked for an issue: sweeps, audits, repairs of deliveries, backfills,
//! collections of what is old.
//!
//! Invariants:
//! - A task does one bounded step: it saves its watermark by compare-and-swap, then publishes its next step, then the
//!   consumer loop acks. A crash anywhere repeats at most that one step.
//! - Whoever is active schedules the next step and the first one wins, so there is one of each and no leader is needed.
//! - A schedule that got lost is made again, at the beginning of a term and now and then ([`keep`]); there a changed
//!   interval takes effect too.
//! - A step that failed tries again; its record says why meanwhile. No answer of GitHub's ends a layer.

use std::sync::Arc;
use std::time::Duration;

use bugstream_github::Error as GithubError;
use bugstream_kit::broker::Broker;
use bugstream_kit::config::Repository;
use bugstream_kit::consume::{Handler, Lease, Options, Outcome, Received, consume};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::log::LogError;
use bugstream_kit::objects::ObjectError;
use bugstream_kit::publish::PublishError;
use bugstream_kit::retention::Retention;
use bugstream_kit::service::Context;
use bugstream_kit::tasks::Tasks;
use bugstream_kit::watermarks::{Audit, Backfill, Collect, Deliveries, Phase, State, Sweep, WatermarkError};
use bugstream_proto::topology::DOWNLOADER_TASKS;
use bugstream_proto::{Lane, RepoName, Task, TaskSubject, v1};
use bytes::Bytes;
use prost::Message as _;
use time::OffsetDateTime;
use tracing::Instrument;

use crate::config::{Config, Freshness};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::{audit, backfill, collect, deliveries, sweep};

/// Tasks under way at once: they wait for GitHub most of the time.
const SLOTS: usize = 32;
/// Between two looks for schedules that got lost.
const CHECK: Duration = Duration::from_secs(120);
/// A schedule that is this long over did not fire.
const LATE: Duration = Duration::from_secs(60);
/// The wait after another downloader moved the watermark first.
const AFTER_CONFLICT: Duration = Duration::from_secs(1);

/// What the steps of all tasks share.
pub(crate) struct Layers {
    pub(crate) deps: Arc<Deps>,
    pub(crate) broker: Broker,
    pub(crate) freshness: Freshness,
    pub(crate) retention: Retention,
    /// Rows of a backfill under way at once.
    pub(crate) rows_at_once: usize,
    pub(crate) meter: audit::Meter,
    pub(crate) tasks: Tasks,
}

/// When a task goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// There is more to do.
    Now,
    /// At once, as this request.
    As(v1::TaskRequested),
    /// After a while.
    In(Duration),
    /// When it is asked for.
    Asked,
}

/// Why a step did not come to an end. Never quotes content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
}

macro_rules! stopped_by {
    ($($error:ty),*) => {$(
        impl From<$error> for Stopped {
            fn from(error: $error) -> Self {
                Self::Failure(error.into())
            }
        }
    )*};
}
stopped_by!(GithubError, LogError, ObjectError, PublishError);

/// Works on tasks until a stop, and keeps their schedules.
pub(crate) async fn work(broker: &Broker, config: &Config, deps: Arc<Deps>, context: &Context) -> anyhow::Result<()> {
    let layers = Arc::new(Layers {
        deps,
        broker: broker.clone(),
        freshness: config.freshness.clone(),
        retention: config.retention,
        rows_at_once: config.backfill_slots,
        meter: audit::Meter::default(),
        tasks: Tasks::new(broker.jetstream.clone()),
    });
    let options = Options::new(DOWNLOADER_TASKS, SLOTS, Lane::Backfill);
    tokio::try_join!(
        consume(broker, options, Arc::new(Worker(Arc::clone(&layers))), context),
        watch(&layers, context),
    )
    .map(drop)
}

struct Worker(Arc<Layers>);

impl Handler<TaskSubject> for Worker {
    async fn handle(&self, message: &Received<TaskSubject>, _lease: &Lease) -> Outcome {
        let TaskSubject { task, repo, .. } = &message.subject;
        let span = tracing::info_span!("task", task = task.token(), repository = %repo, attempts = message.attempts);
        let work = async {
            match self.0.work(message).await {
                Ok(outcome) => outcome,
                Err(stopped) => self.0.after(stopped, *task, repo).await,
            }
        };
        Box::pin(work).instrument(span).await
    }
}

impl Layers {
    async fn work(&self, message: &Received<TaskSubject>) -> Result<Outcome, Stopped> {
        let TaskSubject { task, repo, .. } = &message.subject;
        let Some(repository) = self.deps.repositories.0.iter().find(|known| known.name == *repo) else {
            return Ok(Outcome::reject(Kind::Subject, format!("{repo} is not configured")));
        };
        let now = self.deps.clock.now();
        let request = match v1::TaskRequested::read(repo, &message.payload, now) {
            Ok(request) => request,
            Err(error) => return Ok(Outcome::reject(Kind::Payload, error.to_string())),
        };
        match self.step(*task, repository, &request).await? {
            Next::Now => self.again(message, message.payload.clone()).await?,
            Next::As(request) => self.again(message, request.encode_to_vec().into()).await?,
            Next::In(wait) => {
                let at = self.deps.clock.now() + wait;
                self.tasks.schedule(*task, repo, Bytes::new(), at).await?;
            }
            Next::Asked => {}
        }
        Ok(Outcome::Done)
    }

    /// Puts the next step in the place of this one. If something took that place already, there is a next step.
    async fn again(&self, message: &Received<TaskSubject>, payload: Bytes) -> Result<(), PublishError> {
        let replaced = self.tasks.again(&message.subject, payload, message.sequence).await;
        replaced.map(drop)
    }

    async fn step(&self, task: Task, repository: &Repository, request: &v1::TaskRequested) -> Result<Next, Stopped> {
        match task {
            Task::Sweep => sweep::step(repository, self).await,
            Task::Audit => audit::step(repository, self).await,
            Task::Deliveries => deliveries::step(repository, self).await,
            Task::Backfill => backfill::step(repository, request, self).await,
            Task::Collect => collect::step(repository, self).await,
        }
    }

    /// What becomes of a step that failed.
    async fn after(&self, stopped: Stopped, task: Task, repo: &RepoName) -> Outcome {
        let why = stopped.to_string();
        match stopped {
            Stopped::Watermark(WatermarkError::Conflict) => Outcome::Retry {
                after: Some(AFTER_CONFLICT),
                why,
            },
            Stopped::Watermark(WatermarkError::Unavailable(_)) => Outcome::away(why),
            Stopped::Failure(failure) if is_away(&failure) => Outcome::away(why),
            Stopped::Failure(failure) => {
                // To wait is no fault of a layer. A backfill says so all the same, since someone follows it.
                if failure.limit().is_none() || task == Task::Backfill {
                    self.tell(task, repo, &why).await;
                }
                let after = failure.limit();
                Outcome::Retry { after, why }
            }
            Stopped::Watermark(WatermarkError::Unreadable { .. }) => Outcome::retry(why),
        }
    }

    /// Says in the task's record why it does not go on. For people only, so a failure to do so is no matter.
    async fn tell(&self, task: Task, repo: &RepoName, why: &str) {
        let told = match task {
            Task::Backfill => {
                let why = Some(why.to_owned());
                let say = |r: &mut Backfill| r.phase == Phase::Running && put(&mut r.why, why.clone());
                self.deps.watermarks.change(repo, say).await.map(drop)
            }
            layer => self.mark(layer, repo, || State::Failing(why.to_owned())).await,
        };
        if let Err(error) = told {
            tracing::debug!(%error, "could not note why a task does not go on");
        }
    }

    /// Writes the state of a layer; a backfill is none.
    async fn mark(&self, task: Task, repo: &RepoName, state: impl Fn() -> State) -> Result<(), WatermarkError> {
        let watermarks = &self.deps.watermarks;
        match task {
            Task::Sweep => watermarks
                .change(repo, |r: &mut Sweep| put(&mut r.state, state()))
                .await
                .map(drop),
            Task::Audit => watermarks
                .change(repo, |r: &mut Audit| put(&mut r.state, state()))
                .await
                .map(drop),
            Task::Deliveries => {
                let changed = watermarks.change(repo, |r: &mut Deliveries| put(&mut r.state, state()));
                changed.await.map(drop)
            }
            Task::Collect => watermarks
                .change(repo, |r: &mut Collect| put(&mut r.state, state()))
                .await
                .map(drop),
            Task::Backfill => Ok(()),
        }
    }
}

/// Whether it changed.
fn put<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

/// Whether a part beneath is away, so that no other task would fare better.
pub(crate) fn is_away(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Log(LogError::Unavailable(_))
            | Failure::Object(ObjectError::Unavailable(_))
            | Failure::Publish(PublishError::Unavailable(_))
            | Failure::Queue(_)
            | Failure::Validators(_)
    )
}

/// Looks after the schedules until a stop.
async fn watch(layers: &Layers, context: &Context) -> anyhow::Result<()> {
    let mut begins = true;
    loop {
        for repository in &layers.deps.repositories.0 {
            match keep(layers, &repository.name, begins).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, repository = %repository.name, "could not look after schedules"),
            }
        }
        begins = false;
        if !context.stop.sleep(context.chance.jitter(CHECK)).await {
            return Ok(());
        }
    }
}

/// Makes the schedules of a repository what they should be. When a term `begins`, what is due is published again: the
/// one who worked on it may be gone, and nobody else would get it before its ack wait is over.
async fn keep(layers: &Layers, repo: &RepoName, begins: bool) -> Result<(), Stopped> {
    let every = &layers.freshness;
    for (task, interval, key) in [
        (Task::Sweep, every.sweep, "sweep_interval_s"),
        (Task::Deliveries, every.deliveries, "deliveries_interval_s"),
        (Task::Audit, every.audit_round.map(audit::longest_wait), "audit_round_s"),
        (
            Task::Collect,
            layers.retention.interval.map(collect::longest_wait),
            "collect_interval_s",
        ),
    ] {
        if begins {
            wake(layers, task, repo).await?;
        }
        match interval {
            Some(interval) => {
                let latest = match task {
                    Task::Deliveries => deliveries::longest_wait(repo, interval, layers).await?,
                    _ => interval,
                };
                keep_one(layers, task, repo, interval, latest).await?;
            }
            None => switch_off(layers, task, repo, key).await?,
        }
    }
    if begins {
        wake(layers, Task::Backfill, repo).await?;
    }
    backfill::keep(repo, layers).await
}

async fn wake(layers: &Layers, task: Task, repo: &RepoName) -> Result<(), Stopped> {
    let subject = task.due(repo);
    if let Some(due) = layers.tasks.lying(&subject).await? {
        layers.tasks.again(&subject, due.payload, due.sequence).await?;
    }
    Ok(())
}

/// Schedules a task if it is not, and anew if its schedule is later than `latest` or did not fire.
async fn keep_one(
    layers: &Layers,
    task: Task,
    repo: &RepoName,
    interval: Duration,
    latest: Duration,
) -> Result<(), Stopped> {
    let now = layers.deps.clock.now();
    let at = now + interval;
    match layers.tasks.lying(&task.scheduled(repo)).await? {
        Some(lying) if is_good(lying.at, now, latest) => {}
        Some(lying) => {
            tracing::info!(task = task.token(), repository = %repo, "scheduling anew");
            let tasks = &layers.tasks;
            tasks.reschedule(task, repo, Bytes::new(), at, lying.sequence).await?;
        }
        None if layers.tasks.lying(&task.due(repo)).await?.is_some() => {}
        None => {
            tracing::info!(task = task.token(), repository = %repo, "scheduling");
            layers.tasks.schedule(task, repo, Bytes::new(), at).await?;
        }
    }
    Ok(())
}

/// Whether a schedule will fire, and not later than the interval says.
fn is_good(at: Option<OffsetDateTime>, now: OffsetDateTime, interval: Duration) -> bool {
    at.is_some_and(|at| now - LATE <= at && at <= now + interval)
}

async fn switch_off(layers: &Layers, task: Task, repo: &RepoName, key: &str) -> Result<(), Stopped> {
    let scheduled = task.scheduled(repo);
    if layers.tasks.lying(&scheduled).await?.is_some() {
        layers.tasks.take_back(&scheduled).await?;
    }
    let off = || State::Off(format!("{key} is 0"));
    Ok(layers.mark(task, repo, off).await?)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_schedule_is_good_if_it_fires_within_the_interval() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let interval = Duration::from_secs(300);
        let good = |at| is_good(at, now, interval);
        assert!(good(Some(now + interval)) && good(Some(now)) && good(Some(now - LATE / 2)));
        assert!(!good(None), "no valid schedule");
        assert!(!good(Some(now + interval * 2)), "of a longer interval");
        assert!(!good(Some(now - LATE * 2)), "it did not fire");
    }
}
