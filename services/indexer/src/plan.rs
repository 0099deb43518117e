//! What an event makes the indexer write: for each side every timeline position and the issue document below the
//! event's marks, each either the document that belongs there or a stub.
//!
//! The plan follows from the event alone: nothing here reads Elasticsearch. That is what makes it safe under redelivery,
//! crashes, late requests and several indexers at once, as long as four rules hold, which `plan/model.rs` checks:
//!
//! - every write carries the event's revision as its external version, and Elasticsearch keeps the greatest;
//! - what does not belong on a side any more becomes a stub, never a delete (a tombstone is forgotten at a restart);
//! - marks only grow, so that the newest event covers whatever any earlier one wrote, on either side of the privacy wall;
//! - the issue document is written after its timeline, so that an issue found at a revision has that timeline.
//!
//! Not here: where a document belongs (the archive decides that) and how it is sent (`bulk`).

use crate::marks::Marks;

#[cfg(test)]
mod model;

/// A side of the privacy wall: which index a document is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Anyone may read it.
    Public,
    /// Readers with the right to private documents only.
    Private,
}

/// Both sides of the privacy wall, in the order in which they are written.
pub const SIDES: [Side; 2] = [Side::Public, Side::Private];

/// Which document of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The timeline event at that position, from 0.
    Position(u32),
    /// The issue itself.
    Issue,
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

/// Where the current documents of an issue belong. A deleted issue has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// The issue document's side.
    pub issue: Option<Side>,
    /// The side of each timeline event, by position.
    pub timeline: Vec<Side>,
}

/// First phase: on each side every timeline position below its mark, in order.
///
/// Lazy, because a timeline may have thousands of events and each write is sent as soon as it is made.
pub fn timeline_writes<'a>(marks: &Marks, placement: &'a Placement) -> impl Iterator<Item = Write> + 'a {
    let marks = *marks;
    SIDES.into_iter().flat_map(move |side| {
        (0..marks.side(side).timeline).map(move |position| Write {
            side,
            slot: Slot::Position(position),
            content: belongs(placement.side_of(position) == Some(side)),
        })
    })
}

/// Second phase, after the first is durable: the issue document on each side where it is or ever was.
#[must_use]
pub fn issue_writes(marks: &Marks, placement: &Placement) -> Vec<Write> {
    SIDES
        .into_iter()
        .filter(|side| marks.side(*side).issue)
        .map(|side| Write {
            side,
            slot: Slot::Issue,
            content: belongs(placement.issue == Some(side)),
        })
        .collect()
}

impl Placement {
    fn side_of(&self, position: u32) -> Option<Side> {
        self.timeline.get(usize::try_from(position).ok()?).copied()
    }
}

fn belongs(here: bool) -> Content {
    if here { Content::Document } else { Content::Stub }
}
