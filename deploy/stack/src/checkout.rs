//! Where things are in the checkout that `cargo stack` was called in.

use std::path::PathBuf;
use std::process::Command;

/// The checkout's root folder.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable when it runs the program; the other is for the program run by hand.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from)
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
