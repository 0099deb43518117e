//! What of the newest event can be used again: objects that are still there, and the validators that stand for them.

use bugstream_kit::log::Logged;
use bugstream_kit::objects::ObjectError;
use bugstream_kit::validators::Record;
use bugstream_proto::{Change, v1};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::deps::Deps;
use crate::failure::Failure;
use crate::request::Request;

/// What is known of an issue before GitHub is asked. Nothing of it is believed without an answer.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The newest event's object of the issue's JSON, if it is there.
    pub(crate) issue: Option<v1::StoredObject>,
    /// The newest event's object of the timeline, if it is there.
    pub(crate) timeline: Option<v1::StoredObject>,
    /// The elements of that timeline.
    pub(crate) events: u32,
    /// The validators that stand for these objects, and no others.
    pub(crate) record: Record,
}

impl Known {
    /// Whether this is the newest event's JSON of the issue.
    pub(crate) fn has_issue(&self, raw: &[u8]) -> bool {
        self.issue.as_ref().is_some_and(|issue| is_same(issue, raw))
    }

    /// Validators are kept only beside the object that they stand for, so what GitHub calls unchanged has one.
    pub(crate) async fn stored_issue(&self, deps: &Deps) -> Result<Bytes, ObjectError> {
        stored(self.issue.as_ref(), deps).await
    }

    pub(crate) async fn stored_timeline(&self, deps: &Deps) -> Result<Bytes, ObjectError> {
        stored(self.timeline.as_ref(), deps).await
    }
}

async fn stored(object: Option<&v1::StoredObject>, deps: &Deps) -> Result<Bytes, ObjectError> {
    match object {
        Some(object) => deps.objects.get(object).await,
        None => Err(ObjectError::Missing("of an unchanged answer".to_owned())),
    }
}

/// Reads what is known. A repair knows nothing: everything is fetched and stored anew.
pub(crate) async fn known(newest: Option<&Logged>, request: &Request<'_>, deps: &Deps) -> Result<Known, Failure> {
    let Some(Change::Downloaded(newest)) = newest.map(|newest| &newest.event.change) else {
        return Ok(Known::default());
    };
    if request.is_repair() {
        return Ok(Known::default());
    }
    let (issue, timeline) = tokio::try_join!(
        deps.objects.exists(&newest.issue),
        deps.objects.exists(&newest.timeline)
    )?;
    let record = deps.validators.read(request.issue).await?;
    let Record {
        issue: of_issue,
        timeline: of_timeline,
    } = record.of(&newest.issue, &newest.timeline);
    Ok(Known {
        issue: issue.then(|| newest.issue.clone()),
        timeline: timeline.then(|| newest.timeline.clone()),
        events: newest.timeline_events,
        record: Record {
            issue: of_issue.filter(|_| issue),
            timeline: of_timeline.filter(|_| timeline),
        },
    })
}

/// Writes the validators of what the newest event names now. Losing them costs quota and nothing else.
pub(crate) async fn remember(record: &Record, known: &Known, request: &Request<'_>, deps: &Deps) {
    if *record == known.record {
        return;
    }
    if let Err(error) = deps.validators.write(request.issue, record).await {
        tracing::warn!(issue = %request.issue, %error, "validators are not kept; the next download costs quota");
    }
}

/// Whether raw JSON is what an object has.
pub(crate) fn is_same(object: &v1::StoredObject, raw: &[u8]) -> bool {
    object.size == raw.len() as u64 && Sha256::digest(raw).as_slice() == object.sha256
}
