//! Memory of an indexer and of a rebuild, with few issues and with many: it must not grow with them.
//!
//! Many issues share their raw JSON, so that the data of hundreds of thousands fit a small disk; timelines are short but
//! for every fiftieth, which is as long as the longest of the seed. Sizes are the same with few issues and with many.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use bugstream_proto::topology;
use bugstream_stack::ports;
use bugstream_stack::process::Process;
use serde::Serialize;

use super::corpus::Corpus;
use super::documents::Node;
use super::rebuild::{Servers, TRIES, UNSEEN, configuration, rebuild};
use crate::process::{high_water, program};

/// How much more an indexer may need for many issues than for few.
const GROWTH: f64 = 1.2;

/// The longest that everything may take to be indexed once.
const LIMIT: Duration = Duration::from_secs(900);

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// How long a service may take to stop.
const STOP: Duration = Duration::from_secs(40);

/// Issues with raw JSON of their own.
const DISTINCT: u64 = 2_000;

/// Most events of a short timeline.
const SHORT: usize = 4;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Few issues, at least one.
    pub few: u64,
    /// Many, more than that.
    pub many: u64,
    /// Bulk requests at the same time, at most.
    pub connections: usize,
    /// Bytes of a bulk request, at most.
    pub bulk_bytes: usize,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    bench: &'static str,
    few_issues: u64,
    many_issues: u64,
    /// The service `indexer`, which follows a log that is full when it starts.
    indexer: Growth,
    /// The program `queue-cli rebuild`.
    rebuild: Growth,
    wanted_growth: f64,
    met: bool,
}

/// The most memory that a program ever had resident (VmHWM), in MB.
#[derive(Debug, Clone, Copy, Serialize)]
struct Growth {
    few_mb: f64,
    many_mb: f64,
    growth: f64,
}

impl Growth {
    fn of(few: u64, many: u64) -> Self {
        let mb = |bytes: u64| (bytes as f64 / 1e5).round() / 10.0;
        Self {
            few_mb: mb(few),
            many_mb: mb(many),
            growth: (many as f64 / few.max(1) as f64 * 1_000.0).round() / 1_000.0,
        }
    }
}

/// Measures, saying what comes next.
///
/// # Errors
/// A program that fails, or one that takes longer than fifteen minutes.
pub async fn run(options: Options, servers: &Servers, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let jetstream = super::prepared(&servers.nats_url).await?;
    let node = Node::new(&servers.elastic, &servers.prefix)?;
    let configuration = configuration(servers, options.connections, options.bulk_bytes);
    std::fs::write(servers.folder.join("bugstream.toml"), configuration)?;
    say("inventing issues");
    let corpus = Corpus::store(&servers.store, DISTINCT.min(options.few), SHORT).await?;
    let (mut figures, mut published) = (Vec::new(), 0);
    for issues in [options.few, options.many] {
        corpus.publish(&jetstream, published + 1..=issues).await?;
        published = issues;
        say(&format!("the indexer with {issues} issues"));
        let indexer = index(servers, &jetstream).await?;
        node.delete_indices().await?;
        say(&format!("{:.0} MB; a rebuild of {issues} issues", indexer as f64 / 1e6));
        let rebuild = rebuilt(servers, &node).await?;
        say(&format!("{:.0} MB", rebuild as f64 / 1e6));
        figures.push((indexer, rebuild));
    }
    let [(indexer_few, rebuild_few), (indexer_many, rebuild_many)] = figures[..] else {
        anyhow::bail!("two measurements");
    };
    let indexer = Growth::of(indexer_few, indexer_many);
    let rebuild = Growth::of(rebuild_few, rebuild_many);
    Ok(Report {
        bench: "memory",
        few_issues: options.few,
        many_issues: options.many,
        met: indexer.growth <= GROWTH && rebuild.growth <= GROWTH,
        indexer,
        rebuild,
        wanted_growth: GROWTH,
    })
}

/// Lets an indexer follow the log from its beginning to its end; the most memory that it had resident.
async fn index(servers: &Servers, jetstream: &jetstream::Context) -> anyhow::Result<u64> {
    let stream = jetstream.get_stream(topology::ISSUES).await?;
    // One of before has seen everything.
    _ = stream.delete_consumer(topology::INDEXER.name).await;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
    let mut command = Command::new(program("indexer"));
    command
        .env_clear()
        .env("BUGSTREAM_CONFIG", servers.folder.join("bugstream.toml"))
        .env("INDEXER_HEALTH_LISTEN", listen.to_string())
        .env("RUST_LOG", "warn");
    let mut process = Process::start("indexer", command, &servers.folder.join("indexer.log"))?;
    let read = async {
        while !has_read_all(&stream).await {
            anyhow::ensure!(!process.has_ended(), "the indexer ended");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, read).await.context("not done in time")??;
    let memory = high_water(process.pid()).context("the indexer ended")?;
    tokio::task::spawn_blocking(move || process.stop(STOP)).await?;
    Ok(memory)
}

/// The most memory that a rebuild had resident. Leaves no indices.
async fn rebuilt(servers: &Servers, node: &Node) -> anyhow::Result<u64> {
    for _ in 0..TRIES {
        let memory = rebuild(servers).await?;
        node.delete_indices().await?;
        if let Some(memory) = memory {
            return Ok(memory);
        }
    }
    anyhow::bail!(UNSEEN)
}

async fn has_read_all(stream: &jetstream::stream::Stream) -> bool {
    let info = stream.consumer_info(topology::INDEXER.name).await;
    info.is_ok_and(|info| info.num_pending == 0 && info.num_ack_pending == 0)
}
