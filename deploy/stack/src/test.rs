//! `cargo stack test`: every check and test, against the real servers.
//!
//! One Elasticsearch serves the whole run (each test prefixes its indices); NATS servers are started by the tests
//! themselves. Where they are is told by environment. The result is counted from what the test programs print, and a
//! run in which nothing ran is a failure.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use bugstream_stack::interrupt;
use bugstream_stack::process::Identity;
use bugstream_stack::progress::Board;
use bugstream_stack::provision::{self, Cache, Parts, Wanted};
use bugstream_stack::server::{Elasticsearch, ElasticsearchOptions};

use crate::checkout::cargo;

/// Run all checks and tests with the real servers: formatting, clippy, then every test
///
/// With arguments only the tests that they choose run, without formatting and clippy. A server that cannot be had is a
/// failure: nothing is skipped for it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack test                               everything, as CI does
  cargo stack test -p bugstream-indexer          the tests of one crate
  cargo stack test -p bugstream-proto golden     those whose name holds `golden`
  cargo stack test -- --nocapture                everything after -- goes to the test programs")]
pub(crate) struct Arguments {
    /// Passed on to `cargo test`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CARGO TEST ARGUMENTS"
    )]
    cargo: Vec<String>,
}

/// What a person's shell may hold for the services: a test that picked it up would use their servers and token.
const NOT_FOR_TESTS: [&str; 18] = [
    "NATS_URL",
    "NATS_CREDENTIALS",
    "OBJECT_STORE_URL",
    "OBJECT_STORE_COMPRESSION",
    "ELASTIC_NODE",
    "ELASTIC_API_KEY",
    "ELASTIC_USERNAME",
    "ELASTIC_PASSWORD",
    "ELASTIC_PREFIX",
    "GITHUB_API_URL",
    "GITHUB_PERSONAL_ACCESS_TOKEN",
    "GITHUB_ORG",
    "GITHUB_REPO_PUBLIC",
    "GITHUB_REPO_PRIVATE",
    "GITHUB_WEBHOOK_SECRET",
    "BUG_INACTIVITY_DELAY",
    "BUGSTREAM_CONFIG",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    let cache = Cache::open()?;
    let mut failed = Vec::new();
    let parts = std::thread::scope(|scope| {
        // The downloads need the network and the checks the processor.
        let parts = scope.spawn(|| provision::obtain(&cache, everything(), &Board::default()));
        if arguments.cargo.is_empty() {
            failed.extend(checks());
        }
        parts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let servers = Servers::start(&cache, parts)?;
    let (total, passed) = test(arguments, &servers)?;
    if !passed {
        failed.push("cargo test");
    }
    drop(servers);
    conclude(&total, &failed)
}

fn everything() -> Wanted {
    Wanted {
        nats_server: true,
        elasticsearch: true,
        fixtures: true,
        minio: true,
    }
}

/// Runs the checks that need no server; returns those that failed.
fn checks() -> Vec<&'static str> {
    let fmt = ("cargo fmt", vec!["fmt", "--all", "--check"]);
    let clippy = (
        "cargo clippy",
        vec!["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    );
    [fmt, clippy]
        .into_iter()
        .filter(|(_, arguments)| !cargo().args(arguments).status().is_ok_and(|status| status.success()))
        .map(|(name, _)| name)
        .collect()
}

/// What the tests of one run share; dropping it ends and removes everything.
struct Servers {
    elastic_node: String,
    nats_server: PathBuf,
    fixtures: PathBuf,
    minio: PathBuf,
    _elasticsearch: Option<(Elasticsearch, Folder)>,
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is removed by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Servers {
    /// Starts Elasticsearch, unless `BUGSTREAM_TEST_ELASTIC_NODE` already names one.
    fn start(cache: &Cache, parts: Parts) -> Result<Self> {
        let nats_server = parts.nats_server.context("the NATS server was asked for")?;
        let fixtures = parts.fixtures.context("the fixtures were asked for")?;
        let minio = parts.minio.context("MinIO was asked for")?;
        let distribution = parts.elasticsearch.context("Elasticsearch was asked for")?;
        if let Ok(elastic_node) = std::env::var("BUGSTREAM_TEST_ELASTIC_NODE") {
            return Ok(Self {
                elastic_node,
                nats_server,
                fixtures,
                minio,
                _elasticsearch: None,
            });
        }
        remove_leftovers(cache.root());
        let folder = Folder(cache.root().join(format!("{RUN}{}", std::process::id())));
        let options = ElasticsearchOptions {
            heap_mb: 1024,
            ..ElasticsearchOptions::new(distribution, &folder.0)
        };
        let elasticsearch = Elasticsearch::start(options)?;
        let elastic_node = elasticsearch.url();
        Ok(Self {
            elastic_node,
            nats_server,
            fixtures,
            minio,
            _elasticsearch: Some((elasticsearch, folder)),
        })
    }
}

/// How the folder of a run begins; the pid of the run follows.
const RUN: &str = "test-run-";

/// Removes the folders of runs that were killed before they could do so; one of them may have had this run's number.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUN)?.parse().ok());
        if pid.is_some_and(|pid| pid == std::process::id() || Identity::of(pid).is_none()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs `cargo test`, showing what it prints; returns the sum of all results and whether cargo was content.
fn test(arguments: &Arguments, servers: &Servers) -> Result<(Total, bool)> {
    if interrupt::requested() {
        bail!("interrupted");
    }
    let mut command = cargo();
    command.arg("test").args(selection(&arguments.cargo));
    for name in NOT_FOR_TESTS {
        command.env_remove(name);
    }
    // S3 clients read dozens of them.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("BUGSTREAM_TEST_ELASTIC_NODE", &servers.elastic_node);
    command.env("BUGSTREAM_TEST_NATS_SERVER", &servers.nats_server);
    command.env("BUGSTREAM_TEST_FIXTURES", &servers.fixtures);
    command.env("BUGSTREAM_TEST_MINIO", &servers.minio);
    count(command)
}

/// Everything without arguments; all crates unless a package is named.
fn selection(arguments: &[String]) -> Vec<String> {
    let cargo_part = || arguments.iter().take_while(|argument| *argument != "--");
    let mut selection = Vec::new();
    let names_a_package = |argument: &String| {
        argument.starts_with("-p")
            || argument.starts_with("--package")
            || argument == "--workspace"
            || argument == "--all"
    };
    if !cargo_part().any(names_a_package) {
        selection.push("--workspace".to_owned());
    }
    if !cargo_part().any(|argument| argument == "--no-fail-fast") {
        selection.push("--no-fail-fast".to_owned());
    }
    selection.extend(arguments.iter().cloned());
    selection
}

fn count(mut command: Command) -> Result<(Total, bool)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has an output")?;
    let mut total = Total::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        writeln!(std::io::stdout(), "{line}").context("cannot print")?;
        total.add(&line);
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    Ok((total, status.success()))
}

/// The last lines, and the exit code that goes with them.
fn conclude(total: &Total, failed: &[&str]) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    if !failed.is_empty() {
        writeln!(out, "failed: {}", failed.join(", ")).context("cannot print")?;
    }
    writeln!(out, "{total}").context("cannot print")?;
    Ok(if failed.is_empty() && total.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The sum of all `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Total {
    /// Nothing failed, and not because nothing ran.
    fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    fn add(&mut self, line: &str) {
        // A test that prints without a final line break pushes its result to the right.
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        let number = |what: &str| {
            let mut words = result.split([' ', ';', '.']).filter(|word| !word.is_empty());
            let mut before = words.next();
            for word in words {
                if word == what {
                    return before.and_then(|number| number.parse().ok());
                }
                before = Some(word);
            }
            None::<u64>
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
        self.skipped += number("ignored").unwrap_or(0);
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_programs_are_summed() {
        let mut total = Total::default();
        total.add("running 18 tests");
        total.add("test result: ok. 16 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.21s");
        total.add(
            "x: test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
        );
        assert_eq!(total.to_string(), "19 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_crate_that_is_named_is_not_joined_by_all_others() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            selection(&words("-p bugstream-proto")),
            words("--no-fail-fast -p bugstream-proto")
        );
        assert_eq!(
            selection(&words("golden -- -p")),
            words("--workspace --no-fail-fast golden -- -p")
        );
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        assert!(!Total::default().is_good());
        assert!(
            !Total {
                passed: 3,
                failed: 1,
                skipped: 0
            }
            .is_good()
        );
        assert!(
            Total {
                passed: 3,
                failed: 0,
                skipped: 0
            }
            .is_good()
        );
    }
}
