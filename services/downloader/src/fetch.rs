//! Asks GitHub for one issue: all of it, or the news that nothing changed, or that it is not there.

use std::sync::OnceLock;

use bugstream_github::{
    Client, IssueAnswer, Known as KnownPages, Location, MovedAnswer, MovedIssue, Raw, RawTimeline, RepoAnswer,
    TimelineAnswer, comments,
};
use bugstream_kit::validators::{KnownIssue, KnownPage, KnownTimeline, Record, sha256};
use bugstream_proto::{IssueId, v1};
use bytes::Bytes;
use futures_util::FutureExt as _;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::known::Known;
use crate::request::Request;

/// Where the issue's own JSON comes from. The timeline is always GitHub's to tell.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// GitHub is asked for it.
    Ask,
    /// A complete row of a list is the issue, byte for byte. Only where the log knows nothing of the issue, or just
    /// these bytes: a row may be older than what another download stored meanwhile.
    Row(Bytes),
}

/// What GitHub has.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// What the newest event names. The validators may be new.
    Unchanged(Record),
    Whole(Whole),
    Gone(Gone),
}

/// An issue and its timeline, exactly as received.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) issue: Bytes,
    pub(crate) timeline: Bytes,
    /// The elements of the timeline.
    pub(crate) events: u32,
    /// The validators of both.
    pub(crate) record: Record,
}

/// An answer that may mean that the issue is gone. No evidence by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gone {
    /// 404, 410, or 301 for one that moved.
    pub(crate) status: u16,
    /// Where to, if the token may see it.
    pub(crate) moved_to: Option<v1::MovedTo>,
}

