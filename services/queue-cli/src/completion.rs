//! `completion`: a script that completes commands, queues, flags and their values in a shell.

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use serde_json::json;

use crate::cli::Completion;
use crate::invocation;
use crate::report::Report;

const PROGRAM: &str = "queue-cli";

pub(crate) fn run(completion: &Completion) -> Report {
    let script = match completion.shell {
        Shell::Bash => for_bash(),
        shell => generated(shell, PROGRAM),
    };
    let json = json!({ "script": script });
    Report::new(script, json)
}

fn generated(shell: Shell, program: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut hinted(invocation::command()), program, &mut script);
    String::from_utf8_lossy(&script).trim_end().to_owned()
}

/// The generator spells a hyphen in the program's name in two ways, so its script knows no subcommand of such a program.
/// It is given a name without one, and that of the last lines, which say for which program it is, is put right.
fn for_bash() -> String {
    let plain = PROGRAM.replace('-', "_");
    let script = generated(Shell::Bash, &plain);
    let named = script.lines().map(|line| match line.strip_suffix(&plain) {
        Some(complete) if line.trim_start().starts_with("complete ") => format!("{complete}{PROGRAM}"),
        _ => line.to_owned(),
    });
    named.collect::<Vec<_>>().join("\n")
}

/// A shell offers files for everything of which it does not know better.
fn hinted(command: Command) -> Command {
    let command = command.mut_args(|arg| match hint(&arg) {
        Some(hint) => arg.value_hint(hint),
        None => arg,
    });
    command.mut_subcommands(hinted)
}

/// What a value is, where no list of values says it.
fn hint(arg: &Arg) -> Option<ValueHint> {
    if !arg.get_action().takes_values() || !arg.get_possible_values().is_empty() {
        return None;
    }
    let names = arg.get_value_names().unwrap_or_default();
    let is_path = |id: &str| id.ends_with("_path") || ["nats.credentials", "object_store.url"].contains(&id);
    Some(match (names.first().map(|name| name.as_str()), arg.get_id().as_str()) {
        (Some("FILE"), _) => ValueHint::FilePath,
        (Some("DIR"), _) => ValueHint::DirPath,
        (Some("PATH" | "SNAPSHOT"), _) => ValueHint::AnyPath,
        (_, id) if is_path(id) => ValueHint::AnyPath,
        _ => ValueHint::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_offered_where_files_belong() {
        let command = hinted(invocation::command());
        let of = |command: &Command, name: &str| {
            let arg = command.get_arguments().find(|arg| arg.get_id() == name);
            arg.unwrap_or_else(|| panic!("{name}")).get_value_hint()
        };
        let below = |path: &[&str]| {
            path.iter().fold(&command, |command, name| {
                command.find_subcommand(name).unwrap_or_else(|| panic!("{name}"))
            })
        };
        let table = [
            (of(&command, "config"), ValueHint::FilePath),
            (of(&command, "elasticsearch.ca_path"), ValueHint::AnyPath),
            (of(&command, "object_store.url"), ValueHint::AnyPath),
            (of(&command, "github.token"), ValueHint::Other),
            (of(&command, "repository"), ValueHint::Other),
            (of(below(&["snapshot", "make"]), "to"), ValueHint::DirPath),
            (of(below(&["snapshot", "restore"]), "snapshot"), ValueHint::AnyPath),
            (of(below(&["import"]), "path"), ValueHint::AnyPath),
            (of(below(&["dead-letters", "list"]), "older_than"), ValueHint::Other),
            (of(below(&["add"]), "numbers"), ValueHint::Other),
        ];
        for (position, (found, wanted)) in table.into_iter().enumerate() {
            assert_eq!(found, wanted, "{position}");
        }
    }
}
