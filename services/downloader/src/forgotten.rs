//! An issue that an operator had forgotten is not downloaded, whoever asks and whatever GitHub says.
//!
//! A download that was under way when the forget came finds it as the conflict of its publish, and starts again here. One
//! that was killed before has left objects that no event names, and its request comes again: so they are deleted here.

use bugstream_kit::consume::Outcome;
use bugstream_kit::log::Logged;
use bugstream_telemetry::names;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::request::{Request, done};

/// Ends a request without asking GitHub anything.
pub(crate) async fn refuse(forgotten: &Logged, request: &Request<'_>, deps: &Deps) -> Result<Outcome, Failure> {
    request.check()?;
    let revision = forgotten.event.revision;
    // Not above: those may be of a download that was allowed again meanwhile.
    let purged = deps.objects.purge_below(request.issue, revision).await?;
    deps.deletions.clear(request.issue).await?;
    deps.validators.forget(request.issue).await?;
    tracing::info!(issue = %request.issue, revision, purged, "forgotten, and not downloaded: see queue-cli forget --allow");
    done(names::Download::Forgotten)
}
