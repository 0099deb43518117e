//! Publishes requests: due now, due when the quota allows, debounced, with a deadline, or again after a failure.
//!
//! A request is a trigger to read current state, so a newer one may always replace an older one of its subject; where
//! an older one must keep its place (deadline, backfill) the publish expects an empty subject.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream;
use bugstream_proto::{IssueId, Lane, Subject, Verb, header, v1};
use bytes::Bytes;
use prost::Message;
use time::OffsetDateTime;

use crate::publish::{PublishError, publish};

/// What became of a request that gives way to one already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// It is stored.
    New,
    /// One waits already, and keeps its place.
    Waiting,
}

/// How long an issue that webhooks tell about waits for its download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// After the last webhook; zero downloads at once.
    pub quiet: Duration,
    /// After the first webhook, at the latest.
    pub longest: Duration,
}

/// Publishes requests. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Requests {
    jetstream: jetstream::Context,
}

impl Requests {
    /// Over a JetStream context.
    #[must_use]
    pub fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// Downloads an issue now. Replaces a waiting request.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn download(&self, issue: &IssueId, cause: v1::Cause) -> Result<(), PublishError> {
        self.send(
            &Verb::Download.of(issue),
            headers_of(&cause, &Verb::Download.of(issue)),
            request(issue, cause),
        )
        .await
    }

    /// Downloads an issue now, unless a request waits already.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn download_if_none_waits(&self, issue: &IssueId, cause: v1::Cause) -> Result<Queued, PublishError> {
        self.send_if_empty(&Verb::Download.of(issue), HeaderMap::new(), request(issue, cause))
            .await
    }

    /// Downloads an issue when the quota allows. A waiting request keeps its place.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn backfill(&self, issue: &IssueId, cause: v1::Cause) -> Result<Queued, PublishError> {
        self.send_if_empty(&Verb::Backfill.of(issue), HeaderMap::new(), request(issue, cause))
            .await
    }

    /// Downloads an issue at `at`; a further call moves the time.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn debounce(&self, issue: &IssueId, cause: v1::Cause, at: OffsetDateTime) -> Result<(), PublishError> {
        let subject = Verb::Debounce.of(issue);
        let mut headers = headers_of(&cause, &subject);
        header::schedule(&mut headers, at, &Verb::Download.of(issue));
        self.send(&subject, headers, request(issue, cause)).await
    }

    /// Downloads an issue at `at` at the latest; a further call changes nothing until it fired.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn deadline(
        &self,
        issue: &IssueId,
        cause: v1::Cause,
        at: OffsetDateTime,
    ) -> Result<Queued, PublishError> {
        let subject = Verb::Deadline.of(issue);
        let mut headers = HeaderMap::new();
        header::schedule(&mut headers, at, &Verb::Download.of(issue));
        self.send_if_empty(&subject, headers, request(issue, cause)).await
    }

    /// Downloads an issue once it falls quiet, and at the latest after the longest wait: debounce and deadline of a
    /// webhook at `now`, both at once. Tells what became of the deadline.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`]; then either may be stored. Doing it again does no harm.
    pub async fn when_quiet(
        &self,
        issue: &IssueId,
        cause: v1::Cause,
        now: OffsetDateTime,
        waits: Waits,
    ) -> Result<Queued, PublishError> {
        let (debounce, deadline) = (Verb::Debounce.of(issue), Verb::Deadline.of(issue));
        let mut debounced = headers_of(&cause, &debounce);
        let mut at_the_latest = HeaderMap::new();
        let target = Verb::Download.of(issue);
        header::schedule(&mut debounced, now + waits.quiet, &target);
        header::schedule(&mut at_the_latest, now + waits.longest, &target);
        let payload = request(issue, cause);
        let ((), deadline) = tokio::try_join!(
            self.send(&debounce, debounced, payload.clone()),
            self.send_if_empty(&deadline, at_the_latest, payload)
        )?;
        Ok(deadline)
    }

    /// Indexes again what the log says. Replaces a waiting request.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn index(&self, issue: &IssueId, cause: v1::Cause) -> Result<(), PublishError> {
        let payload = v1::IndexRequested::new(issue, cause).encode_to_vec().into();
        self.send(&Verb::Index.of(issue), HeaderMap::new(), payload).await
    }

    /// Brings a request back into its lane at `at`, on a subject of its own, so that it overwrites no waiting webhook.
    /// `headers` are those of the failed message, for its trace.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn retry(
        &self,
        lane: Lane,
        issue: &IssueId,
        payload: Bytes,
        attempts: u64,
        at: OffsetDateTime,
        trace: Option<&HeaderMap>,
    ) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        for name in ["traceparent", "tracestate"] {
            if let Some(value) = trace.and_then(|headers| headers.get(name)) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(header::ATTEMPTS, attempts.to_string());
        header::schedule(&mut headers, at, &lane.due().of(issue));
        self.send(&Verb::Retry(lane).of(issue), headers, payload).await
    }

    async fn send(&self, subject: &Subject, headers: HeaderMap, payload: Bytes) -> Result<(), PublishError> {
        publish(&self.jetstream, subject, headers, payload).await.map(drop)
    }

    async fn send_if_empty(
        &self,
        subject: &Subject,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Queued, PublishError> {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        match publish(&self.jetstream, subject, headers, payload).await {
            Ok(_) => Ok(Queued::New),
            Err(PublishError::Conflict) => Ok(Queued::Waiting),
            Err(error) => Err(error),
        }
    }
}

fn request(issue: &IssueId, cause: v1::Cause) -> Bytes {
    v1::DownloadRequested::new(issue, cause).encode_to_vec().into()
}

/// A webhook's request carries its delivery as message id, so that a delivery that GitHub repeats is stored once.
fn headers_of(cause: &v1::Cause, subject: &Subject) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(delivery) = cause
        .last_delivery
        .as_ref()
        .filter(|delivery| !delivery.delivery_id.is_empty())
    {
        header::identify(&mut headers, delivery, subject);
    }
    headers
}
