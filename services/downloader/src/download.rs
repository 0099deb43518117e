//! The story of one issue, whoever asked for it.

use bugstream_kit::consume::Outcome;
use bugstream_kit::log::{LogError, Logged};
use bugstream_kit::objects::ObjectError;
use bugstream_proto::Change;
use bugstream_telemetry::names;

use crate::deletion;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::fetch::{Fetched, Source, fetch};
use crate::forgotten;
use crate::known::{Known, known, remember};
use crate::publish::{last_look, publish};
use crate::request::{Request, done};
use crate::store::{keep, store};

/// Lost races after which the message goes back to the queue.
const TURNS: usize = 3;

/// Brings the archive up to date with what GitHub has for one issue, and says what happened. Starts again when another
/// worker's event came first.
pub(crate) async fn download(request: &Request<'_>, source: Source, deps: &Deps) -> Result<Outcome, Failure> {
    let _turn = deps.turns.wait(request.issue).await;
    let mut source = source;
    for _ in 0..TURNS {
        match turn(&source, request, deps).await {
            Err(Failure::Log(LogError::Conflict | LogError::Stale { .. })) => {
                tracing::info!(issue = %request.issue, "another event came first; starting again");
                // A row is from before that event.
                source = Source::Ask;
            }
            ended => return ended,
        }
    }
    Ok(Outcome::retry("other events keep coming first"))
}

/// Whole or nothing: no event is published for a download that is not complete.
async fn turn(source: &Source, request: &Request<'_>, deps: &Deps) -> Result<Outcome, Failure> {
    let newest = deps.log.newest(request.issue).await?;
    if let Some(forgotten) = newest
        .as_ref()
        .filter(|newest| newest.event.change == Change::Forgotten)
    {
        return forgotten::refuse(forgotten, request, deps).await;
    }
    let known = known(newest.as_ref(), request, deps).await?;
    let source = current(source, newest.as_ref(), &known);
    match fetch(source, &known, request, deps).await {
        // An object was lost or damaged, and with it what "unchanged" means.
        Err(Failure::Object(ObjectError::Missing(_) | ObjectError::Damaged { .. })) => {
            let nothing = Known::default();
            let fetched = fetch(source, &nothing, request, deps).await?;
            follow_up(fetched, newest, &nothing, request, deps).await
        }
        fetched => follow_up(fetched?, newest, &known, request, deps).await,
    }
}

/// A row that is not what the log knows may be older than it: then GitHub is asked.
fn current<'a>(source: &'a Source, newest: Option<&Logged>, known: &Known) -> &'a Source {
    match source {
        Source::Row(row) if newest.is_some() && !known.has_issue(row) => &Source::Ask,
        source => source,
    }
}

/// Does what GitHub's answer asks for.
async fn follow_up(
    fetched: Fetched,
    newest: Option<Logged>,
    known: &Known,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Outcome, Failure> {
    let whole = match fetched {
        Fetched::Gone(gone) => return deletion::gone(&gone, newest, request, deps).await,
        Fetched::Unchanged(record) => {
            deletion::is_there(request, deps).await?;
            remember(&record, known, request, deps).await;
            return done(names::Download::Unchanged);
        }
        Fetched::Whole(whole) => whole,
    };
    deletion::is_there(request, deps).await?;
    let kept = keep(&whole, known);
    if kept.is_all() {
        remember(&whole.record, known, request, deps).await;
        return done(names::Download::Unchanged);
    }
    let (event, nonce) = store(&whole, kept, newest.as_ref(), request, deps).await?;
    publish(&event, newest.as_ref(), &nonce, request, deps).await?;
    remember(&whole.record, known, request, deps).await;
    last_look(request, deps).await?;
    done(names::Download::New)
}
