//! What every step of a download is given, and how its end is told.

use async_nats::HeaderMap;
use bugstream_github::Client;
use bugstream_kit::config::Repository;
use bugstream_kit::consume::{Lease, LeaseLost, Outcome};
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
    /// With the repository's credentials, as urgent as the request is.
    pub(crate) client: Client,
    /// Its message in the queue of downloads; `None` for the row of a list, which has none.
    pub(crate) message: Option<Waiting<'a>>,
    /// The right to write on behalf of a message, where there is one. Without it the log's expected sequence is the
    /// only guard, which is enough: see [`crate::publish`].
    pub(crate) lease: Option<&'a Lease>,
}

/// The message that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting<'a> {
    pub(crate) sequence: u64,
    pub(crate) headers: Option<&'a HeaderMap>,
}

impl Request<'_> {
    /// Whether writing is still allowed.
    pub(crate) fn check(&self) -> Result<(), LeaseLost> {
        self.lease.map_or(Ok(()), Lease::check)
    }

    /// Whether GitHub is to be asked as if nothing were known, and everything stored again.
    pub(crate) fn is_repair(&self) -> bool {
        self.cause.reason() == v1::Reason::Repair
    }
}

/// The end of a download, counted by what it found.
pub(crate) fn done(found: names::Download) -> Result<Outcome, Failure> {
    metrics::count(names::DOWNLOADS, 1, &[found.into()]);
    tracing::info!(found = found.as_str(), "downloaded");
    Ok(Outcome::Done)
}
