//! One bulker for all handlers: batches of writes are joined to bulk requests, and every write gets an answer of its own.
//!
//! What comes while nothing is under way is sent at once. Else it waits until it is worth a request of its own, though
//! not for long, so that bulks grow exactly when it pays; how many are under way, and how large, follows from how
//! Elasticsearch answers ([`pace`]). Batches wait in a bounded queue, so a slow Elasticsearch slows the handlers down;
//! and a handler takes room for its issue before it reads it ([`Bulker::room`]), so that memory is bounded by bytes,
//! whatever the number of issues or their sizes.
//!
//! Invariants:
//! - Every bulk says `require_alias=true`: without it a lost alias silently becomes a dynamically mapped index.
//! - What is busy is sent again by itself, item by item, never a whole bulk because of two items.
//! - A batch whose submitter has gone (its lease ran out) is not sent again.
//! - Nothing here quotes Elasticsearch's messages, which quote content: only error types and names of mapped fields.

mod pace;
mod send;

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::elastic::Transport;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::elastic::Away;
use crate::indices::Indices;
use pace::Pace;
use send::{Bulk, Sender};

/// The longest that a batch waits for company while bulks are under way.
const LINGER: Duration = Duration::from_millis(100);
/// Unit of [`Options::in_flight`]: a semaphore counts no further than to four thousand millions.
const ROOM: usize = 1_024;
/// Raw JSON is in memory up to three times: as it was read, as documents, and in the bulk that is under way.
const COPIES: usize = 3;

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Written,
    /// A newer version is there, which is as good.
    Newer,
    /// The mapping refuses the document; sending it again cannot help.
    Refused(Refused),
}

/// Why a document was refused. Never quotes content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Elasticsearch's type of the error, for example `document_parsing_exception`.
    pub error_type: String,
    /// The mapped field, or empty where the error names none.
    pub field: String,
}

/// Writes of one submitter, as lines of a bulk body, in their order.
#[derive(Debug, Default)]
pub struct Batch {
    body: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// An empty one that need not grow before it has that many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            body: Vec::with_capacity(bytes),
            ends: Vec::new(),
        }
    }

    /// Adds a write. `alias`, `id` and what `source` appends must be as JSON wants them: names without quotes or
    /// backslashes, one line without a break.
    pub fn push(&mut self, alias: &str, id: impl fmt::Display, version: u64, source: impl FnOnce(&mut Vec<u8>)) {
        let body = &mut self.body;
        write!(
            body,
            r#"{{"index":{{"_index":"{alias}","_id":"{id}","version":{version},"version_type":"external_gte"}}}}"#
        )
        .expect("writing into memory cannot fail");
        body.push(b'\n');
        source(&mut self.body);
        self.body.push(b'\n');
        self.ends.push(self.body.len());
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Number of writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// How bulks are made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bulks under way at once, at most.
    pub connections: usize,
    /// Bytes of a bulk body, at most; one batch may exceed it.
    pub bytes: usize,
    /// Bytes of everything that is under way, from raw JSON to bulks. One issue that is larger is alone.
    pub in_flight: usize,
}

/// Where handlers hand in their batches. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Bulker {
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
    /// Of all of it.
    rooms: usize,
}

#[derive(Debug)]
struct Submission {
    batch: Batch,
    reply: Reply,
    submitter: tracing::Span,
}

type Reply = oneshot::Sender<Result<Vec<Written>, Away>>;

impl Bulker {
    /// A bulker and its senders, which work while [`Senders::run`] is awaited.
    #[must_use]
    pub fn new(transport: Transport, indices: Arc<Indices>, options: Options, chance: Chance) -> (Self, Senders) {
        let (queue, receiver) = mpsc::channel(options.connections.max(1) * 64);
        let sender = Arc::new(Sender {
            transport,
            indices,
            chance,
        });
        let rooms = (options.in_flight / ROOM).clamp(1, u32::MAX as usize);
        let bulker = Self {
            queue,
            room: Arc::new(Semaphore::new(rooms)),
            rooms,
        };
        let senders = Senders {
            sender,
            queue: receiver,
            options,
        };
        (bulker, senders)
    }

