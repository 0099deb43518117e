//! Other requests of the same issue: the deadline that says when and why the first of them was made, and whether a
//! request under way is still the one that waits for an answer.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError, Stream};
use async_nats::jetstream::{self, message::StreamMessage};
use bugstream_proto::{IssueId, Verb, topology, v1};
use time::OffsetDateTime;

/// JetStream did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the queue of downloads does not answer: {0}")]
pub(crate) struct QueueError(String);

/// The first request since the last download, which still waits for its deadline.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// Why it was made; `None` where the message does not decode.
    pub(crate) cause: Option<v1::Cause>,
    /// For its trace.
    pub(crate) headers: HeaderMap,
    sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Queue {
    jetstream: jetstream::Context,
}

impl Queue {
    pub(crate) fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// The deadline of an issue that waits, asked of the stream's leader.
    pub(crate) async fn deadline(&self, issue: &IssueId, now: OffsetDateTime) -> Result<Option<Deadline>, QueueError> {
        let subject = Verb::Deadline.of(issue).to_string();
        let found = self.stream().await?.get_last_raw_message_by_subject(&subject).await;
        Ok(found_or_absent(found)?.map(|message| Deadline {
            cause: v1::DownloadRequested::read(issue, &message.payload, now)
                .ok()
                .and_then(|r| r.cause),
            headers: message.headers,
            sequence: message.sequence,
        }))
    }

    /// Takes back a deadline that has been met, and no later one.
    pub(crate) async fn meet(&self, issue: &IssueId, deadline: &Deadline) -> Result<(), QueueError> {
        let subject = Verb::Deadline.of(issue).to_string();
        let stream = self.stream().await?;
        let purge = stream.purge().filter(subject).sequence(deadline.sequence + 1);
        purge.await.map(drop).map_err(|error| QueueError(error.to_string()))
    }

    /// Whether a message is still there: neither replaced by a newer request nor acked by someone else.
    pub(crate) async fn has(&self, sequence: u64) -> Result<bool, QueueError> {
        let found = self.stream().await?.get_raw_message(sequence).await;
        Ok(found_or_absent(found)?.is_some())
    }

    async fn stream(&self) -> Result<Stream<()>, QueueError> {
        let stream = self.jetstream.get_stream_no_info(topology::DOWNLOADS).await;
        stream.map_err(|error| QueueError(error.to_string()))
    }
}

fn found_or_absent(found: Result<StreamMessage, RawMessageError>) -> Result<Option<StreamMessage>, QueueError> {
    match found {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(QueueError(error.to_string())),
    }
}
