//! Compares with GitHub: what it serves must be what is stored, what it lists the log must know.

use std::time::Duration;

use bugstream_github::{Client, Clients, Error, IssueAnswer, Location, MovedAnswer, MovedIssue, RepoAnswer};
use bugstream_kit::chance::Chance;
use bugstream_proto::{IssueId, RepoName, v1};
use serde_json::Value;

use super::expected::first_difference;
use super::findings::{Difference, Fix, Kind};
use super::issue::Stored;
use crate::failure::Failure;
use crate::github::{may_pass, whole};

/// How often a request is sent while GitHub is in trouble.
const ATTEMPTS: u64 = 5;

/// GitHub.
#[derive(Debug, Clone)]
pub(super) struct Github {
    pub(super) clients: Clients,
    pub(super) chance: Chance,
}

/// An issue as GitHub serves it now; `None` where it says that there is none.
type Served = Option<(Value, Value)>;

impl Github {
    /// With the credentials of that repository.
    pub(super) fn client(&self, repository: &RepoName) -> &Client {
        self.clients.of(repository)
    }

    pub(super) async fn of_stored(&self, issue: &IssueId, stored: &Stored) -> Result<Option<Difference>, Failure> {
        let difference = |kind, why: &str| {
            let fix = Fix::Download(v1::Reason::Audit);
            Ok(Some(Difference::new(kind, issue, issue.to_string(), why, fix)))
        };
        let Some((served, Value::Array(events))) = self.served(issue).await? else {
            return difference(Kind::GoneFromGithub, "GitHub has no such issue, and the log has it");
        };
        if let Some(path) = first_difference(&stored.issue, &served, "") {
            return difference(Kind::DiffersFromGithub, &format!("the stored issue differs at {path}"));
        }
        if events.len() != stored.timeline.len() {
            let (ours, theirs) = (stored.timeline.len(), events.len());
            return difference(
                Kind::DiffersFromGithub,
                &format!("{ours} timeline events are stored, GitHub has {theirs}"),
            );
        }
        let mut pairs = stored.timeline.iter().zip(&events).enumerate();
        match pairs.find_map(|(n, (ours, theirs))| first_difference(ours, theirs, &format!("/{n}"))) {
            Some(path) => difference(
                Kind::DiffersFromGithub,
                &format!("the stored timeline differs at {path}"),
            ),
            None => Ok(None),
        }
    }

    pub(super) async fn of_deleted(&self, issue: &IssueId) -> Result<Option<Difference>, Failure> {
        let why = "GitHub has it, and the log says that it is deleted";
        let fix = Fix::Download(v1::Reason::Audit);
        let difference = || Difference::new(Kind::MissingFromLog, issue, issue.to_string(), why, fix);
        Ok(self.served(issue).await?.map(|_| difference()))
    }

    async fn served(&self, issue: &IssueId) -> Result<Served, Failure> {
        let answer = self.patiently(async || self.ask(issue).await).await;
        answer.map_err(|error| explain(issue, &error))?.map_err(|()| {
            Failure::failed(format!(
                "issues are disabled in {}: nothing can be compared with GitHub",
                issue.repo()
            ))
        })
    }

    /// An error inside says that the repository has no issues at all.
    async fn ask(&self, issue: &IssueId) -> Result<Result<Served, ()>, Error> {
        let (raw, place) = match self.client(issue.repo()).issue(issue, None).await? {
            IssueAnswer::Found(raw) => (raw, issue.clone()),
            IssueAnswer::Unchanged => {
                return Err(Error::Malformed {
                    why: "unchanged, though nothing was known",
                });
            }
            IssueAnswer::NotFound | IssueAnswer::Gone => return Ok(Ok(None)),
            IssueAnswer::IssuesDisabled => return Ok(Err(())),
            IssueAnswer::Moved(location) => match self.renamed(issue, &location).await? {
                Some(moved) => (moved.raw, moved.issue),
                None => return Ok(Ok(None)),
            },
        };
        let timeline = self.client(issue.repo()).whole_timeline(&place).await?;
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|_| Error::Malformed { why: "no JSON value" });
        Ok(Ok(Some((parse(&raw.bytes)?, parse(&timeline.bytes)?))))
    }

    /// The same issue under its repository's new name; `None` for one that went to another repository.
    async fn renamed(&self, issue: &IssueId, location: &Location) -> Result<Option<Box<MovedIssue>>, Error> {
        let MovedAnswer::Found(moved) = self.client(issue.repo()).moved_issue(location).await? else {
            return Ok(None);
        };
        let RepoAnswer::Found(ours) = self.client(issue.repo()).repository(issue.repo()).await? else {
            return Ok(None);
        };
        Ok((moved.repository.id == ours.id && moved.issue.number() == issue.number()).then_some(moved))
    }

    /// Waits where GitHub asks to, and tries again where that may help. An issue whose timeline went away meanwhile is
    /// asked for again.
    async fn patiently<T>(&self, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let mut attempts = 0;
        loop {
            let wait = match ask().await {
                Err(Error::Limited { after, .. }) => after,
                Err(error)
                    if attempts + 1 < ATTEMPTS && (may_pass(&error) || matches!(error, Error::Vanished { .. })) =>
                {
                    attempts += 1;
                    self.chance
                        .backoff(Duration::from_millis(250), Duration::from_secs(5), attempts)
                }
                answer => return answer,
            };
            tokio::time::sleep(wait).await;
        }
    }
}

fn explain(issue: &IssueId, error: &Error) -> Failure {
    Failure::failed(format!("cannot compare {issue} with GitHub: {}", whole(error)))
}
