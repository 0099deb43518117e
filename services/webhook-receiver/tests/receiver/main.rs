//! The receiver as GitHub and strangers meet it, on a real NATS server.

mod away;
mod genuine;
mod harness;
mod process;
mod refused;
