//! The repository itself: evidence that an issue's 404 is about the issue.

use bugstream_proto::RepoName;
use bugstream_telemetry::names::Route;
use serde::Deserialize;

use crate::body;
use crate::client::{Client, Request};
use crate::error::Error;

/// What GitHub says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepoAnswer {
    /// It is there, under this or a newer name.
    Found(Repository),
    /// It is not there, or the credentials may not see it.
    NotFound,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Stays the same when it is renamed.
    pub id: u64,
    /// Its name now.
    pub name: RepoName,
    /// Whether it has issues at all; without, every issue answers 410.
    pub has_issues: bool,
    /// Whether only some may see it.
    pub private: bool,
}

#[derive(Deserialize)]
struct Received {
    id: u64,
    full_name: String,
    has_issues: bool,
    private: bool,
}

impl Client {
    /// Asks for a repository, under its new name if it was renamed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repository(&self, name: &RepoName) -> Result<RepoAnswer, Error> {
        let answer = self
            .ask_following(Request::get(Route::Repository, self.url(&format!("repos/{name}"))))
            .await?;
        if answer.status != reqwest::StatusCode::OK {
            return answer.message().map(|_| RepoAnswer::NotFound);
        }
        let Received {
            id,
            full_name,
            has_issues,
            private,
        } = body::object(&answer.body)?;
        let name = full_name
            .parse()
            .map_err(|_| Error::malformed("a repository with an impossible name"))?;
        Ok(RepoAnswer::Found(Repository {
            id,
            name,
            has_issues,
            private,
        }))
    }
}
