//! The part beneath a receiver: an axum handler that reads a body, verifies its signature, and does nothing else.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::net::TcpListener;

type Code = Hmac<Sha256>;

/// Serves `POST /github/receive` with 202 for a genuine body and 401 for any other, and `GET /readyz`, for ever.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, secret: &str) -> anyhow::Result<()> {
    let code = Code::new_from_slice(secret.as_bytes()).context("HMAC takes a key of any length")?;
    let router = Router::new()
        .route("/github/receive", post(receive))
        .route("/readyz", get(|| async { StatusCode::OK }))
        .with_state(Arc::new(code));
    axum::serve(listener, router).await.context("serving HTTP")
}

async fn receive(State(code): State<Arc<Code>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if is_genuine(&code, &headers, &body) {
        StatusCode::ACCEPTED
    } else {
        StatusCode::UNAUTHORIZED
    }
}

fn is_genuine(code: &Code, headers: &HeaderMap, body: &[u8]) -> bool {
    let claim = headers
        .get("x-hub-signature-256")
        .and_then(|value| value.as_bytes().strip_prefix(b"sha256="))
        .and_then(|digits| hex::decode(digits).ok());
    claim.is_some_and(|claim| code.clone().chain_update(body).verify_slice(&claim).is_ok())
}
