//! The indexing protocol, one event at a time: the final state is written from the event alone.
//!
//! Skip what is no longer the newest; publish once more what the marks do not cover; write the timeline on each side of
//! the wall, then the issue; ack. Why that is safe is told in [`crate::plan`] and checked by its model.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bugstream_archive::{Marks, Rules};
use bugstream_kit::broker::Broker;
use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::{Repositories, Repository};
use bugstream_kit::consume::{Handler, Lease, Outcome, Received};
use bugstream_kit::dead_letter::{DeadLetters, Kind};
use bugstream_kit::log::{Log, LogError, Logged};
use bugstream_kit::objects::Objects;
use bugstream_kit::requests::Requests;
use bugstream_kit::service::Context;
use bugstream_proto::message::{Change, time_of};
use bugstream_proto::{Event, MessageError, RepoName, v1};
use bugstream_telemetry::{metrics, names, propagation};
use sha2::{Digest, Sha256};

use crate::bulk::{Batch, Bulker, Refused, Written};
use crate::document::{Current, Raw, Renderer};
use crate::elastic::Away;
use crate::indices::Indices;
use crate::plan::{Write, issue_writes, timeline_writes};
use crate::republish::republish;
use crate::target::Target;

/// Bytes after which a batch is handed in: a timeline may be larger than memory should hold twice.
const BATCH_BYTES: usize = 1_000_000;

/// Indexes events of the log.
#[derive(Debug)]
pub struct Indexer {
    /// To read newest events and to publish again what the marks do not cover.
    pub log: Log,
    /// Where raw JSON lies.
    pub objects: Objects,
    /// Where documents go.
    pub bulker: Bulker,
    /// Documents that Elasticsearch refuses.
    pub dead_letters: DeadLetters,
    /// To ask for downloads of what the object store lost.
    pub requests: Requests,
    /// Which indices are written.
    pub target: Target,
    /// Whose other generations a deletion reaches too.
    pub indices: Arc<Indices>,
    /// What is private, by repository.
    pub rules: HashMap<RepoName, Rules>,
    /// The time of day.
    pub clock: Clock,
    /// Nonces.
    pub chance: Chance,
}

/// The rules of privacy of every mirrored repository.
#[must_use]
pub fn rules(repositories: &Repositories) -> HashMap<RepoName, Rules> {
    repositories
        .0
        .iter()
        .map(|repository| (repository.name.clone(), repository.into()))
        .collect()
}

/// Stands for the rules of privacy: documents that were placed by others need a rebuild. 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(repositories: &Repositories) -> String {
    let mut hash = Sha256::new();
    hash.update(bugstream_archive::PRIVACY_VERSION.to_be_bytes());
    let mut all: Vec<&Repository> = repositories.0.iter().collect();
    all.sort_by_key(|repository| &repository.name);
    for repository in all {
        let public: BTreeSet<&RepoName> = repository.public.iter().collect();
        hash.update(format!("{}|{:?}|{public:?}\n", repository.name, repository.private));
    }
    let digest = hash.finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Handler for Indexer {
    async fn handle(&self, message: &Received, lease: &Lease) -> Outcome {
        match self.index(message, lease).await {
            Ok(()) => Outcome::Done,
            Err(instead) => instead,
        }
    }
}

impl Indexer {
    /// Over a connected broker, with the rules of the configured repositories.
    #[must_use]
    pub fn new(
        broker: &Broker,
        objects: Objects,
        bulker: Bulker,
        target: Target,
        indices: Arc<Indices>,
        repositories: &Repositories,
        context: &Context,
    ) -> Self {
        let (jetstream, clock) = (&broker.jetstream, &context.clock);
        Self {
            log: Log::new(jetstream.clone(), clock.clone()),
            objects,
            bulker,
            dead_letters: DeadLetters::new(jetstream.clone(), clock.clone(), crate::SERVICE.name),
            requests: Requests::new(jetstream.clone()),
            target,
            indices,
            rules: rules(repositories),
            clock: clock.clone(),
            chance: context.chance.clone(),
        }
    }

    async fn index(&self, message: &Received, lease: &Lease) -> Result<(), Outcome> {
        let event = Event::decode(message.issue(), &message.payload)
            .map_err(|error| Outcome::reject(kind_of(&error), error.to_string()))?;
        // A generation that is filled must not lack what the live one shows, even if something newer is in the log.
        if self.target.is_live() && self.is_superseded(message).await? {
            return Ok(());
        }
        let bytes = event.objects().iter().map(|object| object.size).sum();
        let _room = self.bulker.room(bytes).await;
        let raw = match &event.change {
            Change::Deleted(_) | Change::Forgotten => None,
            Change::Downloaded(downloaded) => match Raw::read(downloaded, &self.objects).await {
                Ok(raw) => Some(raw),
                Err(error) => return self.hole(&error, &event, message, lease).await,
            },
        };
        let current = raw
            .as_ref()
            .map(|raw| Current::of(raw, self.rules_of(message)?))
            .transpose()?;
        let marks = Marks::from(&event.marks);
        if let Some(current) = current.as_ref().filter(|current| !marks.covers(&current.classified)) {
            self.cover(message, &event, marks.grow(&current.classified)).await?;
            if self.target.is_live() {
                return Ok(());
            }
        }
        let trace_id = propagation::trace_id(&tracing::Span::current());
        let (current, trace_id) = (current.as_ref(), trace_id.as_deref());
        let renderer = Renderer {
            target: &self.target,
            event: &event,
            current,
            trace_id,
        };
        self.write(marks, &renderer, message, lease).await?;
        if current.is_none() {
            self.delete_elsewhere(marks, &event, message, lease).await?;
        }
        tracing::info!(issue = %event.issue, revision = event.revision, "indexed");
        self.observe(&event);
        Ok(())
    }

