//! `faults`: lets everything go wrong for some minutes and says whether the mirror survived; `cargo stack faults`
//! builds everything it needs and calls it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bugstream_testkit::faults::{self, Options, Report};
use bugstream_testkit::rig::Node;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// Lets everything go wrong for some minutes and says whether the mirror survived.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What happens in which order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how many seconds
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// How many issues there are at the start
    #[arg(long, default_value_t = 300)]
    issues: u64,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Human,
    Json,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Dropping the run kills everything that it started.
    let report = tokio::select! {
        report = run(&arguments) => report?,
        _ = terminate.recv() => anyhow::bail!("interrupted"),
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
    };
    let text = match arguments.output {
        Output::Human => report.to_string(),
        Output::Json => report.to_json().to_string(),
    };
    writeln!(std::io::stdout(), "{text}").context("cannot print")?;
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let mut node = Node::start().await?;
    let options = Options {
        seed: arguments.seed,
        duration: Duration::from_secs(arguments.seconds),
        issues: arguments.issues,
    };
    faults::run(options, &mut node, say).await
}

fn say(text: &str) {
    // Progress that nobody can read any more is no reason to stop.
    let _ = writeln!(std::io::stderr(), "  {text}");
}
