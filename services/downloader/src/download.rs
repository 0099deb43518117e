//! The story of one request.

use async_nats::HeaderMap;
use bugstream_kit::config::Repository;
use bugstream_kit::consume::{Lease, Outcome};
use bugstream_kit::log::LogError;
use bugstream_proto::{IssueId, v1};
use bugstream_telemetry::{metrics, names};

use crate::cause::contradicts;
use crate::deletion;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::fetch::{Fetched, fetch};
use crate::publish::{last_look, publish};
use crate::store::{keep, store};

/// Lost races after which the message goes back to the queue.
const TURNS: usize = 3;

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

/// Brings the archive up to date with what GitHub has for one issue, and says what happened. Starts again when another
/// worker's event came first.
pub(crate) async fn download(request: &Request<'_>, deps: &Deps) -> Result<Outcome, Failure> {
    for _ in 0..TURNS {
        match turn(request, deps).await {
            Err(Failure::Log(LogError::Conflict | LogError::Stale { .. })) => {
                tracing::info!(issue = %request.issue, "another event came first; starting again");
            }
            ended => return ended,
        }
    }
    Ok(Outcome::retry("other events keep coming first"))
}

/// Whole or nothing: no event is published for a download that is not complete.
async fn turn(request: &Request<'_>, deps: &Deps) -> Result<Outcome, Failure> {
    let newest = deps.log.newest(request.issue).await?;
    let whole = match fetch(request.issue, deps).await? {
        Fetched::Whole(whole) => whole,
        Fetched::Gone(gone) => return deletion::gone(&gone, newest, request, deps).await,
    };
    deletion::is_there(request, deps).await?;
    let kept = keep(&whole, newest.as_ref(), request, deps).await?;
    if kept.is_all() {
        return done(names::Download::Unchanged);
    }
    let (event, nonce) = store(&whole, kept, newest.as_ref(), request, deps).await?;
    publish(&event, newest.as_ref(), &nonce, request, deps).await?;
    last_look(request, deps).await?;
    done(names::Download::New)
}

pub(crate) fn done(found: names::Download) -> Result<Outcome, Failure> {
    metrics::count(names::DOWNLOADS, 1, &[found.into()]);
    tracing::info!(found = found.as_str(), "downloaded");
    Ok(Outcome::Done)
}

/// One more look after the confirmation delay where GitHub's answer is not what its webhook said.
pub(crate) async fn look_again_if_contradicted(request: &Request<'_>, gone: bool, deps: &Deps) -> Result<(), Failure> {
    if contradicts(&request.cause, gone) {
        tracing::info!(issue = %request.issue, gone, "github's answer is not what its webhook said; looking again later");
        deletion::look_again(request, deps.clock.now() + deps.confirm_delay, deps).await?;
    }
    Ok(())
}
