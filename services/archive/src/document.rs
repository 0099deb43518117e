//! Documents for Elasticsearch, and the merged issue for downloads, spliced from raw JSON.
//!
//! A document is one line (NDJSON): raw members in their order, then what Bugstream adds: `bug_number`, [`PRIVATE_FLAG`]
//! in every document of a private issue, and the object `bugstream`. Members of the raw JSON with these names give way.
//! Line breaks between tokens become spaces; nothing else of a value changes. Valid JSON has no raw line break in a text.
//!
//! A private issue's document has title and body of its partner issue, in their place. A public issue's document leaves
//! out members that name what is not known to be public.
//!
//! What Elasticsearch cannot index lies in `bugstream.unindexed` ([`Aside`]).

use std::collections::BTreeMap;
use std::fmt;

use bugstream_proto::IssueId;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::aside::Aside;
use crate::classify::{Classified, Side};
use crate::outline::Value;
use crate::parse::Archived;

/// The member that marks every document of a private issue, and JSON imported from the old system.
pub const PRIVATE_FLAG: &str = "__WEBCOMPAT_PRIVATE_ISSUE__";

/// What Bugstream adds, so what raw JSON may not bring along.
const ADDED: [&str; 3] = ["bug_number", "bugstream", PRIVATE_FLAG];

/// What a private issue has of its partner issue.
const MERGED: [&str; 2] = ["title", "body"];

/// What a document says about its making, the same for all documents of one event of the log.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Whose document it is.
    pub issue: &'a IssueId,
    /// The event's revision: the document's external version.
    pub revision: u64,
    /// When the raw JSON was established to be current.
    pub downloaded_at: OffsetDateTime,
    /// The trace of the event, 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
    /// What of it Elasticsearch refused to index, if it did.
    pub aside: Option<&'a Aside>,
}

/// The id of an issue's document on either side: `owner/repo/n`.
pub fn issue_document_id(issue: &IssueId) -> impl fmt::Display {
    fmt::from_fn(|f| write!(f, "{}/{}", issue.repo(), issue.number()))
}

/// The id of a timeline event's document on either side: `owner/repo/n/<position>`. By position, since several event
/// kinds have no id of their own.
pub fn timeline_document_id(issue: &IssueId, position: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{}/{position}", issue_document_id(issue)))
}

impl Archived<'_> {
    /// Appends the issue's document, without a line break at its end.
    pub fn issue_document(&self, classified: &Classified, stamp: &Stamp<'_>, out: &mut Vec<u8>) {
        let mut line = Object::begin(out);
        line.aside = stamp.aside;
        line.breaks_lines = self.issue.has_line_breaks() || self.timeline.has_line_breaks();
        self.issue_members(classified, &mut line);
        line.additions(
            stamp,
            classified.issue(),
            Additions::of_issue(stamp, self.timeline().len()),
        );
        line.end();
    }

    /// Appends the document of the timeline event at that position, without a line break at its end.
    ///
    /// # Panics
    /// If the timeline has no such position.
    pub fn timeline_document(&self, classified: &Classified, position: usize, stamp: &Stamp<'_>, out: &mut Vec<u8>) {
        let event = self.event(position);
        let mut line = Object::begin(out);
        line.aside = stamp.aside;
        line.breaks_lines = self.timeline.has_line_breaks();
        line.raw_members(event);
        line.additions(
            stamp,
            classified.issue(),
            Additions::of_event(stamp, position, occurred_at(event)),
        );
        line.end();
    }

    /// The issue as the old system stored it: raw members with the private merge and its flag, nothing else added.
    /// Line breaks between tokens stay where the members have them.
    #[must_use]
    pub fn merged_issue(&self, classified: &Classified) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        self.issue_members(classified, &mut object);
        object.flag(classified.issue());
        object.end();
        out
    }

    fn issue_members(&self, classified: &Classified, object: &mut Object<'_>) {
        let partner = classified.merge.and_then(|position| self.source_issue(position));
        let told = |name: &str| partner.and_then(|partner| partner.get(name));
        for member in self.issue().members().into_iter().flatten() {
            let name = &*member.name();
            if !classified.withheld.contains(name) {
                object.raw(member, if MERGED.contains(&name) { told(name) } else { None });
            }
        }
        let missing = |m: &Value<'_>| MERGED.contains(&&*m.name()) && self.issue().get(&m.name()).is_none();
        let partner = partner.and_then(Value::members).into_iter().flatten();
        partner.filter(missing).for_each(|member| object.raw(member, None));
    }
}

/// Appends the almost empty document that stands where a document is gone, and keeps late writers from bringing it back.
pub fn stub(revision: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(r#"{{"bugstream":{{"gone":true,"revision":{revision}}}}}"#).as_bytes());
}

/// Appends the document that stands where Elasticsearch refused one. `error` is a field and an error type, never
/// Elasticsearch's message, which quotes content.
pub fn error_stub(issue: &IssueId, revision: u64, error: &str, out: &mut Vec<u8>) {
    let repository = issue.repo().to_string();
    let mut line = Object::begin(out);
    line.added("bug_number", &issue.number());
    line.added(
        "bugstream",
        &Refused {
            repository: &repository,
            revision,
            error,
        },
    );
    line.end();
}

#[derive(Serialize)]
struct Refused<'a> {
    repository: &'a str,
    revision: u64,
    error: &'a str,
}

