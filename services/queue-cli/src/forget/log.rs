//! What the log says: that an issue is forgotten, or that it may be downloaded again.

use bugstream_kit::broker::Broker;
use bugstream_kit::log::{Entry, Log, LogError, Logged};
use bugstream_kit::requests::Requests;
use bugstream_proto::{Change, Event, IssueId, v1};

use super::failed;
use crate::deps::Deps;
use crate::failure::Failure;

/// Lost races after which something is wrong.
const TURNS: usize = 20;

/// Says that an issue is forgotten, unless the log says so already; answers the event that does.
pub(super) async fn say(issue: &IssueId, log: &Log, deps: &Deps) -> Result<Logged, Failure> {
    for _ in 0..TURNS {
        let newest = log.newest(issue).await.map_err(failed)?.ok_or_else(|| unknown(issue))?;
        if newest.event.change == Change::Forgotten {
            return Ok(newest);
        }
        match publish(Change::Forgotten, &newest, log, deps).await {
            Err(LogError::Conflict) => {}
            published => return published.map_err(failed),
        }
    }
    Err(failed("other events of the issue keep coming first"))
}

/// What became of permission to download an issue again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Now,
    /// By a command before, which may have ended early.
    Before,
}

/// Puts an ordinary deletion in the place of the forget, and asks for a download.
pub(super) async fn allow(issue: &IssueId, log: &Log, broker: &Broker, deps: &Deps) -> Result<Allowed, Failure> {
    let deletion = v1::IssueDeleted {
        confirmation: v1::Confirmation::Operator.into(),
        ..v1::IssueDeleted::default()
    };
    for _ in 0..TURNS {
        let newest = log.newest(issue).await.map_err(failed)?.ok_or_else(|| unknown(issue))?;
        let allowed = match &newest.event.change {
            Change::Forgotten => publish(Change::Deleted(deletion.clone()), &newest, log, deps)
                .await
                .map(|_| Allowed::Now),
            Change::Deleted(known) if *known == deletion => Ok(Allowed::Before),
            _ => return Err(not_forgotten(issue)),
        };
        match allowed {
            Err(LogError::Conflict) => {}
            Err(error) => return Err(failed(error)),
            Ok(allowed) => {
                let cause = v1::Cause::new(v1::Reason::Manual, deps.context().clock.now());
                let requests = Requests::new(broker.jetstream.clone());
                requests.download(issue, cause).await.map_err(failed)?;
                return Ok(allowed);
            }
        }
    }
    Err(failed("other events of the issue keep coming first"))
}

/// The newest event's place in a history that was read.
///
/// # Errors
/// [`Failure`] for an issue that the log never knew.
pub(super) fn newest(issue: &IssueId, history: &[Entry]) -> Result<u64, Failure> {
    history
        .last()
        .map(|newest| newest.sequence)
        .ok_or_else(|| unknown(issue))
}

async fn publish(change: Change, newest: &Logged, log: &Log, deps: &Deps) -> Result<Logged, LogError> {
    let now = deps.context().clock.now();
    let event = Event {
        revision: log.next_revision(Some(newest)),
        occurred_at: now,
        cause: v1::Cause::new(v1::Reason::Manual, now),
        change,
        ..newest.event.clone()
    };
    let nonce = deps.context().chance.nonce();
    let sequence = log.publish(&event, Some(newest), &nonce).await?;
    Ok(Logged {
        sequence,
        event,
        nonce: Some(nonce.as_str().to_owned()),
    })
}

fn unknown(issue: &IssueId) -> Failure {
    let problem = format!("the log does not know {issue}, so nothing of it is stored");
    Failure::failed(problem)
        .with_fix("see that the number and --repository are right: queue-cli verify finds what is stray")
}

fn not_forgotten(issue: &IssueId) -> Failure {
    let number = issue.number();
    Failure::failed(format!("{issue} is not forgotten: there is nothing to allow"))
        .with_fix(format!("queue-cli add download {number} fetches it"))
}
