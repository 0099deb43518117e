//! Choosing loopback ports.
//!
//! Fixed ports are what a person remembers (`cargo stack up`); free ports are what parallel tests need. Free ones lie
//! below the range that the kernel gives to outgoing connections (32768 and up), so that a server which restarts on its
//! port does not find it taken by somebody's connection in between.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Where free ports are looked for: above the well-known ones, below the kernel's ephemeral range.
const FREE: std::ops::Range<u16> = 20_000..32_000;

/// How far each search moves on, so that this process never offers the same port twice in a row.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Whether nothing listens on this loopback port now. Somebody may take it a moment later: whoever starts a server on a
/// free port must be ready to try another.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A loopback port on which nothing listens.
///
/// # Errors
/// Every port between 20,000 and 32,000 is taken.
pub fn free() -> Result<u16> {
    let width = FREE.end - FREE.start;
    // Another process starts elsewhere: parallel test binaries would otherwise race for the same first port.
    let offset = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(width)).unwrap_or(0);
    (0..width)
        .map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % width;
            FREE.start + (offset + step) % width
        })
        .find(|port| is_free(*port))
        .context("no free port between 20000 and 32000 on 127.0.0.1")
}

/// The wanted port, or the next one above it that `free` accepts and that is not already `taken` by a part of the stack.
///
/// # Errors
/// None of the hundred ports from `wanted` on is free.
pub fn fixed_or_next(wanted: u16, taken: &[u16], free: impl Fn(u16) -> bool) -> Result<u16> {
    (wanted..wanted.saturating_add(100))
        .find(|port| !taken.contains(port) && free(*port))
        .with_context(|| format!("no free port from {wanted} on (a hundred tried on 127.0.0.1)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_port_is_kept_and_a_taken_one_makes_room() {
        assert_eq!(fixed_or_next(8080, &[], |_| true).expect("free"), 8080);
        assert_eq!(fixed_or_next(8080, &[8081], |port| port != 8080).expect("free"), 8082);
        assert!(fixed_or_next(8080, &[], |_| false).is_err());
    }

    #[test]
    fn free_ports_differ_and_avoid_the_ephemeral_range() {
        let (one, two) = (free().expect("a port"), free().expect("a port"));
        assert_ne!(one, two);
        assert!(FREE.contains(&one) && FREE.contains(&two));
    }

    #[test]
    fn a_listening_port_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("any port");
        assert!(!is_free(listener.local_addr().expect("bound").port()));
    }
}
