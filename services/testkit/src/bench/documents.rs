//! The part beneath a rebuild: the same documents, loaded through bare `_bulk` requests that are ready beforehand.
//!
//! They are read back from the indices that a rebuild filled, stubs included, so that they are the same to the byte; and
//! they go into indices of the same names, mappings and settings, through the same aliases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::load::finish;

/// Documents of one page when they are read back.
const PAGE: usize = 1_000;

/// The first generation of all indices, without the installation's prefix.
const INDICES: [&str; 4] = [
    "bugstream-timelines-public-000001",
    "bugstream-timelines-private-000001",
    "bugstream-issues-public-000001",
    "bugstream-issues-private-000001",
];

/// The node, and what our names begin with there.
#[derive(Debug, Clone)]
pub(super) struct Node {
    url: String,
    prefix: String,
    client: reqwest::Client,
}

/// Bodies of bulk requests.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    bodies: Vec<Bytes>,
    /// Documents in all of them, stubs included.
    pub(super) documents: u64,
    /// Bytes of all of them.
    pub(super) bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Page<'a> {
    #[serde(rename = "_scroll_id")]
    scroll: String,
    #[serde(borrow)]
    hits: Hits<'a>,
}

#[derive(Debug, Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Debug, Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version")]
    version: u64,
    #[serde(borrow, rename = "_source")]
    source: &'a RawValue,
}

/// A document as two lines of a bulk body, and its place in the order in which they are loaded.
struct Line {
    /// Number of the issue, then its timeline before itself, public before private.
    place: (u64, usize, u64),
    bytes: Vec<u8>,
}

