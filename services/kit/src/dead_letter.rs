//! Puts aside what can never succeed, with the reason. What is behind it goes on.

mod stored;

use async_nats::HeaderMap;
use async_nats::jetstream;
use bugstream_proto::{RepoName, message, topology, v1};
use bugstream_telemetry::{metrics, names};
use prost::Message;
use sha2::{Digest, Sha256};

pub use bugstream_telemetry::names::DeadLetter as Kind;
pub use stored::{Held, LettersAway, StoredLetter, StoredLetters};

use crate::clock::Clock;
use crate::publish::PublishError;

/// Why a message can never succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A stable word for programs and metrics.
    pub kind: Kind,
    /// For people. Never quotes content.
    pub reason: String,
    /// The document that Elasticsearch refused, if that is what happened.
    pub refusal: Option<Box<v1::Refusal>>,
}

impl Rejection {
    /// A rejection without a refused document.
    #[must_use]
    pub fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            refusal: None,
        }
    }
}

/// The message that is put aside.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Stream it lay in.
    pub stream: &'a str,
    /// Its subject as it was spelled.
    pub subject: &'a str,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// How often it was delivered.
    pub attempts: u64,
    /// Its headers.
    pub headers: Option<&'a HeaderMap>,
    /// Its payload: kept only if it is a request or event that decodes, which can hold no content.
    pub payload: &'a [u8],
}

/// Publishes dead letters of one service. Clones share the connection.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    jetstream: jetstream::Context,
    clock: Clock,
    service: &'static str,
}

impl DeadLetters {
    /// For one service.
    #[must_use]
    pub fn new(jetstream: jetstream::Context, clock: Clock, service: &'static str) -> Self {
        Self {
            jetstream,
            clock,
            service,
        }
    }

    /// Stores a dead letter and waits for the PubAck; only then may the message be terminated. Storing it twice within
    /// two minutes stores it once.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`]: the message must stay where it is.
    pub async fn publish(&self, origin: Origin<'_>, why: &Rejection) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, self.id(origin, why));
        for name in ["traceparent", "tracestate"] {
            if let Some(value) = origin.headers.and_then(|headers| headers.get(name)) {
                headers.insert(name, value.clone());
            }
        }
        let letter = self.letter(origin, why).encode_to_vec();
        let subject = topology::dead_letter_subject(self.service);
        self.jetstream
            .publish_with_headers(subject, headers, letter.into())
            .await?
            .await?;
        tracing::warn!(
            stream = origin.stream,
            subject = origin.subject,
            sequence = origin.sequence,
            kind = why.kind.as_str(),
            reason = why.reason,
            "put aside as a dead letter"
        );
        metrics::count(
            names::DEAD_LETTERS,
            1,
            &[names::label::service(self.service), why.kind.into()],
        );
        Ok(())
    }

    fn id(&self, origin: Origin<'_>, why: &Rejection) -> String {
        let document = why.refusal.as_ref().map_or("", |refusal| &refusal.document_id);
        format!(
            "{}/{}/{}/{}/{document}",
            self.service,
            origin.stream,
            origin.sequence,
            why.kind.as_str()
        )
    }

    fn letter(&self, origin: Origin<'_>, why: &Rejection) -> v1::DeadLetter {
        v1::DeadLetter {
            service: self.service.to_owned(),
            stream: origin.stream.to_owned(),
            subject: origin.subject.to_owned(),
            sequence: origin.sequence,
            attempts: origin.attempts,
            reason: why.reason.clone(),
            kind: why.kind.as_str().to_owned(),
            rejected_at: Some(message::timestamp(self.clock.now())),
            headers: origin.headers.map(known_headers).unwrap_or_default(),
            payload_size: origin.payload.len() as u64,
            payload_sha256: Sha256::digest(origin.payload).to_vec(),
            payload: if holds_no_content(origin.payload) {
                origin.payload.to_vec()
            } else {
                Vec::new()
            },
            refusal: why.refusal.as_deref().cloned(),
        }
    }
}

/// The headers that the contract knows; a stranger's header could hold anything.
fn known_headers(headers: &HeaderMap) -> Vec<v1::Header> {
    let known = |name: &str| {
        name.starts_with("Nats-")
            || name == bugstream_proto::header::ATTEMPTS
            || name == "traceparent"
            || name == "tracestate"
    };
    let pairs = headers.iter().filter(|(name, _)| known(name.as_ref()));
    pairs
        .flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (name.to_string(), value.as_str().to_owned()))
        })
        .map(|(name, value)| v1::Header { name, value })
        .collect()
}

/// Whether a payload decodes and encodes to the same bytes as a message of the contract, which has no field for content.
fn holds_no_content(payload: &[u8]) -> bool {
    fn same<M: Message + Default>(payload: &[u8], issue: impl Fn(&M) -> bool) -> bool {
        M::decode(payload).is_ok_and(|message| issue(&message) && message.encode_to_vec() == payload)
    }
    let real = |issue: &Option<v1::Issue>| issue.as_ref().is_some_and(|issue| issue.id().is_ok());
    let task = |task: &v1::TaskRequested| {
        let named = task.repository.as_ref();
        named.is_some_and(|repo| RepoName::new(&repo.owner, &repo.repo).is_ok())
    };
    same::<v1::DownloadRequested>(payload, |m| real(&m.issue))
        || same::<v1::IssueEvent>(payload, |m| real(&m.issue))
        || same::<v1::TaskRequested>(payload, task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_payload_of_the_contract_is_kept() {
        let issue = RepoName::new("a", "b").unwrap().issue(1).unwrap();
        let request = v1::DownloadRequested::new(&issue, v1::Cause::default()).encode_to_vec();
        assert!(holds_no_content(&request));
        let mut longer = request.clone();
        longer.extend(b"\x7a\x06secret");
        assert!(!holds_no_content(&longer), "an unknown field could hold anything");
        assert!(!holds_no_content(b"my title"));
        assert!(!holds_no_content(b""));
    }
}
