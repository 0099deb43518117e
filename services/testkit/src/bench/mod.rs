//! Benches: how close a service comes to the limit that the parts beneath it set.
//!
//! A figure alone says as much about the machine as about the code. So every bench measures, in the same run, with the
//! same load and in turn, what the parts beneath can do by themselves, and reports the ratio. Nothing here starts a
//! server: the program `bench` does so for real measurements, and a test to see that they work at all.

mod bodies;
pub mod handler;
mod load;
mod processor;
mod publishes;
mod report;
pub mod webhooks;