impl Node {
    pub(super) fn new(url: &str, prefix: &str) -> anyhow::Result<Self> {
        crate::install_tls();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(120))
            .build()?;
        Ok(Self {
            url: url.to_owned(),
            prefix: prefix.to_owned(),
            client,
        })
    }

    /// Every document of the first generation, in bodies of at least `bytes` each.
    pub(super) async fn read_back(&self, bytes: usize) -> anyhow::Result<Bodies> {
        let mut lines = Vec::new();
        for (rank, index) in INDICES.into_iter().enumerate() {
            self.read_index(index, rank, &mut lines).await?;
        }
        lines.sort_unstable_by_key(|line| line.place);
        let mut bodies = Bodies {
            bodies: Vec::new(),
            documents: lines.len() as u64,
            bytes: 0,
        };
        let mut body = Vec::with_capacity(bytes);
        for line in lines {
            body.extend_from_slice(&line.bytes);
            if body.len() >= bytes {
                bodies.push(&mut body);
            }
        }
        bodies.push(&mut body);
        Ok(bodies)
    }

    async fn read_index(&self, index: &str, rank: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
        let alias = format!("{}{index}-write", self.prefix);
        let first = json!({"size": PAGE, "sort": ["_doc"], "version": true});
        let mut request = (format!("/{}{index}/_search?scroll=1m", self.prefix), first);
        loop {
            let answer = self.post(&request.0, request.1.to_string().into()).await?;
            let page: Page<'_> = serde_json::from_slice(&answer).context("a page of documents")?;
            if page.hits.hits.is_empty() {
                self.delete("_search/scroll", &json!({"scroll_id": page.scroll}))
                    .await?;
                return Ok(());
            }
            for hit in &page.hits.hits {
                lines.push(line(&alias, rank, hit)?);
            }
            request = (
                "/_search/scroll".to_owned(),
                json!({"scroll": "1m", "scroll_id": page.scroll}),
            );
        }
    }

    /// Makes the first generation again, empty, with the settings of one that is filled. The templates are there: a
    /// rebuild has put them.
    pub(super) async fn make_indices(&self) -> anyhow::Result<()> {
        let filter = json!({"bool": {"must_not": [{"term": {"bugstream.gone": true}}]}});
        for index in INDICES {
            let alias = format!("{}{index}-write", self.prefix);
            let body = json!({
                "settings": {
                    "index.refresh_interval": "-1",
                    "index.auto_expand_replicas": false,
                    "index.number_of_replicas": 0,
                },
                "aliases": {alias: {"is_hidden": true, "filter": filter}},
            });
            let url = format!("{}/{}{index}", self.url, self.prefix);
            let answer = self.client.put(url).json(&body).send().await?;
            anyhow::ensure!(
                answer.status().is_success(),
                "no index {index}: {}",
                answer.text().await?
            );
        }
        Ok(())
    }

    /// Deletes every index of ours.
    pub(super) async fn delete_indices(&self) -> anyhow::Result<()> {
        let path = format!(
            "/_cat/indices/{}*?expand_wildcards=all&format=json&h=index",
            self.prefix
        );
        let rows: Value = serde_json::from_slice(&self.get(&path).await?)?;
        for row in rows.as_array().context("a list of indices")? {
            let index = row["index"].as_str().context("an index has a name")?;
            self.delete(index, &Value::Null).await?;
        }
        Ok(())
    }

    /// Makes everything in the first generation searchable; answers how many documents there are.
    pub(super) async fn refresh_and_count(&self) -> anyhow::Result<u64> {
        let names = INDICES.map(|index| format!("{}{index}", self.prefix)).join(",");
        self.post(&format!("/{names}/_refresh"), Bytes::new()).await?;
        let count: Value = serde_json::from_slice(&self.get(&format!("/{names}/_count")).await?)?;
        count["count"].as_u64().context("a count")
    }

    /// Bulk requests that the node has answered; none where it does not count them.
    pub(super) async fn bulks(&self) -> anyhow::Result<u64> {
        let stats: Value = serde_json::from_slice(&self.get("/_nodes/_local/stats/http").await?)?;
        let nodes = stats["nodes"].as_object().and_then(|nodes| nodes.values().next());
        let count = nodes.and_then(|node| node["http"]["routes"]["/_bulk"]["requests"]["count"].as_u64());
        Ok(count.unwrap_or(0))
    }

    /// Sends all bodies over this many connections; how long it took from the first byte to the last answer.
    ///
    /// # Errors
    /// Anything but success, also of a single document: what was not written has no speed.
    pub(super) async fn load(&self, bodies: &Arc<Bodies>, connections: usize) -> anyhow::Result<Duration> {
        let next = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            workers.spawn(self.clone().load_what_is_left(Arc::clone(bodies), Arc::clone(&next)));
        }
        finish(workers).await?;
        Ok(begin.elapsed())
    }

    async fn load_what_is_left(self, bodies: Arc<Bodies>, next: Arc<AtomicUsize>) -> anyhow::Result<()> {
        while let Some(body) = bodies.bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = self.post(BULK, body.clone()).await?;
            anyhow::ensure!(answer.starts_with(b"{\"errors\":false"), "a bulk has errors");
        }
        Ok(())
    }

    async fn post(&self, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let request = self.client.post(format!("{}{path}", self.url)).body(body);
        let kind = if path == BULK {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let answer = request.header("content-type", kind).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.bytes().await?)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.bytes().await?)
    }

    async fn delete(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.client.delete(format!("{}/{path}", self.url));
        let request = if body.is_null() { request } else { request.json(body) };
        request
            .send()
            .await?
            .error_for_status()
            .with_context(|| format!("cannot delete {path}"))?;
        Ok(())
    }
}

/// What an indexer asks for, too.
const BULK: &str =
    "/_bulk?require_alias=true&filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";

impl Bodies {
    fn push(&mut self, body: &mut Vec<u8>) {
        if !body.is_empty() {
            self.bytes += body.len() as u64;
            self.bodies.push(Bytes::copy_from_slice(body));
            body.clear();
        }
    }

    /// How many requests it takes to load them.
    pub(super) fn requests(&self) -> u64 {
        self.bodies.len() as u64
    }
}

fn line(alias: &str, rank: usize, hit: &Hit<'_>) -> anyhow::Result<Line> {
    let Hit { id, version, source } = hit;
    let mut parts = id.split('/').skip(2);
    let number = parts.next().and_then(|number| number.parse().ok()).context("an id")?;
    let position = parts.next().map_or(Ok(0), str::parse).context("a position")?;
    let action =
        format!(r#"{{"index":{{"_index":"{alias}","_id":"{id}","version":{version},"version_type":"external_gte"}}}}"#);
    Ok(Line {
        place: (number, rank, position),
        bytes: [action.as_bytes(), b"\n", source.get().as_bytes(), b"\n"].concat(),
    })
}
