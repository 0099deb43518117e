//! Benches: how close a service comes to the limit that the parts beneath it set.
//!
//! A figure alone says as much about the machine as about the code. So every bench measures, in the same run, with the
//! same load and in turn, what the parts beneath can do by themselves, and reports the ratio. Nothing here starts a
//! server: the program `bench` does so for real measurements, and a test to see that they work at all.
//!
//! Where a measurement needs a mirror, [`corpus`] puts invented issues straight into object store and log.

mod bodies;
pub mod corpus;
mod documents;
pub mod handler;
pub mod latency;
mod load;
pub mod memory;
mod processor;
mod publishes;
pub mod rebuild;
pub mod replay;
mod report;
pub mod webhooks;

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;

use crate::nonce;

/// How long JetStream may take for one answer: a machine that stands still for seconds is slow, not broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// JetStream over a connection of its own, with every stream and consumer of the contract.
async fn prepared(nats_url: &str) -> anyhow::Result<jetstream::Context> {
    let client = async_nats::connect(nats_url).await.context("cannot connect to NATS")?;
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(PATIENCE);
    let made = bugstream_proto::reconcile::reconcile(&client, &jetstream, 1).await;
    made.context("cannot make the streams")?;
    Ok(jetstream)
}
