//! Publishes tasks of the active downloader: due now, or scheduled. At most one of each lies in the stream, and the one
//! that is there keeps its place, so anyone may publish one at any time.

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bugstream_proto::task::Stage;
use bugstream_proto::{RepoName, Task, TaskSubject, header, topology, v1};
use bytes::Bytes;
use prost::Message;
use time::OffsetDateTime;

use crate::publish::{PublishError, publish};
use crate::requests::Queued;

/// A task that lies in the stream.
#[derive(Debug, Clone)]
pub struct Lying {
    /// Its sequence.
    pub sequence: u64,
    /// When it becomes due; `None` without a valid schedule, as every due one is.
    pub at: Option<OffsetDateTime>,
    /// What it asks for, as it was published.
    pub payload: Bytes,
}

/// Publishes tasks. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Tasks {
    jetstream: jetstream::Context,
}

impl Tasks {
    /// Over a JetStream context.
    #[must_use]
    pub fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// Makes a task due now, unless it is due already.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn due(&self, task: Task, repo: &RepoName, request: &v1::TaskRequested) -> Result<Queued, PublishError> {
        let payload = request.encode_to_vec().into();
        self.send(&task.due(repo), HeaderMap::new(), payload, 0).await
    }

    /// Replaces the message with that sequence by one that is due now, with the same content; nothing if it is gone or
    /// was replaced already.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn again(&self, subject: &TaskSubject, payload: Bytes, sequence: u64) -> Result<Queued, PublishError> {
        self.send(subject, HeaderMap::new(), payload, sequence).await
    }

    /// Schedules a task, unless it is scheduled already.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn schedule(
        &self,
        task: Task,
        repo: &RepoName,
        payload: Bytes,
        at: OffsetDateTime,
    ) -> Result<Queued, PublishError> {
        self.reschedule(task, repo, payload, at, 0).await
    }

    /// Schedules a task in the place of the one with that sequence; nothing if another came first.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn reschedule(
        &self,
        task: Task,
        repo: &RepoName,
        payload: Bytes,
        at: OffsetDateTime,
        sequence: u64,
    ) -> Result<Queued, PublishError> {
        let mut headers = HeaderMap::new();
        header::schedule(&mut headers, at, &task.due(repo));
        self.send(&task.scheduled(repo), headers, payload, sequence).await
    }

    /// The task that lies on a subject, asked of the stream's leader.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn lying(&self, subject: &TaskSubject) -> Result<Option<Lying>, PublishError> {
        let found = self
            .stream()
            .await?
            .get_last_raw_message_by_subject(&subject.to_string())
            .await;
        match found {
            Ok(message) => Ok(Some(lying(subject.stage, message))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    /// Takes back a task.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn take_back(&self, subject: &TaskSubject) -> Result<(), PublishError> {
        let purged = self.stream().await?.purge().filter(subject.to_string()).await;
        purged.map(drop).map_err(away)
    }

    async fn send(
        &self,
        subject: &TaskSubject,
        mut headers: HeaderMap,
        payload: Bytes,
        sequence: u64,
    ) -> Result<Queued, PublishError> {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
        match publish(&self.jetstream, subject, headers, payload).await {
            Ok(_) => Ok(Queued::New),
            Err(PublishError::Conflict) => Ok(Queued::Waiting),
            Err(error) => Err(error),
        }
    }

    async fn stream(&self) -> Result<Stream<()>, PublishError> {
        self.jetstream.get_stream_no_info(topology::TASKS).await.map_err(away)
    }
}

fn lying(stage: Stage, message: StreamMessage) -> Lying {
    Lying {
        sequence: message.sequence,
        at: (stage == Stage::Scheduled)
            .then(|| header::scheduled_at(&message.headers))
            .flatten(),
        payload: message.payload,
    }
}

fn away(error: impl std::fmt::Display) -> PublishError {
    PublishError::Unavailable(error.to_string())
}
