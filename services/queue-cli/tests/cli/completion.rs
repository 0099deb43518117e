//! Completion, as bash does it with the script.

use std::collections::BTreeSet;
use std::path::Path;

use crate::operator::Operator;

/// What a shell without a terminal takes for what was typed; the last word is the one to complete.
const COMPLETE: &str = r#"
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
function=$(complete -p queue-cli | sed 's/.*-F \([^ ]*\) .*/\1/')
"$function" queue-cli "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// What is offered, without flags.
async fn offered(script: &Path, words: &[&str]) -> BTreeSet<String> {
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["--norc", "-c", COMPLETE, "bash"])
        .arg(script)
        .arg("queue-cli");
    let output = bash.args(words).output().await.expect("bash starts");
    let offered = String::from_utf8(output.stdout).expect("text");
    offered
        .lines()
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

async fn script_for(shell: &str) -> String {
    Operator::default().run(&format!("completion {shell}")).await.out()
}

/// As the help lists them.
async fn commands() -> BTreeSet<String> {
    let help = Operator::default().run("-h").await.out();
    let (_, rest) = help.split_once("Commands:\n").expect("it lists them");
    let (list, _) = rest.split_once("\n\n").expect("and ends");
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("queue-cli.bash");
    std::fs::write(&script, script_for("bash").await).expect("written");
    let all = offered(&script, &[""]).await;
    let commands = commands().await;
    assert!(commands.len() > 15 && commands.is_subset(&all), "{commands:?} {all:?}");

    let table: [(&[&str], &[&str]); 9] = [
        (&["dead"], &["dead-letters"]),
        (&["dead-letters", "r"], &["retry"]),
        (&["dead-letters", "list", "--older"], &["--older-than"]),
        (&["add-range", "d"], &["download"]),
        (&["backfill", "--state", ""], &["all", "closed", "open"]),
        (&["status", "--output", "j"], &["json"]),
        (&["rebuild", "--only", ""], &["issues", "timelines"]),
        (&["completion", "po"], &["powershell"]),
        (&["length", "--repository", "web"], &["web"]),
    ];
    for (words, wanted) in table {
        let wanted = wanted.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(offered(&script, words).await, wanted, "{words:?}");
    }
    let file = dir.path().join("bugstream.toml");
    std::fs::write(&file, "").expect("written");
    let typed = dir.path().join("bugs").display().to_string();
    let whole = BTreeSet::from([file.display().to_string()]);
    assert_eq!(offered(&script, &["--config", &typed]).await, whole);
}

#[tokio::test]
async fn every_shell_gets_all_commands() {
    let commands = commands().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = script_for(shell).await;
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
    }
}
