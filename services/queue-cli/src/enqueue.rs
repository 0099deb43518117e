//! Publishes one request for each of many issues, with many under way at once.

use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::publish::PublishError;
use bugstream_kit::requests::{Queued, Requests};
use bugstream_proto::{IssueId, v1};
use bugstream_telemetry::names;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tracing::Instrument as _;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::queue::Queue;
use crate::report::{Report, counted, thousands};

/// Publishes under way at once: one at a time is ten times slower.
const IN_FLIGHT: usize = 256;
/// How often a publish is tried.
const ATTEMPTS: u64 = 4;

/// When a download is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Before everything that waits for quota.
    Now,
    /// When the quota allows; a request that waits already keeps its place.
    WhenQuotaAllows,
}

/// Puts issues into one queue.
pub(crate) struct Enqueue {
    requests: Requests,
    chance: Chance,
    queue: Queue,
    pace: Pace,
    cause: v1::Cause,
}

/// What became of the issues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Queued.
    pub(crate) queued: u64,
    /// Waited already, and keep their place.
    pub(crate) waiting: u64,
}

impl Enqueue {
    /// Connects. `reason` is what events will say was the cause.
    ///
    /// # Errors
    /// [`Failure`] if NATS is away.
    pub(crate) async fn open(deps: &Deps, queue: Queue, pace: Pace, reason: v1::Reason) -> Result<Self, Failure> {
        let broker = deps.broker().await?;
        let context = deps.context();
        Ok(Self {
            requests: Requests::new(broker.jetstream),
            chance: context.chance.clone(),
            queue,
            pace,
            cause: v1::Cause::new(reason, context.clock.now()),
        })
    }

    /// Queues every issue and adds up.
    ///
    /// # Errors
    /// [`Failure`] with how many are queued. Those may be queued again without harm.
    pub(crate) async fn all(
        &self,
        issues: impl Iterator<Item = IssueId> + Send,
        tally: &mut Tally,
        progress: &mut Progress<'_>,
    ) -> Result<(), Failure> {
        let mut sent = stream::iter(issues)
            .map(|issue| self.one(issue))
            .buffer_unordered(IN_FLIGHT);
        while let Some(queued) = sent.next().await {
            match queued.map_err(|error| gave_up(&error, *tally))? {
                Queued::New => tally.queued += 1,
                Queued::Waiting => tally.waiting += 1,
            }
            progress.step(tally.queued + tally.waiting);
        }
        Ok(())
    }

    /// Queues one issue, in a trace of its own that download and indexing go on with.
    async fn one(&self, issue: IssueId) -> Result<Queued, PublishError> {
        let publish = || {
            let span = tracing::info_span!(names::span::PUBLISH, queue = self.queue.name());
            self.publish(&issue).instrument(span)
        };
        patiently(&self.chance, publish).await
    }

    async fn publish(&self, issue: &IssueId) -> Result<Queued, PublishError> {
        let (requests, cause) = (&self.requests, self.cause.clone());
        match (self.queue, self.pace) {
            (Queue::Index, _) => requests.index(issue, cause).await.map(|()| Queued::New),
            (Queue::Download, Pace::Now) => requests.download(issue, cause).await.map(|()| Queued::New),
            (Queue::Download, Pace::WhenQuotaAllows) => requests.backfill(issue, cause).await,
        }
    }
}

/// Publishes once more, a few times, while JetStream is away: a new leader is elected within seconds.
pub(crate) async fn patiently<T, F>(chance: &Chance, publish: impl Fn() -> F) -> Result<T, PublishError>
where
    F: Future<Output = Result<T, PublishError>>,
{
    let mut attempts = 0;
    loop {
        match publish().await {
            Err(PublishError::Unavailable(_)) if attempts + 1 < ATTEMPTS => attempts += 1,
            done => return done,
        }
        let (base, longest) = (Duration::from_millis(250), Duration::from_secs(4));
        tokio::time::sleep(chance.backoff(base, longest, attempts)).await;
    }
}

fn gave_up(error: &PublishError, so_far: Tally) -> Failure {
    let queued = counted(so_far.queued + so_far.waiting, "issue");
    Failure::failed(format!("{error}; {queued} queued so far"))
        .with_fix("run the same command again: nothing is queued twice")
}

/// Says what was queued.
pub(crate) fn report(queue: Queue, repository: &bugstream_proto::RepoName, tally: Tally) -> Report {
    let Tally { queued, waiting } = tally;
    let mut human = format!(
        "queued {} of {repository} for {}",
        counted(queued, "issue"),
        queue.name()
    );
    if waiting > 0 {
        human = format!("{human}; {} waited already and kept their place", thousands(waiting));
    }
    let json = json!({
        "queue": queue.name(),
        "repository": repository.to_string(),
        "queued": queued,
        "waiting": waiting,
    });
    Report::new(human, json)
}
