//! Where things are: in the checkout that `cargo stack` was called in, and outside it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout's root folder.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable when it runs the program; the other is for the program run by hand.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from)
}

/// What describes the running stack and may be thrown away: `bugstream.toml`, `endpoints.json`, `logs/`.
pub(crate) fn run_folder() -> PathBuf {
    root().join("target/stack")
}

/// The log of a part.
pub(crate) fn log(part: &str) -> PathBuf {
    run_folder().join("logs").join(format!("{part}.log"))
}

/// What the stack keeps over `down` and `up`: `BUGSTREAM_STATE`, else (as root) a folder of this checkout below
/// `/var/lib/bugstream`, where Elasticsearch's unprivileged user can reach it, else `target/stack/data`.
pub(crate) fn data_folder() -> PathBuf {
    if let Some(path) = std::env::var_os("BUGSTREAM_STATE").filter(|path| !path.is_empty()) {
        return std::path::absolute(&path).unwrap_or_else(|_| path.into());
    }
    if rustix::process::geteuid().is_root() {
        return Path::new("/var/lib/bugstream").join(fingerprint(&root().to_string_lossy()));
    }
    run_folder().join("data")
}

/// Sixteen hexadecimal digits that differ between checkouts and stay the same over releases of Rust (FNV-1a).
fn fingerprint(path: &str) -> String {
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// A cargo command in the checkout, as if it had been typed there.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // What cargo sets for this crate must not reach the build of others.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO" {
            cargo.env_remove(&name);
        }
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("deploy/stack/Cargo.toml").is_file());
    }

    #[test]
    fn checkouts_have_folders_of_their_own() {
        assert_eq!(fingerprint(""), "cbf29ce484222325");
        assert_ne!(fingerprint("/home/a/bugstream"), fingerprint("/home/b/bugstream"));
    }
}
