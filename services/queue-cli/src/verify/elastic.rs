//! The visible documents, read page by page through the live aliases, and the deletion of one that was seen.

use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::elastic::{Away, Transport};
use bugstream_proto::{IssueId, RepoName};
use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::place::{self, Kind, Side};
use crate::failure::Failure;

/// Documents of one issue in an answer: bodies may have 64 KB each.
const PAGE: usize = 500;
/// Rows without content in an answer.
const ROWS: usize = 5_000;
/// How often a request is sent while Elasticsearch is busy or away.
const ATTEMPTS: u64 = 4;
/// How long Elasticsearch keeps a view open between two pages.
const KEEP_ALIVE: &str = "5m";

/// Elasticsearch, as people see it.
#[derive(Debug, Clone)]
pub(super) struct Elastic {
    transport: Transport,
    chance: Chance,
    prefix: String,
}

/// Names one state of one document, so that nothing newer is ever deleted in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    index: String,
    id: String,
    seq_no: u64,
    primary_term: u64,
}

/// A visible document.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) side: Side,
    pub(super) id: String,
    pub(super) handle: Handle,
    pub(super) source: Value,
    /// What a query for its issue's documents would find it by.
    pub(super) repository: Option<RepoName>,
    pub(super) number: Option<u64>,
}

/// A part of an answer, and where the next begins.
pub(super) struct Page {
    pub(super) found: Vec<Found>,
    pub(super) next: Option<Value>,
}

impl Elastic {
    pub(super) fn new(transport: Transport, chance: Chance, prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        Self {
            transport,
            chance,
            prefix,
        }
    }

    /// Makes visible what was written. A key that may only read is no reason to stop: it becomes visible by itself. And
    /// whatever else is wrong, the first question tells.
    pub(super) async fn refresh(&self) {
        let path = format!("/{}/_refresh?ignore_unavailable=true", place::aliases(&self.prefix));
        let _ = self.call(Method::Post, &path, None).await;
    }

    /// Documents that say that they belong to an issue, in order of position.
    pub(super) async fn of_issue(&self, issue: &IssueId, after: Option<Value>) -> Result<Page, Failure> {
        let of_issue = json!([
            {"term": {"bug_number": issue.number()}},
            {"term": {"bugstream.repository": issue.repo().to_string()}},
        ]);
        let position = json!({"order": "asc", "missing": "_first", "unmapped_type": "long"});
        let mut body = json!({
            "query": {"bool": {"filter": of_issue}},
            "sort": [{"bugstream.position": position}, {"_index": "asc"}],
            "size": PAGE,
            "seq_no_primary_term": true,
        });
        if let Some(after) = after {
            body["search_after"] = after;
        }
        let path = format!("/{}/_search?ignore_unavailable=true", place::aliases(&self.prefix));
        let answer = self.accepted(Method::Post, &path, Some(body)).await?;
        self.page(&answer, PAGE)
    }

    /// Opens a view of every visible document that stays the same; `None` where there is no index yet.
    pub(super) async fn open_view(&self) -> Result<Option<String>, Failure> {
        let aliases = place::aliases(&self.prefix);
        let path = format!("/{aliases}/_pit?keep_alive={KEEP_ALIVE}&ignore_unavailable=true");
        match self.call(Method::Post, &path, None).await? {
            (404, _) => Ok(None),
            answer => Ok(refuse(answer)?["id"].as_str().map(str::to_owned)),
        }
    }

    /// Every document of a view, without its content.
    pub(super) async fn of_view(&self, view: &str, after: Option<Value>) -> Result<Page, Failure> {
        let mut body = json!({
            "pit": {"id": view, "keep_alive": KEEP_ALIVE},
            "sort": [{"_shard_doc": "asc"}],
            "size": ROWS,
            "_source": false,
            "fields": ["bug_number", "bugstream.repository"],
            "seq_no_primary_term": true,
            "track_total_hits": false,
        });
        if let Some(after) = after {
            body["search_after"] = after;
        }
        let answer = self.accepted(Method::Post, "/_search", Some(body)).await?;
        self.page(&answer, ROWS)
    }

    /// Closes a view; one that stays open closes by itself.
    pub(super) async fn close_view(&self, view: &str) -> Result<(), Failure> {
        self.call(Method::Delete, "/_pit", Some(json!({"id": view})))
            .await
            .map(drop)
    }

    /// Deletes the document that was seen. One that changed or went since is left alone.
    pub(super) async fn remove(&self, seen: &Handle) -> Result<(), Failure> {
        let Handle {
            index,
            id,
            seq_no,
            primary_term,
        } = seen;
        let path = format!(
            "/{index}/_doc/{}?if_seq_no={seq_no}&if_primary_term={primary_term}",
            encode(id)
        );
        match self.call(Method::Delete, &path, None).await? {
            (404 | 409, _) => Ok(()),
            answer => refuse(answer).map(drop),
        }
    }

    fn page(&self, answer: &Value, full: usize) -> Result<Page, Failure> {
        let hits = answer["hits"]["hits"].as_array().map(Vec::as_slice).unwrap_or_default();
        let next = hits
            .last()
            .filter(|_| hits.len() >= full)
            .map(|last| last["sort"].clone());
        let found = hits.iter().map(|hit| self.found(hit)).collect::<Result<_, _>>()?;
        Ok(Page { found, next })
    }

    fn found(&self, hit: &Value) -> Result<Found, Failure> {
        let (index, id) = (text(&hit["_index"]), text(&hit["_id"]));
        let (kind, side) = place::of_index(&self.prefix, &index).ok_or_else(|| {
            Failure::failed(format!("an alias leads to {index:?}, which is no index of Bugstream's"))
                .with_fix("take the alias away from it; the indexer makes what is missing")
        })?;
        let fields = &hit["fields"];
        Ok(Found {
            kind,
            side,
            handle: Handle {
                index,
                id: id.clone(),
                seq_no: hit["_seq_no"].as_u64().unwrap_or_default(),
                primary_term: hit["_primary_term"].as_u64().unwrap_or_default(),
            },
            id,
            source: hit["_source"].clone(),
            repository: fields["bugstream.repository"][0]
                .as_str()
                .and_then(|name| name.parse().ok()),
            number: fields["bug_number"][0].as_u64(),
        })
    }

    async fn accepted(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        refuse(self.call(method, path, body).await?)
    }

    /// Sends a request, again where that may help.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value), Failure> {
        let mut attempts = 0;
        loop {
            let answer = self.send(method, path, body.clone()).await;
            match answer {
                Ok((429 | 500.., _)) | Err(_) if attempts + 1 < ATTEMPTS => attempts += 1,
                _ => return answer,
            }
            let (base, longest) = (Duration::from_millis(250), Duration::from_secs(4));
            tokio::time::sleep(self.chance.backoff(base, longest, attempts)).await;
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value), Failure> {
        self.transport.json(method, path, body.as_ref()).await.map_err(away)
    }
}

fn away(Away(why): Away) -> Failure {
    let failure = Failure::failed(why);
    match failure.problem().ends_with("cannot be reached") || failure.problem().ends_with("in time") {
        true => failure.with_fix("start it, or write another address (environment variable ELASTIC_NODE)"),
        false => failure,
    }
}

fn refuse((status, answer): (u16, Value)) -> Result<Value, Failure> {
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let why = answer["error"]["type"].as_str().unwrap_or("no reason");
    Err(Failure::failed(format!("Elasticsearch answers {status} ({why})")))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An id as it stands in a path.
fn encode(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
