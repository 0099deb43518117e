//! A small file system that can be filled to the last byte.
//!
//! A `tmpfs`, so it needs root, as continuous integration has. Without root there is no honest stand-in for every
//! caller: [`Disk::mount`] says so, and the caller decides.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Mounts an empty one.
    ///
    /// # Errors
    /// Mounting is not permitted; the text says what to do.
    pub fn mount(megabytes: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        let output = mount.arg(folder.path()).output().context("cannot run mount")?;
        ensure!(
            output.status.success(),
            "a small file system cannot be mounted (run as root): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self { folder })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes it larger or smaller while it is in use.
    ///
    /// # Errors
    /// What lies there does not fit.
    pub fn resize(&self, megabytes: u32) -> anyhow::Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={megabytes}m")]);
        let output = mount.arg(self.path()).output().context("cannot run mount")?;
        ensure!(
            output.status.success(),
            "a file system cannot get {megabytes} MB: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Writes until nothing more fits, and returns how many bytes that were.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn fill(&self) -> anyhow::Result<u64> {
        self.fill_but(0)
    }

    /// As [`Self::fill`], and leaves so many megabytes.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn fill_but(&self, megabytes: u64) -> anyhow::Result<u64> {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.ballast())?;
        let mut written = 0;
        // Large pieces first; the last few bytes are taken one page at a time.
        for piece in [vec![0_u8; 1 << 16], vec![0; 1 << 12], vec![0; 1]] {
            while self.free_bytes()? > megabytes << 20
                && let Ok(bytes) = file.write(&piece)
            {
                written += bytes as u64;
            }
        }
        Ok(written)
    }

    fn free_bytes(&self) -> anyhow::Result<u64> {
        let about = rustix::fs::statvfs(self.path())?;
        Ok(about.f_bavail * about.f_frsize)
    }

    /// Takes away what [`Self::fill`] wrote.
    ///
    /// # Errors
    /// It was never filled.
    pub fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.ballast()).context("it was not filled")
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that still has a file open there would keep it mounted for ever otherwise.
        _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
