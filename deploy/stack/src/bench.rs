//! `cargo stack bench`: how close a service comes to what the parts beneath it allow.
//!
//! The measuring is done by the program `bench` of the testkit; this gets the real servers, compiles what is measured
//! with optimisations, and starts it. Standard output is its one JSON object, everything else goes to standard error.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use bugstream_stack::interrupt;
use bugstream_stack::progress::Board;
use bugstream_stack::provision::{self, Cache, Parts, Wanted};

use crate::compile::{self, Programs};

/// Measure a service against the limit of the parts beneath it
///
/// It starts real servers of its own on loopback and stops them. The ratio means something on any machine; on one that
/// does other things at the same time it means less.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

const EXAMPLES: &str = "Examples:
  cargo stack bench webhooks                    print the report; progress goes to standard error
  cargo stack bench webhooks --requests 2000    a shorter one
  cargo stack bench webhooks | jq .different_issues.ratio";

#[derive(Debug, clap::Subcommand)]
enum Bench {
    /// Webhooks accepted a second, against a bare HTTP handler and bare publishes (about two minutes)
    #[command(after_help = EXAMPLES)]
    Webhooks(Webhooks),
}

#[derive(Debug, clap::Args)]
struct Webhooks {
    /// Webhooks in each measurement, each about another issue
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    requests: u32,
    /// How often everything is measured; the figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
}

/// What is measured and what measures, and the packages that have it.
const PROGRAMS: [(&str, &str); 2] = [
    ("webhook-receiver", "bugstream-webhook-receiver"),
    ("bench", "bugstream-testkit"),
];

const WANTED: Wanted = Wanted {
    nats_server: true,
    elasticsearch: false,
    fixtures: true,
    minio: false,
};

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    let cache = Cache::open()?;
    let board = Board::default();
    let (programs, parts) = compile::while_compiling(
        || compile::optimised(&PROGRAMS, &board),
        || provision::obtain(&cache, WANTED, &board),
    )?;
    let mut command = match &arguments.bench {
        Bench::Webhooks(webhooks) => command(webhooks, &parts, &programs)?,
    };
    if interrupt::requested() {
        bail!("interrupted");
    }
    // Ctrl-C reaches it too: it stops its servers and fails.
    let status = command.status().context("cannot start the bench")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn command(webhooks: &Webhooks, parts: &Parts, programs: &Programs) -> Result<Command> {
    let nats_server = parts.nats_server.as_ref().context("the NATS server was asked for")?;
    let fixtures = parts.fixtures.as_ref().context("the fixtures were asked for")?;
    let mut command = Command::new(programs.path("bench")?);
    command
        .arg("webhooks")
        .arg("--nats-server")
        .arg(nats_server)
        .arg("--receiver")
        .arg(programs.path("webhook-receiver")?)
        .args(["--requests", &webhooks.requests.to_string()])
        .args(["--rounds", &webhooks.rounds.to_string()])
        .args(["--connections", &webhooks.connections.to_string()])
        .env("BUGSTREAM_TEST_FIXTURES", fixtures);
    Ok(command)
}
