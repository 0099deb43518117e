//! The command lines of `dead-letters`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};

/// `dead-letters COMMAND`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
#[command(after_help = "\
Examples:
  queue-cli dead-letters list
  queue-cli dead-letters show 17
  queue-cli dead-letters retry --reason \"not configured\"
  queue-cli dead-letters purge --older-than 30d --dry-run

What can never succeed is put aside with the reason, and what is behind it goes on: a message that
is none, a repository that is not configured, an object that is lost, a document that Elasticsearch
refuses. Mend the cause, then have it tried again. Letters are kept for 90 days, 1 GiB of them.")]
pub enum DeadLetters {
    /// Show what was put aside, and why
    List(List),
    /// Show everything about one letter
    Show(Show),
    /// Have it tried again, once the cause is mended
    Retry(Retry),
    /// Remove letters, and nothing else
    Purge(Purge),
}

/// `dead-letters list`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli dead-letters list
  queue-cli dead-letters list --reason document --newer-than 2h
  queue-cli dead-letters list --service indexer --limit 1000 --output json

The newest letters are shown, the newest last; the counts are those of all.")]
pub struct List {
    #[command(flatten)]
    pub which: Which,
    /// Show no more than this many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = crate::cli::limit, allow_negative_numbers = true)]
    pub limit: usize,
}

/// `dead-letters show ID`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli dead-letters show 17
  queue-cli dead-letters show 17 --output json

The message itself is kept only where it is a request or an event, which hold no content.")]
pub struct Show {
    /// Its number in the list
    #[arg(value_name = "ID", value_parser = id, allow_negative_numbers = true)]
    pub id: u64,
}

/// `dead-letters retry`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli dead-letters retry --dry-run
  queue-cli dead-letters retry             all that can be; asks for nothing else
  queue-cli dead-letters retry --reason document --newer-than 2h
  queue-cli dead-letters retry 17 18       downloads are not put behind what waits for quota

An event of the log or an index request becomes an index request, a download a new request, a task
is due again; several letters about one issue become one request. A letter goes when its request is
stored. What fails again becomes a new letter. Exit code 1 says that some cannot be tried again:
the result says why, and what to do.")]
pub struct Retry {
    #[command(flatten)]
    pub which: Which,
    /// Say what would be asked for, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dead-letters purge`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli dead-letters purge --dry-run   what would go
  queue-cli dead-letters purge             all of them, at once
  queue-cli dead-letters purge 17 18
  queue-cli dead-letters purge --reason subject --older-than 30d

What the letters are about is not touched, and nothing is tried again.")]
pub struct Purge {
    #[command(flatten)]
    pub which: Which,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which letters; all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Which {
    /// Only these, by their numbers in the list
    #[arg(value_name = "ID", value_parser = id, allow_negative_numbers = true)]
    pub ids: Vec<u64>,
    /// Only of this kind, or with this text in their reason; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub reason: Vec<String>,
    /// Only what this service put aside
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only what was put aside longer ago than this: 90s, 45m, 3h, 2d, 1w
    #[arg(long, value_name = "AGE", value_parser = age, allow_negative_numbers = true)]
    pub older_than: Option<Duration>,
    /// Only what was put aside since then: 90s, 45m, 3h, 2d, 1w
    #[arg(long, value_name = "AGE", value_parser = age, allow_negative_numbers = true)]
    pub newer_than: Option<Duration>,
}

impl Which {
    /// The letters that were named, each once; `None` if none was.
    pub(super) fn named(&self) -> Option<BTreeSet<u64>> {
        (!self.ids.is_empty()).then(|| self.ids.iter().copied().collect())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the number of a letter (a whole number from 1 up)")]
struct NoId(String);

fn id(text: &str) -> Result<u64, NoId> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| NoId(text.to_owned()))
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an age: write 90s, 45m, 3h, 2d or 1w")]
struct NoAge(String);

fn age(text: &str) -> Result<Duration, NoAge> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let digits = text.strip_suffix(unit)?;
        let number: u64 = digits
            .parse()
            .ok()
            .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
        number
            .checked_mul(seconds)
            .filter(|seconds| *seconds < 100 * 366 * 86_400)
    });
    parsed.map(Duration::from_secs).ok_or_else(|| NoAge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        let ages = ["90s", "45m", "3h", "2d", "1w"].map(|text| age(text).expect(text).as_secs());
        assert_eq!(ages, [90, 2_700, 10_800, 172_800, 604_800]);
        for text in [
            "",
            "3",
            "h",
            "-3h",
            "+3h",
            "3 h",
            "1.5h",
            "3y",
            "99999999999999999999d",
            "99999999999d",
            "３h",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_letter_has_a_number_from_one_up() {
        assert_eq!(id("17").expect("a number"), 17);
        for text in ["0", "-1", "x", "18446744073709551616"] {
            assert!(id(text).is_err(), "{text}");
        }
    }
}
