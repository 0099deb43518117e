//! What was ever written to Elasticsearch for an issue. Every event of the log carries marks computed from those of the
//! event before it; the indexer writes the final state of everything below them. They only grow: a mark that shrank
//! would leave a document behind that nothing ever replaces.

use bugstream_proto::v1;

use crate::classify::{Classified, Side};

/// Marks of both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// What was written to the public indices.
    pub public: SideMarks,
    /// What was written to the private indices.
    pub private: SideMarks,
}

/// Marks of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SideMarks {
    /// 1 + the highest timeline position ever written; 0 for none.
    pub timeline: u32,
    /// Whether the issue document ever was there.
    pub issue: bool,
}

impl Marks {
    /// The marks of an event with these documents, after an event with marks `self`. For an event without documents
    /// (a deletion) the marks stay as they are.
    #[must_use]
    pub fn grow(&self, classified: &Classified) -> Self {
        let grown = |side| self.of(side).union(SideMarks::of(classified, side));
        Self {
            public: grown(Side::Public),
            private: grown(Side::Private),
        }
    }

    /// Whether every one of these documents lies below the marks.
    #[must_use]
    pub fn covers(&self, classified: &Classified) -> bool {
        self.grow(classified) == *self
    }

    /// The marks of one side.
    #[must_use]
    pub fn of(&self, side: Side) -> SideMarks {
        match side {
            Side::Public => self.public,
            Side::Private => self.private,
        }
    }
}

impl SideMarks {
    fn of(classified: &Classified, side: Side) -> Self {
        let last = classified.timeline().iter().rposition(|s| *s == side);
        let timeline = last.map_or(0, |position| u32::try_from(position + 1).unwrap_or(u32::MAX));
        Self {
            timeline,
            issue: classified.issue() == side,
        }
    }

    fn union(self, other: Self) -> Self {
        Self {
            timeline: self.timeline.max(other.timeline),
            issue: self.issue || other.issue,
        }
    }
}

/// What an event of the log says. Absent marks are none, as for an event before the first.
impl From<&v1::Marks> for Marks {
    fn from(marks: &v1::Marks) -> Self {
        let side = |side: &Option<v1::SideMarks>| {
            side.as_ref().map_or_else(SideMarks::default, |s| SideMarks {
                timeline: s.timeline,
                issue: s.issue,
            })
        };
        Self {
            public: side(&marks.public),
            private: side(&marks.private),
        }
    }
}

impl From<Marks> for v1::Marks {
    fn from(marks: Marks) -> Self {
        let side = |side: SideMarks| {
            Some(v1::SideMarks {
                timeline: side.timeline,
                issue: side.issue,
            })
        };
        Self {
            public: side(marks.public),
            private: side(marks.private),
        }
    }
}
