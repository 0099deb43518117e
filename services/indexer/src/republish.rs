//! Publishes an issue's newest event once more: same objects, raised revision. The normal path does the rest.
//!
//! The revision must rise: Elasticsearch counts a deletion by hand as a newer version, and would refuse the old one.

use bugstream_archive::Marks;
use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::consume::{Handler, Lease, Outcome, Received};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::log::{Log, LogError, Logged};
use bugstream_proto::{Event, v1};
use bugstream_telemetry::{metrics, names};

/// Publishes `newest` again with these marks. That another event came first is as good: it is indexed anyway, with a
/// revision that is greater still.
///
/// # Errors
/// What to do instead: hold if the log is away.
pub(crate) async fn republish(
    log: &Log,
    newest: &Logged,
    marks: Marks,
    cause: v1::Cause,
    chance: &Chance,
) -> Result<(), Outcome> {
    let event = Event {
        revision: log.next_revision(Some(newest)),
        marks: marks.into(),
        cause,
        ..newest.event.clone()
    };
    match log.publish(&event, Some(newest), &chance.nonce()).await {
        Ok(_) | Err(LogError::Conflict) => Ok(()),
        Err(error) => Err(Outcome::away(error.to_string())),
    }
}

/// Answers index requests.
#[derive(Debug)]
pub struct Republisher {
    /// To read newest events and publish them again.
    pub log: Log,
    /// The time of day.
    pub clock: Clock,
    /// Nonces.
    pub chance: Chance,
}

impl Handler for Republisher {
    async fn handle(&self, message: &Received, _: &Lease) -> Outcome {
        match self.answer(message).await {
            Ok(()) => Outcome::Done,
            Err(instead) => instead,
        }
    }
}

impl Republisher {
    async fn answer(&self, message: &Received) -> Result<(), Outcome> {
        let requested = v1::IndexRequested::read(message.issue(), &message.payload, self.clock.now())
            .map_err(|error| Outcome::reject(Kind::Payload, error.to_string()))?;
        let Some(newest) = self
            .log
            .newest(message.issue())
            .await
            .map_err(|error| unreadable(&error))?
        else {
            metrics::count(names::INDEX_UNKNOWN_ISSUES, 1, &[]);
            return Ok(());
        };
        let cause = v1::Cause {
            reason: v1::Reason::Reindex.into(),
            ..requested.cause_or(self.clock.now())
        };
        let marks = Marks::from(&newest.event.marks);
        republish(&self.log, &newest, marks, cause, &self.chance).await
    }
}

/// A newest event that cannot be read is a dead letter of its own when it is delivered.
fn unreadable(error: &LogError) -> Outcome {
    match error {
        LogError::Unreadable { .. } => Outcome::reject(Kind::Other, error.to_string()),
        _ => Outcome::away(error.to_string()),
    }
}
