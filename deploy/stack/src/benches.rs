//! The command lines of the benches, for `cargo stack bench`, which builds what is measured and hands its words on, and for
//! the program `bench` of the testkit, which measures.

use clap::{Args, Subcommand};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Webhooks accepted a second, against a bare HTTP handler and bare publishes (about two minutes)
    Webhooks(Webhooks),
    /// A rebuild, against a bare bulk load of the same documents (about five minutes, 2 GB of disk)
    Rebuild(Rebuild),
    /// Newest events of the log through the consumer loop, against a bare consumer (about a minute)
    Replay(Replay),
    /// From a webhook to the moment when a searcher finds it, beyond the debounce (about three minutes)
    Latency(Latency),
    /// Memory of indexer and rebuild, with few issues and with many (two to five minutes, 2 GB of disk)
    Memory(Memory),
}

/// `bench webhooks`
#[derive(Debug, Args)]
pub struct Webhooks {
    /// Webhooks in each measurement, each about another issue
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub requests: u32,
    /// How often everything is measured; the figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
}

/// How bulks are made, by rebuild and raw load alike.
#[derive(Debug, Args)]
pub struct Bulks {
    /// Bulk requests at the same time, at most
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Bytes of a bulk request, at most
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(100_000..=90_000_000))]
    pub bulk_bytes: u32,
}

/// `bench rebuild`
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Issues in the log, with about fifteen timeline events each; the raw load keeps 45 kB of each in memory
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub issues: u32,
    /// How often rebuild and raw load are measured; the figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// Keep raw JSON in an S3 server (MinIO) in place of a folder
    #[arg(long)]
    pub s3: bool,
    /// Let Elasticsearch share all processors with everything else, in place of half of them for itself
    #[arg(long)]
    pub shared: bool,
    /// How bulks are made.
    #[command(flatten)]
    pub bulks: Bulks,
}

/// `bench replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// Issues in the log, with one event each
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub issues: u32,
    /// How often both consumers are measured; the figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
}

/// `bench latency`
#[derive(Debug, Args)]
pub struct Latency {
    /// Edits that are measured while nothing else happens
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub at_rest: u32,
    /// Edits that are measured under load
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub under_load: u32,
    /// Webhooks a second under load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub per_second: u32,
}

/// `bench memory`
#[derive(Debug, Args)]
pub struct Memory {
    /// Few issues
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub few: u32,
    /// Many issues; 200,000 need twice the time and disk
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub many: u32,
    /// How bulks are made.
    #[command(flatten)]
    pub bulks: Bulks,
}
