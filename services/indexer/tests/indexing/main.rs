//! The indexer against the real servers: what templates accept, what aliases show, what bulks answer, and the whole
//! service from events to documents. Run with `cargo stack test -p bugstream-indexer`.

#![expect(clippy::unwrap_used, reason = "what cannot be done here fails the test")]

mod bulks;
mod following;
mod indices;
mod past;
mod rebuilding;
mod schemas;
mod scripted;
mod stage;
mod storm;
