//! The downloader against a real NATS server, a simulated GitHub and a directory as object store.

mod audit;
mod backfill;
mod deleting;
mod deliveries;
mod forgetting;
mod happy;
mod layers;
mod leading;
mod limits;
mod racing;
mod stage;
mod sweep;
mod trouble;
mod unchanged;
