//! Compiling the services while the servers download.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use bugstream_stack::process::log_tail;
use bugstream_stack::progress::{Board, Part};
use serde::Deserialize;

use crate::checkout::{cargo, log};

/// What the stack runs, and the packages that have it.
const PROGRAMS: [(&str, &str); 5] = [
    ("webhook-receiver", "bugstream-webhook-receiver"),
    ("downloader", "bugstream-downloader"),
    ("indexer", "bugstream-indexer"),
    ("queue-cli", "bugstream-queue-cli"),
    ("github-simulator", "bugstream-testkit"),
];

/// Paths of the compiled programs by name.
#[derive(Debug)]
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// Where a program lies.
    pub(crate) fn path(&self, name: &str) -> Result<&PathBuf> {
        self.0
            .get(name)
            .with_context(|| format!("no package has a program named {name}"))
    }
}

/// A line of cargo's machine-readable output, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Compiles every program, telling how many crates are done.
pub(crate) fn programs(board: &Board) -> Result<Programs> {
    build(&PROGRAMS, &[], board)
}

/// Compiles every program, and one more with the package that has it.
pub(crate) fn programs_and(more: (&str, &str), board: &Board) -> Result<Programs> {
    build(&[&PROGRAMS[..], &[more]].concat(), &[], board)
}

/// Compiles some programs and examples (each with the package that has it) as they are released, telling how many crates
/// are done.
pub(crate) fn optimised(programs: &[(&str, &str)], examples: &[(&str, &str)], board: &Board) -> Result<Programs> {
    let mut flags = vec!["--release"];
    for (example, package) in examples {
        flags.extend(["--package", package, "--example", example]);
    }
    build(programs, &flags, board)
}

/// Obtains servers while programs compile: the one needs the network, the other the processor.
pub(crate) fn while_compiling<T>(
    compile: impl FnOnce() -> Result<Programs> + Send,
    obtain: impl FnOnce() -> Result<T>,
) -> Result<(Programs, T)> {
    let (programs, obtained) = std::thread::scope(|scope| {
        let programs = scope.spawn(compile);
        let obtained = obtain();
        let programs = programs.join();
        (
            programs.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            obtained,
        )
    });
    Ok((programs?, obtained?))
}

fn build(programs: &[(&str, &str)], flags: &[&str], board: &Board) -> Result<Programs> {
    let part = board.part("services");
    part.say("compiling", "");
    let errors = log("compile");
    let folder = errors.parent().context("a log lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = fs::File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics"]);
    command.args(flags);
    for (program, package) in programs {
        command.args(["--package", package, "--bin", program]);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .context("cannot start cargo build")?;
    let messages = BufReader::new(child.stdout.take().context("cargo build has an output")?);
    let programs = follow(messages, crates(programs), &part)?;
    if !child.wait().context("cannot wait for cargo build")?.success() {
        bail!("the services do not compile; {}", log_tail(&errors));
    }
    part.say("compiled", "");
    Ok(programs)
}

fn follow(messages: impl BufRead, total: usize, part: &Part) -> Result<Programs> {
    let (mut done, mut programs) = (BTreeSet::new(), BTreeMap::new());
    for line in messages.lines() {
        let line = line.context("cannot read what cargo build says")?;
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        if message.reason != "compiler-artifact" {
            continue;
        }
        done.extend(message.package_id);
        part.say(
            "compiling",
            &format!("{:>4} / {} crates", done.len(), total.max(done.len())),
        );
        if let (Some(target), Some(executable)) = (message.target, message.executable) {
            programs.insert(target.name, executable);
        }
    }
    Ok(Programs(programs))
}

/// How many crates there are to compile; 0 if cargo does not say.
fn crates(programs: &[(&str, &str)]) -> usize {
    let mut command = cargo();
    command.args(["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    for (_, package) in programs {
        command.args(["--package", package]);
    }
    let Ok(output) = command.stderr(Stdio::null()).output() else {
        return 0;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    text.lines()
        .filter(|line| !line.is_empty())
        .map(name_and_version)
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","package_id":"a","target":{"name":"a"},"executable":null}
not json
{"reason":"build-script-executed","package_id":"a"}
{"reason":"compiler-artifact","package_id":"b","target":{"name":"indexer"},"executable":"/t/indexer","fresh":true}
{"reason":"build-finished","success":true}
"#;
        let programs = follow(&messages[..], 2, &Board::default().part("services")).expect("readable");
        assert_eq!(programs.path("indexer").expect("found"), &PathBuf::from("/t/indexer"));
        assert!(programs.path("a").is_err());
    }
}