/// Asks for the issue and every page of its timeline, or for what changed of them since the validators that are known.
///
/// # Errors
/// Also where an object that is needed beside what changed is lost or damaged: then nothing of it may be known.
pub(crate) async fn fetch(
    source: &Source,
    known: &Known,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Fetched, Failure> {
    let (issue, place) = match ask(source, known, request, deps).await? {
        Asked::There(issue, place) => (issue, place),
        Asked::Gone(gone) => return Ok(Fetched::Gone(gone)),
    };
    let timeline = timeline(&place, issue.as_ref(), known, request, deps).await?;
    deps.trouble.over();
    let record = record(issue.as_ref(), timeline.as_ref(), known);
    let (issue, timeline, events) = match (issue, timeline) {
        (None, None) => return Ok(Fetched::Unchanged(record)),
        (Some(raw), None) if known.has_issue(&raw.bytes) => return Ok(Fetched::Unchanged(record)),
        (Some(raw), Some(timeline)) => (raw.bytes, timeline.bytes, timeline.events),
        (Some(raw), None) => (raw.bytes, known.stored_timeline(deps).await?, known.events),
        (None, Some(timeline)) => (known.stored_issue(deps).await?, timeline.bytes, timeline.events),
    };
    Ok(Fetched::Whole(Whole {
        issue,
        timeline,
        events,
        record,
    }))
}

/// What became of the issue's own JSON.
enum Asked {
    /// Its JSON, or that it is the one that is known; and under which name it answers.
    There(Option<Raw>, IssueId),
    Gone(Gone),
}

async fn ask(source: &Source, known: &Known, request: &Request<'_>, deps: &Deps) -> Result<Asked, Failure> {
    let (issue, client) = (request.issue, &request.client);
    let validator = known.record.issue.as_ref().map(|known| &known.validator);
    if let Source::Row(row) = source {
        let (bytes, validator) = (row.clone(), validator.cloned());
        return Ok(Asked::There(Some(Raw { bytes, validator }), issue.clone()));
    }
    Ok(match client.issue(issue, validator).await? {
        IssueAnswer::Found(raw) => Asked::There(Some(raw), issue.clone()),
        IssueAnswer::Unchanged => Asked::There(None, issue.clone()),
        IssueAnswer::NotFound => gone(404, None),
        IssueAnswer::Gone => gone(410, None),
        IssueAnswer::IssuesDisabled => return Err(Failure::IssuesDisabled(issue.repo().clone())),
        IssueAnswer::Moved(location) => match follow(issue, &location, client, deps).await? {
            Followed::Renamed(moved) => Asked::There(Some(moved.raw), moved.issue),
            Followed::Away(moved_to) => gone(301, moved_to),
        },
    })
}

fn gone(status: u16, moved_to: Option<v1::MovedTo>) -> Asked {
    Asked::Gone(Gone { status, moved_to })
}

/// The timeline; `None` if it is the one that is known.
async fn timeline(
    place: &IssueId,
    issue: Option<&Raw>,
    known: &Known,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Option<RawTimeline>, Failure> {
    let failed = OnceLock::new();
    let stored = || {
        async {
            let stored = known.stored_timeline(deps).await;
            stored.map_err(|error| failed.set(error)).ok()
        }
        .boxed()
    };
    let pages: &[KnownPage] = known.record.timeline.as_ref().map_or(&[], |known| &known.pages);
    let known = KnownPages {
        pages,
        stored: Some(&stored),
        comments: comments_of(issue, known, deps).await?,
        credential: issue.and_then(|raw| Some(raw.validator.as_ref()?.credential.as_str())),
    };
    let answer = request.client.timeline(place, &known).await?;
    if let Some(error) = failed.into_inner() {
        return Err(error.into());
    }
    Ok(match answer {
        TimelineAnswer::Unchanged => None,
        TimelineAnswer::Whole(timeline) => Some(timeline),
    })
}

/// How many comments the timeline must have. Of an unchanged issue only where there are several pages to agree: one page
/// cannot change while it is read.
async fn comments_of(issue: Option<&Raw>, known: &Known, deps: &Deps) -> Result<Option<u64>, Failure> {
    let pages = known.record.timeline.as_ref().map_or(0, |known| known.pages.len());
    Ok(match issue {
        Some(raw) => comments(&raw.bytes),
        None if pages > 1 => comments(&known.stored_issue(deps).await?),
        None => None,
    })
}

/// The validators of what was received, and those that still hold of what was not.
fn record(issue: Option<&Raw>, timeline: Option<&RawTimeline>, known: &Known) -> Record {
    Record {
        issue: issue.map_or_else(|| known.record.issue.clone(), validator_of),
        timeline: timeline.map_or_else(|| known.record.timeline.clone(), validators_of),
    }
}

fn validator_of(raw: &Raw) -> Option<KnownIssue> {
    Some(KnownIssue {
        validator: raw.validator.clone()?,
        sha256: sha256(&raw.bytes),
    })
}

fn validators_of(timeline: &RawTimeline) -> Option<KnownTimeline> {
    let some = timeline.pages.iter().any(|page| page.validator.is_some());
    some.then(|| KnownTimeline {
        pages: timeline.pages.clone(),
        sha256: sha256(&timeline.bytes),
    })
}

/// Where a permanent redirect leads.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The same issue of the same repository, which has a new name.
    Renamed(Box<MovedIssue>),
    /// Elsewhere, or to a place that the token may not see.
    Away(Option<v1::MovedTo>),
}

/// Follows a redirect and compares the repositories' ids, the only thing that a rename does not change.
pub(crate) async fn follow(
    issue: &IssueId,
    location: &Location,
    client: &Client,
    deps: &Deps,
) -> Result<Followed, Failure> {
    let MovedAnswer::Found(moved) = client.moved_issue(location).await? else {
        return Ok(Followed::Away(None));
    };
    let RepoAnswer::Found(ours) = client.repository(issue.repo()).await? else {
        return Err(Failure::NoRepository(issue.repo().clone()));
    };
    if moved.repository.id == ours.id && moved.issue.number() == issue.number() {
        deps.renamed(issue.repo(), &ours.name);
        return Ok(Followed::Renamed(moved));
    }
    Ok(Followed::Away(Some(v1::MovedTo {
        repository_id: moved.repository.id,
        issue: Some((&moved.issue).into()),
    })))
}
