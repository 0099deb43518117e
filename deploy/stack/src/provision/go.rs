//! Programs that are built from Go modules, checked by Go against its checksum database.
//!
//! Go keeps every module and every compiled package for ever, gigabytes for one program: both lie in a folder of this
//! build's own, which its caller removes. Debian 12's Go is 1.19, which fails obscurely on modules of today, so the
//! version is asked before.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::clients::{first_line, run_logged};

/// A program of a Go module.
pub(super) struct Program {
    /// The package to build.
    pub(super) package: &'static str,
    /// The module's version with its `v`.
    pub(super) version: &'static str,
    /// The name that Go gives the program.
    pub(super) name: &'static str,
}

/// Whether `go` on `PATH` is at least of this version.
pub(super) fn is_at_least(oldest: (u32, u32)) -> bool {
    first_line(Command::new("go").arg("version"))
        .and_then(|line| version(&line))
        .is_some_and(|found| found >= oldest)
}

/// Builds a program in the folder `work` with the given `go`; answers where it lies in there.
pub(super) fn build(go: &Path, program: &Program, work: &Path) -> Result<PathBuf> {
    let mut command = Command::new(go);
    command.args(["install", "-trimpath", "-ldflags=-s -w"]);
    command.arg(format!("{}@{}", program.package, program.version));
    // Files of modules are read-only otherwise, which would keep the folder from being removed.
    command.env("GOFLAGS", "-modcacherw");
    command
        .env("GOBIN", work)
        .env("GOCACHE", work.join("go-build"))
        .env("GOMODCACHE", work.join("go-mod"))
        .env("GOTMPDIR", work);
    // No other Go than the one that was asked for its version, and no C compiler.
    command.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    run_logged(&mut command, &work.join("go.log"))?;
    Ok(work.join(program.name))
}

/// Major and minor of the first thing in a line that looks like `2.15.1`, `v2.15.1` or `go1.26.8`.
pub(super) fn version(line: &str) -> Option<(u32, u32)> {
    line.split_whitespace().find_map(|word| {
        let mut numbers = word
            .trim_start_matches(|letter: char| letter.is_ascii_alphabetic())
            .split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
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
}
