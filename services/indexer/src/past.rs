//! What was true at a past time: of every issue the last event that had happened by then, written to indices of their own.
//!
//! Invariants:
//! - What must have vanished vanishes here too: of an issue that is deleted or forgotten now nothing is written, whatever
//!   it was then. One that is deleted later is the live indexer's work, since these indices are among those that are
//!   kept ([`crate::generations`]): it writes with a greater version than the old event has.
//! - Nothing is asked of GitHub: the past cannot be downloaded again. What is no longer kept leaves a mark.
//! - No stubs: an issue is written from one event only. Both sides of the privacy wall lie in one index, for readers of
//!   the private side, since what was public then may be private now.

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bugstream_archive::Marks;
use bugstream_kit::consume::{Handler, Lease, Outcome, Received};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::objects::ObjectError;
use bugstream_proto::message::{Change, Downloaded};
use bugstream_proto::{Event, Verb};
use time::OffsetDateTime;

use crate::document::{Current, Raw, Renderer};
use crate::index::Indexer;
use crate::plan::{Content, Write, issue_writes, timeline_writes};

/// Writes the state at a past time.
pub(crate) struct Past {
    indexer: Indexer,
    log: Stream,
    at: OffsetDateTime,
}

/// What became of an issue after an event.
#[derive(Debug, PartialEq, Eq)]
enum Later {
    /// Another event had happened by the wanted time too.
    Superseded,
    /// It is deleted or forgotten now.
    Gone,
    /// Nothing, or only what came after the wanted time.
    Stands,
}

impl Handler for Past {
    async fn handle(&self, message: &Received, lease: &Lease) -> Outcome {
        match self.index(message, lease).await {
            Ok(()) => Outcome::Done,
            Err(instead) => instead,
        }
    }
}

impl Past {
    /// `indexer` writes to indices for the past, `log` is where the events come from.
    pub(crate) fn new(indexer: Indexer, log: Stream, at: OffsetDateTime) -> Self {
        Self { indexer, log, at }
    }

    async fn index(&self, message: &Received, lease: &Lease) -> Result<(), Outcome> {
        let event = Event::decode(message.issue(), &message.payload)
            .map_err(|error| Outcome::reject(Kind::Other, error.to_string()))?;
        if event.occurred_at > self.at || self.later(message).await? == Later::Superseded {
            return Ok(());
        }
        let Change::Downloaded(downloaded) = &event.change else {
            return self.absent(&event, message, lease).await;
        };
        match Raw::read(downloaded, &self.indexer.objects).await {
            // Looked at after the objects: they may go with a deletion at any moment.
            raw if self.later(message).await? == Later::Gone => {
                drop(raw);
                self.absent(&event, message, lease).await
            }
            Ok(raw) => self.write(&event, &raw, message, lease).await,
            Err(ObjectError::Unavailable(why)) => Err(Outcome::away(why)),
            Err(error) => self.lost(&event, downloaded, &error, lease).await,
        }
    }

    /// Walks through the later events of the issue until one decides.
    async fn later(&self, message: &Received) -> Result<Later, Outcome> {
        let (subject, mut sequence) = (Verb::Issue.of(message.issue()).to_string(), message.sequence);
        let mut later = Later::Stands;
        loop {
            let next = self
                .log
                .raw_message_builder()
                .sequence(sequence + 1)
                .next_by_subject(&subject);
            let next = match next.send().await {
                Ok(next) => next,
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(later),
                Err(error) => return Err(Outcome::away(error.to_string())),
            };
            sequence = next.sequence;
            later = match Event::decode(message.issue(), &next.payload) {
                Ok(event) if event.occurred_at <= self.at => return Ok(Later::Superseded),
                Ok(event) => after(&event.change),
                // Not known to be harmless.
                Err(_) => Later::Gone,
            };
        }
    }

    async fn write(&self, event: &Event, raw: &Raw, message: &Received, lease: &Lease) -> Result<(), Outcome> {
        let repo = message.issue().repo();
        let unknown = || Outcome::reject(Kind::Other, format!("repository {repo} is not configured"));
        let rules = self.indexer.rules.get(repo).ok_or_else(unknown)?;
        let current = Current::of(raw, rules)?;
        let placed = Some(&current.classified);
        // Judged by the rules of now, which the marks may not cover.
        let marks = Marks::from(&event.marks).grow(&current.classified);
        let renderer = self.renderer(event, Some(&current));
        let writes = timeline_writes(marks, placed).chain(issue_writes(marks, placed));
        self.indexer
            .phase(writes.filter(is_document), &renderer, message, lease)
            .await
    }

    /// A stub says that the issue was looked at.
    async fn absent(&self, event: &Event, message: &Received, lease: &Lease) -> Result<(), Outcome> {
        let writes = issue_writes(Marks::from(&event.marks), None).into_iter().take(1);
        let renderer = self.renderer(event, None);
        self.indexer.phase(writes, &renderer, message, lease).await
    }

    async fn lost(
        &self,
        event: &Event,
        downloaded: &Downloaded,
        why: &ObjectError,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        tracing::warn!(issue = %event.issue, revision = event.revision, key = downloaded.issue.key, %why, "an old object is not kept");
        self.indexer.mark(event, lease).await
    }

    fn renderer<'a>(&'a self, event: &'a Event, current: Option<&'a Current<'a>>) -> Renderer<'a> {
        Renderer {
            target: &self.indexer.target,
            event,
            current,
            trace_id: None,
        }
    }
}

fn after(change: &Change) -> Later {
    match change {
        Change::Downloaded(_) => Later::Stands,
        Change::Deleted(_) | Change::Forgotten => Later::Gone,
    }
}

fn is_document(write: &Write) -> bool {
    write.content == Content::Document
}
