//! The command line of `show`.

use bugstream_proto::IssueId;
use clap::Args;
use time::OffsetDateTime;

/// `show NUMBER`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli show 12345                     as it is in the archive
  queue-cli show 12345 --at 2026-10-31     as it was then
  queue-cli show 12345 --raw               GitHub's own JSON: {\"issue\": …, \"timeline\": […]}
  queue-cli show 12345 --document          what is indexed, and on which side of the privacy wall

Private content is shown too. What was replaced is kept for a while ([retention] revisions_days).")]
pub struct Show {
    /// The issue's number
    #[arg(value_name = "NUMBER", value_parser = IssueId::parse_number, allow_negative_numbers = true)]
    pub number: u64,
    /// As it was at that day's beginning or that time, in UTC unless it says otherwise [default: now]
    #[arg(long, value_name = "TIME", value_parser = crate::cli::date)]
    pub at: Option<OffsetDateTime>,
    /// The JSON of issue and timeline as GitHub sent it
    #[arg(long, conflicts_with = "document")]
    pub raw: bool,
    /// The documents as they are indexed
    #[arg(long)]
    pub document: bool,
}
