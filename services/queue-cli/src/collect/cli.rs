//! The command line of `collect`.

use clap::Args;

/// `collect`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli collect --dry-run              what would go; changes nothing
  queue-cli collect                        now, instead of within the day

The active downloader does the same once a day. Old revisions go revisions_days after they were
superseded, objects that no event names after a day; the newest revision of an issue never goes.
Without --repository, all configured repositories are meant.")]
pub struct Collect {
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove objects that no event names, even where the log seems to have lost very many
    #[arg(long)]
    pub accept_orphans: bool,
}
