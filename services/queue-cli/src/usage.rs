//! Says what is wrong with a command line in the words of the person who typed it, and how the command is written.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;
use crate::queue::Queue;

/// Every command with its arguments. `<QUEUE>` becomes the queue that was typed.
const COMMANDS: [(&str, &str); 21] = [
    ("add", "<QUEUE> <NUMBER>..."),
    ("add-range", "<QUEUE> <FIRST> <LAST>"),
    ("add-updated-since", "<QUEUE> <DATE> [--limit <COUNT>]"),
    (
        "backfill",
        "[--since <DATE>] [--state open|closed|all] [--dry-run|--detach|--restart|--cancel]",
    ),
    ("status", "[--watch]"),
    ("length", "[<QUEUE>]"),
    ("purge", "<QUEUE> [--dry-run]"),
    ("deletions", "list|approve|discard"),
    (
        "dead-letters",
        "list|show <ID>|retry|purge [<ID>...] [--reason <TEXT>] [--service <NAME>] [--older-than <AGE>] [--newer-than <AGE>]",
    ),
    ("verify", "[--against-github] [--repair]"),
    ("rebuild", "[--only issues|timelines] [--accept-holes]"),
    ("rollback", "[<GENERATION>]"),
    ("generations", "list|prune [<GENERATION>|--keep <COUNT>] [--dry-run]"),
    ("history", "<NUMBER> [--diff <FROM> <TO>]"),
    ("show", "<NUMBER> [--at <TIME>] [--raw|--document]"),
    (
        "snapshot",
        "make [--public] [--to <DIR>]|list|prune [--keep-days <DAYS>] [--dry-run]|restore <SNAPSHOT>",
    ),
    ("import", "<PATH> [--dry-run]"),
    ("forget", "<NUMBER> [--dry-run|--allow]"),
    ("collect", "[--dry-run] [--accept-orphans]"),
    ("completion", "bash|elvish|fish|powershell|zsh"),
    ("noop", ""),
];

/// Turns clap's error into ours.
pub(crate) fn explain(error: &clap::Error, arguments: &[OsString]) -> Failure {
    Failure::usage(problem(error), of_arguments(arguments))
}

/// `usage: …` of a command for a queue.
pub(crate) fn of(command: &str, queue: Option<Queue>) -> String {
    let Some((name, arguments)) = COMMANDS.iter().find(|(name, _)| *name == command) else {
        let names: Vec<_> = COMMANDS
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| *name != "noop")
            .collect();
        return format!("usage: queue-cli {}; queue-cli --help says more", names.join("|"));
    };
    let queue = queue.map_or("download|index", Queue::name);
    format!("usage: queue-cli {name} {}", arguments.replace("<QUEUE>", queue))
}

fn of_arguments(arguments: &[OsString]) -> String {
    let words: Vec<_> = arguments.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let is_command = |word: &str| COMMANDS.iter().any(|(name, _)| *name == word);
    let command = words.iter().find(|word| is_command(word)).map_or("", |word| word);
    let queue = Queue::ALL
        .into_iter()
        .find(|queue| words.iter().any(|word| word == queue.name()));
    of(command, queue)
}

fn problem(error: &clap::Error) -> String {
    let typed = text(error, ContextKind::InvalidValue);
    let argument = text(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::ValueValidation if error.source().is_some() => {
            error.source().map(ToString::to_string).unwrap_or_default()
        }
        ErrorKind::InvalidValue if typed.is_empty() => {
            format!("{argument} needs a value{}", one_of(error))
        }
        ErrorKind::InvalidValue => {
            let valid = text(error, ContextKind::ValidValue);
            format!("{typed:?} is not one of {valid}")
        }
        ErrorKind::MissingRequiredArgument if argument.contains(", ") => format!("{argument} are missing"),
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::ArgumentConflict => format!("{argument} and {} do not go together", prior(error)),
        ErrorKind::UnknownArgument => format!(
            "{argument:?} is not understood here{}",
            meant(error, ContextKind::SuggestedArg)
        ),
        ErrorKind::InvalidSubcommand => {
            let typed = text(error, ContextKind::InvalidSubcommand);
            format!(
                "there is no command {typed:?}{}",
                meant(error, ContextKind::SuggestedSubcommand)
            )
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing".to_owned()
        }
        _ => first_line(error),
    }
}

