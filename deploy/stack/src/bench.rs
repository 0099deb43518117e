//! `cargo stack bench`: how close a service comes to what the parts beneath it allow.
//!
//! The measuring is done by the program `bench` of the testkit; this gets the real servers, compiles what is measured
//! with optimisations, and starts it. Standard output is its one JSON object, everything else goes to standard error.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use bugstream_stack::benches::{Bench, Rebuild};
use bugstream_stack::interrupt;
use bugstream_stack::progress::Board;
use bugstream_stack::provision::{self, Cache, Wanted};

use crate::compile;

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
  cargo stack bench rebuild --issues 60000      a larger one (about twenty minutes)
  cargo stack bench rebuild | jq .ratio";

/// A program or an example, and the package that has it.
type Program = (&'static str, &'static str);

const BENCH: Program = ("bench", "bugstream-testkit");
const RECEIVER: Program = ("webhook-receiver", "bugstream-webhook-receiver");
const DOWNLOADER: Program = ("downloader", "bugstream-downloader");
const INDEXER: Program = ("indexer", "bugstream-indexer");
const QUEUE_CLI: Program = ("queue-cli", "bugstream-queue-cli");
const REPLAY: Program = ("replay", "bugstream-kit");

/// What is measured and what measures.
fn programs(bench: &Bench) -> &'static [Program] {
    match bench {
        Bench::Webhooks(_) => &[BENCH, RECEIVER],
        Bench::Rebuild(_) => &[BENCH, QUEUE_CLI],
        Bench::Replay(_) => &[BENCH],
        Bench::Latency(_) => &[BENCH, RECEIVER, DOWNLOADER, INDEXER],
        Bench::Memory(_) => &[BENCH, INDEXER, QUEUE_CLI],
    }
}

fn examples(bench: &Bench) -> &'static [Program] {
    match bench {
        Bench::Replay(_) => &[REPLAY],
        _ => &[],
    }
}

fn wanted(bench: &Bench) -> Wanted {
    Wanted {
        nats_server: true,
        elasticsearch: matches!(bench, Bench::Rebuild(_) | Bench::Latency(_) | Bench::Memory(_)),
        fixtures: matches!(bench, Bench::Webhooks(_)),
        minio: matches!(bench, Bench::Rebuild(Rebuild { s3: true, .. })),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    let bench = &arguments.bench;
    let cache = Cache::open()?;
    let board = Board::default();
    let (built, parts) = compile::while_compiling(
        || compile::optimised(programs(bench), examples(bench), &board),
        || provision::obtain(&cache, wanted(bench), &board),
    )?;
    let mut command = Command::new(built.path("bench")?);
    let nats_server = parts.nats_server.as_ref().context("the NATS server was asked for")?;
    command.env("BUGSTREAM_TEST_NATS_SERVER", nats_server);
    if let Some(fixtures) = &parts.fixtures {
        command.env("BUGSTREAM_TEST_FIXTURES", fixtures);
    }
    // The same words: both read them in one way.
    command.args(std::env::args_os().skip_while(|word| word != "bench").skip(1));
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
