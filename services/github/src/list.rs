//! Lists of issues, page by page.
//!
//! Walked by the cursor in `Link`: counting pages ends with a 422 at 10,000 rows. No list is evidence that an issue is
//! gone: deleted and transferred issues never show up, and lists are now and then empty for no reason.

use std::fmt;

use bugstream_kit::validators::Validator;
use bugstream_proto::RepoName;
use bugstream_telemetry::names::Route;
use bytes::Bytes;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use url::Url;

use crate::body;
use crate::client::{Client, Request};
use crate::error::Error;
use crate::exchange::Answer;
use crate::link::Pages;

/// No issue on GitHub is older. With `since` at 1970 it answers an empty list.
const OLDEST: OffsetDateTime = datetime!(2008-01-01 00:00 UTC);

/// Where a list goes on. Kept as text; an address elsewhere is refused when it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(Url);

impl Cursor {
    pub(crate) fn new(url: Url) -> Self {
        Self(url)
    }

    pub(crate) fn url(&self) -> Url {
        self.0.clone()
    }
}

/// Which issues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssueState {
    /// Open ones.
    Open,
    /// Closed ones.
    Closed,
    /// All.
    #[default]
    All,
}

impl IssueState {
    /// As GitHub spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::All => "all",
        }
    }
}

impl fmt::Display for IssueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of a list, numbers only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Issue numbers in the order asked for. Longest unchanged first, an issue that changes meanwhile comes once more.
    pub numbers: Vec<u64>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What GitHub says of a part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListAnswer {
    /// Its rows are as they were. Only where a validator was given.
    Unchanged {
        /// Where it goes on, if the answer says so. If it does not, the list goes on where it did the last time; a full
        /// part that was the last one may have a next one now, so ask for it again without a validator.
        next: Option<Cursor>,
    },
    /// A part of the list.
    Rows(Rows),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// In the order asked for.
    pub rows: Vec<Row>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
    /// To ask the next time whether this part changed.
    pub validator: Option<Validator>,
}

/// An issue as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub number: u64,
    /// Its JSON, exactly as received.
    pub raw: Bytes,
    /// Whether it has every field that the issue by itself has. Lists may leave some out, as `closed_by`.
    pub complete: bool,
    /// When it was last updated.
    pub updated_at: OffsetDateTime,
    /// How many comments it has.
    pub comments: Option<u64>,
}

/// Every field that GitHub always sends with an issue by itself.
const FIELDS: [&str; 25] = [
    "active_lock_reason",
    "assignee",
    "assignees",
    "author_association",
    "body",
    "closed_at",
    "closed_by",
    "comments",
    "comments_url",
    "created_at",
    "events_url",
    "html_url",
    "id",
    "labels",
    "labels_url",
    "locked",
    "milestone",
    "node_id",
    "number",
    "repository_url",
    "state",
    "title",
    "updated_at",
    "url",
    "user",
];

impl Client {
    /// The first part of the issues and pull requests of a state, the oldest first. `since` leaves out what was not
    /// updated since then.
    ///
    /// # Errors
    /// [`Error`]; a repository that is not there is [`Error::Unexpected`] with 404 or 410.
    pub async fn issues_created(
        &self,
        repository: &RepoName,
        since: Option<OffsetDateTime>,
        state: IssueState,
        known: Option<&Validator>,
    ) -> Result<ListAnswer, Error> {
        self.rows(self.list(repository, "created", "asc", state, since), known)
            .await
    }

    /// The first part of the issues and pull requests that were updated since then, of any state, the longest unchanged
    /// first.
    ///
    /// # Errors
    /// As [`Client::issues_created`].
    pub async fn issues_updated(
        &self,
        repository: &RepoName,
        since: OffsetDateTime,
        known: Option<&Validator>,
    ) -> Result<ListAnswer, Error> {
        let url = self.list(repository, "updated", "asc", IssueState::All, Some(since));
        self.rows(url, known).await
    }

