//! One bulker for all handlers: batches of writes are joined to bulk requests, and every write gets an answer of its own.
//!
//! There is no linger: a free connection takes what waits at once; while all are busy the rest accumulates, so that
//! bulks grow exactly when it pays. Batches wait in a bounded queue, so a slow Elasticsearch slows the handlers down.
//!
//! Invariants:
//! - Every bulk says `require_alias=true`: without it a lost alias silently becomes a dynamically mapped index.
//! - What is busy is sent again by itself, item by item, never a whole bulk because of two items.
//! - A batch whose submitter has gone (its lease ran out) is not sent again.
//! - Nothing here quotes Elasticsearch's messages, which quote content: only error types and names of mapped fields.

use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::elastic::Transport;
use bugstream_telemetry::metrics;
use bugstream_telemetry::names::{self, BulkResult, span};
use bytes::Bytes;
use elasticsearch::http::Method;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::answer::{self, Answer, Verdict};
use crate::elastic::Away;
use crate::indices::Indices;

/// Sent again so often, which takes about a minute, before the caller is told to hold.
const MOST_ATTEMPTS: u64 = 8;
/// Failures of the connection after which Elasticsearch counts as away: one may be a connection that idled too long.
const MOST_CUTS: u64 = 2;

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
    /// Adds a write. `alias`, `id` and what `source` appends must be as JSON wants them: names without quotes or
    /// backslashes, one line without a break.
    pub fn push(&mut self, alias: &str, id: &str, version: u64, source: impl FnOnce(&mut Vec<u8>)) {
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

    fn lines(&self, item: usize) -> Range<usize> {
        let start = item.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[item]
    }
}

/// How bulks are made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bulks under way at once.
    pub connections: usize,
    /// Bytes of a bulk body; one batch may exceed it.
    pub bytes: usize,
}

/// Where handlers hand in their batches. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Bulker {
    queue: mpsc::Sender<Submission>,
}

#[derive(Debug)]
struct Submission {
    batch: Batch,
    results: Vec<Option<Written>>,
    reply: oneshot::Sender<Result<Vec<Written>, Away>>,
    submitter: tracing::Span,
}

