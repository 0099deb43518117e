//! The command line of `history`.

use bugstream_proto::IssueId;
use clap::Args;

/// `history NUMBER`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli history 12345                  what happened to it, when and why
  queue-cli history 12345 --diff 2 3       what changed from its second event to its third
  queue-cli history 12345 --output json

Events are numbered from the oldest that is kept; --diff takes their revisions too. Only --diff
shows content, and only as long as the objects are kept ([retention] revisions_days). Of an issue
that was forgotten, only that is known.")]
pub struct History {
    /// The issue's number
    #[arg(value_name = "NUMBER", value_parser = IssueId::parse_number, allow_negative_numbers = true)]
    pub number: u64,
    /// Show what changed between two events, by their numbers or revisions
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], value_parser = event, allow_negative_numbers = true)]
    pub diff: Option<Vec<u64>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the number of an event (a whole number from 1 up) or its revision")]
struct NoEvent(String);

fn event(text: &str) -> Result<u64, NoEvent> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| NoEvent(text.to_owned()))
}
