//! The chassis on a real NATS server: streams, requests, the log and the consumer loop.

mod consume;
mod faults;
mod harness;
mod lease;
mod log;
mod reconcile;
mod requests;
mod trace;
