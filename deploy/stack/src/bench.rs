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
  cargo stack bench rebuild --s3                with raw JSON in an S3 server
  cargo stack bench rebuild | jq .ratio";

#[derive(Debug, clap::Subcommand)]
enum Bench {
    /// Webhooks accepted a second, against a bare HTTP handler and bare publishes (about two minutes)
    Webhooks(Webhooks),
    /// A rebuild, against a bare bulk load of the same documents (about three minutes, 2 GB of disk)
    Rebuild(Rebuild),
    /// Newest events of the log through the consumer loop, against a bare consumer (about a minute)
    Replay(Replay),
    /// From a webhook to the moment when a searcher finds it, beyond the debounce (about three minutes)
    Latency(Latency),
    /// Memory of indexer and rebuild, with few issues and with many (about four minutes, 2 GB of disk)
    Memory(Memory),
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

/// How bulks are made, by rebuild and raw load alike.
#[derive(Debug, clap::Args)]
struct Bulks {
    /// Bulk requests at the same time, at most
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Bytes of a bulk request, at most
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(100_000..=90_000_000))]
    bulk_bytes: u32,
}

#[derive(Debug, clap::Args)]
struct Rebuild {
    /// Issues in the log, with about fifteen timeline events each
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    issues: u32,
    /// How often rebuild and raw load are measured; the figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Keep raw JSON in an S3 server (MinIO) in place of a folder
    #[arg(long)]
    s3: bool,
    #[command(flatten)]
    bulks: Bulks,
}

#[derive(Debug, clap::Args)]
struct Replay {
    /// Issues in the log, with one event each
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    issues: u32,
    /// How often both consumers are measured; the figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
}

#[derive(Debug, clap::Args)]
struct Latency {
    /// Edits that are measured while nothing else happens
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    at_rest: u32,
    /// Edits that are measured under load
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    under_load: u32,
    /// Webhooks a second under load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    per_second: u32,
}

#[derive(Debug, clap::Args)]
struct Memory {
    /// Few issues
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    few: u32,
    /// Many issues; 200,000 need twice the time and disk
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    many: u32,
    #[command(flatten)]
    bulks: Bulks,
}

/// A program or an example, and the package that has it.
type Program = (&'static str, &'static str);

const BENCH: Program = ("bench", "bugstream-testkit");
const RECEIVER: Program = ("webhook-receiver", "bugstream-webhook-receiver");
const DOWNLOADER: Program = ("downloader", "bugstream-downloader");
const INDEXER: Program = ("indexer", "bugstream-indexer");
const QUEUE_CLI: Program = ("queue-cli", "bugstream-queue-cli");
const REPLAY: Program = ("replay", "bugstream-kit");

impl Bench {
    /// What is measured and what measures.
    fn programs(&self) -> &'static [Program] {
        match self {
            Self::Webhooks(_) => &[BENCH, RECEIVER],
            Self::Rebuild(_) => &[BENCH, QUEUE_CLI],
            Self::Replay(_) => &[BENCH],
            Self::Latency(_) => &[BENCH, RECEIVER, DOWNLOADER, INDEXER],
            Self::Memory(_) => &[BENCH, INDEXER, QUEUE_CLI],
        }
    }

    fn examples(&self) -> &'static [Program] {
        match self {
            Self::Replay(_) => &[REPLAY],
            _ => &[],
        }
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            nats_server: true,
            elasticsearch: matches!(self, Self::Rebuild(_) | Self::Latency(_) | Self::Memory(_)),
            fixtures: matches!(self, Self::Webhooks(_)),
            minio: matches!(self, Self::Rebuild(Rebuild { s3: true, .. })),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    let bench = &arguments.bench;
    let cache = Cache::open()?;
    let board = Board::default();
    let (programs, parts) = compile::while_compiling(
        || compile::optimised(bench.programs(), bench.examples(), &board),
        || provision::obtain(&cache, bench.wanted(), &board),
    )?;
    let mut command = Command::new(programs.path("bench")?);
    let nats_server = parts.nats_server.as_ref().context("the NATS server was asked for")?;
    command.env("BUGSTREAM_TEST_NATS_SERVER", nats_server);
    match bench {
        Bench::Webhooks(asked) => webhooks(&mut command, asked, &parts, &programs)?,
        Bench::Rebuild(asked) => rebuild(&mut command, asked),
        Bench::Replay(Replay { issues, rounds }) => {
            command.arg("replay");
            numbers(&mut command, &[("--issues", issues), ("--rounds", rounds)]);
        }
        Bench::Latency(asked) => latency(&mut command, asked),
        Bench::Memory(Memory { few, many, bulks }) => {
            command.arg("memory");
            numbers(&mut command, &[("--few", few), ("--many", many)]);
            numbers(&mut command, &bulks.numbers());
        }
    }
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

fn numbers(command: &mut Command, numbers: &[(&str, &dyn ToString)]) {
    for (name, number) in numbers {
        command.args([*name, &number.to_string()]);
    }
}

impl Bulks {
    fn numbers(&self) -> [(&str, &dyn ToString); 2] {
        [("--connections", &self.connections), ("--bulk-bytes", &self.bulk_bytes)]
    }
}

fn webhooks(command: &mut Command, asked: &Webhooks, parts: &Parts, programs: &Programs) -> Result<()> {
    let nats_server = parts.nats_server.as_ref().context("the NATS server was asked for")?;
    let fixtures = parts.fixtures.as_ref().context("the fixtures were asked for")?;
    command.arg("webhooks").arg("--nats-server").arg(nats_server);
    command.arg("--receiver").arg(programs.path("webhook-receiver")?);
    command.env("BUGSTREAM_TEST_FIXTURES", fixtures);
    let Webhooks {
        requests,
        rounds,
        connections,
    } = asked;
    numbers(
        command,
        &[
            ("--requests", requests),
            ("--rounds", rounds),
            ("--connections", connections),
        ],
    );
    Ok(())
}

fn rebuild(command: &mut Command, asked: &Rebuild) {
    command.arg("rebuild");
    numbers(command, &[("--issues", &asked.issues), ("--rounds", &asked.rounds)]);
    numbers(command, &asked.bulks.numbers());
    if asked.s3 {
        command.arg("--s3");
    }
}

fn latency(command: &mut Command, asked: &Latency) {
    let Latency {
        at_rest,
        under_load,
        per_second,
    } = asked;
    command.arg("latency");
    numbers(
        command,
        &[
            ("--at-rest", at_rest),
            ("--under-load", under_load),
            ("--per-second", per_second),
        ],
    );
}
