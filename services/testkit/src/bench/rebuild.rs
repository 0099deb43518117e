//! A rebuild, against a bare `_bulk` load of the same documents.
//!
//! A rebuild is the real program, `queue-cli rebuild`, from its start to its end: reading the log and the object store,
//! making documents of it, loading, refreshing, handing over. Elasticsearch has processors of its own, as in most
//! installations: the limit of the part beneath is its limit, and not what programs beside it leave of a machine. Where
//! it has to share them, what a rebuild takes for itself is what Elasticsearch loses.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream;
use serde::Serialize;

use super::corpus::{Corpus, REPOSITORY, Size, Store, logged};
use super::documents::{Bodies, Node};
use super::processor;
use super::report::Spread;

/// What the design asks for.
const RATIO: f64 = 0.9;

/// The longest that one load may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Between two looks at a program's memory.
const LOOK: Duration = Duration::from_millis(50);

/// How often a rebuild is measured until its memory is known.
pub(super) const TRIES: usize = 10;

/// What is wrong where it never is.
pub(super) const UNSEEN: &str =
    "nobody looked at the rebuild's memory shortly before its end: the machine stands still too much";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Issues in the log, at least one; about fifteen timeline events each.
    pub issues: u64,
    /// How often both are measured, at least once.
    pub rounds: usize,
    /// Bulk requests at the same time, at most.
    pub connections: usize,
    /// Bytes of a bulk request, at most.
    pub bulk_bytes: usize,
}

/// Who has how many processors.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Processors {
    /// All that this bench may use.
    pub all: u32,
    /// Those that Elasticsearch has: for itself, unless they are all.
    pub elasticsearch: u32,
}

/// Where the parts are. They must be ready, and used by nobody else.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The broker, `nats://…`.
    pub nats_url: String,
    /// Elasticsearch, `http://…`.
    pub elastic: String,
    /// What names of indices begin with there.
    pub prefix: String,
    /// Where raw JSON goes.
    pub store: Store,
    /// A folder for configuration and logs.
    pub folder: PathBuf,
    /// Their processes, as far as they have some of their own: what they take is counted.
    pub processes: Vec<u32>,
    /// What they run on.
    pub processors: Processors,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    bench: &'static str,
    store: &'static str,
    mirror: Size,
    documents: u64,
    rounds: usize,
    connections: usize,
    bulk_bytes: usize,
    processors: Processors,
    rebuild: Load,
    raw_bulk: Load,
    /// How long the raw load then takes to be searchable; a rebuild's time has that in it.
    raw_refresh_seconds: Spread,
    /// Time of the raw load without that through time of the rebuild, round by round.
    ratio: Spread,
    /// The same with that.
    ratio_until_searchable: Spread,
    /// The same of processor time.
    processor_ratio: Spread,
    /// The most memory that the rebuilding program had resident, in MB.
    memory_mb: Spread,
    wanted_ratio: f64,
    met: bool,
}

/// One way of loading, over all rounds.
#[derive(Debug, Clone, Serialize)]
struct Load {
    seconds: Spread,
    documents_per_second: Spread,
    /// Processor time a document in microseconds, of everything together.
    processor_us: Spread,
    /// Bulk requests of one load.
    bulks: Spread,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    took: Duration,
    refresh: Duration,
    processor: Duration,
    bulks: u64,
    memory: u64,
}

/// Measures, saying what comes next.
///
/// # Errors
/// A rebuild that fails, other documents than there should be, or a measurement that takes longer than ten minutes.
pub async fn run(options: Options, servers: &Servers, say: impl Fn(&str)) -> anyhow::Result<Report> {
    say(&format!("inventing {} issues", options.issues));
    let mut bench = Bench::prepare(options, servers).await?;
    say(&format!("{:?}; warming up", bench.size));
    let first = bench.rebuild().await?;
    bench.bodies = Arc::new(bench.node.read_back(options.bulk_bytes).await?);
    bench.node.delete_indices().await?;
    let second = bench.raw().await?;
    say(&format!("before the first round: {}", bench.in_words(&first, &second)));
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let measured = bench.round(round).await?;
        say(&format!(
            "round {} of {}: {}",
            round + 1,
            options.rounds,
            bench.in_words(&measured.0, &measured.1)
        ));
        rounds.push(measured);
    }
    bench.check_the_log().await?;
    Ok(bench.report(&rounds))
}

