//! Stores what changed and describes it as the next event of the issue.

use bugstream_archive::{Archived, Marks};
use bugstream_kit::log::Logged;
use bugstream_proto::{Change, Downloaded, Event, Nonce, Part, v1};
use bugstream_telemetry::{metrics, names};
use bytes::Bytes;
use tracing::Instrument;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::fetch::Whole;
use crate::known::{Known, is_same};
use crate::request::Request;

/// What of the newest event's objects the next event can name again: same bytes, still there.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    issue: Option<v1::StoredObject>,
    timeline: Option<v1::StoredObject>,
}

impl Kept {
    /// Whether nothing changed.
    pub(crate) fn is_all(&self) -> bool {
        self.issue.is_some() && self.timeline.is_some()
    }
}

/// Compares a download with what is known.
pub(crate) fn keep(whole: &Whole, known: &Known) -> Kept {
    let same = |object: &Option<v1::StoredObject>, raw| object.clone().filter(|object| is_same(object, raw));
    Kept {
        issue: same(&known.issue, &whole.issue),
        timeline: same(&known.timeline, &whole.timeline),
    }
}

/// Stores what is not kept, under keys of a nonce that nobody else has, and makes the event that names everything.
pub(crate) async fn store(
    whole: &Whole,
    kept: Kept,
    newest: Option<&Logged>,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<(Event, Nonce), Failure> {
    let marks = marks(whole, newest, request)?;
    let (revision, nonce) = (deps.log.next_revision(newest), deps.chance.nonce());
    let put = async |part, kept: Option<v1::StoredObject>, raw: &Bytes| match kept {
        Some(kept) => Ok::<_, Failure>(kept),
        None => {
            request.check()?;
            put_one(part, raw, revision, &nonce, request, deps).await
        }
    };
    let span = tracing::info_span!(names::span::STORE, revision);
    let stored = async {
        let issue = put(Part::Issue, kept.issue, &whole.issue).await?;
        let timeline = put(Part::Timeline, kept.timeline, &whole.timeline).await?;
        Ok::<_, Failure>((issue, timeline))
    };
    let (issue, timeline) = stored.instrument(span).await?;
    let event = Event {
        issue: request.issue.clone(),
        revision,
        occurred_at: deps.clock.now(),
        marks,
        cause: request.cause.clone(),
        change: Change::Downloaded(Downloaded {
            issue,
            timeline,
            timeline_events: whole.events,
        }),
    };
    Ok((event, nonce))
}

async fn put_one(
    part: Part,
    raw: &Bytes,
    revision: u64,
    nonce: &Nonce,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<v1::StoredObject, Failure> {
    let stored = deps
        .objects
        .put(request.issue, revision, nonce, part, raw.clone())
        .await?;
    let label = match part {
        Part::Issue => names::Part::Issue,
        Part::Timeline => names::Part::Timeline,
    };
    metrics::count(names::OBJECTS_BYTES, stored.size, &[label.into()]);
    Ok(stored)
}

/// The marks of the newest event, grown by where the documents of this download belong.
fn marks(whole: &Whole, newest: Option<&Logged>, request: &Request<'_>) -> Result<v1::Marks, Failure> {
    let classified = Archived::parse(&whole.issue, &whole.timeline)?.classify(&request.repository.into());
    let before = newest.map_or_else(Marks::default, |newest| Marks::from(&newest.event.marks));
    Ok(before.grow(&classified).into())
}
