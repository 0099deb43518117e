//! An event whose objects are not what it says: they are downloaded again, and the place of the issue says so meanwhile.

use bugstream_archive::Marks;
use bugstream_archive::names::Kind as Documents;
use bugstream_kit::consume::{Lease, Outcome, Received};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::objects::ObjectError;
use bugstream_proto::{Event, v1};
use bugstream_telemetry::{metrics, names};

use crate::bulk::{Batch, Refused};
use crate::document::Renderer;
use crate::index::Indexer;
use crate::plan::{Slot, Write, issue_writes, timeline_writes};

/// Failed attempts after which an object counts as lost. Objects are stored before their event is published and stores
/// are consistent, so waiting longer does not help; what is missing because a newer event replaced it is skipped at the
/// next attempt.
const PATIENCE: u64 = 2;

/// What a hole says in `bugstream.error`.
pub(crate) const LOST: &str = "object_lost";

impl Indexer {
    /// Decides about an event that cannot be read. Live, it becomes a dead letter and what readers saw before stays. A
    /// generation that is being filled gets a mark in the issue's place, which a rebuild counts before it goes live.
    pub(crate) async fn hole(
        &self,
        error: &ObjectError,
        event: &Event,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        match error {
            ObjectError::Unavailable(_) => return Err(Outcome::away(error.to_string())),
            _ if message.attempts < PATIENCE => return Err(Outcome::retry(error.to_string())),
            // Its objects went with it.
            _ if self.is_superseded(message).await? => return Ok(()),
            _ => {}
        }
        let asked = self.ask_again(event).await?;
        tracing::warn!(issue = %event.issue, revision = event.revision, %error, asked, "an object is lost");
        metrics::count(names::OBJECTS_LOST, 1, &[]);
        if self.target.is_live() {
            let what_now = if asked {
                "it is downloaded again"
            } else {
                "a download did not help: check that services share one object store, then queue-cli verify --repair"
            };
            return Err(Outcome::reject(Kind::Object, format!("{error}; {what_now}")));
        }
        self.mark(event, lease).await
    }

    /// Asks for a download that stores everything anew; not for an event that such a download made, or two services
    /// that look at different stores would ask GitHub for ever.
    async fn ask_again(&self, event: &Event) -> Result<bool, Outcome> {
        if event.cause.reason() == v1::Reason::Repair {
            return Ok(false);
        }
        let cause = v1::Cause::new(v1::Reason::Repair, self.clock.now());
        match self.requests.backfill(&event.issue, cause).await {
            Ok(_) => Ok(true),
            Err(error) => Err(Outcome::away(error.to_string())),
        }
    }

    pub(crate) async fn mark(&self, event: &Event, lease: &Lease) -> Result<(), Outcome> {
        let renderer = Renderer {
            target: &self.target,
            event,
            current: None,
            trace_id: None,
        };
        let lost = Refused {
            error_type: LOST.to_owned(),
            field: String::new(),
        };
        let mut batch = Batch::default();
        for write in marked(Marks::from(&event.marks), self.target.takes(Documents::Issues)) {
            renderer.push_error(write, &lost, &mut batch);
        }
        self.bulk(batch, lease).await.map(drop)
    }
}

/// The places that say it: the issue's own, or the first of its timeline where only timelines are written.
fn marked(marks: Marks, with_issues: bool) -> Vec<Write> {
    if with_issues {
        return issue_writes(marks, None);
    }
    timeline_writes(marks, None)
        .filter(|write| write.slot == Slot::Position(0))
        .collect()
}