    /// Waits until there is room for an issue with that many bytes of raw JSON, and takes it until the answer is dropped.
    /// First come, first served: a large issue is not overtaken for ever.
    pub async fn room(&self, raw: u64) -> Option<SemaphorePermit<'_>> {
        let wanted = usize::try_from(raw).unwrap_or(usize::MAX).saturating_mul(COPIES) / ROOM;
        let wanted = u32::try_from(wanted.clamp(1, self.rooms)).unwrap_or(u32::MAX);
        // Nobody closes it.
        self.room.acquire_many(wanted).await.ok()
    }

    /// Writes a batch and waits until each write is durable, lost to a newer version, or refused; in the batch's order.
    ///
    /// # Errors
    /// [`Away`] if Elasticsearch is away, read-only, too busy for long, or not as it should be: hold, and write the batch
    /// again later. Some of its writes may have been carried out.
    pub async fn write(&self, batch: Batch) -> Result<Vec<Written>, Away> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let submission = Submission {
            batch,
            reply,
            submitter: tracing::Span::current(),
        };
        let stopped = || Away("the bulk senders have stopped".to_owned());
        self.queue.send(submission).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// The connections' side of a bulker.
#[derive(Debug)]
pub struct Senders {
    sender: Arc<Sender>,
    queue: mpsc::Receiver<Submission>,
    options: Options,
}

impl Senders {
    /// Sends until every [`Bulker`] is dropped and the queue is empty.
    ///
    /// # Errors
    /// If a sender panicked.
    pub async fn run(self) -> anyhow::Result<()> {
        // On a thread of the runtime, where handlers and connections are too: to wake one another is cheap there.
        let mut working = JoinSet::new();
        working.spawn(self.send_all());
        working.join_next().await.unwrap_or(Ok(Ok(())))?
    }

    async fn send_all(mut self) -> anyhow::Result<()> {
        let mut pace = Pace::new(self.options);
        let (mut waiting, mut under_way, mut open) = (Waiting::default(), JoinSet::new(), true);
        let mut buffers = Vec::new();
        while open || !waiting.is_empty() || !under_way.is_empty() {
            while let Some(bulk) = waiting.take(&pace, under_way.len()) {
                let (sender, buffer) = (Arc::clone(&self.sender), buffers.pop().unwrap_or_default());
                under_way.spawn(async move { sender.work(Bulk::of(bulk, buffer)).await });
            }
            if under_way.is_empty() {
                // Nothing follows that could use them soon: the memory is the system's again.
                buffers.clear();
            }
            let is_free = under_way.len() < pace.connections();
            tokio::select! {
                came = self.queue.recv(), if open && waiting.bytes < pace.bytes() => match came {
                    Some(submission) => waiting.push(submission),
                    None => open = false,
                },
                Some(ended) = under_way.join_next() => {
                    let (seen, buffer) = ended?;
                    pace.learn(seen, !waiting.is_empty());
                    buffers.extend(buffer);
                }
                () = tokio::time::sleep_until(waiting.due()), if is_free && !waiting.is_empty() => {}
            }
        }
        Ok(())
    }
}

/// Batches that are not in a bulk yet.
#[derive(Debug, Default)]
struct Waiting {
    submissions: VecDeque<(Instant, Submission)>,
    bytes: usize,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.submissions.is_empty()
    }

    fn push(&mut self, submission: Submission) {
        self.bytes += submission.batch.bytes();
        self.submissions.push_back((Instant::now(), submission));
    }

    /// When the first one has waited for long enough.
    fn due(&self) -> Instant {
        let first = self.submissions.front();
        first.map_or_else(Instant::now, |(since, _)| *since) + LINGER
    }

    /// The next bulk, if it may and should be sent now.
    fn take(&mut self, pace: &Pace, under_way: usize) -> Option<Vec<Submission>> {
        let is_worth_it = || under_way == 0 || self.bytes >= pace.bytes() / 2 || self.due() <= Instant::now();
        if self.is_empty() || under_way >= pace.connections() || !is_worth_it() {
            return None;
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some((_, next)) = self.submissions.front() {
            bytes += next.batch.bytes();
            if bytes > pace.bytes() && !taken.is_empty() {
                break;
            }
            self.bytes -= next.batch.bytes();
            taken.extend(self.submissions.pop_front().map(|(_, submission)| submission));
        }
        Some(taken)
    }
}
