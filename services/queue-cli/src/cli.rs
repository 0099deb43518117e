//! The command line: commands, arguments and their help.

use bugstream_proto::{IdError, IssueId, RepoName};
use clap::{Args, Parser, Subcommand, ValueEnum};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::dead_letters::cli::DeadLetters;
use crate::queue::Queue;

const EXIT_CODES: &str = "\
Examples:
  queue-cli add download 12345             fetch one issue now
  queue-cli add-range index 1 200000       index again what the archive has; asks GitHub nothing
  queue-cli length                         what waits
  queue-cli backfill                       mirror every issue, as GitHub's quota allows
  queue-cli status                         how fresh and how sound the mirror is
  queue-cli COMMAND --help                 more examples

Exit codes:
  0  done; verify: no difference; status: healthy
  1  could not be done: a server is away or refuses; verify: something differs; status: not healthy
  2  wrong use or configuration";

/// The operator's front door: fills the mirror and says how it is, puts issues into Bugstream's queues by hand, counts and
/// empties the queues, decides about held deletions, verifies the mirror, rebuilds its indices.
#[derive(Debug, Parser)]
#[command(name = "queue-cli", version, after_help = EXIT_CODES, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The repository meant [default: the first that is configured]
    #[arg(long, global = true, value_name = "OWNER/NAME", value_parser = str::parse::<RepoName>)]
    pub(crate) repository: Option<RepoName>,
    /// Lines for people, or one line of JSON for programs
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub(crate) output: Output,
}

/// For whom the result is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people
    #[default]
    Human,
    /// One line of JSON
    Json,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Queue single issues, before everything that waits
    Add(Add),
    /// Queue a range of issues
    AddRange(AddRange),
    /// Queue the issues that were updated since a date, as GitHub lists them
    AddUpdatedSince(AddUpdatedSince),
    /// Mirror every issue of a repository, beside live work
    Backfill(Backfill),
    /// Say how fresh and how sound the mirror is
    Status(Status),
    /// Count the issues that wait
    Length(Length),
    /// Empty a queue
    Purge(Purge),
    /// Decide about deletions that the fuse holds back
    #[command(subcommand)]
    Deletions(Deletions),
    /// Show what was put aside because it could never succeed, and have it tried again
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Compare the log, the objects and Elasticsearch, and report every difference
    Verify(Verify),
    /// Fill a new generation of indices from the archive, and let it serve
    Rebuild(Rebuild),
    /// Let an older generation of indices serve again
    Rollback(Rollback),
    /// Show the generations of indices, or remove old ones
    #[command(subcommand)]
    Generations(Generations),
    /// Say what happened to an issue, when and why
    History(crate::history::cli::History),
    /// Show what the archive has of an issue
    Show(crate::show::cli::Show),
    /// Keep the archive as one file, or put one back
    #[command(subcommand)]
    Snapshot(crate::snapshot::cli::Snapshot),
    /// Take what the old system kept into the archive
    Import(crate::import::cli::Import),
    /// Remove everything about an issue, for a legal request
    Forget(crate::forget::cli::Forget),
    /// Remove old revisions, and what no event names
    Collect(crate::collect::cli::Collect),
    /// Print a completion script for a shell
    Completion(Completion),
    /// Do nothing: the old system's containers were started with it
    #[command(hide = true)]
    Noop,
}

/// `add QUEUE NUMBER...`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  queue-cli add download 12345
  queue-cli add index 12345 12346
  queue-cli add download 7 --repository webcompat/web-bugs

A download is indexed by itself: add index is for documents that were deleted by hand.")]
pub struct Add {
    /// Which queue
    #[arg(value_enum)]
    pub queue: Queue,
    /// Issue numbers
    #[arg(required = true, value_name = "NUMBER", value_parser = IssueId::parse_number, allow_negative_numbers = true)]
    pub numbers: Vec<u64>,
}

/// `add-range QUEUE FIRST LAST`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  queue-cli add-range download 1 500       fetched when GitHub's quota allows, behind webhooks
  queue-cli add-range index 1 200000       asks GitHub nothing; gaps in the numbers do not matter

The same range may be queued again at any time: an issue waits once, and in the download queue
it keeps its place.")]
pub struct AddRange {
    /// Which queue
    #[arg(value_enum)]
    pub queue: Queue,
    /// The first issue's number
    #[arg(value_parser = IssueId::parse_number, allow_negative_numbers = true)]
    pub first: u64,
    /// The last issue's number, at least FIRST
    #[arg(value_parser = IssueId::parse_number, allow_negative_numbers = true)]
    pub last: u64,
}

