//! The downloader against a real NATS server, a simulated GitHub and a directory as object store.

mod deleting;
mod happy;
mod leading;
mod racing;
mod stage;
mod trouble;
