//! What can come of a publish, as a caller chooses by it.

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError as ClientError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, Error as ServerError, ErrorCode};
use bytes::Bytes;

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The subject's last sequence is not the expected one (10071, and 10164 on a clustered stream): someone was first.
    #[error("the subject has a newer message than expected")]
    Conflict,
    /// JetStream is away, or has no leader just now, or is full. Nothing says whether the message was stored.
    #[error("JetStream did not take the message: {0}")]
    Unavailable(String),
}

impl From<ClientError> for PublishError {
    fn from(error: ClientError) -> Self {
        let code = std::error::Error::source(&error)
            .and_then(|s| s.downcast_ref::<ServerError>())
            .map(ServerError::error_code);
        let conflict = [
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE,
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
        ];
        if error.kind() == PublishErrorKind::WrongLastSequence || code.is_some_and(|code| conflict.contains(&code)) {
            return Self::Conflict;
        }
        Self::Unavailable(error.to_string())
    }
}

/// Publishes and waits for the PubAck. The current span's trace context goes along.
///
/// # Errors
/// [`PublishError`].
pub async fn publish(
    jetstream: &jetstream::Context,
    subject: &impl std::fmt::Display,
    mut headers: HeaderMap,
    payload: Bytes,
) -> Result<PublishAck, PublishError> {
    if headers.get("traceparent").is_none() {
        bugstream_telemetry::propagation::inject(&mut headers);
    }
    Ok(jetstream
        .publish_with_headers(subject.to_string(), headers, payload)
        .await?
        .await?)
}
