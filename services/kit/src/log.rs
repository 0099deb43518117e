//! The event log: reads an issue's events and publishes the next. The one place in the project that publishes to `ISSUES`;
//! it refuses a revision that is not greater than the newest. And the one that removes old events; never the newest.

use std::str::FromStr;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, message::StreamMessage};
use bugstream_proto::{Event, IssueId, MessageError, Nonce, RepoName, Subject, Verb, topology};
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::publish::{PublishError, publish};

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Its sequence in `ISSUES`.
    pub sequence: u64,
    /// The event.
    pub event: Event,
    /// The nonce it was published with, if the message still says so.
    pub nonce: Option<String>,
}

/// One message of an issue's history, readable or not.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its sequence in `ISSUES`.
    pub sequence: u64,
    /// When the server stored it, by the server's clock.
    pub stored_at: OffsetDateTime,
    /// Nonce and trace.
    pub headers: HeaderMap,
    /// The event, or why it cannot be read.
    pub event: Result<Event, MessageError>,
}

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// JetStream is away.
    #[error("the log does not answer: {0}")]
    Unavailable(String),
    /// The newest event of the issue is no event of this contract version.
    #[error("the newest event of {issue} (sequence {sequence}) cannot be read: {why}")]
    Unreadable {
        /// Whose event.
        issue: IssueId,
        /// Where it lies.
        sequence: u64,
        /// What is wrong with it.
        why: bugstream_proto::MessageError,
    },
    /// Another event came first: read the newest again and decide anew.
    #[error("another event of the issue came first")]
    Conflict,
    /// The revision would not raise the newest.
    #[error("revision {revision} is not greater than the newest, {newest}")]
    Stale {
        /// The revision of the refused event.
        revision: u64,
        /// The newest one.
        newest: u64,
    },
}

/// The log. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Log {
    jetstream: jetstream::Context,
    clock: Clock,
}

impl Log {
    /// Over a JetStream context.
    #[must_use]
    pub fn new(jetstream: jetstream::Context, clock: Clock) -> Self {
        Self { jetstream, clock }
    }

    /// The newest event of an issue, asked of the stream's leader; `None` for an issue that the log never knew.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] or [`LogError::Unreadable`].
    pub async fn newest(&self, issue: &IssueId) -> Result<Option<Logged>, LogError> {
        let message = self.last(&Verb::Issue.of(issue).to_string()).await?;
        message.map(|message| read(issue, &message)).transpose()
    }

