//! What came of a source, for people and for programs.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::pairs::Broken;
use crate::report::{counted, thousands};

/// Broken ones that are named.
const NAMED: usize = 5;

/// Broken ones that are kept by name: an archive may have any number of them.
const KEPT: usize = 1_000;

/// Counts of what came.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Issues that the log did not know.
    pub(crate) new: u64,
    /// Private ones of them.
    pub(crate) private: u64,
    /// Numbers that the log knows.
    pub(crate) known: HashSet<u64>,
    broken: BTreeMap<String, String>,
    more_broken: u64,
}

impl Tally {
    /// An issue counts once, however much of it is broken.
    pub(crate) fn broken(&mut self, broken: Broken) {
        let name = broken.number.map_or(broken.path, |number| number.to_string());
        if self.broken.len() < KEPT {
            self.broken.entry(name).or_insert(broken.why);
        } else if !self.broken.contains_key(&name) {
            self.more_broken += 1;
        }
    }

    /// How many are broken.
    pub(crate) fn breakage(&self) -> u64 {
        self.broken.len() as u64 + self.more_broken
    }

    /// Everything that was looked at.
    pub(crate) fn seen(&self) -> u64 {
        self.new + self.known.len() as u64 + self.breakage()
    }

    /// `4,998 issues imported (12 private) · 3 known already · 1 broken`, and which.
    pub(crate) fn lines(&self, done: &str) -> Vec<String> {
        let mut line = format!(
            "{} {done} ({} private)",
            counted(self.new, "issue"),
            thousands(self.private)
        );
        if !self.known.is_empty() {
            line += &format!(" · {} known already", thousands(self.known.len() as u64));
        }
        if self.breakage() > 0 {
            line += &format!(" · {} broken", thousands(self.breakage()));
        }
        let mut lines = vec![line];
        lines.extend(self.named().map(|(name, why)| format!("  {name}: {why}")));
        let more = self.breakage().saturating_sub(NAMED as u64);
        if more > 0 {
            lines.push(format!("  and {} more", thousands(more)));
        }
        lines
    }

    /// A few of the broken ones.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&String, &String)> {
        self.broken.iter().take(NAMED)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "new": self.new,
            "private": self.private,
            "known": self.known.len(),
            "broken": self.breakage(),
            "broken_ones": self.broken,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_the_broken_are_named_and_each_counts_once() {
        let mut tally = Tally {
            new: 4_998,
            private: 12,
            ..Tally::default()
        };
        tally.known.extend([1, 2]);
        for number in [7, 7, 8, 9, 10, 11, 12] {
            tally.broken(Broken::issue(number, "the issue has another number"));
        }
        tally.broken(Broken {
            number: None,
            path: "abc".to_owned(),
            why: "it is no number of an issue".to_owned(),
        });
        assert_eq!((tally.breakage(), tally.seen()), (7, 5_007));
        insta::assert_snapshot!(tally.lines("imported").join("\n"), @r#"
        4,998 issues imported (12 private) · 2 known already · 7 broken
          10: the issue has another number
          11: the issue has another number
          12: the issue has another number
          7: the issue has another number
          8: the issue has another number
          and 2 more
        "#);
    }
}
