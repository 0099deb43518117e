//! Puts the two files of an issue together, in whatever order they come.

use std::collections::{BTreeMap, HashSet};

use bugstream_proto::Part;
use bytes::Bytes;

use super::layout::file_name;

/// Bytes of files whose other half has not come yet. In an archive the two lie side by side.
const WAITING: usize = 256 << 20;

/// And how many of them: a small file has a name too.
const WAITING_FILES: usize = 100_000;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) number: u64,
    pub(crate) part: Part,
    /// When it was last changed, in milliseconds since 1970.
    pub(crate) modified_ms: u64,
    pub(crate) bytes: Bytes,
}

/// Both files of an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: u64,
    /// When the later of its files was changed.
    pub(crate) modified_ms: u64,
    pub(crate) issue: Bytes,
    pub(crate) timeline: Bytes,
}

/// What cannot be taken, and why. Quotes no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Of which issue, where that can be said.
    pub(crate) number: Option<u64>,
    /// What it is called in the source.
    pub(crate) path: String,
    pub(crate) why: String,
}

impl Broken {
    pub(crate) fn issue(number: u64, why: impl Into<String>) -> Self {
        Self {
            number: Some(number),
            path: number.to_string(),
            why: why.into(),
        }
    }
}

/// Files that wait for their other half.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    waiting: BTreeMap<u64, File>,
    bytes: usize,
    whole: HashSet<u64>,
}

impl Pairs {
    /// Takes a file.
    ///
    /// # Errors
    /// [`Broken`] for a file that comes twice, or where too much waits.
    pub(crate) fn take(&mut self, file: File) -> Result<Option<Found>, Broken> {
        let number = file.number;
        if self.whole.contains(&number) {
            return Err(Broken::issue(number, "it is there twice"));
        }
        let Some(other) = self.waiting.remove(&number) else {
            self.bytes += file.bytes.len();
            self.waiting.insert(number, file);
            return self.not_too_much().map(|()| None);
        };
        self.bytes -= other.bytes.len();
        if other.part == file.part {
            let why = format!("{} is there twice", file_name(file.part));
            return Err(Broken::issue(number, why));
        }
        self.whole.insert(number);
        let modified_ms = file.modified_ms.max(other.modified_ms);
        let (issue, timeline) = match file.part {
            Part::Issue => (file.bytes, other.bytes),
            Part::Timeline => (other.bytes, file.bytes),
        };
        Ok(Some(Found {
            number,
            modified_ms,
            issue,
            timeline,
        }))
    }

    fn not_too_much(&mut self) -> Result<(), Broken> {
        if self.bytes <= WAITING && self.waiting.len() <= WAITING_FILES {
            return Ok(());
        }
        let Some((number, file)) = self.waiting.pop_first() else {
            return Ok(());
        };
        self.bytes -= file.bytes.len();
        Err(Broken::issue(number, "its two files lie too far apart"))
    }

    /// What has only one of its files.
    pub(crate) fn halves(self) -> impl Iterator<Item = Broken> {
        self.waiting.into_values().map(|file| {
            let other = match file.part {
                Part::Issue => Part::Timeline,
                Part::Timeline => Part::Issue,
            };
            Broken::issue(file.number, format!("it has no {}", file_name(other)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u64, part: Part, modified_ms: u64) -> File {
        let bytes = Bytes::from_static(file_name(part).as_bytes());
        File {
            number,
            part,
            modified_ms,
            bytes,
        }
    }

    #[test]
    fn an_issue_is_whole_with_both_files_in_any_order() {
        let mut pairs = Pairs::default();
        assert_eq!(pairs.take(file(1, Part::Timeline, 9)), Ok(None));
        assert_eq!(pairs.take(file(2, Part::Issue, 1)), Ok(None));
        let one = pairs.take(file(1, Part::Issue, 5)).unwrap().unwrap();
        assert_eq!((one.number, one.modified_ms), (1, 9));
        assert_eq!(
            (&one.issue[..], &one.timeline[..]),
            (&b"issue.json"[..], &b"timeline.json"[..])
        );
        assert_eq!(
            pairs.take(file(1, Part::Issue, 5)).unwrap_err().why,
            "it is there twice"
        );
        let halves: Vec<_> = pairs.halves().collect();
        assert_eq!(halves, [Broken::issue(2, "it has no timeline.json")]);
    }

    #[test]
    fn a_file_that_is_there_twice_is_refused() {
        let mut pairs = Pairs::default();
        pairs.take(file(1, Part::Issue, 1)).unwrap();
        let twice = pairs.take(file(1, Part::Issue, 2)).unwrap_err();
        assert_eq!(twice.why, "issue.json is there twice");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pairs = Pairs::default();
        let large = Bytes::from(vec![0; WAITING / 2 + 1]);
        let large = |number| File {
            bytes: large.clone(),
            ..file(number, Part::Issue, 1)
        };
        assert_eq!(pairs.take(large(1)), Ok(None));
        assert_eq!(pairs.take(large(2)).unwrap_err().number, Some(1));
        assert_eq!(pairs.halves().count(), 1);
        let mut pairs = Pairs::default();
        let refused = (1..=100_010).filter(|number| pairs.take(file(*number, Part::Issue, 1)).is_err());
        assert_eq!(refused.count(), 10);
    }
}
