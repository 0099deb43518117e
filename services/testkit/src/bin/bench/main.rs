//! `bench`: starts real servers on loopback, measures a service against the parts beneath it, prints one JSON object.
//!
//! `cargo stack bench` builds everything it needs and calls it.

mod mirrors;
mod webhooks;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::benches::Bench;
use bugstream_stack::interrupt;
use clap::{Parser, Subcommand};

/// Measures a service against the parts beneath it; `cargo stack bench` builds and calls this.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Bench(Bench),
    /// The part beneath the receiver, as a process of its own
    #[command(hide = true)]
    Handler {
        #[arg(long)]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Bench(Bench::Webhooks(arguments)) => webhooks::run(arguments),
        Command::Bench(Bench::Rebuild(arguments)) => mirrors::rebuild(arguments),
        Command::Bench(Bench::Memory(arguments)) => mirrors::memory(arguments),
        Command::Bench(Bench::Replay(arguments)) => mirrors::replay(arguments),
        Command::Bench(Bench::Latency(arguments)) => mirrors::latency(arguments),
        Command::Handler { listen } => webhooks::serve_handler(*listen),
    }
}

/// Runs a bench to its end, or until somebody interrupts it, and prints its report.
fn measure<R: serde::Serialize>(bench: impl Future<Output = anyhow::Result<R>>) -> anyhow::Result<()> {
    interrupt::watch()?;
    let report = runtime()?.block_on(Box::pin(unless_interrupted(bench)))?;
    let mut line = serde_json::to_string_pretty(&report).context("a report is JSON")?;
    line.push('\n');
    std::io::stdout().write_all(line.as_bytes()).context("cannot print")
}

async fn unless_interrupted<R>(report: impl Future<Output = anyhow::Result<R>>) -> anyhow::Result<R> {
    let interrupted = async {
        while !interrupt::requested() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        report = report => report,
        () = interrupted => anyhow::bail!("interrupted"),
    }
}

/// As many threads as the services have.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("threads can be started")
}

fn say(text: &str) {
    // Progress that nobody can read any more is no reason to stop.
    let _ = writeln!(std::io::stderr(), "  {text}");
}
