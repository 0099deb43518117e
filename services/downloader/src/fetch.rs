//! Asks GitHub for one issue: all of it, or the news that it is not there.

use bugstream_github::{IssueAnswer, Location, MovedAnswer, MovedIssue, RawTimeline, RepoAnswer};
use bugstream_proto::{IssueId, v1};
use bytes::Bytes;

use crate::deps::Deps;
use crate::failure::Failure;

/// What GitHub has.
#[derive(Debug)]
pub(crate) enum Fetched {
    Whole(Whole),
    Gone(Gone),
}

/// An issue and its timeline, exactly as received.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) issue: Bytes,
    pub(crate) timeline: RawTimeline,
}

/// An answer that may mean that the issue is gone. No evidence by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gone {
    /// 404, 410, or 301 for one that moved.
    pub(crate) status: u16,
    /// Where to, if the token may see it.
    pub(crate) moved_to: Option<v1::MovedTo>,
}

/// Asks for the issue and every page of its timeline.
pub(crate) async fn fetch(issue: &IssueId, deps: &Deps) -> Result<Fetched, Failure> {
    let (raw, place) = match deps.github.issue(issue).await? {
        IssueAnswer::Found(raw) => (raw, issue.clone()),
        IssueAnswer::NotFound => return Ok(gone(404, None)),
        IssueAnswer::Gone => return Ok(gone(410, None)),
        IssueAnswer::IssuesDisabled => return Err(Failure::IssuesDisabled(issue.repo().clone())),
        IssueAnswer::Moved(location) => match follow(issue, &location, deps).await? {
            Followed::Renamed(moved) => (moved.raw, moved.issue),
            Followed::Away(moved_to) => return Ok(gone(301, moved_to)),
        },
    };
    let timeline = deps.github.timeline(&place).await?;
    deps.trouble.over();
    Ok(Fetched::Whole(Whole {
        issue: raw.bytes,
        timeline,
    }))
}

fn gone(status: u16, moved_to: Option<v1::MovedTo>) -> Fetched {
    Fetched::Gone(Gone { status, moved_to })
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
pub(crate) async fn follow(issue: &IssueId, location: &Location, deps: &Deps) -> Result<Followed, Failure> {
    let MovedAnswer::Found(moved) = deps.github.moved_issue(location).await? else {
        return Ok(Followed::Away(None));
    };
    let RepoAnswer::Found(ours) = deps.github.repository(issue.repo()).await? else {
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
