//! Asks GitHub for a page of a list, waiting where GitHub says so and trying again where that may help.

use std::time::Duration;

use bugstream_github::{Client, Cursor, Error, Page};
use bugstream_kit::chance::Chance;
use bugstream_proto::RepoName;
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::progress::Progress;

/// How often a page is asked for while GitHub is in trouble or away.
const ATTEMPTS: u64 = 4;

/// Which list.
pub(crate) struct Updated {
    pub(crate) client: Client,
    pub(crate) chance: Chance,
    pub(crate) repository: RepoName,
    pub(crate) since: OffsetDateTime,
    /// Else the longest unchanged first, which misses nothing that changes meanwhile.
    pub(crate) newest_first: bool,
}

impl Updated {
    /// The first page, or the one at `cursor`. A limit is waited for, however long GitHub asks.
    ///
    /// # Errors
    /// [`Failure`], which says what to do.
    pub(crate) async fn page(&self, cursor: Option<&Cursor>, progress: &mut Progress<'_>) -> Result<Page, Failure> {
        patiently(&self.repository, &self.chance, progress, async || {
            self.ask(cursor).await
        })
        .await
    }

    async fn ask(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        match cursor {
            Some(cursor) => self.client.issues_after(cursor).await,
            None if self.newest_first => self.client.newest_issues_since(&self.repository, self.since).await,
            None => self.client.issues_since(&self.repository, self.since).await,
        }
    }
}

/// Waits where GitHub asks to, however long, and tries again where that may help.
///
/// # Errors
/// [`Failure`], which says what to do.
pub(crate) async fn patiently<T>(
    repository: &RepoName,
    chance: &Chance,
    progress: &mut Progress<'_>,
    ask: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut attempts = 0;
    loop {
        let wait = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(Error::Limited { kind, after }) => {
                let (seconds, kind) = (after.as_secs_f64().ceil(), kind.as_str());
                progress.show(&format!("GitHub asks to wait {seconds} s ({kind} limit)"));
                after
            }
            Err(error) if attempts + 1 < ATTEMPTS && may_pass(&error) => {
                attempts += 1;
                chance.backoff(Duration::from_millis(500), Duration::from_secs(5), attempts)
            }
            Err(error) => return Err(explain(repository, &error)),
        };
        tokio::time::sleep(wait).await;
    }
}

/// An error as the person who asked can mend it.
fn explain(repository: &RepoName, error: &Error) -> Failure {
    match error {
        Error::Unauthorized { .. } => Failure::failed(error.to_string())
            .with_fix("set a valid token (environment variable GITHUB_PERSONAL_ACCESS_TOKEN)"),
        Error::Forbidden { status, .. }
        | Error::Unexpected {
            status: status @ (404 | 410),
        } => Failure::failed(format!("GitHub shows no issues of {repository} ({status})"))
            .with_fix("check the name, and that the token may read its issues"),
        _ => Failure::failed(format!("cannot list the issues of {repository}: {}", whole(error)))
            .with_fix("run the same command again later: nothing is queued twice"),
    }
}

pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Server { .. } | Error::Transport(_) | Error::Malformed { .. }
    )
}

/// An error with its causes in one line.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
