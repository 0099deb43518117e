//! The command lines of `snapshot`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::import::cli::Largest;

/// `snapshot COMMAND`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
#[command(after_help = "\
Examples:
  queue-cli snapshot make                  into the object store
  queue-cli snapshot make --public         without anything private
  queue-cli snapshot list
  queue-cli snapshot prune --dry-run
  queue-cli snapshot restore latest

A snapshot is a tar.gz archive of every issue as it is now: <name>/<number>/issue.json and
timeline.json, a private issue with its real title and body.")]
pub enum Snapshot {
    /// Write a snapshot, and let latest be that one
    Make(Make),
    /// Show the snapshots that there are
    List(List),
    /// Remove old snapshots
    Prune(Prune),
    /// Put a snapshot's issues into an archive that does not know them
    Restore(Restore),
}

/// `snapshot make`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli snapshot make
  queue-cli snapshot make --public --to /srv/www/snapshots

It asks GitHub nothing. Snapshots for everybody lie in a folder public/ of their own. A lost object
is named and downloaded again, and there is no snapshot without it, but with --accept-holes.")]
pub struct Make {
    /// Leave out private issues, and private events of public ones
    #[arg(long)]
    pub public: bool,
    /// A directory to write to [default: the object store]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Make one although objects are lost
    #[arg(long)]
    pub accept_holes: bool,
}

/// `snapshot list`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli snapshot list
  queue-cli snapshot list --in /srv/www/snapshots")]
pub struct List {
    /// A directory to look in [default: the object store]
    #[arg(long = "in", value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// `snapshot prune`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli snapshot prune                 keeps those of a week
  queue-cli snapshot prune --keep-days 30 --dry-run
  queue-cli snapshot prune --in /srv/www/snapshots

The newest one and what latest is are never removed, nor any file that has not the name of a
snapshot. Those for everybody have a newest of their own.")]
pub struct Prune {
    /// How many days to keep [default: 7]
    #[arg(long, value_name = "DAYS", default_value_t = 7, hide_default_value = true)]
    pub keep_days: u32,
    /// A directory to look in [default: the object store]
    #[arg(long = "in", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Say what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `snapshot restore SNAPSHOT`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli snapshot restore latest
  queue-cli snapshot restore 20261121_0300 --dry-run
  queue-cli snapshot restore latest --in /srv/backup
  queue-cli snapshot restore ./20261121_0300.tar.gz

All of it is looked through before anything is changed. Only issues that the log does not know are
restored; where it knows something newer of any of them, none is, but with --missing-only.
Ended early, the same command goes on.")]
pub struct Restore {
    /// latest, a name that snapshot list shows, or a file
    pub snapshot: String,
    /// A directory to look in [default: the object store]
    #[arg(long = "in", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Restore what the log does not know, whatever it knows of the rest
    #[arg(long)]
    pub missing_only: bool,
    /// Look through it, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub(crate) largest: Largest,
}
