//! What a step that failed leads to: the message tries again, everything waits, or the message is put aside.

use std::time::Duration;

use bugstream_archive::ArchiveError;
use bugstream_github::{Error as GithubError, RepoAnswer};
use bugstream_kit::consume::{LeaseLost, Outcome};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::deletions::DeletionsError;
use bugstream_kit::log::LogError;
use bugstream_kit::objects::ObjectError;
use bugstream_kit::publish::PublishError;
use bugstream_proto::{IssueId, RepoName};

use crate::deps::Deps;
use crate::queue::QueueError;

/// Why a download did not come to an end. Never quotes content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Deletions(#[from] DeletionsError),
    #[error(transparent)]
    Lease(#[from] LeaseLost),
    #[error("what github sent cannot be read: {0}")]
    Unreadable(#[from] ArchiveError),
    #[error("{0} is not there, or the token may not see it")]
    NoRepository(RepoName),
    #[error("{0} has its issues disabled")]
    IssuesDisabled(RepoName),
    #[error("{issue} does not answer, and neither does any of {asked} others that were there: nothing is believed")]
    NoWitness { issue: IssueId, asked: usize },
}

impl Failure {
    /// What becomes of the message.
    pub(crate) async fn outcome(self, issue: &IssueId, deps: &Deps) -> Outcome {
        let why = self.to_string();
        match self {
            Self::Github(error) => github(error, why, issue, deps).await,
            Self::Unreadable(_) => deps.trouble.with(issue, why),
            Self::NoRepository(_) | Self::IssuesDisabled(_) => Outcome::away(why),
            Self::Object(ObjectError::Unavailable(_))
            | Self::Log(LogError::Unavailable(_))
            | Self::Publish(PublishError::Unavailable(_))
            | Self::Deletions(DeletionsError::Unavailable(_))
            | Self::Queue(_) => Outcome::away(why),
            Self::Log(_)
            | Self::Object(_)
            | Self::Publish(PublishError::Conflict)
            | Self::Deletions(DeletionsError::Unreadable { .. })
            | Self::NoWitness { .. }
            | Self::Lease(_) => Outcome::retry(why),
        }
    }
}

async fn github(error: GithubError, why: String, issue: &IssueId, deps: &Deps) -> Outcome {
    match error {
        GithubError::Limited { after, .. } => limited(after, why),
        GithubError::Unauthorized => Outcome::away(why),
        GithubError::Forbidden { .. } => forbidden(why, issue, deps).await,
        GithubError::TooLarge { .. } => Outcome::reject(
            Kind::Other,
            format!("{why}: raise max_body_mb in section [downloader], then queue it again"),
        ),
        GithubError::Vanished { .. } => Outcome::retry(why),
        GithubError::Server { .. }
        | GithubError::Unexpected { .. }
        | GithubError::Transport(_)
        | GithubError::Malformed { .. } => deps.trouble.with(issue, why),
    }
}

/// One issue that may not be read must not stop all others; a token that may read nothing must.
async fn forbidden(why: String, issue: &IssueId, deps: &Deps) -> Outcome {
    match deps.github.repository(issue.repo()).await {
        Ok(RepoAnswer::Found(_)) => Outcome::retry(why),
        Ok(RepoAnswer::NotFound) | Err(GithubError::Forbidden { .. } | GithubError::Unauthorized) => Outcome::away(why),
        Err(error @ GithubError::Limited { after, .. }) => limited(after, error.to_string()),
        Err(error) => deps.trouble.with(issue, error.to_string()),
    }
}

/// A limit is no fault: everything waits, and the service is ready.
fn limited(after: Duration, why: String) -> Outcome {
    Outcome::Hold {
        after: Some(after),
        why,
        ready: true,
    }
}
