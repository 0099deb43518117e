//! The operator's front door: fills the mirror and says how it is, puts issues into the queues by hand, counts and empties
//! the queues, decides about held deletions, verifies the mirror, and rebuilds its indices.
//!
//! Its command lines and the line `download.length = N` are the old system's, so that habits and scripts go on working.
//!
//! Invariants:
//! - A command demands only what it uses: `length` needs NATS, and neither GitHub nor a configured repository.
//! - Every command may be repeated: what waits already is not queued twice, what is gone is not missed.
//! - Standard output has the result and nothing else; progress and errors go to standard error.
//!
//! What it is not: a service. It connects once, fails within seconds and says what to do.
//!
//! One file a command, or a folder for one with several steps; `invocation` reads the command line, `enqueue` publishes,
//! `queue` knows what lies in a queue, `github` asks GitHub, `cost` says what requests take.

mod add;
mod add_range;
mod add_updated_since;
mod backfill;
mod cli;
mod collect;
mod completion;
mod contents;
mod cost;
mod credential;
mod dead_letters;
mod deletions;
mod deps;
mod enqueue;
mod failure;
mod forget;
mod github;
mod history;
mod import;
mod interrupt;
mod invocation;
mod length;
mod progress;
mod purge;
mod queue;
mod rebuild;
mod report;
mod show;
mod snapshot;
mod status;
mod usage;
pub mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use bugstream_kit::config::{Settings, Telemetry};

pub use cli::{Command, Output, Verify};
pub use deps::Deps;
pub use failure::Failure;
pub use progress::{Progress, Screen};
pub use queue::Queue;
pub use report::Report;

use invocation::{Asked, Invocation};

/// Errors only, unless `RUST_LOG` says otherwise: a person reads the result, not the steps. What GitHub refuses is said by
/// the command itself, with the fix.
const LOG_FILTER: &str = "error,bugstream_github=off";

/// The program: this process's arguments, environment and terminal.
#[must_use]
pub fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut screen = Screen::terminal(&mut out, &mut err);
    let asked = invocation::read(std::env::args_os(), |name| std::env::var(name).ok());
    let telemetry = match &asked {
        Ok(Asked::Run(invocation)) => match start_telemetry(invocation.deps.settings()) {
            Ok(telemetry) => Some(telemetry),
            Err(failure) => return ExitCode::from(screen.finish(Err(failure))),
        },
        _ => None,
    };
    let code = bugstream_kit::runtime::start().block_on(finish(asked, &mut screen));
    if let Some(telemetry) = telemetry {
        telemetry.shutdown();
    }
    ExitCode::from(code)
}

/// Runs one command line (the program's name first) in this process and returns its exit code. `environment` stands in
/// for the process's variables, `screen` for its terminal. Starts no telemetry.
pub async fn run<A>(
    arguments: impl IntoIterator<Item = A>,
    environment: impl Fn(&str) -> Option<String>,
    screen: &mut Screen<'_>,
) -> u8
where
    A: Into<OsString> + Clone,
{
    finish(invocation::read(arguments, environment), screen).await
}

/// Carries out one command.
///
/// # Errors
/// [`Failure`], which knows its exit code.
pub async fn execute(command: &Command, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    match command {
        Command::Add(add) => add::run(add, deps, progress).await,
        Command::AddRange(range) => add_range::run(range, deps, progress).await,
        Command::AddUpdatedSince(since) => add_updated_since::run(since, deps, progress).await,
        Command::Backfill(asked) => backfill::run(asked, deps, progress).await,
        Command::Status(asked) => status::run(asked, deps, progress).await,
        Command::Length(length) => length::run(length, deps).await,
        Command::Purge(purge) => purge::run(purge, deps).await,
        Command::Deletions(deletions) => deletions::run(deletions, deps).await,
        Command::DeadLetters(asked) => dead_letters::run(asked, deps, progress).await,
        Command::Verify(asked) => verify::run(asked, deps, progress).await,
        Command::Rebuild(asked) => rebuild::run(*asked, deps, progress).await,
        Command::Rollback(asked) => rebuild::roll_back(*asked, deps, progress).await,
        Command::Generations(asked) => rebuild::generations(*asked, deps).await,
        Command::History(asked) => history::run(asked, deps).await,
        Command::Show(asked) => show::run(asked, deps).await,
        Command::Snapshot(asked) => snapshot::run(asked, deps, progress).await,
        Command::Import(asked) => import::run(asked, deps, progress).await,
        Command::Forget(asked) => forget::run(asked, deps, progress).await,
        Command::Collect(asked) => collect::run(*asked, deps, progress).await,
        Command::Completion(completion) => Ok(completion::run(completion)),
        Command::Noop => Ok(Report::nothing()),
    }
}

async fn finish(asked: Result<Asked, Failure>, screen: &mut Screen<'_>) -> u8 {
    let result = match asked {
        Ok(Asked::Help(text)) => Ok((text, 0)),
        Ok(Asked::Run(invocation)) => answer(*invocation, screen).await,
        Err(failure) => Err(failure),
    };
    screen.finish(result)
}

async fn answer(invocation: Invocation, screen: &mut Screen<'_>) -> Result<(String, u8), Failure> {
    let mut progress = screen.progress().writing(invocation.output);
    let result = Box::pin(execute(&invocation.command, &invocation.deps, &mut progress)).await;
    progress.clear();
    result.map(|report| (report.render(invocation.output), report.exit_code()))
}

fn start_telemetry(settings: &Settings) -> Result<bugstream_telemetry::Telemetry, Failure> {
    let section = Telemetry::read(settings)?;
    let json = section.log_format.as_deref() == Some("json");
    let options = bugstream_telemetry::Options {
        service: "queue-cli",
        version: env!("CARGO_PKG_VERSION"),
        format: if json {
            bugstream_telemetry::Format::Json
        } else {
            bugstream_telemetry::Format::Text
        },
        filter: section.log_filter.or_else(|| Some(LOG_FILTER.to_owned())),
        otlp_endpoint: section.otlp_endpoint,
    };
    bugstream_telemetry::start(options).map_err(|error| Failure::failed(format!("{error:#}")))
}
