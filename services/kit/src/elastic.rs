//! The connection to Elasticsearch: whole requests and whole answers, over whichever of its nodes is there.
//!
//! Before the first request, and again after a connection failed, it is asked what it is: an Elasticsearch of a version
//! that we know, or something else at its address. That, refused credentials and untrusted certificates are [`Away`]
//! with a text that names what to mend: whoever waits goes on by itself once it is mended.
//!
//! What it is not: a judge of other answers. Statuses go to the caller.

mod nodes;
mod product;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
pub use elasticsearch::http::Method;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use serde_json::Value;

use self::nodes::{Node, Nodes};
use self::refusal::Identity;
use crate::config;
use crate::service::Context;

/// How long a request may take; a bulk of some megabytes on a busy node takes seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the answer to what it is may take.
const INTRODUCTION: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";

/// Elasticsearch did not answer, or not with what it should. The text says why, for people and health endpoints; it names
/// no address, since URLs may hold credentials, and quotes no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// The connections to all nodes. Clones share them, and what is known about each.
#[derive(Debug, Clone)]
pub struct Transport {
    nodes: Arc<Nodes>,
    identity: Identity,
}

/// Builds the transport. Nothing is sent yet.
///
/// # Errors
/// If a URL or the TLS set-up is unusable.
pub fn transport(config: &config::Elasticsearch) -> anyhow::Result<Transport> {
    crate::tls::install();
    let nodes = config.nodes().map(|node| one(node, config));
    let nodes = nodes.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Transport {
        nodes: Arc::new(Nodes::new(nodes)),
        identity: Identity::of(config),
    })
}

fn one(node: &str, config: &config::Elasticsearch) -> anyhow::Result<Node> {
    let url: url::Url = node.parse().context("ELASTIC_NODE is not a URL")?;
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone()))
        .timeout(REQUEST_TIMEOUT)
        .disable_proxy();
    if let Some(credentials) = credentials(config) {
        builder = builder.auth(credentials);
    }
    if let Some(path) = &config.ca_path {
        let what = || format!("ELASTIC_CA_PATH ([elasticsearch] ca_path), {}", path.display());
        let pem = std::fs::read(path).with_context(|| format!("cannot read {}", what()))?;
        let certificates =
            Certificate::from_pem(&pem).with_context(|| format!("{} has no usable certificate", what()))?;
        builder = builder.cert_validation(CertificateValidation::Full(certificates));
    }
    let transport = builder
        .build()
        .context("cannot set up the connection to Elasticsearch")?;
    Ok(Node::new(url, transport))
}

fn credentials(config: &config::Elasticsearch) -> Option<Credentials> {
    if let Some(key) = &config.api_key {
        let key = key.expose();
        return Some(match key.split_once(':') {
            Some((id, key)) => Credentials::ApiKey(id.to_owned(), key.to_owned()),
            None => Credentials::EncodedApiKey(key.to_owned()),
        });
    }
    let (username, password) = (config.username.as_ref()?, config.password.as_ref()?);
    Some(Credentials::Basic(username.clone(), password.expose().to_owned()))
}

/// Adds Elasticsearch to what `/readyz` asks.
pub fn watch(transport: &Transport, context: &Context) {
    let transport = transport.clone();
    context.health.probe("elasticsearch", move || {
        let transport = transport.clone();
        async move { transport.answers().await.map_err(|away| away.to_string()) }
    });
}

impl Transport {
    /// Asks what it is, anew.
    ///
    /// # Errors
    /// [`Away`] if nothing answers, or it is no Elasticsearch that we know, or refuses our credentials.
    pub async fn answers(&self) -> Result<(), Away> {
        let mut last = None;
        for node in self.nodes.in_turn().await {
            match self.introduce(node).await {
                Ok(()) => return Ok(()),
                Err(away) => last = Some(away),
            }
        }
        Err(last.unwrap_or_else(|| Away("no node of Elasticsearch is configured".to_owned())))
    }

    /// Sends a request with a JSON body or none, and reads the whole answer: its HTTP status and JSON (`null` for an empty
    /// body).
    ///
    /// # Errors
    /// [`Away`] if no answer came, one that is no JSON, or one that refuses our credentials.
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), Away> {
        let body = body.map(|body| serde_json::to_vec(body).expect("JSON values can be written"));
        let (status, answer) = self.send(method, path, JSON, body.map(Bytes::from)).await?;
        if let Some(refusal) = self.refusal(status, &answer) {
            return Err(refusal);
        }
        if answer.is_empty() {
            return Ok((status, Value::Null));
        }
        let parsed = serde_json::from_slice(&answer).map_err(|_| not_json(status, &answer))?;
        Ok((status, parsed))
    }

    /// Sends a request to a node that is there, and reads the whole answer. It goes to another node only where it cannot
    /// have reached the first.
    ///
    /// # Errors
    /// [`Away`] if no answer came, or what answers is no Elasticsearch that we know.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
    ) -> Result<(u16, Bytes), Away> {
        let mut last = None;
        for node in self.nodes.in_turn().await {
            if !node.is_introduced()
                && let Err(away) = self.introduce(node).await
            {
                last = Some(away);
                continue;
            }
            match exchange(node, method, path, content_type, body.clone(), None).await {
                Ok((status, answer)) => {
                    if matches!(status, 502..=504) {
                        node.rest();
                    }
                    return Ok((status, answer));
                }
                Err(error) => {
                    node.rest();
                    let unsent = refusal::was_not_sent(&error);
                    let away = refusal::unreachable(&error);
                    if !unsent {
                        return Err(away);
                    }
                    last = Some(away);
                }
            }
        }
        Err(last.unwrap_or_else(|| Away("no node of Elasticsearch is configured".to_owned())))
    }

    /// What an answer means that refuses our credentials or what they may do, or that a proxy gave in place of
    /// Elasticsearch; `None` for any other.
    #[must_use]
    pub fn refusal(&self, status: u16, answer: &[u8]) -> Option<Away> {
        self.identity.refusal(status, answer).map(Away)
    }

    /// Asks a node what it is. One that lets us in but not look at its version is Elasticsearch enough.
    async fn introduce(&self, node: &Node) -> Result<(), Away> {
        let introduced = self.introduction(node).await;
        match &introduced {
            Ok(()) => node.introduced(),
            Err(_) => node.rest(),
        }
        introduced
    }

    async fn introduction(&self, node: &Node) -> Result<(), Away> {
        let answer = exchange(node, Method::Get, "/", JSON, None, Some(INTRODUCTION)).await;
        let (status, answer) = answer.map_err(|error| refusal::at_first_contact(&error, &node.url))?;
        if status == 403 && refusal::is_elasticsearchs(&answer) {
            return Ok(());
        }
        if let Some(refusal) = self.refusal(status, &answer) {
            return Err(refusal);
        }
        product::check(status, &answer).map_err(Away)
    }
}

async fn exchange(
    node: &Node,
    method: Method,
    path: &str,
    content_type: &'static str,
    body: Option<Bytes>,
    timeout: Option<Duration>,
) -> Result<(u16, Bytes), elasticsearch::Error> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let sent = node.transport.send(method, path, headers, None::<&()>, body, timeout);
    let response = sent.await?;
    let status = response.status_code().as_u16();
    Ok((status, response.bytes().await?))
}

/// An answer that should have been JSON.
#[must_use]
pub fn not_json(status: u16, answer: &[u8]) -> Away {
    Away(refusal::page(status, answer).unwrap_or_else(|| format!("Elasticsearch answers {status} and no JSON")))
}
