//! `cargo stack faults`: everything goes wrong by seed, then the mirror must equal the truth.
//!
//! The program `faults` of the testkit does it; this gets the real servers, compiles the services and starts it.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use bugstream_stack::interrupt;
use bugstream_stack::progress::Board;
use bugstream_stack::provision::{self, Cache, Wanted};

use crate::compile;

/// Break everything by seed for some minutes, then compare the mirror with the truth
///
/// It starts servers and services of its own on loopback and stops them. While issues are edited, deleted and moved at a
/// simulated GitHub that fails and limits, services and servers are killed and frozen and their connections cut. In the
/// end nothing may wait, nothing may differ and nothing may have died but what was planted: exit code 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack faults                            seed 1, three minutes
  cargo stack faults --seed 7 --minutes 10
  cargo stack faults --output json | jq .differences")]
pub(crate) struct Arguments {
    /// What happens in which order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Human,
    Json,
}

/// What breaks everything, and the package that has it.
const PROGRAM: (&str, &str) = ("faults", "bugstream-testkit");

const WANTED: Wanted = Wanted {
    nats_server: true,
    elasticsearch: true,
    fixtures: false,
    minio: false,
};

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    let cache = Cache::open()?;
    let board = Board::default();
    let (programs, parts) = compile::while_compiling(
        || compile::programs_and(PROGRAM, &board),
        || provision::obtain(&cache, WANTED, &board),
    )?;
    let nats_server = parts.nats_server.context("the NATS server was asked for")?;
    if interrupt::requested() {
        bail!("interrupted");
    }
    let mut command = Command::new(programs.path(PROGRAM.0)?);
    let output = match arguments.output {
        Output::Human => "human",
        Output::Json => "json",
    };
    command
        .args(["--seed", &arguments.seed.to_string()])
        .args(["--seconds", &(arguments.minutes * 60).to_string()])
        .args(["--output", output])
        .env("BUGSTREAM_TEST_NATS_SERVER", nats_server);
    // Ctrl-C reaches it too: it stops its servers and fails.
    let status = command.status().context("cannot start the faults")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
