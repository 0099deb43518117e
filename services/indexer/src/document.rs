//! From an event of the log to documents: its objects are read, checked against their hashes, parsed and classified.

use std::fmt::{self, Display as _};

use bugstream_archive::{
    Archived, Aside, Classified, Rules, Stamp, error_stub, issue_document_id, stub, timeline_document_id,
};
use bugstream_kit::consume::Outcome;
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::objects::{ObjectError, Objects};
use bugstream_proto::Event;
use bugstream_proto::message::Downloaded;
use bytes::Bytes;

use crate::bulk::{Batch, Refused};
use crate::plan::{Content, Slot, Write};
use crate::target::Target;

/// Bytes that a document's lines have beyond its raw JSON: the action, and what Bugstream adds.
const ADDED: usize = 512;

/// The stored bytes of an issue.
#[derive(Debug)]
pub(crate) struct Raw {
    issue: Bytes,
    timeline: Bytes,
}

impl Raw {
    /// Reads both objects of an event.
    ///
    /// # Errors
    /// [`ObjectError`]: the store is away, or an object is not what the event says.
    pub(crate) async fn read(downloaded: &Downloaded, objects: &Objects) -> Result<Self, ObjectError> {
        let [issue, timeline] = objects.get_all([&downloaded.issue, &downloaded.timeline]).await?;
        Ok(Self { issue, timeline })
    }

    fn bytes(&self) -> usize {
        self.issue.len() + self.timeline.len()
    }

    /// Parses them.
    ///
    /// # Errors
    /// A rejection: bytes with the right hash will not change.
    pub(crate) fn parse(&self) -> Result<Archived<'_>, Outcome> {
        let hopeless = |error: bugstream_archive::ArchiveError| Outcome::reject(Kind::Object, error.to_string());
        Archived::parse(&self.issue, &self.timeline).map_err(hopeless)
    }
}

/// What a downloaded issue's documents are made of.
#[derive(Debug)]
pub(crate) struct Current<'a> {
    pub(crate) archived: Archived<'a>,
    pub(crate) classified: Classified,
    /// Of the raw JSON.
    bytes: usize,
}

impl<'a> Current<'a> {
    pub(crate) fn of(raw: &'a Raw, rules: &Rules) -> Result<Self, Outcome> {
        let archived = raw.parse()?;
        let classified = archived.classify(rules);
        Ok(Self {
            archived,
            classified,
            bytes: raw.bytes(),
        })
    }
}

/// Renders the writes of one event.
pub(crate) struct Renderer<'a> {
    pub(crate) target: &'a Target,
    pub(crate) event: &'a Event,
    /// `None` for a deleted issue.
    pub(crate) current: Option<&'a Current<'a>>,
    pub(crate) trace_id: Option<&'a str>,
}

impl Renderer<'_> {
    /// About as many as the lines of all documents have, rather more than fewer.
    pub(crate) fn bytes(&self) -> usize {
        let documents = |current: &Current<'_>| 1 + current.classified.timeline().len();
        self.current
            .map_or(0, |current| current.bytes + documents(current) * ADDED)
    }

    /// Adds a write with the content that the plan gives it.
    pub(crate) fn push(&self, write: Write, batch: &mut Batch) {
        self.push_less(write, None, batch);
    }

    /// The same without what Elasticsearch cannot index of it.
    pub(crate) fn push_less(&self, write: Write, aside: Option<&Aside>, batch: &mut Batch) {
        let (alias, id) = self.place(write);
        batch.push(alias, id, self.event.revision, |out| {
            match (write.content, self.current) {
                (Content::Document, Some(current)) => self.document(current, write.slot, aside, out),
                _ => stub(self.event.revision, out),
            }
        });
    }

    /// Adds what stands where a document cannot be: its predecessor must not stay.
    pub(crate) fn push_error(&self, write: Write, refused: &Refused, batch: &mut Batch) {
        let (alias, id) = self.place(write);
        let error = reason(refused);
        batch.push(alias, id, self.event.revision, |out| {
            error_stub(&self.event.issue, self.event.revision, &error, out);
        });
    }

    /// The write alias and the id of a write's document.
    pub(crate) fn place(&self, write: Write) -> (&str, impl fmt::Display) {
        let issue = &self.event.issue;
        let id = fmt::from_fn(move |f| match write.slot {
            Slot::Issue => issue_document_id(issue).fmt(f),
            Slot::Position(position) => timeline_document_id(issue, position as usize).fmt(f),
        });
        (self.target.alias(write.slot.kind(), write.side), id)
    }

    fn document(&self, current: &Current<'_>, slot: Slot, aside: Option<&Aside>, out: &mut Vec<u8>) {
        let stamp = Stamp {
            issue: &self.event.issue,
            revision: self.event.revision,
            downloaded_at: self.event.occurred_at,
            trace_id: self.trace_id,
            aside,
        };
        let (archived, classified) = (&current.archived, &current.classified);
        match slot {
            Slot::Issue => archived.issue_document(classified, &stamp, out),
            Slot::Position(position) => archived.timeline_document(classified, position as usize, &stamp, out),
        }
    }
}

/// What `bugstream.error` says of a refusal.
pub(crate) fn reason(refused: &Refused) -> String {
    match refused.field.as_str() {
        "" => refused.error_type.clone(),
        field => format!("{}: {field}", refused.error_type),
    }
}