struct Bench<'a> {
    options: Options,
    servers: &'a Servers,
    jetstream: jetstream::Context,
    node: Node,
    size: Size,
    bodies: Arc<Bodies>,
}

impl<'a> Bench<'a> {
    async fn prepare(options: Options, servers: &'a Servers) -> anyhow::Result<Self> {
        let jetstream = super::prepared(&servers.nats_url).await?;
        let configuration = configuration(servers, options.connections, options.bulk_bytes);
        std::fs::write(servers.folder.join("bugstream.toml"), configuration)?;
        let corpus = Corpus::store(&servers.store, options.issues, usize::MAX).await?;
        let size = corpus.publish(&jetstream, 1..=options.issues).await?;
        let node = Node::new(&servers.elastic, &servers.prefix)?;
        let bodies = Arc::new(Bodies::default());
        Ok(Self {
            options,
            servers,
            jetstream,
            node,
            size,
            bodies,
        })
    }

    /// One of each, in another order each time.
    async fn round(&self, number: usize) -> anyhow::Result<(Measured, Measured)> {
        if number.is_multiple_of(2) {
            let raw = self.raw().await?;
            let rebuild = self.rebuild().await?;
            self.node.delete_indices().await?;
            return Ok((rebuild, raw));
        }
        let rebuild = self.rebuild().await?;
        self.node.delete_indices().await?;
        Ok((rebuild, self.raw().await?))
    }

    async fn raw(&self) -> anyhow::Result<Measured> {
        self.node.make_indices().await?;
        let before = processor::taken(&self.servers.processes)?;
        let load = self.node.load(&self.bodies, self.options.connections);
        let took = tokio::time::timeout(LIMIT, load).await.context("not done in time")??;
        let begin = Instant::now();
        self.check_documents().await?;
        let refresh = begin.elapsed();
        let processor = processor::taken(&self.servers.processes)?.saturating_sub(before);
        self.node.delete_indices().await?;
        Ok(Measured {
            took,
            refresh,
            processor,
            bulks: self.bodies.requests(),
            memory: 0,
        })
    }

    /// Leaves the indices there.
    async fn rebuild(&self) -> anyhow::Result<Measured> {
        for _ in 0..TRIES {
            if let Some(measured) = self.rebuild_once().await? {
                return Ok(measured);
            }
            self.node.delete_indices().await?;
        }
        anyhow::bail!(UNSEEN)
    }

    async fn rebuild_once(&self) -> anyhow::Result<Option<Measured>> {
        let before = processor::taken(&self.servers.processes)?;
        let bulks = self.node.bulks().await?;
        let begin = Instant::now();
        let memory = rebuild(self.servers).await?;
        let took = begin.elapsed();
        let processor = processor::taken(&self.servers.processes)?.saturating_sub(before);
        let bulks = self.node.bulks().await? - bulks;
        self.check_documents().await?;
        Ok(memory.map(|memory| Measured {
            took,
            refresh: Duration::ZERO,
            processor,
            bulks,
            memory,
        }))
    }

    /// Makes all searchable. Before the first rebuild nobody knows how many documents there are, but not fewer than this.
    async fn check_documents(&self) -> anyhow::Result<()> {
        let found = self.node.refresh_and_count().await?;
        let least = self.size.issues + self.size.timeline_events;
        let wanted = self.bodies.documents;
        anyhow::ensure!(
            found >= least && (wanted == 0 || found == wanted),
            "{found} documents in place of {wanted}"
        );
        Ok(())
    }

    /// An event whose marks do not cover it would have been published again, and written twice.
    async fn check_the_log(&self) -> anyhow::Result<()> {
        let logged = logged(&self.jetstream).await?;
        anyhow::ensure!(logged == self.size.issues, "the log has {logged} events");
        Ok(())
    }