    /// Whether a newer event of the issue is in the log: that one cleans up after this one, since its marks cover it.
    pub(crate) async fn is_superseded(&self, message: &Received) -> Result<bool, Outcome> {
        match self.log.newest(message.issue()).await {
            Ok(newest) => Ok(newest.is_some_and(|newest| newest.sequence > message.sequence)),
            Err(LogError::Unreadable { sequence, .. }) if sequence > message.sequence => Ok(true),
            Err(error) => Err(Outcome::away(error.to_string())),
        }
    }

    /// Fails closed: without its rules an issue would be judged as if it had no private partner.
    fn rules_of(&self, message: &Received) -> Result<&Rules, Outcome> {
        let repo = message.issue().repo();
        let reason = || format!("repository {repo} is not configured: add it to [[repositories]] and index it again");
        self.rules
            .get(repo)
            .ok_or_else(|| Outcome::reject(Kind::Other, reason()))
    }

    /// The rules of privacy changed since the event was made: documents would lie beyond its marks, where no later event
    /// would look. So the event is published once more with marks that cover them.
    async fn cover(&self, message: &Received, event: &Event, marks: Marks) -> Result<(), Outcome> {
        tracing::info!(issue = %event.issue, revision = event.revision, "publishing the event again with marks that cover it");
        let (sequence, event) = (message.sequence, event.clone());
        let cause = v1::Cause::new(v1::Reason::Reindex, self.clock.now());
        let newest = Logged {
            sequence,
            event,
            nonce: None,
        };
        republish(&self.log, &newest, marks, cause, &self.chance).await
    }

    async fn write(
        &self,
        marks: Marks,
        renderer: &Renderer<'_>,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        let (target, placed) = (renderer.target, renderer.current.map(|current| &current.classified));
        let takes = |write: &Write| target.takes(write.slot.kind());
        let timeline = timeline_writes(marks, placed).filter(takes);
        let issue = issue_writes(marks, placed).into_iter().filter(takes);
        if target.is_read() {
            self.phase(timeline, renderer, message, lease).await?;
            self.phase(issue, renderer, message, lease).await
        } else {
            self.phase(timeline.chain(issue), renderer, message, lease).await
        }
    }

    /// What was deleted must not come back with a generation that is kept for a roll-back.
    async fn delete_elsewhere(
        &self,
        marks: Marks,
        event: &Event,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        if !self.target.is_live() {
            return Ok(());
        }
        let away = |error: crate::indices::IndexError| Outcome::away(error.to_string());
        for target in self.indices.kept().await.map_err(away)? {
            let renderer = Renderer {
                target: &target,
                event,
                current: None,
                trace_id: None,
            };
            self.write(marks, &renderer, message, lease).await?;
        }
        Ok(())
    }

    /// Writes one phase in batches of bounded size; all of it is durable at the end.
    pub(crate) async fn phase(
        &self,
        writes: impl Iterator<Item = Write> + Send,
        renderer: &Renderer<'_>,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        let (mut batch, mut in_batch) = (Batch::with_capacity(renderer.bytes().min(BATCH_BYTES)), Vec::new());
        for write in writes {
            renderer.push(write, &mut batch);
            in_batch.push(write);
            if batch.bytes() >= BATCH_BYTES {
                self.send(
                    std::mem::take(&mut batch),
                    std::mem::take(&mut in_batch),
                    renderer,
                    message,
                    lease,
                )
                .await?;
            }
        }
        self.send(batch, in_batch, renderer, message, lease).await
    }

    async fn send(
        &self,
        batch: Batch,
        writes: Vec<Write>,
        renderer: &Renderer<'_>,
        message: &Received,
        lease: &Lease,
    ) -> Result<(), Outcome> {
        let results = self.bulk(batch, lease).await?;
        let refused: Vec<(Write, Refused)> = writes.into_iter().zip(results).filter_map(refusal).collect();
        if refused.is_empty() {
            Ok(())
        } else {
            self.put_aside(refused, renderer, message, lease).await
        }
    }

    pub(crate) async fn bulk(&self, batch: Batch, lease: &Lease) -> Result<Vec<Written>, Outcome> {
        lease.check().map_err(|lost| Outcome::retry(lost.to_string()))?;
        self.bulker.write(batch).await.map_err(|Away(why)| Outcome::away(why))
    }

    fn observe(&self, event: &Event) {
        if let Some(requested) = event.cause.first_requested_at.as_ref().and_then(time_of) {
            let waited = (self.clock.now() - requested).as_seconds_f64();
            metrics::observe(names::INDEXED_AFTER, waited.max(0.0), &[]);
        }
    }
}

/// What is no event is taken out of the log; an event of a newer contract stays there for a newer indexer.
fn kind_of(error: &MessageError) -> Kind {
    if *error == MessageError::Newer {
        Kind::Other
    } else {
        Kind::Payload
    }
}

fn refusal((write, written): (Write, Written)) -> Option<(Write, Refused)> {
    match written {
        Written::Refused(why) => Some((write, why)),
        Written::Written | Written::Newer => None,
    }
}