fn one_of(error: &clap::Error) -> String {
    let valid = text(error, ContextKind::ValidValue);
    if valid.is_empty() { valid } else { format!(": {valid}") }
}

/// The likeliest of what clap suggests, which it puts last.
fn meant(error: &clap::Error, kind: ContextKind) -> String {
    let suggested = text(error, kind);
    match suggested.rsplit(", ").next() {
        None | Some("") => String::new(),
        Some(likeliest) => format!(": did you mean {likeliest}?"),
    }
}

fn prior(error: &clap::Error) -> String {
    text(error, ContextKind::PriorArg)
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(one)) => one.clone(),
        Some(ContextValue::Strings(many)) => many.join(", "),
        _ => String::new(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or("the command line is not understood");
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;
    use crate::invocation;

    fn refused(line: &str) -> String {
        let arguments = format!("queue-cli {line}");
        let failure = invocation::read(arguments.split_whitespace(), |_| None).expect_err(line);
        assert_eq!(failure.exit_code(), 2, "{line}");
        failure.to_string()
    }

    #[test]
    fn every_command_has_its_usage() {
        let command = Cli::command();
        let commands: BTreeSet<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(commands, COMMANDS.iter().map(|(name, _)| *name).collect());
    }

    #[test]
    fn an_error_says_what_is_wrong_and_what_to_write() {
        let lines = [
            "",
            "ad download 1",
            "add",
            "add download",
            "add dwnload 1",
            "add download abc",
            "add download 0",
            "add download -5",
            "add download 1180591620717411303424",
            "add index 1 2 x",
            "add-range index 1",
            "add-range download 1 2 3",
            "add-updated-since download yesterday",
            "add-updated-since download 2026-01-31 --limit 0",
            "backfill --since yesterday",
            "backfill --state opened",
            "backfill --dry-run --cancel",
            "backfill 1 500",
            "status download",
            "length everything",
            "purge",
            "purge index --dryrun",
            "length --output xml",
            "length --output",
            "length --repository web-bugs",
            "deletions",
            "deletions aprove",
            "rebuild --only labels",
            "rollback -1",
            "generations",
            "generations prune 2 --keep 1",
            "completion tcsh",
        ];
        let found: Vec<_> = lines
            .map(|line| format!("$ {}\n{}", format!("queue-cli {line}").trim_end(), refused(line)))
            .into();
        insta::assert_snapshot!(found.join("\n"), @r#"
        $ queue-cli
        error: a command is missing
          usage: queue-cli add|add-range|add-updated-since|backfill|status|length|purge|deletions|dead-letters|verify|rebuild|rollback|generations|history|show|snapshot|import|forget|collect|completion; queue-cli --help says more
        $ queue-cli ad download 1
        error: there is no command "ad": did you mean add?
          usage: queue-cli add|add-range|add-updated-since|backfill|status|length|purge|deletions|dead-letters|verify|rebuild|rollback|generations|history|show|snapshot|import|forget|collect|completion; queue-cli --help says more
        $ queue-cli add
        error: <QUEUE>, <NUMBER>... are missing
          usage: queue-cli add download|index <NUMBER>...
        $ queue-cli add download
        error: <NUMBER>... is missing
          usage: queue-cli add download <NUMBER>...
        $ queue-cli add dwnload 1
        error: "dwnload" is not one of download, index
          usage: queue-cli add download|index <NUMBER>...
        $ queue-cli add download abc
        error: "abc" is not an issue number (a whole number from 1 up)
          usage: queue-cli add download <NUMBER>...
        $ queue-cli add download 0
        error: "0" is not an issue number (a whole number from 1 up)
          usage: queue-cli add download <NUMBER>...
        $ queue-cli add download -5
        error: "-5" is not an issue number (a whole number from 1 up)
          usage: queue-cli add download <NUMBER>...
        $ queue-cli add download 1180591620717411303424
        error: "1180591620717411303424" is not an issue number (a whole number from 1 up)
          usage: queue-cli add download <NUMBER>...
        $ queue-cli add index 1 2 x
        error: "x" is not an issue number (a whole number from 1 up)
          usage: queue-cli add index <NUMBER>...
        $ queue-cli add-range index 1
        error: <LAST> is missing
          usage: queue-cli add-range index <FIRST> <LAST>
        $ queue-cli add-range download 1 2 3
        error: "3" is not understood here
          usage: queue-cli add-range download <FIRST> <LAST>
        $ queue-cli add-updated-since download yesterday
        error: "yesterday" is not a date: write 2026-01-31 or 2026-01-31T12:00:00Z
          usage: queue-cli add-updated-since download <DATE> [--limit <COUNT>]
        $ queue-cli add-updated-since download 2026-01-31 --limit 0
        error: "0" is not a number of issues (a whole number from 1 up)
          usage: queue-cli add-updated-since download <DATE> [--limit <COUNT>]
        $ queue-cli backfill --since yesterday
        error: "yesterday" is not a date: write 2026-01-31 or 2026-01-31T12:00:00Z
          usage: queue-cli backfill [--since <DATE>] [--state open|closed|all] [--dry-run|--detach|--restart|--cancel]
        $ queue-cli backfill --state opened
        error: "opened" is not one of open, closed, all
          usage: queue-cli backfill [--since <DATE>] [--state open|closed|all] [--dry-run|--detach|--restart|--cancel]
        $ queue-cli backfill --dry-run --cancel
        error: --dry-run and --cancel do not go together
          usage: queue-cli backfill [--since <DATE>] [--state open|closed|all] [--dry-run|--detach|--restart|--cancel]
        $ queue-cli backfill 1 500
        error: "1" is not understood here
          usage: queue-cli backfill [--since <DATE>] [--state open|closed|all] [--dry-run|--detach|--restart|--cancel]
        $ queue-cli status download
        error: "download" is not understood here
          usage: queue-cli status [--watch]
        $ queue-cli length everything
        error: "everything" is not one of download, index
          usage: queue-cli length [download|index]
        $ queue-cli purge
        error: <QUEUE> is missing
          usage: queue-cli purge download|index [--dry-run]
        $ queue-cli purge index --dryrun
        error: "--dryrun" is not understood here: did you mean --dry-run?
          usage: queue-cli purge index [--dry-run]
        $ queue-cli length --output xml
        error: "xml" is not one of human, json
          usage: queue-cli length [download|index]
        $ queue-cli length --output
        error: --output <FORM> needs a value: human, json
          usage: queue-cli length [download|index]
        $ queue-cli length --repository web-bugs
        error: "web-bugs" is not a repository: write owner/name
          usage: queue-cli length [download|index]
        $ queue-cli deletions
        error: a command is missing
          usage: queue-cli deletions list|approve|discard
        $ queue-cli deletions aprove
        error: there is no command "aprove": did you mean approve?
          usage: queue-cli deletions list|approve|discard
        $ queue-cli rebuild --only labels
        error: "labels" is not one of issues, timelines
          usage: queue-cli rebuild [--only issues|timelines] [--accept-holes]
        $ queue-cli rollback -1
        error: "-1" is not a generation (a whole number from 1 up)
          usage: queue-cli rollback [<GENERATION>]
        $ queue-cli generations
        error: a command is missing
          usage: queue-cli generations list|prune [<GENERATION>|--keep <COUNT>] [--dry-run]
        $ queue-cli generations prune 2 --keep 1
        error: [GENERATION] and --keep <COUNT> do not go together
          usage: queue-cli generations list|prune [<GENERATION>|--keep <COUNT>] [--dry-run]
        $ queue-cli completion tcsh
        error: "tcsh" is not one of bash, elvish, fish, powershell, zsh
          usage: queue-cli completion bash|elvish|fish|powershell|zsh
        "#);
    }
}
