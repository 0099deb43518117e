//! Real servers, a GitHub that can be edited and made to fail, recorded payloads, and waiting with a deadline.
//!
//! For tests and the local stack only: nothing here is part of a service. Servers are the real ones, each test with its own
//! folders, names and ports, cleaned up on drop; only GitHub is simulated, since no test may need the real one.
//! What the environment must provide, `cargo stack test` does; a test without it fails, it is never skipped.

pub mod bench;
pub mod disk;
pub mod elastic;
pub mod faults;
pub mod fixtures;
pub mod github;
pub mod minio;
pub mod nats;
pub mod process;
pub mod proxy;
pub mod queues;
pub mod rig;
pub mod schemas;
pub mod secured;
pub mod wait;

use std::sync::atomic::{AtomicU64, Ordering};

/// The value of a variable that `cargo stack test` sets.
///
/// # Panics
/// If it is not set.
fn provided(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests with `cargo stack test -p <package>`, which starts what they need")
    })
}

/// 64 hexadecimal digits that no other call has, of this process or another.
fn nonce() -> String {
    use sha2::Digest as _;
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    hex::encode(sha2::Sha256::digest(format!(
        "{call}/{}/{:?}",
        std::process::id(),
        std::time::Instant::now()
    )))
}

/// Whoever was first in this process chose the provider; any is good for loopback addresses.
fn install_tls() {
    _ = rustls::crypto::ring::default_provider().install_default();
}
