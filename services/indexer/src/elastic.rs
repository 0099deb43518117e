//! Small JSON requests to Elasticsearch, and what its errors say without quoting content.

pub use bugstream_kit::elastic::Away;
use bugstream_kit::elastic::Transport;
use elasticsearch::http::Method;
use serde_json::Value;

/// Sends a small request and reads the whole answer: its HTTP status and JSON (`null` for an empty body).
///
/// # Errors
/// [`Away`] if no answer came, one that is no JSON, or one that refuses our credentials.
pub async fn call(
    transport: &Transport,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(u16, Value), Away> {
    transport.json(method, path, body.as_ref()).await
}

/// The type of the error in an answer, for example `resource_already_exists_exception`; empty if there is none.
#[must_use]
pub fn error_type(answer: &Value) -> &str {
    answer["error"]["type"].as_str().unwrap_or_default()
}