/// The object `bugstream` of a document.
#[derive(Serialize)]
struct Additions<'a> {
    repository: String,
    revision: u64,
    #[serde(with = "time::serde::rfc3339")]
    downloaded_at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline_events: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unindexed: BTreeMap<String, String>,
}

impl<'a> Additions<'a> {
    fn of_issue(stamp: &Stamp<'a>, timeline_events: usize) -> Self {
        Self {
            timeline_events: Some(timeline_events),
            ..Self::common(stamp)
        }
    }

    fn of_event(stamp: &Stamp<'a>, position: usize, occurred_at: Option<String>) -> Self {
        Self {
            position: Some(position),
            occurred_at,
            ..Self::common(stamp)
        }
    }

    fn common(stamp: &Stamp<'a>) -> Self {
        Self {
            repository: stamp.issue.repo().to_string(),
            revision: stamp.revision,
            downloaded_at: stamp.downloaded_at.to_offset(UtcOffset::UTC),
            trace_id: stamp.trace_id,
            timeline_events: None,
            position: None,
            occurred_at: None,
            error: stamp.aside.map(Aside::error),
            unindexed: BTreeMap::new(),
        }
    }
}

/// When an event happened, in UTC. Not every kind has `created_at`: reviews are submitted, commits committed, and
/// comments on lines and commits come as lists. A commit's dates are whatever its author's clock said, or nonsense;
/// what is no date is passed over.
fn occurred_at(event: Value<'_>) -> Option<String> {
    let own = ["created_at", "submitted_at"]
        .into_iter()
        .find_map(|name| date(event, name));
    let commit = || {
        ["committer", "author"]
            .into_iter()
            .find_map(|name| date(event.get(name)?, "date"))
    };
    let comment = || date(event.get("comments")?.elements()?.next()?, "created_at");
    own.or_else(commit).or_else(comment)
}

fn date(object: Value<'_>, name: &str) -> Option<String> {
    let parsed = OffsetDateTime::parse(&object.get_text(name)?, &Rfc3339).ok()?;
    parsed.checked_to_offset(UtcOffset::UTC)?.format(&Rfc3339).ok()
}

/// A JSON object in the making.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    is_empty: bool,
    /// Line breaks are to become spaces, and there are some.
    breaks_lines: bool,
    aside: Option<&'o Aside>,
    /// The JSON of what was put aside, by name.
    unindexed: BTreeMap<String, String>,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'{');
        Self {
            out,
            start,
            is_empty: true,
            breaks_lines: false,
            aside: None,
            unindexed: BTreeMap::new(),
        }
    }

    fn end(self) {
        self.out.push(b'}');
        if self.breaks_lines {
            let line = self.out[self.start..].iter_mut();
            let breaks = line.filter(|byte| matches!(byte, b'\n' | b'\r'));
            breaks.for_each(|byte| *byte = b' ');
        }
    }

    /// The members of an event: as one piece, if that comes to the same as one by one, as it nearly always does.
    fn raw_members(&mut self, event: Value<'_>) {
        let members = || event.members().into_iter().flatten();
        match one_piece(members()) {
            Some(all) if self.aside.is_none() => {
                self.separate();
                self.copy(all);
            }
            _ => members().for_each(|member| self.raw(member, None)),
        }
    }

    /// A raw member, with another value in its place if there is one.
    fn raw(&mut self, member: Value<'_>, instead: Option<Value<'_>>) {
        let name = member.name();
        if ADDED.contains(&&*name) {
            return;
        }
        let value = instead.unwrap_or(member);
        if self.aside.is_some_and(|aside| aside.takes(&name, value.kind())) {
            self.unindexed.insert(name.into_owned(), value.json().to_owned());
            return;
        }
        self.separate();
        self.copy(member.prefix());
        self.copy(value.json());
    }

    fn additions(&mut self, stamp: &Stamp<'_>, issue: Side, mut additions: Additions<'_>) {
        additions.unindexed = std::mem::take(&mut self.unindexed);
        self.added("bug_number", &stamp.issue.number());
        self.flag(issue);
        self.added("bugstream", &additions);
    }

    fn flag(&mut self, issue: Side) {
        if issue == Side::Private {
            self.added(PRIVATE_FLAG, &true);
        }
    }

    fn added(&mut self, name: &str, value: &impl Serialize) {
        self.separate();
        ["\"", name, "\":"].into_iter().for_each(|piece| self.copy(piece));
        serde_json::to_writer(&mut *self.out, value).expect("plain numbers and texts always serialise into memory");
    }

    fn separate(&mut self) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
    }

    fn copy(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }
}

/// The source from the first member to the last, if each is kept and only a comma is between two.
fn one_piece<'t>(mut members: impl Iterator<Item = Value<'t>>) -> Option<&'t str> {
    let is_kept = |member: &Value<'_>| !ADDED.contains(&&*member.name());
    let first = members.next().filter(is_kept)?;
    let mut piece = first.span();
    for member in members {
        if !is_kept(&member) || member.span().start != piece.end + 1 {
            return None;
        }
        piece.end = member.span().end;
    }
    Some(first.source(piece))
}
