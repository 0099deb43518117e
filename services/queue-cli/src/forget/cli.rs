//! The command line of `forget`.

use bugstream_proto::IssueId;
use clap::Args;

/// `forget NUMBER`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli forget 12345 --dry-run         what would go, and what holds it besides
  queue-cli forget 12345                   for a legal request: nothing brings it back
  queue-cli forget 12345 --allow           lets it be downloaded again, and asks for it

Objects, documents in every generation, older events, waiting requests and dead letters of the issue
go; one event stays, which says that it is forgotten. Ended early, the same command goes on. What
holds it besides is named: snapshots, timelines of other issues, GitHub itself.")]
pub struct Forget {
    /// The issue's number
    #[arg(value_name = "NUMBER", value_parser = IssueId::parse_number, allow_negative_numbers = true)]
    pub number: u64,
    /// Say what would go, and change nothing
    #[arg(long, conflicts_with = "allow")]
    pub dry_run: bool,
    /// Let an issue that is forgotten be downloaded again
    #[arg(long)]
    pub allow: bool,
}