/// `add-updated-since QUEUE DATE`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  queue-cli add-updated-since download 2026-01-31
  queue-cli add-updated-since download 2026-01-31T12:00:00Z
  queue-cli add-updated-since download 2026-01-31 --limit 200      the 200 updated last, newest first

Deleted issues are in no list: they are found by webhooks and by add.")]
pub struct AddUpdatedSince {
    /// Which queue
    #[arg(value_enum)]
    pub queue: Queue,
    /// A day or a time, in UTC unless it says otherwise
    #[arg(value_parser = date)]
    pub date: OffsetDateTime,
    /// No more than this many, newest update first
    #[arg(long, value_name = "COUNT", value_parser = limit, allow_negative_numbers = true)]
    pub limit: Option<usize>,
}

/// `backfill`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli backfill --dry-run             how many requests and hours it takes; asks GitHub once
  queue-cli backfill                       begins, and follows until it is done
  queue-cli backfill --state open --since 2026-01-01
  queue-cli backfill --cancel

The downloader does the work: Ctrl-C ends only the following, and the same command follows again.
One that was cancelled or done begins anew. Webhooks go first, and keep a share of the quota.
Exit code 0 says that it is done (or was asked for, with --detach), 1 that it is not, or not yet.")]
pub struct Backfill {
    /// Only issues that were updated since: a day or a time, in UTC unless it says otherwise
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub since: Option<OffsetDateTime>,
    /// Only issues of this state [default: all]
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<State>,
    /// Say what it takes, and begin nothing
    #[arg(long, conflicts_with_all = ["detach", "restart", "cancel"])]
    pub dry_run: bool,
    /// Begin, and do not follow
    #[arg(long, conflicts_with = "cancel")]
    pub detach: bool,
    /// Begin anew where one is under way, from the first issue
    #[arg(long, conflicts_with = "cancel")]
    pub restart: bool,
    /// End the one that is under way; what is mirrored stays
    #[arg(long, conflicts_with_all = ["since", "state"])]
    pub cancel: bool,
}

impl Backfill {
    /// Whether it lists only some of the issues.
    pub(crate) fn selects(&self) -> bool {
        self.since.is_some() || matches!(self.state, Some(State::Open | State::Closed))
    }
}

/// Which issues, by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Open ones
    Open,
    /// Closed ones
    Closed,
    /// Both
    All,
}

/// `status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli status
  queue-cli status --watch                 again every two seconds, until Ctrl-C
  queue-cli status --output json           the same for a program

Exit code 0 says that all is healthy, 1 that something is not or could not be asked: the lines that
begin with ! say what, and what to do. GitHub is not asked. Without --repository, all configured
repositories are shown.")]
pub struct Status {
    /// Show it again and again
    #[arg(long)]
    pub watch: bool,
}

/// `length [QUEUE]`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  queue-cli length download                download.length = 3
  queue-cli length                         both queues, a line each
  queue-cli length --output json           by kind of request too

Every issue is counted once, however many requests wait for it: for quiet after a webhook, for
their deadline, for another attempt, to be fetched now, or for quota. Without --repository,
requests for all repositories are counted, and malformed ones.")]
pub struct Length {
    /// Which queue [default: both]
    #[arg(value_enum)]
    pub queue: Option<Queue>,
}

/// `purge QUEUE`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  queue-cli purge download --dry-run       what would go
  queue-cli purge download                 all of it, at once
  queue-cli purge index --repository webcompat/web-bugs

Webhooks that wait for quiet go too, and GitHub does not send them again: add-updated-since
brings their issues back. An issue that is being fetched may be fetched once more.")]
pub struct Purge {
    /// Which queue
    #[arg(value_enum)]
    pub queue: Queue,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `verify`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli verify
  queue-cli verify --against-github        asks GitHub for every issue: two requests each, or more
  queue-cli verify --repair                then verify again when the queues are empty

Exit code 0 says that nothing differs, 1 that something does (repaired or not) or that a part could
not be asked: then there is no result on standard output. Without --repository, all configured
repositories are compared. What waits in a queue or is being indexed is reported as a difference.")]
pub struct Verify {
    /// Queue what mends the differences, and remove documents and objects of issues that are gone
    #[arg(long)]
    pub repair: bool,
    /// Compare with GitHub too
    #[arg(long)]
    pub against_github: bool,
}

/// `rebuild`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli rebuild                        asks GitHub nothing; searches are answered all the while
  queue-cli rebuild --only timelines       half the work, where only their mapping changed
  queue-cli rebuild --accept-holes
  queue-cli rebuild --as-of 2026-01-31     what was true then, in indices of its own

Ended by Ctrl-C or in any other way, the same command goes on where it was. Issues whose objects
are lost are downloaded again, and the new generation does not serve before they are there. With
--accept-holes it does: they cannot be found until they are downloaded.

What was true at a past time is for those who may see private documents, and never serves instead
of the present. What was deleted or forgotten since is not in it.")]
pub struct Rebuild {
    /// Only documents of one kind [default: both]
    #[arg(long, value_enum, value_name = "KIND")]
    pub only: Option<Documents>,
    /// Let the new generation serve although objects are lost
    #[arg(long)]
    pub accept_holes: bool,
    /// What was true at a past time: a day or a time, in UTC unless it says otherwise
    #[arg(long, value_name = "TIME", value_parser = date, conflicts_with = "only")]
    pub as_of: Option<OffsetDateTime>,
}

/// Which documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Documents {
    /// Issues and pull requests
    Issues,
    /// Timeline events
    Timelines,
}

