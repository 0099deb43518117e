//! Where snapshots lie in the object store: `snapshots/<owner>/<repo>/[public/]<YYYYmmdd_HHMM>.tar.gz`, with
//! `latest.tar.gz` beside them. The names are the old system's.
//!
//! A snapshot for everybody lies in a folder of its own, so that a folder is served or it is not: no rule about names
//! stands between a reader and what is private.

use std::fmt;
use std::str::FromStr;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::ids::RepoName;

const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]_[hour][minute]");

/// What ends every name.
const ENDING: &str = ".tar.gz";

/// When a snapshot was begun, to the minute, in UTC: its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(OffsetDateTime);

/// A text that names no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a snapshot: write YYYYmmdd_HHMM or latest")]
pub struct StampError;

impl Stamp {
    /// The minute of a time.
    #[must_use]
    pub fn of(at: OffsetDateTime) -> Self {
        let at = at.to_offset(UtcOffset::UTC);
        let minute = Time::from_hms(at.hour(), at.minute(), 0).expect("the hour and the minute of a time");
        Self(at.replace_time(minute))
    }

    /// When that minute began.
    #[must_use]
    pub fn at(self) -> OffsetDateTime {
        self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(FORMAT).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        let digits = text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'_',
            _ => byte.is_ascii_digit(),
        });
        if text.len() != 13 || !digits {
            return Err(StampError);
        }
        let parsed = PrimitiveDateTime::parse(text, FORMAT).map_err(|_| StampError)?;
        Ok(Self(parsed.assume_utc()))
    }
}

/// For whom a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// Who may read private issues: everything is in it.
    Trusted,
    /// Anyone: no private issue, no private event.
    Public,
}

impl Audience {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Trusted, Self::Public];

    /// The folder of its snapshots below the repository's, with a slash at its end where there is one.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Trusted => "",
            Self::Public => "public/",
        }
    }
}

/// Which snapshot of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotName {
    /// The newest one that is complete, once more.
    Latest,
    /// The one that was begun then.
    At(Stamp),
}

impl SnapshotName {
    /// The name of its file.
    #[must_use]
    pub fn file(self) -> String {
        match self {
            Self::Latest => format!("latest{ENDING}"),
            Self::At(stamp) => format!("{stamp}{ENDING}"),
        }
    }

    /// The snapshot in a file of that name; `None` for any other file.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        name.strip_suffix(ENDING)?.parse().ok()
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::At(stamp) => stamp.fmt(f),
        }
    }
}

impl FromStr for SnapshotName {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        match text {
            "latest" => Ok(Self::Latest),
            _ => text.parse().map(Self::At),
        }
    }
}

/// The prefix of a repository's snapshots for an audience, with a slash at its end. Those for everybody lie below those
/// for the trusted.
#[must_use]
pub fn prefix(repo: &RepoName, audience: Audience) -> String {
    format!("snapshots/{repo}/{}", audience.folder())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_stamp_is_the_minute_in_utc_and_prints_as_it_parses() {
        let stamp = Stamp::of(datetime!(2026-11-21 01:20:59.9 +2));
        assert_eq!(stamp.to_string(), "20261120_2320");
        assert_eq!("20261120_2320".parse(), Ok(stamp));
        assert_eq!(stamp.at(), datetime!(2026-11-20 23:20 UTC));
    }

    #[test]
    fn only_names_of_snapshots_are_taken_for_one() {
        let stamp = Stamp::of(datetime!(2026-11-20 23:20 UTC));
        for name in [SnapshotName::Latest, SnapshotName::At(stamp)] {
            assert_eq!(SnapshotName::of_file(&name.file()), Some(name));
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for file in [
            "",
            ".tar.gz",
            "latest",
            "latest.tar.gz#1",
            "20261120_2320",
            "20261120_2320.tar",
            "20261320_2320.tar.gz",
            "20261120_2460.tar.gz",
            "20261120-2320.tar.gz",
            "+0261120_2320.tar.gz",
            "20261120_2320.tar.gz.bak",
            "x20261120_2320.tar.gz",
            "../20261120_2320.tar.gz",
        ] {
            assert_eq!(SnapshotName::of_file(file), None, "{file}");
        }
    }

    #[test]
    fn what_everybody_may_read_has_a_folder_of_its_own() {
        let repo = RepoName::new("A", "b.c").unwrap();
        let prefixes = Audience::ALL.map(|audience| prefix(&repo, audience));
        assert_eq!(prefixes, ["snapshots/a/b.c/", "snapshots/a/b.c/public/"]);
    }
}
