//! What every step of a download is given, and how its end is told.

use async_nats::HeaderMap;
use bugstream_kit::config::Repository;
use bugstream_kit::consume::{Lease, Outcome};
use bugstream_proto::{IssueId, v1};
use bugstream_telemetry::{metrics, names};

use crate::failure::Failure;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) issue: &'a IssueId,
    pub(crate) repository: &'a Repository,
    /// Why, and what was coalesced into it.
    pub(crate) cause: v1::Cause,
    /// Its message in the queue.
    pub(crate) sequence: u64,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The right to write on its behalf.
    pub(crate) lease: &'a Lease,
}

/// The end of a download, counted by what it found.
pub(crate) fn done(found: names::Download) -> Result<Outcome, Failure> {
    metrics::count(names::DOWNLOADS, 1, &[found.into()]);
    tracing::info!(found = found.as_str(), "downloaded");
    Ok(Outcome::Done)
}
