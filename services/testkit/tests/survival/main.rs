//! What happens to the mirror when its parts are killed, cut, filled up and lied to: afterwards it equals the truth.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod backfill;
mod disk;
mod faults;
mod flood;
mod indexers;
mod kill;
mod proxy;
mod rebuild;
mod settle;
