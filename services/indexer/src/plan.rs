//! What an event makes the indexer write: for each side every timeline position and the issue document below the
//! event's marks, each either the document that belongs there or a stub.
//!
//! The plan follows from the event alone: nothing here reads Elasticsearch. That is what makes it safe under redelivery,
//! crashes, late requests and several indexers at once, as long as four rules hold, which `plan/model.rs` checks:
//!
//! - every write carries the event's revision as its external version, and Elasticsearch keeps the greatest;
//! - what does not belong on a side any more becomes a stub, never a delete (a tombstone is forgotten at a restart);
//! - marks only grow, so that the newest event covers whatever any earlier one wrote, on either side of the privacy wall;
//! - the issue document is written after its timeline, so that an issue found at a revision has that timeline; where
//!   nobody reads yet, in a generation that is filled, both are written at once.
//!
//! Not here: where a document belongs (the archive decides that) and how it is sent (`bulk`).

use bugstream_archive::names::Kind;
use bugstream_archive::{Classified, Marks, Side};

#[cfg(test)]
mod model;

/// Which document of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The timeline event at that position, from 0.
    Position(u32),
    /// The issue itself.
    Issue,
}

impl Slot {
    /// The kind of documents that it belongs to.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Position(_) => Kind::Timelines,
            Self::Issue => Kind::Issues,
        }
    }
}

/// What a write puts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// The current document: it belongs on this side.
    Document,
    /// An almost empty document that every alias hides: nothing of this issue belongs there now.
    Stub,
}

/// One write of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// The side whose index it goes to.
    pub side: Side,
    /// The document of the issue.
    pub slot: Slot,
    /// Document or stub.
    pub content: Content,
}

/// First phase, where there are two: on each side every timeline position below its mark, in order. `placed` is where
/// the current documents belong; a deleted issue has none.
///
/// Lazy, because a timeline may have thousands of events and each write is sent as soon as it is made.
pub fn timeline_writes(marks: Marks, placed: Option<&Classified>) -> impl Iterator<Item = Write> {
    Side::ALL.into_iter().flat_map(move |side| {
        (0..marks.of(side).timeline).map(move |position| Write {
            side,
            slot: Slot::Position(position),
            content: belongs(placed.and_then(|p| p.timeline().get(position as usize)) == Some(&side)),
        })
    })
}

/// Second phase, after the first is durable where someone may read: the issue document on each side where it is or ever
/// was.
#[must_use]
pub fn issue_writes(marks: Marks, placed: Option<&Classified>) -> Vec<Write> {
    let ever_there = |side: &Side| marks.of(*side).issue;
    let write = |side| Write {
        side,
        slot: Slot::Issue,
        content: belongs(placed.is_some_and(|p| p.issue() == side)),
    };
    Side::ALL.into_iter().filter(ever_there).map(write).collect()
}

fn belongs(here: bool) -> Content {
    if here { Content::Document } else { Content::Stub }
}
