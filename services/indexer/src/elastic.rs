//! Small JSON requests to Elasticsearch, and what its errors say without quoting content.

use std::time::Duration;

pub use bugstream_kit::elastic::Away;
use bugstream_kit::elastic::Transport;
use elasticsearch::http::Method;
use serde_json::Value;

/// Too many requests, or too little memory for one more: nothing was done.
const TOO_BUSY: u16 = 429;
/// Milliseconds between the attempts at a request for which Elasticsearch is too busy: a rebuild of hours should not end
/// with one.
const WAITS: [u64; 5] = [250, 500, 1_000, 2_000, 4_000];

/// Sends a small request and reads the whole answer: its HTTP status and JSON (`null` for an empty body). Again for some
/// seconds while Elasticsearch is too busy for it.
///
/// # Errors
/// [`Away`] if no answer came, one that is no JSON, or one that refuses our credentials.
pub async fn call(
    transport: &Transport,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(u16, Value), Away> {
    for wait in WAITS {
        let answered = transport.json(method, path, body.as_ref()).await?;
        if answered.0 != TOO_BUSY {
            return Ok(answered);
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    transport.json(method, path, body.as_ref()).await
}

/// The type of the error in an answer, for example `resource_already_exists_exception`; empty if there is none.
#[must_use]
pub fn error_type(answer: &Value) -> &str {
    answer["error"]["type"].as_str().unwrap_or_default()
}
