//! What a step that failed leads to: the message tries again, everything waits, or the message is put aside.
//!
//! Limits are no fault. What is wrong with the credentials or with the one repository stops the work; beside others a
//! repository's own requests try again, and readiness says what is wrong.

use std::time::Duration;

use bugstream_archive::ArchiveError;
use bugstream_github::{Error as GithubError, Priority, RepoAnswer};
use bugstream_kit::consume::{LeaseLost, Outcome};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::deletions::DeletionsError;
use bugstream_kit::log::LogError;
use bugstream_kit::objects::ObjectError;
use bugstream_kit::publish::PublishError;
use bugstream_kit::validators::ValidatorsError;
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
    Validators(#[from] ValidatorsError),
    #[error(transparent)]
    Lease(#[from] LeaseLost),
    #[error("what github sent cannot be read: {0}")]
    Unreadable(#[from] ArchiveError),
    #[error(
        "{0} is not there, or the token may not see it: correct the name in [[repositories]], or give the token access"
    )]
    NoRepository(RepoName),
    #[error("{0} has its issues disabled: enable them in its settings, or take it out of [[repositories]]")]
    IssuesDisabled(RepoName),
    #[error(
        "issues of {0} are answered as not there, and no other that was there answers: nothing is believed and nothing \
         deleted; see whether the token may still read the issues of {0}"
    )]
    NoWitness(RepoName),
}

impl Failure {
    /// How long to send nothing, if a limit of GitHub's is what it failed of.
    pub(crate) fn limit(&self) -> Option<Duration> {
        match self {
            Self::Github(GithubError::Limited { after, .. }) => Some(*after),
            _ => None,
        }
    }

    /// What becomes of the message.
    pub(crate) async fn outcome(self, issue: &IssueId, deps: &Deps) -> Outcome {
        let why = self.to_string();
        match self {
            Self::Github(error) => github(error, why, issue, deps).await,
            Self::Unreadable(_) => deps.trouble.with(issue, why),
            Self::NoRepository(_) | Self::IssuesDisabled(_) => repository_away(issue.repo(), why, deps),
            Self::NoWitness(repo) => {
                deps.doubts.raise(&repo, &why);
                Outcome::retry(why)
            }
            Self::Object(ObjectError::Unavailable(_))
            | Self::Log(LogError::Unavailable(_))
            | Self::Publish(PublishError::Unavailable(_))
            | Self::Deletions(DeletionsError::Unavailable(_))
            | Self::Validators(_)
            | Self::Queue(_) => Outcome::away(why),
            Self::Log(_)
            | Self::Object(_)
            | Self::Publish(PublishError::Conflict)
            | Self::Deletions(DeletionsError::Unreadable { .. })
            | Self::Lease(_) => Outcome::retry(why),
        }
    }
}

async fn github(error: GithubError, why: String, issue: &IssueId, deps: &Deps) -> Outcome {
    match error {
        GithubError::Limited { after, .. } => limited(after, why, issue.repo(), deps).await,
        GithubError::Unauthorized { .. } => unauthorized(format!("{why}: {TOKEN}"), issue.repo(), deps),
        GithubError::Forbidden { .. } => forbidden(why, issue, deps).await,
        GithubError::TooLarge { .. } => too_large(why, issue, deps),
        GithubError::Vanished { .. } | GithubError::Unstable => Outcome::retry(why),
        GithubError::Server { .. }
        | GithubError::Unexpected { .. }
        | GithubError::Transport(_)
        | GithubError::Malformed { .. } => deps.trouble.with(issue, why),
    }
}

/// What to do about a token that is expired, revoked, or none.
const TOKEN: &str =
    "set a valid token (GITHUB_PERSONAL_ACCESS_TOKEN, or token in [github]) or mend the App ([github.app])";

/// Issues that may not be read must not hold up others, however many they are. Where none may be read, though the
/// repository may be seen, readiness says so.
async fn forbidden(why: String, issue: &IssueId, deps: &Deps) -> Outcome {
    let repo = issue.repo();
    let why = format!("{why}: the token needs the right to read the issues of {repo}");
    if !deps.seen.lately(repo) {
        match deps.client(repo, Priority::Live).repository(repo).await {
            Ok(RepoAnswer::Found(_)) => deps.seen.note(repo),
            Ok(RepoAnswer::NotFound) | Err(GithubError::Forbidden { .. } | GithubError::Unauthorized { .. }) => {
                return repository_away(repo, why, deps);
            }
            Err(error @ GithubError::Limited { after, .. }) => {
                return limited(after, error.to_string(), repo, deps).await;
            }
            Err(error) => return deps.trouble.with(issue, error.to_string()),
        }
    }
    if deps.refused.is_general(issue) {
        deps.doubts.raise(repo, &why);
    }
    Outcome::retry(why)
}

/// One issue that is too large would be so again, so it is put aside; several in a row are no issues.
fn too_large(why: String, issue: &IssueId, deps: &Deps) -> Outcome {
    if deps.trouble.is_general(issue) {
        return Outcome::away(why);
    }
    let fix = "raise max_body_mb in section [downloader], then queue it again";
    Outcome::reject(Kind::Other, format!("{why}: {fix}"))
}

/// Nothing of the repository can be had. Where it is the only one, nothing is asked for until that is mended.
fn repository_away(repo: &RepoName, why: String, deps: &Deps) -> Outcome {
    if deps.repositories.0.len() < 2 {
        return Outcome::away(why);
    }
    deps.doubts.raise(repo, &why);
    Outcome::retry(why)
}

/// No credential is accepted. Everything waits that has no others.
fn unauthorized(why: String, repo: &RepoName, deps: &Deps) -> Outcome {
    if deps.has_own_credentials(repo) {
        repository_away(repo, why, deps)
    } else {
        Outcome::away(why)
    }
}

/// A limit is no fault: everything waits that has no other credentials, and the service is ready. Whoever takes over
/// from now on knows of it.
async fn limited(after: Duration, why: String, repo: &RepoName, deps: &Deps) -> Outcome {
    deps.quotas.keep(&deps.clients).await;
    if deps.has_own_credentials(repo) && deps.repositories.0.len() > 1 {
        return Outcome::Retry {
            after: Some(after),
            why,
        };
    }
    Outcome::Hold {
        after: Some(after),
        why,
        ready: true,
    }
}
