//! Bugstream's own processes: the simulator and the services, started from what was just compiled.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bugstream_stack::process::{Identity, Process};
use bugstream_stack::progress::Board;
use bugstream_stack::server::answers;

use crate::checkout::{log, run_folder};
use crate::compile::Programs;
use crate::stack::Stack;

/// In the order in which they are started; they are stopped in the opposite one.
pub(crate) const SERVICES: [&str; 4] = ["github-simulator", "webhook-receiver", "downloader", "indexer"];

/// How long a service may take to get ready, its streams and indices included.
const START: Duration = Duration::from_secs(60);

/// Listening addresses come from the stack's ports alone.
const NOT_FROM_THE_SHELL: [&str; 4] = [
    "WEBHOOK_LISTEN",
    "DOWNLOADER_HEALTH_LISTEN",
    "INDEXER_HEALTH_LISTEN",
    "BUGSTREAM_CONFIG",
];

/// Starts every service that does not run yet (or runs an older build) and waits until all are ready. The returned
/// processes end when they are dropped: the caller lets them go once everything works.
pub(crate) fn start(stack: &mut Stack, programs: &Programs, board: &Board) -> Result<Vec<Process>> {
    let wanted = SERVICES
        .into_iter()
        .filter(|name| *name != "github-simulator" || stack.given.github_api.is_none());
    let mut started = Vec::new();
    for name in wanted {
        if let Some(identity) = stack.state.alive(name) {
            if !is_outdated(identity) {
                continue;
            }
            identity.end(Duration::from_secs(30));
        }
        let process = Process::start(name, command(name, stack, programs)?, &log(name))?;
        stack.state.record(
            name,
            Identity::of(process.pid()).with_context(|| format!("{name} ended at once"))?,
        );
        stack.save()?;
        started.push((name, process));
    }
    started
        .into_iter()
        .map(|(name, process)| wait_ready(name, process, stack, board))
        .collect()
}

fn wait_ready(name: &str, mut process: Process, stack: &Stack, board: &Board) -> Result<Process> {
    let part = board.part(name);
    part.say("starting", "");
    let url = stack.ready_url(name)?;
    process.wait_ready(START, || answers(&url))?;
    part.say("ready", &stack.http(name)?);
    Ok(process)
}

/// Whether the program on disk is no longer the one that runs.
fn is_outdated(identity: Identity) -> bool {
    let program = std::fs::read_link(format!("/proc/{}/exe", identity.pid));
    program.is_ok_and(|path| path.to_string_lossy().ends_with(" (deleted)"))
}

fn command(name: &str, stack: &Stack, programs: &Programs) -> Result<Command> {
    let mut command = Command::new(programs.path(name)?);
    environment(&mut command, stack);
    if name == "github-simulator" {
        simulator(&mut command, stack)?;
    }
    Ok(command)
}

fn simulator(command: &mut Command, stack: &Stack) -> Result<()> {
    let listen = format!("127.0.0.1:{}", stack.state.port("github-simulator")?);
    command.args(["--listen", &listen, "--repository", &stack.given.repository]);
    if let Some(private) = &stack.given.private {
        command.args(["--private-repository", private]);
    }
    command.args(["--issues", &crate::mirror::SEED.to_string()]);
    command.arg("--state-file").arg(stack.simulator_state());
    command.args(["--webhook-url", &stack.webhook_url()?]);
    Ok(())
}

/// What every program of the stack gets: the generated file, and the secrets that are not in it.
pub(crate) fn environment(command: &mut Command, stack: &Stack) {
    for name in NOT_FROM_THE_SHELL {
        command.env_remove(name);
    }
    command.env("BUGSTREAM_CONFIG", run_folder().join("bugstream.toml"));
    if stack.given.webhook_secret.is_none() {
        command.env("GITHUB_WEBHOOK_SECRET", stack.webhook_secret());
    }
}
