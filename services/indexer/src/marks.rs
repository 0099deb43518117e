//! What was ever written to Elasticsearch for an issue: per side, and only growing from event to event.
//!
//! An event's marks cover every document that any earlier event of the issue may have written, so whoever indexes the
//! newest event cleans up after all of them, without a read of Elasticsearch.

use crate::plan::{Placement, SIDES, Side};

/// The marks of one side of the privacy wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideMarks {
    /// 1 + the highest timeline position ever written there; 0 for none.
    pub timeline: u32,
    /// Whether the issue document ever was there.
    pub issue: bool,
}

/// The marks of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    public: SideMarks,
    private: SideMarks,
}

impl Marks {
    /// The marks of an event whose documents are placed so, after an event with marks `self`.
    #[must_use]
    pub fn grow(mut self, placement: &Placement) -> Self {
        for side in SIDES {
            let mark = self.side_mut(side);
            let needed = placement
                .timeline
                .iter()
                .rposition(|s| *s == side)
                .map_or(0, |last| last as u32 + 1);
            mark.timeline = mark.timeline.max(needed);
            mark.issue |= placement.issue == Some(side);
        }
        self
    }

    /// Whether these marks reach every document placed so. They may not, where the rules of privacy changed since.
    #[must_use]
    pub fn cover(self, placement: &Placement) -> bool {
        self.grow(placement) == self
    }

    /// The marks of one side.
    #[must_use]
    pub fn side(&self, side: Side) -> SideMarks {
        match side {
            Side::Public => self.public,
            Side::Private => self.private,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut SideMarks {
        match side {
            Side::Public => &mut self.public,
            Side::Private => &mut self.private,
        }
    }
}