    /// A further part, or the same again.
    ///
    /// # Errors
    /// As [`Client::issues_created`].
    pub async fn issues_at(&self, cursor: &Cursor, known: Option<&Validator>) -> Result<ListAnswer, Error> {
        self.rows(cursor.url(), known).await
    }

    /// As [`Client::issues_updated`], numbers only.
    ///
    /// # Errors
    /// As [`Client::issues_created`].
    pub async fn issues_since(&self, repository: &RepoName, since: OffsetDateTime) -> Result<Page, Error> {
        self.page(self.list(repository, "updated", "asc", IssueState::All, Some(since)))
            .await
    }

    /// As [`Client::issues_since`], the last updated first: for who wants a few of them and knows that an issue which
    /// changes meanwhile may be left out.
    ///
    /// # Errors
    /// As [`Client::issues_created`].
    pub async fn newest_issues_since(&self, repository: &RepoName, since: OffsetDateTime) -> Result<Page, Error> {
        self.page(self.list(repository, "updated", "desc", IssueState::All, Some(since)))
            .await
    }

    /// The number of the newest issue or pull request, which is about how many there are.
    ///
    /// # Errors
    /// As [`Client::issues_created`].
    pub async fn newest_issue(&self, repository: &RepoName) -> Result<Option<u64>, Error> {
        let mut url = self.url(&format!("repos/{repository}/issues"));
        url.set_query(Some("state=all&sort=created&direction=desc&per_page=1"));
        Ok(self.page(url).await?.numbers.first().copied())
    }

    /// A further page, numbers only.
    ///
    /// # Errors
    /// As [`Client::issues_created`].
    pub async fn issues_after(&self, cursor: &Cursor) -> Result<Page, Error> {
        self.page(cursor.url()).await
    }

    fn list(
        &self,
        repository: &RepoName,
        sort: &str,
        direction: &str,
        state: IssueState,
        since: Option<OffsetDateTime>,
    ) -> Url {
        let mut url = self.url(&format!("repos/{repository}/issues"));
        url.query_pairs_mut()
            .extend_pairs([("state", state.as_str()), ("sort", sort), ("direction", direction)])
            .append_pair("per_page", "100")
            .extend_pairs(since.map(|since| ("since", timestamp(since))));
        url
    }

    async fn page(&self, url: Url) -> Result<Page, Error> {
        match self.rows(url, None).await? {
            ListAnswer::Rows(Rows { rows, next, .. }) => Ok(Page {
                numbers: rows.iter().map(|row| row.number).collect(),
                next,
            }),
            ListAnswer::Unchanged { .. } => Err(Error::malformed("unchanged, though nothing was known")),
        }
    }

    async fn rows(&self, url: Url, known: Option<&Validator>) -> Result<ListAnswer, Error> {
        let answer = self
            .ask_following(Request::get(Route::Issues, url).known(known))
            .await?;
        match answer.status {
            StatusCode::OK => self.read(&answer).map(ListAnswer::Rows),
            StatusCode::NOT_MODIFIED => self.next(&answer).map(|next| ListAnswer::Unchanged { next }),
            status => Err(Error::Unexpected {
                status: status.as_u16(),
            }),
        }
    }

    fn read(&self, answer: &Answer) -> Result<Rows, Error> {
        let rows = body::objects(&answer.body)?.into_iter();
        Ok(Rows {
            rows: rows.map(|row| Row::of(row, &answer.body)).collect::<Result<_, _>>()?,
            next: self.next(answer)?,
            validator: answer.validator(),
        })
    }

    fn next(&self, answer: &Answer) -> Result<Option<Cursor>, Error> {
        Ok(Pages::new(self.base(), &answer.url).next(&answer.headers)?.map(Cursor))
    }
}

impl Row {
    fn of(row: &RawValue, list: &Bytes) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            number: u64,
            #[serde(with = "time::serde::rfc3339")]
            updated_at: OffsetDateTime,
        }
        let raw = list.slice_ref(row.get().as_bytes());
        let Head { number, updated_at } = body::object(&raw)?;
        Ok(Self {
            number,
            updated_at,
            complete: body::has_fields(&raw, &FIELDS)?,
            comments: crate::comments(&raw),
            raw,
        })
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
