//! The real servers on one machine, without containers: obtaining, starting and stopping them.
//!
//! This library exists because the stack (`cargo stack up`) and the tests need the same real servers, and there is
//! exactly one way to get them: [`provision`] takes them from ordinary package clients into a cache, [`server`] runs
//! them on loopback.
//!
//! Invariants:
//! - Everything is synchronous and small, so that it compiles in seconds and can download while the services compile.
//! - No process is killed that was not started here: a started server is a value that owns its process.
//! - Nothing is downloaded twice, and nothing half-downloaded is ever used.
//!
//! It is not a supervisor: a server that ends stays ended until somebody calls `restart`.

pub mod benches;
pub mod interrupt;
pub mod ports;
pub mod process;
pub mod processors;
pub mod progress;
pub mod provision;
pub mod server;
