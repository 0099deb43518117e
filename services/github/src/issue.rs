//! One issue, and the place it moved to.

use bugstream_kit::validators::Validator;
use bugstream_proto::{IssueId, RepoName};
use bugstream_telemetry::names::Route;
use bytes::Bytes;
use serde::Deserialize;

use crate::body;
use crate::client::{Client, Request};
use crate::error::Error;
use crate::exchange::Answer;
use crate::location::Location;
use crate::repository::{RepoAnswer, Repository};

/// JSON exactly as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// One whole JSON object.
    pub bytes: Bytes,
    /// With which to ask for changes.
    pub validator: Option<Validator>,
}

/// What GitHub says of an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueAnswer {
    /// It is there.
    Found(Raw),
    /// It is as it was. Only where a validator was given.
    Unchanged,
    /// 404: deleted, moved to where the credentials see nothing, never there, or an accident.
    NotFound,
    /// 410: deleted.
    Gone,
    /// 410 since the repository has its issues disabled: says nothing of the issue.
    IssuesDisabled,
    /// 301: transferred, or its repository was renamed.
    Moved(Location),
}

/// What lies at an issue's new place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MovedAnswer {
    /// The issue.
    Found(Box<MovedIssue>),
    /// Nothing that the credentials may see.
    Unseen,
}

/// An issue at its new place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedIssue {
    /// The repository where it is now; the same id as before says that the repository was renamed.
    pub repository: Repository,
    /// Its new name.
    pub issue: IssueId,
    /// Its JSON.
    pub raw: Raw,
}

impl Client {
    /// Asks for an issue, or for what changed since a validator was received. Redirects are an answer.
    ///
    /// # Errors
    /// [`Error`]; also where the answer is another issue.
    pub async fn issue(&self, issue: &IssueId, known: Option<&Validator>) -> Result<IssueAnswer, Error> {
        let url = self.url(&format!("repos/{}/issues/{}", issue.repo(), issue.number()));
        let answer = self.ask(Request::get(Route::Issue, url).known(known)).await?;
        if let Some(location) = answer.moved()? {
            return Ok(IssueAnswer::Moved(location));
        }
        match answer.status.as_u16() {
            304 => Ok(IssueAnswer::Unchanged),
            404 => answer.message().map(|_| IssueAnswer::NotFound),
            410 if is_about_disabled_issues(&answer.message()?) => Ok(IssueAnswer::IssuesDisabled),
            410 => Ok(IssueAnswer::Gone),
            _ if Head::of(&answer.body)?.number != issue.number() => Err(Error::malformed("another issue's number")),
            _ => Ok(IssueAnswer::Found(raw(answer))),
        }
    }

    /// Asks what lies where an issue moved to.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn moved_issue(&self, location: &Location) -> Result<MovedAnswer, Error> {
        let answer = self
            .ask_following(Request::get(Route::Issue, location.url().clone()))
            .await?;
        if answer.status != reqwest::StatusCode::OK {
            return answer.message().map(|_| MovedAnswer::Unseen);
        }
        let head = Head::of(&answer.body)?;
        let RepoAnswer::Found(repository) = self.repository(&head.repository()?).await? else {
            return Ok(MovedAnswer::Unseen);
        };
        let issue = repository
            .name
            .issue(head.number)
            .map_err(|_| Error::malformed("an impossible issue number"))?;
        Ok(MovedAnswer::Found(Box::new(MovedIssue {
            repository,
            issue,
            raw: raw(answer),
        })))
    }
}

/// GitHub tells the two 410s apart by its message only: "Issues are disabled for this repo" (or "… has been disabled …").
fn is_about_disabled_issues(message: &str) -> bool {
    message.to_ascii_lowercase().contains("disabled")
}

fn raw(answer: Answer) -> Raw {
    Raw {
        validator: answer.validator(),
        bytes: answer.body,
    }
}

/// How many comments an issue's JSON says that it has; `None` where it does not.
#[must_use]
pub fn comments(issue: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Comments {
        comments: u64,
    }
    body::object::<Comments>(issue).ok().map(|found| found.comments)
}

/// What of an issue's JSON this client looks at.
#[derive(Debug, Deserialize)]
struct Head {
    number: u64,
    #[serde(default)]
    repository_url: String,
}

impl Head {
    fn of(body: &[u8]) -> Result<Self, Error> {
        body::object(body)
    }

    fn repository(&self) -> Result<RepoName, Error> {
        let name = self
            .repository_url
            .rsplit_once("/repos/")
            .and_then(|(_, name)| name.parse().ok());
        name.ok_or_else(|| Error::malformed("an issue that does not name its repository"))
    }
}
