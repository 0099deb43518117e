//! The command line of `import`.

use std::path::PathBuf;

use clap::Args;

/// `import PATH`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli import /data/current --dry-run
  queue-cli import /data/current           the old system's directory
  queue-cli import latest.tar.gz           or one of its snapshots

Only issues that the log does not know are taken, each as of its files' time. What is broken is
named at the end (exit code 1) and does not stop the rest. Given again, it goes on.")]
pub struct Import {
    /// A directory with <number>/issue.json and timeline.json, or a tar.gz archive of one
    pub path: PathBuf,
    /// Look through it, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub(crate) largest: Largest,
}

/// How large a file of an issue may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Largest {
    /// The largest file that is read, in MB
    #[arg(
        long = "largest",
        value_name = "MB",
        default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..=4096)
    )]
    megabytes: u64,
}

impl Largest {
    pub(crate) fn bytes(self) -> u64 {
        self.megabytes * 1_000_000
    }
}

impl Default for Largest {
    fn default() -> Self {
        Self { megabytes: 256 }
    }
}
