//! The story of one request.

use bugstream_kit::consume::Outcome;
use bugstream_kit::log::LogError;
use bugstream_telemetry::names;

use crate::deletion;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::fetch::{Fetched, fetch};
use crate::publish::{last_look, publish};
use crate::request::{Request, done};
use crate::store::{keep, store};

/// Lost races after which the message goes back to the queue.
const TURNS: usize = 3;

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
