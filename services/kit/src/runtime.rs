//! The threads of a process, and the memory that they share.

use tokio::runtime::{Builder, Runtime};

/// Arenas that threads take memory from.
#[cfg(target_env = "gnu")]
const ARENAS: std::ffi::c_int = 2;

/// The runtime that a program's `main` runs everything on.
///
/// # Panics
/// If the system starts no thread.
#[must_use]
pub fn start() -> Runtime {
    share_arenas();
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started")
}

/// Lets all threads share two arenas. glibc gives each thread one of its own, up to eight times the processors, and an
/// arena keeps what its thread once had: memory would go on growing with whatever large issues each of them happens to
/// meet, above what is bounded by configuration.
#[cfg(target_env = "gnu")]
fn share_arenas() {
    #[expect(
        unsafe_code,
        reason = "mallopt(3) sets a figure, is safe to call from any thread, and has no safe wrapper"
    )]
    // An answer of 0 says that it is not set: all works without it.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

#[cfg(not(target_env = "gnu"))]
fn share_arenas() {}
