//! Pages of the list, asked for again only as far as they changed.
//!
//! What is kept of a page is its validator, the numbers and hashes of its rows, and where the list went on. Of a page
//! that did not change GitHub sends no rows; a hash then says whether the log has the row's bytes.

use async_nats::jetstream::kv::Store;
use bugstream_github::{Client, Cursor, Error, IssueState, ListAnswer, Rows, Validator};
use bugstream_kit::broker::Broker;
use bugstream_kit::log::LogError;
use bugstream_kit::validators::sha256;
use bugstream_proto::{RepoName, topology};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cursor;
use crate::tasks::Stopped;

/// Rows of a full page.
const FULL: usize = 100;

/// Where a list is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `None` at the beginning.
    pub(super) cursor: Option<Cursor>,
    pub(super) since: Option<OffsetDateTime>,
    pub(super) state: IssueState,
}

/// A page of the list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Listed>,
    pub(super) next: Option<Cursor>,
    /// Under which key it is kept, and with which validator; `None` where there is nothing new to keep.
    pub(super) kept: Option<(String, Validator)>,
}

/// A row of the list.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) number: u64,
    /// Of its bytes, in hexadecimal.
    pub(super) sha256: String,
    pub(super) content: Content,
}

/// What came of a row.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// The whole issue.
    Complete(Bytes),
    /// Not every field of the issue.
    Lacking,
    /// Only its hash, since the page did not change.
    Known,
}

impl Listed {
    pub(super) fn known(number: u64, sha256: String) -> Self {
        let content = Content::Known;
        Self {
            number,
            sha256,
            content,
        }
    }
}

/// A page as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    validator: Validator,
    /// Numbers and hashes, in order.
    rows: Vec<(u64, String)>,
    next: Option<Cursor>,
}

/// The pages of one repository's list, in the bucket of validators.
#[derive(Debug)]
pub(super) struct Pages {
    store: Store,
    /// Of the keys; no issue's key has such a last part.
    prefix: String,
}

impl Pages {
    pub(super) async fn open(broker: &Broker, repo: &RepoName) -> Result<Self, Stopped> {
        let store = broker.jetstream.get_key_value(topology::VALIDATORS).await;
        let store = store.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let prefix = format!("{}/{}/list-", repo.owner(), repo.repo().replace('.', "=2E"));
        Ok(Self { store, prefix })
    }

    /// Asks for the page at a place, for what changed since it was kept.
    pub(super) async fn list(&self, place: Place, client: &Client, repo: &RepoName) -> Result<Page, Stopped> {
        let key = self.key_of(&place);
        let kept = self.store.get(&key).await.ok().flatten();
        let kept: Option<Kept> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let validator = kept.as_ref().map(|kept| &kept.validator);
        let answer = ask(&place, validator, client, repo).await?;
        if let (ListAnswer::Unchanged { next }, Some(kept)) = (&answer, kept) {
            let next = next.clone().or(kept.next);
            if next.is_some() || kept.rows.len() < FULL {
                return Ok(unchanged(kept.rows, next));
            }
        }
        // Behind a full page that was the last one there may be another one by now, and nobody said so.
        let answer = match answer {
            ListAnswer::Unchanged { .. } => ask(&place, None, client, repo).await?,
            rows => rows,
        };
        match answer {
            ListAnswer::Rows(rows) => Ok(changed(rows, key)),
            ListAnswer::Unchanged { .. } => Err(Stopped::from(Error::Malformed {
                why: "unchanged, though nothing was known",
            })),
        }
    }

    /// Keeps what a page was, once its rows are done. Losing it costs a request.
    pub(super) async fn keep(&self, page: &Page) {
        let Some((key, validator)) = &page.kept else { return };
        let kept = Kept {
            validator: validator.clone(),
            rows: page.rows.iter().map(|row| (row.number, row.sha256.clone())).collect(),
            next: page.next.clone(),
        };
        let bytes = serde_json::to_vec(&kept).expect("these records have text keys only");
        if let Err(error) = self.store.put(key, bytes.into()).await {
            tracing::debug!(%error, "the validator of a page was not kept");
        }
    }

    fn key_of(&self, place: &Place) -> String {
        let name = match &place.cursor {
            Some(cursor) => cursor::write(cursor),
            None => format!("{} {:?}", place.state, place.since),
        };
        format!("{}{}", self.prefix, &sha256(name.as_bytes())[..32])
    }
}

async fn ask(place: &Place, known: Option<&Validator>, client: &Client, repo: &RepoName) -> Result<ListAnswer, Error> {
    match &place.cursor {
        Some(cursor) => client.issues_at(cursor, known).await,
        None => client.issues_created(repo, place.since, place.state, known).await,
    }
}

fn changed(rows: Rows, key: String) -> Page {
    let listed = rows.rows.into_iter().map(|row| Listed {
        number: row.number,
        sha256: sha256(&row.raw),
        content: if row.complete {
            Content::Complete(row.raw)
        } else {
            Content::Lacking
        },
    });
    Page {
        rows: listed.collect(),
        next: rows.next,
        kept: rows.validator.map(|validator| (key, validator)),
    }
}

fn unchanged(rows: Vec<(u64, String)>, next: Option<Cursor>) -> Page {
    Page {
        rows: rows
            .into_iter()
            .map(|(number, sha256)| Listed::known(number, sha256))
            .collect(),
        next,
        kept: None,
    }
}
