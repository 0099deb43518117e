//! Publishes the next event of an issue, cleans up after a lost race, and takes the last look at the request.

use std::time::Duration;

use bugstream_kit::log::{LogError, Logged};
use bugstream_proto::{Event, Nonce, ObjectKey};

use crate::deps::Deps;
use crate::failure::Failure;
use crate::request::Request;

/// An event that was made longer ago is not published any more: no event names its objects, so they may be collected.
/// Only a process that was suspended takes so long.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Between two tries of the last look.
const PAUSE: Duration = Duration::from_millis(500);

/// Publishes an event after `newest`. On a conflict the objects stored for it are deleted, since no event names them; so
/// they are if it comes far too late.
pub(crate) async fn publish(
    event: &Event,
    newest: Option<&Logged>,
    nonce: &Nonce,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<(), Failure> {
    request.check()?;
    if deps.clock.now() - event.occurred_at > LONGEST {
        drop_own_objects(event, nonce, deps).await?;
        return Err(LogError::Conflict.into());
    }
    match deps.log.publish(event, newest, nonce).await {
        Ok(sequence) => {
            tracing::info!(issue = %event.issue, revision = event.revision, sequence, "published");
            Ok(())
        }
        Err(LogError::Conflict) => {
            drop_own_objects(event, nonce, deps).await?;
            Err(LogError::Conflict.into())
        }
        // Nothing says whether it was stored: the objects stay, for it may name them.
        Err(error) => Err(error.into()),
    }
}

/// Only those that carry this event's own nonce; an event names kept ones of older events too.
async fn drop_own_objects(event: &Event, nonce: &Nonce, deps: &Deps) -> Result<(), Failure> {
    let winner = deps.log.newest(&event.issue).await?;
    let named = winner.iter().flat_map(|winner| winner.event.objects());
    let named: Vec<&String> = named.map(|object| &object.key).collect();
    let own = |key: &String| key.parse::<ObjectKey>().is_ok_and(|key| key.nonce == *nonce);
    let keys = event.objects().into_iter().map(|object| &object.key);
    let keys: Vec<String> = keys.filter(|key| own(key) && !named.contains(key)).cloned().collect();
    Ok(deps.objects.delete(&keys).await?)
}

/// Looks whether the request is still the one that waits. If a newer one took its place, that one may have been answered
/// from a state before this download's, so a fresh one is made: else a change that was undone during a slow download
/// would stay.
pub(crate) async fn last_look(request: &Request<'_>, deps: &Deps) -> Result<(), Failure> {
    let Some(message) = request.message else { return Ok(()) };
    loop {
        match look(message.sequence, request, deps).await {
            Ok(()) => return Ok(()),
            // A redelivery would find the event published and take no last look, so it must be now.
            Err(error) if request.check().is_err() => return Err(error),
            Err(error) => tracing::warn!(issue = %request.issue, %error, "last look failed; looking again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(sequence: u64, request: &Request<'_>, deps: &Deps) -> Result<(), Failure> {
    if deps.queue.has(sequence).await? {
        return Ok(());
    }
    tracing::info!(issue = %request.issue, "a newer request came during the download; asking again");
    deps.requests
        .download_if_none_waits(request.issue, request.cause.clone())
        .await?;
    Ok(())
}