impl Bulker {
    /// A bulker and its senders, which work while [`Senders::run`] is awaited.
    #[must_use]
    pub fn new(transport: Transport, indices: Arc<Indices>, options: Options, chance: Chance) -> (Self, Senders) {
        let (queue, receiver) = mpsc::channel(options.connections.max(1) * 64);
        let waiting = Mutex::new(Waiting {
            receiver,
            carried: None,
        });
        let shared = Arc::new(Sender {
            transport,
            indices,
            options,
            chance,
            waiting,
        });
        (Self { queue }, Senders(shared))
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
        let results = vec![None; batch.len()];
        let submission = Submission {
            batch,
            results,
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
pub struct Senders(Arc<Sender>);

impl Senders {
    /// Sends until every [`Bulker`] is dropped and the queue is empty.
    ///
    /// # Errors
    /// If a sender panicked.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..self.0.options.connections.max(1) {
            let sender = Arc::clone(&self.0);
            tasks.spawn(async move { sender.work().await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Sender {
    transport: Transport,
    indices: Arc<Indices>,
    options: Options,
    chance: Chance,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    receiver: mpsc::Receiver<Submission>,
    /// Did not fit the last bulk.
    carried: Option<Submission>,
}

impl Waiting {
    /// What waits, up to the bytes of a bulk; `None` when nothing will come any more.
    async fn take(&mut self, most: usize) -> Option<Vec<Submission>> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.receiver.recv().await?,
        };
        let mut bytes = first.batch.bytes();
        let mut taken = vec![first];
        while let Ok(next) = self.receiver.try_recv() {
            bytes += next.batch.bytes();
            if bytes > most {
                self.carried = Some(next);
                break;
            }
            taken.push(next);
        }
        Some(taken)
    }
}

/// An item of a bulk: which submission, which of its writes.
type Place = (usize, usize);

impl Sender {
    async fn work(&self) {
        loop {
            let taken = self.waiting.lock().await.take(self.options.bytes).await;
            let Some(submissions) = taken else { return };
            let span = tracing::info_span!(span::BULK, submissions = submissions.len());
            for submission in &submissions {
                span.follows_from(&submission.submitter);
            }
            self.deliver(submissions).instrument(span).await;
        }
    }

    /// Sends until every write has its answer, or Elasticsearch turns out to be away.
    async fn deliver(&self, mut submissions: Vec<Submission>) {
        let mut attempts = 0;
        loop {
            submissions.retain(|submission| !submission.reply.is_closed());
            let open = open(&submissions);
            let sent = self.send(&mut submissions, open).await;
            let (finished, rest): (Vec<_>, Vec<_>) = submissions
                .into_iter()
                .partition(|s| s.results.iter().all(Option::is_some));
            finished.into_iter().for_each(Submission::finish);
            submissions = rest;
            attempts += 1;
            match sent {
                _ if submissions.is_empty() => return,
                Ok(()) if attempts < MOST_ATTEMPTS => {}
                Ok(()) => return fail(submissions, &Away("Elasticsearch is too busy to write".to_owned())),
                Err(Cut::Connection(_)) if attempts < MOST_CUTS => {}
                Err(Cut::Connection(away) | Cut::Stop(away)) => return fail(submissions, &away),
            }
            let wait = self
                .chance
                .backoff(Duration::from_millis(250), Duration::from_secs(15), attempts);
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends the items, in halves where a bulk is too large or malformed as a whole, and notes the answers.
    async fn send(&self, submissions: &mut [Submission], items: Vec<Place>) -> Result<(), Cut> {
        let mut parts = vec![items];
        while let Some(items) = parts.pop().filter(|items| !items.is_empty()) {
            match self.post(body(submissions, &items)).await? {
                Answer::Items(verdicts) if verdicts.len() == items.len() => {
                    self.note(submissions, &items, verdicts).await?;
                }
                Answer::Items(_) => return Err(Cut::Stop(Away("Elasticsearch answers another bulk".to_owned()))),
                Answer::Busy => {}
                Answer::Unacceptable(status) if items.len() == 1 => {
                    let refused = Refused {
                        error_type: format!("http_{status}"),
                        field: String::new(),
                    };
                    submissions[items[0].0].set(items[0].1, Written::Refused(refused));
                }
                Answer::Unacceptable(_) => {
                    let half = items.len() / 2;
                    parts.extend([items[half..].to_vec(), items[..half].to_vec()]);
                }
            }
        }
        Ok(())
    }

    async fn post(&self, body: Bytes) -> Result<Answer, Cut> {
        let started = tokio::time::Instant::now();
        metrics::count(names::BULK_BYTES, body.len() as u64, &[]);
        let sent = self
            .transport
            .send(Method::Post, answer::PATH, answer::LINES, Some(body));
        let (status, answer) = sent.await.map_err(Cut::Connection)?;
        metrics::observe(names::BULK_DURATION, started.elapsed().as_secs_f64(), &[]);
        if let Some(refusal) = self.transport.refusal(status, &answer) {
            return Err(Cut::Stop(refusal));
        }
        Answer::read(status, &answer).map_err(Cut::Stop)
    }

    /// Notes final verdicts. Makes lost aliases again, so that their items succeed the next time.
    async fn note(&self, submissions: &mut [Submission], items: &[Place], verdicts: Vec<Verdict>) -> Result<(), Cut> {
        let (mut retried, mut lost, mut stopped) = (0, false, None);
        for ((submission, item), verdict) in items.iter().zip(verdicts) {
            match verdict {
                Verdict::Final(written) => submissions[*submission].set(*item, written),
                Verdict::Busy => retried += 1,
                Verdict::AliasMissing => lost = true,
                Verdict::Blocked => stopped = Some(Away(answer::BLOCKED.to_owned())),
                Verdict::Forbidden => stopped = Some(Away(answer::FORBIDDEN.to_owned())),
            }
        }
        metrics::count(names::BULK_ITEMS, retried, &[BulkResult::Retried.into()]);
        if let Some(away) = stopped {
            return Err(Cut::Stop(away));
        }
        if lost {
            tracing::warn!(
                "an alias is missing: making the indices again; queue their issues for indexing to fill them"
            );
            self.indices
                .ensure()
                .await
                .map_err(|error| Cut::Stop(Away(error.to_string())))?;
        }
        Ok(())
    }
}

/// Why sending ended early.
enum Cut {
    /// No answer: perhaps only this connection.
    Connection(Away),
    /// Trying again at once cannot help.
    Stop(Away),
}

impl Submission {
    fn set(&mut self, item: usize, written: Written) {
        let result = match written {
            Written::Written => BulkResult::Written,
            Written::Newer => BulkResult::Newer,
            Written::Refused(_) => BulkResult::Refused,
        };
        metrics::count(names::BULK_ITEMS, 1, &[result.into()]);
        self.results[item] = Some(written);
    }

    /// A submitter that has gone needs no answer.
    fn finish(self) {
        let _ = self.reply.send(Ok(self.results.into_iter().flatten().collect()));
    }
}

fn fail(submissions: Vec<Submission>, away: &Away) {
    for submission in submissions {
        let _ = submission.reply.send(Err(away.clone()));
    }
}

fn open(submissions: &[Submission]) -> Vec<Place> {
    let items = |(s, submission): (usize, &Submission)| {
        let open = submission
            .results
            .iter()
            .enumerate()
            .filter(|(_, result)| result.is_none());
        open.map(|(item, _)| (s, item)).collect::<Vec<_>>()
    };
    submissions.iter().enumerate().flat_map(items).collect()
}

fn body(submissions: &[Submission], items: &[Place]) -> Bytes {
    let lines = |(s, item): &Place| &submissions[*s].batch.body[submissions[*s].batch.lines(*item)];
    let mut body = Vec::with_capacity(items.iter().map(|place| lines(place).len()).sum());
    items.iter().for_each(|place| body.extend_from_slice(lines(place)));
    body.into()
}
