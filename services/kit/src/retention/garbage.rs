//! The decision about one issue, as a pure function.

use std::collections::HashSet;
use std::time::Duration;

use bugstream_proto::{IssueId, ObjectKey};
use time::OffsetDateTime;

use super::{DAY, Rules};
use crate::log::Entry;
use crate::objects::Stored;

/// What may go of one issue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The events before this sequence go.
    pub drop_before: Option<u64>,
    /// How many those are.
    pub events: u64,
    /// Objects that only those events named.
    pub revisions: Vec<Stored>,
    /// Objects that no event named.
    pub orphans: Vec<Stored>,
    /// Of the orphans: those that are newer than everything that the log knows of the issue.
    pub suspects: u64,
    /// Files that are no objects of ours.
    pub unknown: u64,
    /// Whether an event could not be read: then all stays, since it may name any of it.
    pub unreadable: bool,
}

/// Decides what may go of an issue, from its files and from its events as they were read after those were listed.
#[must_use]
pub fn garbage(issue: &IssueId, files: &[Stored], history: &[Entry], rules: Rules, now: OffsetDateTime) -> Garbage {
    let events = history.iter().map(|entry| entry.event.as_ref().ok());
    let Some(events) = events.collect::<Option<Vec<_>>>() else {
        return Garbage {
            unreadable: true,
            ..Garbage::default()
        };
    };
    let old = rules.revisions.map_or(0, |bound| superseded_for(history, bound, now));
    // What was deleted or forgotten had its objects purged: no event before names anything any more.
    let gone = events.iter().rposition(|event| event.objects().is_empty());
    let keys = |from: usize, to: usize| -> HashSet<&str> {
        let objects = events[from..to].iter().flat_map(|event| event.objects());
        objects.map(|object| object.key.as_str()).collect()
    };
    let named = keys(old.max(gone.unwrap_or(0)), events.len());
    let named_once = keys(0, events.len());
    let newest = events.last().map_or(0, |event| event.revision);
    let mut garbage = Garbage {
        drop_before: (old > 0).then(|| history[old].sequence),
        events: old as u64,
        ..Garbage::default()
    };
    for file in files {
        let Some(key) = key_of(&file.key, issue) else {
            garbage.unknown += 1;
            continue;
        };
        let age = age(file.modified, key.revision, now);
        if named.contains(file.key.as_str()) || age <= rules.orphans {
            continue;
        }
        if named_once.contains(file.key.as_str()) {
            garbage.revisions.push(file.clone());
        } else {
            garbage.suspects += u64::from(key.revision > newest);
            garbage.orphans.push(file.clone());
        }
    }
    garbage
}

/// How many of the oldest events were superseded longer ago than that.
fn superseded_for(history: &[Entry], bound: Duration, now: OffsetDateTime) -> usize {
    let revision = |entry: &Entry| entry.event.as_ref().map_or(0, |event| event.revision);
    let successors = history.iter().skip(1);
    let old = successors.take_while(|next| age(next.stored_at, revision(next), now) > bound);
    old.count()
}

/// How long ago something was, from the time that a server wrote down and the revision that a downloader drew: whichever
/// says less. After a clock was ahead once, an issue's revisions may stay ahead for ever, and say nothing.
fn age(written: OffsetDateTime, revision: u64, now: OffsetDateTime) -> Duration {
    let drawn = OffsetDateTime::from_unix_timestamp_nanos(i128::from(revision) * 1_000_000);
    let drawn = drawn.ok().filter(|drawn| *drawn < now + DAY);
    let latest = drawn.map_or(written, |drawn| drawn.max(written));
    Duration::try_from(now - latest).unwrap_or_default()
}

/// The key of an object of this issue, or of one whose write was cut short.
fn key_of(text: &str, issue: &IssueId) -> Option<ObjectKey> {
    let whole = text.rsplit_once('#').map_or(text, |(whole, _)| whole);
    let key: ObjectKey = whole.parse().ok()?;
    (key.issue == *issue && key.to_string() == whole).then_some(key)
}
