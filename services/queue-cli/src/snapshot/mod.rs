//! `snapshot`: the whole archive of a repository as one file, to be kept, published and put back.
//!
//! Invariants:
//! - A name stands for a whole snapshot; `latest` for the newest of them. What fails leaves neither.
//! - A snapshot for everybody has what the public indices have, and lies in a folder of its own.
//! - A restore changes nothing before it has looked through all of the archive, and never replaces what the log knows.
//! - Pruning removes what has the name of a snapshot, is old enough, and is neither the newest nor `latest`.
//! - Memory is bounded, whatever the sizes of issues are.
//!
//! One file a step: `make` reads and `write` writes, `list`, `prune`, `restore` (which reads as [`crate::import`] does).

pub(crate) mod budget;
pub(crate) mod cli;
mod list;
mod make;
pub(crate) mod pace;
mod prune;
mod restore;
mod write;

use std::io::Read as _;
use std::path::Path;

use bugstream_kit::config::ObjectStore;
use bugstream_kit::objects::{ObjectError, Objects};
use bugstream_kit::snapshots::{Snapshots, Stored};
use bugstream_proto::snapshot::{Audience, SnapshotName, Stamp};
use flate2::read::GzDecoder;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use cli::Snapshot;

/// Of an archive, to see which one it is.
const HEAD: u64 = 64 << 10;

pub(crate) async fn run(asked: &Snapshot, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    match asked {
        Snapshot::Make(make) => Box::pin(make::run(make, deps, progress)).await,
        Snapshot::List(list) => list::run(list, deps).await,
        Snapshot::Prune(prune) => prune::run(prune, deps).await,
        Snapshot::Restore(restore) => Box::pin(restore::run(restore, deps, progress)).await,
    }
}

/// The snapshots of a directory, or of the repository that is meant in the object store.
fn open(within: Option<&Path>, deps: &Deps) -> Result<Snapshots, Failure> {
    if let Some(path) = within {
        return directory(path);
    }
    let (store, repo) = (ObjectStore::read(deps.settings())?, deps.repository()?);
    let objects = Objects::open(&store).map_err(|error| Failure::failed(format!("{error:#}")))?;
    Ok(Snapshots::of(&objects, &repo))
}

fn directory(path: &Path) -> Result<Snapshots, Failure> {
    let cannot = |why: String| Failure::failed(format!("{} cannot be read: {why}", path.display()));
    match path.metadata() {
        Ok(about) if about.is_dir() => {}
        Ok(_) => return Err(Failure::failed(format!("{} is no directory", path.display()))),
        Err(error) => return Err(cannot(error.to_string())),
    }
    Snapshots::directory(path).map_err(|error| cannot(error.to_string()))
}

fn in_store(error: ObjectError) -> Failure {
    Failure::failed(match error {
        ObjectError::Missing(key) => format!("there is no {key}"),
        ObjectError::Unavailable(why) => format!("cannot be written or read: {why}"),
        damaged @ ObjectError::Damaged { .. } => damaged.to_string(),
    })
}

/// Which snapshot `latest` is; `None` where there is none.
async fn latest(snapshots: &Snapshots, audience: Audience, list: &[Stored]) -> Result<Option<Stamp>, Failure> {
    let is_latest = |one: &Stored| (one.audience, one.name) == (audience, SnapshotName::Latest);
    if !list.iter().any(is_latest) {
        return Ok(None);
    }
    let head = snapshots
        .head(audience, SnapshotName::Latest, HEAD)
        .await
        .map_err(in_store)?;
    let stamp = stamp_of(&head);
    let unclear = || {
        let failure = Failure::failed("latest.tar.gz does not say which snapshot it is");
        failure.with_fix("queue-cli snapshot make replaces it; nothing was changed")
    };
    stamp.map(Some).ok_or_else(unclear)
}

/// The folder that everything in an archive lies in is its name.
fn stamp_of(head: &[u8]) -> Option<Stamp> {
    let mut header = tar::Header::new_ustar();
    GzDecoder::new(head).read_exact(header.as_mut_bytes()).ok()?;
    let path = header.path_bytes();
    std::str::from_utf8(&path).ok()?.strip_suffix('/')?.parse().ok()
}
