//! Stores what changed and describes it as the next event of the issue.

use bugstream_archive::{Archived, Marks};
use bugstream_kit::log::Logged;
use bugstream_proto::{Change, Downloaded, Event, Nonce, Part, v1};
use bugstream_telemetry::{metrics, names};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::fetch::Whole;
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

/// Compares a download with the newest event. A repair keeps nothing.
pub(crate) async fn keep(
    whole: &Whole,
    newest: Option<&Logged>,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Kept, Failure> {
    let Some(Change::Downloaded(known)) = newest.map(|newest| &newest.event.change) else {
        return Ok(Kept::default());
    };
    if request.cause.reason() == v1::Reason::Repair {
        return Ok(Kept::default());
    }
    Ok(Kept {
        issue: keep_one(&known.issue, &whole.issue, deps).await?,
        timeline: keep_one(&known.timeline, &whole.timeline.bytes, deps).await?,
    })
}

async fn keep_one(known: &v1::StoredObject, raw: &[u8], deps: &Deps) -> Result<Option<v1::StoredObject>, Failure> {
    let same = known.size == raw.len() as u64 && Sha256::digest(raw).as_slice() == known.sha256;
    Ok((same && deps.objects.exists(known).await?).then(|| known.clone()))
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
            request.lease.check()?;
            put_one(part, raw, revision, &nonce, request, deps).await
        }
    };
    let span = tracing::info_span!(names::span::STORE, revision);
    let stored = async {
        let issue = put(Part::Issue, kept.issue, &whole.issue).await?;
        let timeline = put(Part::Timeline, kept.timeline, &whole.timeline.bytes).await?;
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
            timeline_events: whole.timeline.events,
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
    let classified = Archived::parse(&whole.issue, &whole.timeline.bytes)?.classify(&request.repository.into());
    let before = newest.map_or_else(Marks::default, |newest| Marks::from(&newest.event.marks));
    Ok(before.grow(&classified).into())
}
