//! Names of Elasticsearch indices and aliases.
//!
//! Indices are hidden and carry kind, side and generation; the names people use are aliases. Live indexing writes
//! through `issues-public` and the like, a rebuild or a late deletion through the aliases of one generation, and people
//! read `issues` and `timelines`, which span both sides. A test (or a second installation) puts a prefix before all.
//!
//! What was true at a past time has indices of its own, all on the private side, and is read as
//! `issues-as-of-20261101_123000`.

use std::fmt;

use time::{OffsetDateTime, UtcOffset};

use crate::classify::Side;

/// What the name of an index ends with that shows a past time.
const PAST: &str = "-as-of";

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Issues and pull requests.
    Issues,
    /// Timeline events.
    Timelines,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Issues, Self::Timelines];

    /// As it stands in names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Timelines => "timelines",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An index: which documents, of which rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index {
    /// What its documents are.
    pub kind: Kind,
    /// Who may read them.
    pub side: Side,
    /// Counts rebuilds, from 1.
    pub generation: u32,
}

/// A prefix that no index name may begin with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot begin an index name: use lower-case letters, digits, '-' and '_', first a letter or digit, at most 60"
)]
pub struct PrefixError(String);

/// The names of one installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names that begin with the prefix, which may be empty.
    ///
    /// # Errors
    /// [`PrefixError`] for what Elasticsearch refuses in a name, and for `.`, which would make system indices.
    pub fn new(prefix: &str) -> Result<Self, PrefixError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let begins_well = !prefix.starts_with(['-', '_']);
        if prefix.len() > 60 || !begins_well || !prefix.bytes().all(allowed) {
            return Err(PrefixError(prefix.chars().take(60).collect()));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    /// The index itself, which only its creator names: everything else goes through aliases.
    #[must_use]
    pub fn index(&self, index: Index) -> String {
        format!(
            "{}bugstream-{}-{}-{:06}",
            self.prefix,
            index.kind,
            index.side.as_str(),
            index.generation
        )
    }

    /// Reads an index name of this installation; `None` for every other name.
    #[must_use]
    pub fn parse_index(&self, name: &str) -> Option<Index> {
        let rest = name.strip_prefix(&self.prefix)?.strip_prefix("bugstream-")?;
        let [kind, side, generation] = rest.split('-').collect::<Vec<_>>().try_into().ok()?;
        let kind = Kind::ALL.into_iter().find(|k| k.as_str() == kind)?;
        let side = Side::ALL.into_iter().find(|s| s.as_str() == side)?;
        let index = Index {
            kind,
            side,
            generation: generation.parse().ok()?,
        };
        (self.index(index) == name).then_some(index)
    }

    /// The index that shows documents of a kind as they were at a past time. It lies on the private side: what was public
    /// then may be private now.
    #[must_use]
    pub fn past_index(&self, kind: Kind, generation: u32) -> String {
        let side = Side::Private;
        format!("{}{PAST}", self.index(Index { kind, side, generation }))
    }

    /// Reads the name of an index of [`Self::past_index`]; `None` for every other name.
    #[must_use]
    pub fn parse_past_index(&self, name: &str) -> Option<(Kind, u32)> {
        let index = self.parse_index(name.strip_suffix(PAST)?)?;
        (index.side == Side::Private).then_some((index.kind, index.generation))
    }

    /// The alias through which an index of [`Self::past_index`] is written.
    #[must_use]
    pub fn past_write_alias(&self, kind: Kind, generation: u32) -> String {
        format!("{}-write", self.past_index(kind, generation))
    }

    /// The alias by which people who may see private documents read what was true at a time, to the second in UTC.
    #[must_use]
    pub fn past_alias(&self, kind: Kind, at: OffsetDateTime) -> String {
        let at = at.to_offset(UtcOffset::UTC);
        let (date, time) = (at.date(), at.time());
        format!(
            "{}{kind}{PAST}-{:04}{:02}{:02}_{:02}{:02}{:02}",
            self.prefix,
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }

    /// Matches every index of a kind and side, and its generations' write aliases: for index templates.
    #[must_use]
    pub fn index_pattern(&self, kind: Kind, side: Side) -> String {
        format!("{}bugstream-{kind}-{}-*", self.prefix, side.as_str())
    }

    /// The alias through which one generation's index is written.
    #[must_use]
    pub fn generation_write_alias(&self, index: Index) -> String {
        format!("{}-write", self.index(index))
    }

    /// The alias through which live indexing writes, and anonymous readers of the public side read: `issues-public`.
    #[must_use]
    pub fn live_alias(&self, kind: Kind, side: Side) -> String {
        format!("{}{kind}-{}", self.prefix, side.as_str())
    }

    /// The alias that analysts read: `issues`, both sides.
    #[must_use]
    pub fn read_alias(&self, kind: Kind) -> String {
        format!("{}{kind}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: Index = Index {
        kind: Kind::Issues,
        side: Side::Private,
        generation: 7,
    };

    #[test]
    fn names_are_as_documented() {
        let names = Names::new("").unwrap();
        assert_eq!(names.index(INDEX), "bugstream-issues-private-000007");
        assert_eq!(
            names.generation_write_alias(INDEX),
            "bugstream-issues-private-000007-write"
        );
        assert_eq!(
            names.index_pattern(Kind::Timelines, Side::Public),
            "bugstream-timelines-public-*"
        );
        assert_eq!(names.live_alias(Kind::Timelines, Side::Public), "timelines-public");
        assert_eq!(names.read_alias(Kind::Issues), "issues");
        assert_eq!(Names::new("t5-").unwrap().read_alias(Kind::Timelines), "t5-timelines");
    }

    #[test]
    fn an_index_name_round_trips_and_nothing_else_is_one() {
        let names = Names::new("t5-").unwrap();
        for generation in [0, 7, 999_999, 1_000_000] {
            let index = Index { generation, ..INDEX };
            assert_eq!(names.parse_index(&names.index(index)), Some(index));
        }
        for name in [
            "bugstream-issues-private-000007",
            "t5-bugstream-issues-private-7",
            "t5-bugstream-issues-private-+00007",
            "t5-bugstream-issues-private-000007-write",
            "t5-bugstream-builds-private-000007",
            "t5-issues-private",
            "t5-",
            "",
        ] {
            assert_eq!(names.parse_index(name), None, "{name}");
        }
    }

    #[test]
    fn what_shows_the_past_is_private_and_no_generation_that_could_serve() {
        let names = Names::new("t5-").unwrap();
        let index = names.past_index(Kind::Issues, 7);
        assert_eq!(index, "t5-bugstream-issues-private-000007-as-of");
        assert_eq!(names.parse_past_index(&index), Some((Kind::Issues, 7)));
        assert_eq!(names.parse_index(&index), None);
        assert_eq!(names.parse_past_index("t5-bugstream-issues-public-000007-as-of"), None);
        assert_eq!(names.parse_past_index("t5-bugstream-issues-private-000007"), None);
        let at = time::macros::datetime!(2026-11-01 14:30:05.9 +2);
        assert_eq!(
            names.past_alias(Kind::Timelines, at),
            "t5-timelines-as-of-20261101_123005"
        );
    }

    #[test]
    fn prefixes_that_elasticsearch_refuses_are_refused() {
        for prefix in ["-a", "_a", "A", "a*", "a/", ".a", "a b", "a,b", &"a".repeat(61)] {
            assert!(Names::new(prefix).is_err(), "{prefix:?} was accepted");
        }
    }
}
