//! The chassis on real servers: streams, requests, the log, the consumer loop, objects.

mod consume;
mod faults;
mod harness;
mod lease;
mod log;
mod objects;
mod reconcile;
mod requests;
mod retention;
mod trace;
