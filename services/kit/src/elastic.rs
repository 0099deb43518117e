//! The connection to Elasticsearch.

use std::time::Duration;

use anyhow::Context as _;
use elasticsearch::auth::Credentials;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, headers::HeaderMap};

use crate::config;
use crate::service::Context;

/// How long a request may take; a bulk of some megabytes on a busy node takes seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the transport. Nothing is sent yet.
///
/// # Errors
/// If the URL or the TLS set-up is unusable.
pub fn transport(config: &config::Elasticsearch) -> anyhow::Result<Transport> {
    crate::tls::install();
    let node = config.node.parse().context("ELASTIC_NODE is not a URL")?;
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(node))
        .timeout(REQUEST_TIMEOUT)
        .disable_proxy();
    if let Some(credentials) = credentials(config) {
        builder = builder.auth(credentials);
    }
    builder.build().context("cannot set up the connection to Elasticsearch")
}

/// Adds Elasticsearch to what `/readyz` asks.
pub fn watch(transport: &Transport, context: &Context) {
    let transport = transport.clone();
    context.health.probe("elasticsearch", move || {
        let transport = transport.clone();
        async move { answers(&transport).await }
    });
}

/// Whether Elasticsearch answers, or the reason why not.
///
/// # Errors
/// The reason, for people.
pub async fn answers(transport: &Transport) -> Result<(), String> {
    let sent = transport
        .send(Method::Get, "/", HeaderMap::new(), None::<&()>, None::<()>, None)
        .await;
    let response = sent.map_err(|error| error.to_string())?;
    let status = response.status_code();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("Elasticsearch answers {status}"))
    }
}

fn credentials(config: &config::Elasticsearch) -> Option<Credentials> {
    if let Some(key) = &config.api_key {
        return Some(Credentials::EncodedApiKey(key.expose().to_owned()));
    }
    let (username, password) = (config.username.as_ref()?, config.password.as_ref()?);
    Some(Credentials::Basic(username.clone(), password.expose().to_owned()))
}
