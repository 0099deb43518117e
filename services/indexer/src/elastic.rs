//! Small JSON requests to Elasticsearch, and what its errors say without quoting content.

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::request::JsonBody;
use elasticsearch::http::transport::Transport;
use serde_json::Value;

/// Elasticsearch did not answer, or not with what it should. The text says why, for people and health endpoints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// Sends a small request and reads the whole answer: its HTTP status and JSON (`null` for an empty body).
///
/// # Errors
/// [`Away`] if no answer came, or one that is no JSON.
pub async fn call(
    transport: &Transport,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(u16, Value), Away> {
    let sent = transport
        .send(
            method,
            path,
            HeaderMap::new(),
            None::<&()>,
            body.map(JsonBody::new),
            None,
        )
        .await;
    let response = sent.map_err(|error| unreachable(&error))?;
    let status = response.status_code().as_u16();
    let bytes = response.bytes().await.map_err(|error| unreachable(&error))?;
    Ok((status, parse(status, &bytes)?))
}

/// Why a request got no answer. Names no address: URLs may hold credentials.
pub(crate) fn unreachable(error: &elasticsearch::Error) -> Away {
    let what = if error.is_timeout() {
        "does not answer in time"
    } else {
        "cannot be reached"
    };
    Away(format!("Elasticsearch {what}"))
}

pub(crate) fn parse(status: u16, bytes: &Bytes) -> Result<Value, Away> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|_| Away(format!("Elasticsearch answers {status} and no JSON")))
}

/// The type of the error in an answer, for example `resource_already_exists_exception`; empty if there is none.
#[must_use]
pub fn error_type(answer: &Value) -> &str {
    answer["error"]["type"].as_str().unwrap_or_default()
}