    fn report(&self, rounds: &[(Measured, Measured)]) -> Report {
        let of = |figure: &dyn Fn(&(Measured, Measured)) -> f64, digits| {
            Spread::of(rounds.iter().map(figure).collect(), digits)
        };
        let ratio = of(&|(rebuild, raw)| raw.took.as_secs_f64() / rebuild.took.as_secs_f64(), 3);
        Report {
            bench: "rebuild",
            store: match self.servers.store {
                Store::Folder(_) => "folder",
                Store::S3(_) => "s3",
            },
            mirror: self.size,
            documents: self.bodies.documents,
            rounds: rounds.len(),
            connections: self.options.connections,
            bulk_bytes: self.options.bulk_bytes,
            processors: self.servers.processors,
            rebuild: self.load(rounds.iter().map(|round| round.0)),
            raw_bulk: self.load(rounds.iter().map(|round| round.1)),
            raw_refresh_seconds: of(&|(_, raw)| raw.refresh.as_secs_f64(), 3),
            ratio_until_searchable: of(
                &|(rebuild, raw)| (raw.took + raw.refresh).as_secs_f64() / rebuild.took.as_secs_f64(),
                3,
            ),
            processor_ratio: of(
                &|(rebuild, raw)| raw.processor.as_secs_f64() / rebuild.processor.as_secs_f64(),
                3,
            ),
            memory_mb: of(&|(rebuild, _)| rebuild.memory as f64 / 1e6, 1),
            met: ratio.median >= RATIO,
            ratio,
            wanted_ratio: RATIO,
        }
    }

    fn load(&self, measured: impl Iterator<Item = Measured> + Clone) -> Load {
        let documents = self.bodies.documents as f64;
        let of = |figure: &dyn Fn(Measured) -> f64, digits| Spread::of(measured.clone().map(figure).collect(), digits);
        Load {
            seconds: of(&|one| one.took.as_secs_f64(), 2),
            documents_per_second: of(&|one| documents / one.took.as_secs_f64(), 0),
            processor_us: of(&|one| one.processor.as_secs_f64() * 1e6 / documents, 1),
            bulks: of(&|one| one.bulks as f64, 0),
        }
    }

    fn in_words(&self, rebuild: &Measured, raw: &Measured) -> String {
        let words = |one: &Measured| {
            let us = one.processor.as_secs_f64() * 1e6 / self.bodies.documents as f64;
            format!(
                "{:.1} s, {us:.0} \u{b5}s of processor a document, {} bulks",
                one.took.as_secs_f64(),
                one.bulks
            )
        };
        format!("rebuild {}; raw {}", words(rebuild), words(raw))
    }
}

/// Runs `queue-cli rebuild` to its end; the most memory that it had resident. None if that is not known: what a process
/// had is gone with it, and on a machine that stood still nobody looked shortly before its end.
pub(super) async fn rebuild(servers: &Servers) -> anyhow::Result<Option<u64>> {
    let mut command = tokio::process::Command::new(crate::process::program("queue-cli"));
    let log = std::fs::File::create(servers.folder.join("rebuild.log"))?;
    command
        .arg("--config")
        .arg(servers.folder.join("bugstream.toml"))
        .args(["rebuild", "--output", "json"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    let mut child = command.spawn().context("cannot start queue-cli")?;
    let pid = child.id().context("it runs")?;
    let begin = Instant::now();
    let (mut memory, mut looked) = (0, begin);
    let status = loop {
        match tokio::time::timeout(LOOK, child.wait()).await {
            Ok(status) => break status?,
            Err(_) => {
                if let Some(most) = crate::process::high_water(pid) {
                    (memory, looked) = (most, Instant::now());
                }
            }
        }
    };
    let is_late = looked.elapsed() <= (4 * LOOK).max(begin.elapsed() / 10);
    let said = || std::fs::read_to_string(servers.folder.join("rebuild.log")).unwrap_or_default();
    anyhow::ensure!(status.success(), "the rebuild failed: {}", said());
    Ok((memory > 0 && is_late).then_some(memory))
}

/// A configuration for everything that reads one.
pub(super) fn configuration(servers: &Servers, connections: usize, bulk_bytes: usize) -> String {
    let Servers {
        nats_url,
        elastic,
        prefix,
        store,
        ..
    } = servers;
    format!(
        "[nats]\nurl = '{nats_url}'\n{}[elasticsearch]\nnode = '{elastic}'\nprefix = '{prefix}'\n\
         [[repositories]]\nname = '{REPOSITORY}'\nprivate = '{REPOSITORY}-private'\n\
         [indexer]\nreplicas = 0\nbulk_connections = {connections}\nbulk_bytes = {bulk_bytes}\n",
        store.configuration()
    )
}
