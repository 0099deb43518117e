//! The test run's one real Elasticsearch: each test gets a prefix of its own, and takes away what has it.

use std::time::Duration;

use bugstream_stack::server;
use serde_json::{Value, json};

/// The variable that names the node.
pub const NODE: &str = "BUGSTREAM_TEST_ELASTIC_NODE";

/// How long the shards of a new index may take to start.
const STARTING: Duration = Duration::from_secs(120);

/// How long one request may take: several tests share the node.
const PATIENCE: Duration = Duration::from_secs(120);

/// A part of the shared node: whatever has this value's prefix. Dropping it deletes those indices and templates.
#[derive(Debug)]
pub struct Elastic {
    node: String,
    prefix: String,
    client: reqwest::Client,
}

impl Elastic {
    /// Takes a fresh prefix on the shared node.
    ///
    /// # Panics
    /// If there is no node: `cargo stack test` starts one.
    #[must_use]
    pub fn shared() -> Self {
        Self::at(&crate::provided(NODE))
    }

    /// Takes a fresh prefix on a node of the caller's own.
    ///
    /// # Panics
    /// Never: a client without options can be built.
    #[must_use]
    pub fn at(node: &str) -> Self {
        Self::through(node, builder().build().expect("a client without options"))
    }

    /// Takes a fresh prefix on a node that only this client is let into.
    pub(crate) fn through(node: &str, client: reqwest::Client) -> Self {
        Self {
            node: node.trim_end_matches('/').to_owned(),
            prefix: format!("t{}-", &crate::nonce()[..12]),
            client,
        }
    }

    /// The node's address.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What this test's names begin with (`[elasticsearch] prefix`), with its dash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name that an index or alias has here.
    #[must_use]
    pub fn name(&self, plain: &str) -> String {
        format!("{}{plain}", self.prefix)
    }

    /// Sends a request and returns status and body (null where it is no JSON). `path` begins with `/`. Sends it again
    /// where the node says that it did nothing, being busy with the tests beside this one.
    ///
    /// # Panics
    /// If the node does not answer at all, or is busy for ever.
    pub async fn call(&self, method: http::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let taken = async || {
            let (status, answer) = self.call_once(method.clone(), path, body).await;
            (status != 429).then_some((status, answer))
        };
        crate::wait::until("Elasticsearch has time for a request", PATIENCE, taken).await
    }

    async fn call_once(&self, method: http::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.node));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("Elasticsearch does not answer {path}: {error}"));
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap_or_default();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Makes everything written so far searchable.
    pub async fn refresh(&self) {
        let path = format!("/{}*/_refresh?expand_wildcards=all", self.prefix);
        let (status, answer) = self.call(http::Method::POST, &path, None).await;
        assert_eq!(status, 200, "refresh failed: {answer}");
    }

    /// The hits of a search in this test's index or alias (named without prefix), after a refresh; at most 10,000.
    /// An index that does not exist (yet) has none.
    pub async fn hits(&self, plain: &str, query: Value) -> Vec<Value> {
        self.refresh().await;
        let path = format!("/{}/_search", self.name(plain));
        let body = json!({"query": query, "size": 10_000, "version": true, "track_total_hits": true});
        // 503 where the shards of a new index have not started yet.
        let started =
            || async { Some(self.call(http::Method::POST, &path, Some(&body)).await).filter(|(s, _)| *s != 503) };
        let (status, mut answer) = crate::wait::until("the shards start", STARTING, started).await;
        assert!(status == 200 || status == 404, "search failed with {status}: {answer}");
        match answer["hits"]["hits"].take() {
            Value::Array(hits) => hits,
            _ => Vec::new(),
        }
    }

    /// The indices that exist with this prefix, without it, hidden ones too.
    pub async fn indices(&self) -> Vec<String> {
        let path = format!(
            "/_cat/indices/{}*?expand_wildcards=all&format=json&h=index",
            self.prefix
        );
        let (_, answer) = self.call(http::Method::GET, &path, None).await;
        names(&answer, "index")
            .map(|name| name[self.prefix.len()..].to_owned())
            .collect()
    }
}

/// What every client of a node has.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    crate::install_tls();
    reqwest::Client::builder().timeout(PATIENCE).no_proxy()
}

fn names<'a>(rows: &'a Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    rows.as_array()
        .into_iter()
        .flatten()
        .filter_map(move |row| row[key].as_str())
}

/// Best effort, without the async runtime, which may be gone: a node that has died needs no cleaning.
impl Drop for Elastic {
    fn drop(&mut self) {
        let agent = server::agent(PATIENCE);
        let list = format!(
            "{}/_cat/indices/{}*?expand_wildcards=all&format=json&h=index",
            self.node, self.prefix
        );
        let indices: Option<Value> = agent
            .get(list)
            .call()
            .ok()
            .and_then(|mut answer| answer.body_mut().read_json().ok());
        // By name: the node refuses to delete by wildcard.
        for index in names(&indices.unwrap_or_default(), "index") {
            _ = agent.delete(format!("{}/{index}", self.node)).call();
        }
        for kind in ["_index_template", "_component_template"] {
            _ = agent.delete(format!("{}/{kind}/{}*", self.node, self.prefix)).call();
        }
    }
}
