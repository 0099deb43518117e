//! Lists of issues by time of their last update, page by page.
//!
//! Walked by the cursor in `Link`: counting pages ends with a 422 at 10,000 rows. No list is evidence that an issue is
//! gone: deleted and transferred issues never show up, and lists are now and then empty for no reason.

use bugstream_proto::RepoName;
use bugstream_telemetry::names::Route;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use url::Url;

use crate::body;
use crate::client::Client;
use crate::error::Error;
use crate::link::Pages;

/// No issue on GitHub is older. With `since` at 1970 it answers an empty list.
const OLDEST: OffsetDateTime = datetime!(2008-01-01 00:00 UTC);

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Url);

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Issue numbers in the order asked for. Longest unchanged first, an issue that changes meanwhile comes once more.
    pub numbers: Vec<u64>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

#[derive(Deserialize)]
struct Row {
    number: u64,
}

impl Client {
    /// The first page of the issues and pull requests that were updated since then, of any state, the longest unchanged
    /// first.
    ///
    /// # Errors
    /// [`Error`]; a repository that is not there is [`Error::Unexpected`] with 404 or 410.
    pub async fn issues_since(&self, repository: &RepoName, since: OffsetDateTime) -> Result<Page, Error> {
        self.list(repository, since, "asc").await
    }

    /// As [`Client::issues_since`], the last updated first: for who wants a few of them and knows that an issue which
    /// changes meanwhile may be left out.
    ///
    /// # Errors
    /// As [`Client::issues_since`].
    pub async fn newest_issues_since(&self, repository: &RepoName, since: OffsetDateTime) -> Result<Page, Error> {
        self.list(repository, since, "desc").await
    }

    /// A further page.
    ///
    /// # Errors
    /// As [`Client::issues_since`].
    pub async fn issues_after(&self, cursor: &Cursor) -> Result<Page, Error> {
        self.page(cursor.0.clone()).await
    }

    async fn list(&self, repository: &RepoName, since: OffsetDateTime, direction: &str) -> Result<Page, Error> {
        let mut url = self.url(&format!("repos/{repository}/issues"));
        url.query_pairs_mut()
            .extend_pairs([("state", "all"), ("sort", "updated"), ("direction", direction)])
            .append_pair("per_page", "100")
            .append_pair("since", &timestamp(since));
        self.page(url).await
    }

    async fn page(&self, url: Url) -> Result<Page, Error> {
        let answer = self.get_following(Route::Issues, url).await?;
        if answer.status != reqwest::StatusCode::OK {
            return Err(Error::Unexpected {
                status: answer.status.as_u16(),
            });
        }
        let rows = body::objects(&answer.body)?
            .into_iter()
            .map(|row| body::object::<Row>(row.get().as_bytes()));
        let numbers = rows.map(|row| row.map(|row| row.number)).collect::<Result<_, _>>()?;
        let next = self.next_page(&answer.url, &answer.headers)?;
        Ok(Page { numbers, next })
    }

    fn next_page(&self, url: &Url, headers: &HeaderMap) -> Result<Option<Cursor>, Error> {
        Ok(Pages::new(self.base(), url).next(headers)?.map(Cursor))
    }
}

/// Whole seconds in UTC, as GitHub reads them, never before [`OLDEST`].
fn timestamp(since: OffsetDateTime) -> String {
    let whole = OffsetDateTime::from_unix_timestamp(since.unix_timestamp())
        .unwrap_or(OLDEST)
        .max(OLDEST);
    whole
        .format(&Rfc3339)
        .expect("a time since 2008 has a year of four digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_github_would_not_take_becomes_its_oldest() {
        let table = [
            (datetime!(1970-01-01 00:00 UTC), "2008-01-01T00:00:00Z"),
            (datetime!(0001-01-01 00:00 UTC), "2008-01-01T00:00:00Z"),
            (datetime!(2026-03-04 05:06:07.9 +02:00), "2026-03-04T03:06:07Z"),
        ];
        for (since, want) in table {
            assert_eq!(timestamp(since), want);
        }
    }
}