    /// Every event of an issue that the log still has, oldest first: the last one is the newest. Empty for an issue that
    /// the log never knew.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub async fn history(&self, issue: &IssueId) -> Result<Vec<Entry>, LogError> {
        let (stream, subject) = (self.stream().await?, Verb::Issue.of(issue).to_string());
        let (mut history, mut from) = (Vec::new(), 1);
        loop {
            let next = stream.raw_message_builder().sequence(from).next_by_subject(&subject);
            match next.send().await {
                Ok(message) => {
                    from = message.sequence + 1;
                    history.push(entry(issue, message));
                }
                Err(error) => return absent(error).map(|()| history),
            }
        }
    }

    /// Removes the events of an issue before that sequence, which is never beyond the newest; answers how many.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub async fn drop_before(&self, issue: &IssueId, sequence: u64) -> Result<u64, LogError> {
        let subject = Verb::Issue.of(issue).to_string();
        let Some(newest) = self.last(&subject).await? else {
            return Ok(0);
        };
        let until = sequence.min(newest.sequence);
        let stream = self.stream().await?;
        let purged = stream.purge().filter(subject).sequence(until).await.map_err(away)?;
        Ok(purged.purged)
    }

    /// Another issue of the same repository that the log knows and does not know as deleted, for a second opinion. Looks
    /// at the newest and then the oldest events of the repository, a bounded number of them. `besides` are issues that
    /// have been asked already.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub async fn another_known(&self, issue: &IssueId, besides: &[IssueId]) -> Result<Option<IssueId>, LogError> {
        const LOOKED_AT: usize = 50;
        let wildcard = Verb::Issue.of_repo(issue.repo());
        let is_other = |other: &IssueId| other != issue && !besides.contains(other);
        if let Some(message) = self.last(&wildcard).await?
            && let Some(other) = self.alive(&message, is_other).await?
        {
            return Ok(Some(other));
        }
        let stream = self.stream().await?;
        let mut sequence = 1;
        for _ in 0..LOOKED_AT {
            let message = match stream
                .raw_message_builder()
                .sequence(sequence)
                .next_by_subject(&wildcard)
                .send()
                .await
            {
                Ok(message) => message,
                Err(error) => return absent(error).map(|()| None),
            };
            if let Some(other) = self.alive(&message, is_other).await? {
                return Ok(Some(other));
            }
            sequence = message.sequence + 1;
        }
        Ok(None)
    }

    /// The issue of a message, if it is a wanted one and its newest event is no deletion.
    async fn alive(
        &self,
        message: &StreamMessage,
        wanted: impl Fn(&IssueId) -> bool,
    ) -> Result<Option<IssueId>, LogError> {
        let Ok(subject) = Subject::from_str(&message.subject) else {
            return Ok(None);
        };
        if !wanted(&subject.issue) {
            return Ok(None);
        }
        match self.newest(&subject.issue).await {
            Ok(Some(newest)) if !newest.event.objects().is_empty() => Ok(Some(subject.issue)),
            Ok(_) | Err(LogError::Unreadable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every issue of a repository that the log knows, deleted ones included, in order of number.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub async fn known(&self, repo: &RepoName) -> Result<Vec<IssueId>, LogError> {
        use futures_util::TryStreamExt;
        let stream = self.stream().await?;
        let subjects = stream
            .info_with_subjects(Verb::Issue.of_repo(repo))
            .await
            .map_err(away)?;
        let subjects: Vec<(String, usize)> = subjects.try_collect().await.map_err(away)?;
        let issues = subjects
            .iter()
            .filter_map(|(subject, _)| Subject::from_str(subject).ok());
        let mut issues: Vec<IssueId> = issues.map(|subject| subject.issue).collect();
        issues.sort();
        Ok(issues)
    }

    /// The revision for the event after `newest`: max(now in milliseconds, newest + 1).
    #[must_use]
    pub fn next_revision(&self, newest: Option<&Logged>) -> u64 {
        self.clock
            .now_ms()
            .max(newest.map_or(0, |newest| newest.event.revision) + 1)
    }

    /// Publishes the event after `newest` and waits for the PubAck; answers its sequence.
    ///
    /// A conflict is not always a defeat: a publish whose answer was lost and that is sent again gets one too (the
    /// sequence check comes before de-duplication), so the newest event's nonce is compared before it is reported.
    ///
    /// # Errors
    /// [`LogError::Conflict`] if another came first, [`LogError::Stale`], [`LogError::Unavailable`].
    pub async fn publish(&self, event: &Event, newest: Option<&Logged>, nonce: &Nonce) -> Result<u64, LogError> {
        if let Some(newest) = newest.filter(|newest| newest.event.revision >= event.revision) {
            return Err(LogError::Stale {
                revision: event.revision,
                newest: newest.event.revision,
            });
        }
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, nonce.as_str());
        headers.insert(
            NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            newest.map_or(0, |newest| newest.sequence).to_string(),
        );
        let subject = Verb::Issue.of(&event.issue);
        match publish(&self.jetstream, &subject, headers, event.encode().into()).await {
            // Another event carried our nonce: not ours, since nonces are drawn anew for each.
            Ok(ack) if ack.duplicate => Err(LogError::Conflict),
            Ok(ack) => Ok(ack.sequence),
            Err(PublishError::Conflict) => self.won(event, nonce).await?.ok_or(LogError::Conflict),
            Err(PublishError::Unavailable(why)) => Err(LogError::Unavailable(why)),
        }
    }

    async fn won(&self, event: &Event, nonce: &Nonce) -> Result<Option<u64>, LogError> {
        let newest = self.newest(&event.issue).await?;
        Ok(newest
            .filter(|newest| newest.nonce.as_deref() == Some(nonce.as_str()))
            .map(|newest| newest.sequence))
    }

    async fn last(&self, subject: &str) -> Result<Option<StreamMessage>, LogError> {
        match self.stream().await?.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => absent(error).map(|()| None),
        }
    }

    async fn stream(&self) -> Result<Stream<()>, LogError> {
        self.jetstream.get_stream_no_info(topology::ISSUES).await.map_err(away)
    }
}

fn read(issue: &IssueId, message: &StreamMessage) -> Result<Logged, LogError> {
    let unreadable = |why| LogError::Unreadable {
        issue: issue.clone(),
        sequence: message.sequence,
        why,
    };
    Ok(Logged {
        sequence: message.sequence,
        event: Event::decode(issue, &message.payload).map_err(unreadable)?,
        nonce: message
            .headers
            .get(NATS_MESSAGE_ID)
            .map(|nonce| nonce.as_str().to_owned()),
    })
}

fn entry(issue: &IssueId, message: StreamMessage) -> Entry {
    Entry {
        sequence: message.sequence,
        stored_at: message.time,
        event: Event::decode(issue, &message.payload),
        headers: message.headers,
    }
}

fn absent(error: jetstream::stream::LastRawMessageError) -> Result<(), LogError> {
    if error.kind() == LastRawMessageErrorKind::NoMessageFound {
        Ok(())
    } else {
        Err(away(error))
    }
}

fn away(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}