/// `rollback [GENERATION]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli rollback                       the newest that is kept
  queue-cli rollback 3

It is brought up to date before it serves. One that was filled under other rules of privacy is
refused: it may show what is private now.")]
pub struct Rollback {
    /// Which one [default: the newest that is kept]
    #[arg(value_parser = generation, allow_negative_numbers = true)]
    pub generation: Option<u32>,
}

/// `generations COMMAND`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
#[command(after_help = "\
Examples:
  queue-cli generations list
  queue-cli generations prune --dry-run
  queue-cli generations prune 2

A rebuild makes a new generation of indices; the one that served before is kept for queue-cli
rollback until it is pruned.")]
pub enum Generations {
    /// Show what serves, what is kept and what is unfinished
    List,
    /// Remove generations that do not serve
    Prune(Prune),
}

/// `generations prune`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  queue-cli generations prune              keeps what serves and the one before it
  queue-cli generations prune --keep 0     keeps only what serves
  queue-cli generations prune 2            this one; one that is unfinished or shows a past time
                                           goes only so

What serves is never removed.")]
pub struct Prune {
    /// Only this one, unfinished or not
    #[arg(value_parser = generation, allow_negative_numbers = true)]
    pub generation: Option<u32>,
    /// How many to keep besides what serves [default: 1]
    #[arg(long, value_name = "COUNT", conflicts_with = "generation")]
    pub keep: Option<usize>,
    /// Say what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a generation (a whole number from 1 up)")]
struct NoGeneration(String);

fn generation(text: &str) -> Result<u32, NoGeneration> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| NoGeneration(text.to_owned()))
}

/// `completion SHELL`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  queue-cli completion bash > ~/.local/share/bash-completion/completions/queue-cli
  queue-cli completion zsh > ~/.zfunc/_queue-cli
  queue-cli completion fish > ~/.config/fish/completions/queue-cli.fish")]
pub struct Completion {
    /// Which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `deletions COMMAND`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
#[command(after_help = "\
Examples:
  queue-cli deletions list
  queue-cli deletions approve
  queue-cli deletions discard

When GitHub says that very many issues are gone within an hour, a fuse blows: nothing is deleted
any more until a person approves or discards what it holds back.")]
pub enum Deletions {
    /// Show the fuse and what it holds back
    List,
    /// Delete what is held back, where GitHub still says that it is gone, and mend the fuse
    Approve,
    /// Keep what is held back, and mend the fuse
    Discard,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a date: write 2026-01-31 or 2026-01-31T12:00:00Z")]
pub(crate) struct NoDate(String);

/// A day, which begins at midnight UTC, or a time.
pub(crate) fn date(text: &str) -> Result<OffsetDateTime, NoDate> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc());
    day.or_else(|_| OffsetDateTime::parse(text, &Rfc3339))
        .map_err(|_| NoDate(text.to_owned()))
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a number of issues (a whole number from 1 up)")]
pub(crate) struct NoCount(String);

pub(crate) fn limit(text: &str) -> Result<usize, NoCount> {
    let number: Result<u64, IdError> = IssueId::parse_number(text);
    let number = number.ok().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| NoCount(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_how_it_is_used() {
        for command in Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("queue-cli {}", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn a_date_is_a_day_or_a_time() {
        let table = [
            ("2021-12-01", datetime!(2021-12-01 00:00 UTC)),
            ("2021-12-01T06:07:08Z", datetime!(2021-12-01 06:07:08 UTC)),
            ("2021-12-01T00:00:00.5+02:00", datetime!(2021-11-30 22:00:00.5 UTC)),
        ];
        for (text, wanted) in table {
            assert_eq!(date(text).expect(text), wanted);
        }
        for text in [
            "",
            "yesterday",
            "2021-13-01",
            "2021-02-30",
            "12/01/2021",
            "1638316800",
            "2021-12-01 06:00",
        ] {
            assert!(date(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_is_at_least_one() {
        assert_eq!(limit("200").expect("a number"), 200);
        for text in ["0", "-1", "many", ""] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
