//! One bulk from its batches to the answer of each write: sent again item by item where Elasticsearch was busy, in halves
//! where it was too large.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bugstream_kit::chance::Chance;
use bugstream_kit::elastic::Transport;
use bugstream_telemetry::metrics;
use bugstream_telemetry::names::{self, BulkResult, span};
use bytes::{Bytes, BytesMut};
use elasticsearch::http::Method;
use tracing::Instrument;

use super::pace::Seen;
use super::{Refused, Reply, Submission, Written};
use crate::answer::{self, Answer, Verdict};
use crate::elastic::Away;
use crate::indices::Indices;

/// Sent again so often, which takes about a minute, before the caller is told to hold.
const MOST_ATTEMPTS: u64 = 8;
/// Failures at one item alone after which it counts as refused: Elasticsearch is there, and the document may be the cause.
const MOST_FAILURES: u64 = 4;
/// Failures of the connection after which Elasticsearch counts as away: one may be a connection that idled too long.
const MOST_CUTS: u64 = 2;
/// Payload too large.
const TOO_LARGE: u16 = 413;

/// Batches that are sent together.
#[derive(Debug)]
pub(super) struct Bulk {
    body: Bytes,
    /// Writes in the body.
    writes: usize,
    parts: Vec<Part>,
    span: tracing::Span,
}

/// One batch.
#[derive(Debug)]
struct Part {
    /// Where its writes lie in the body.
    lines: Vec<Range<usize>>,
    results: Vec<Option<Written>>,
    reply: Reply,
}

/// An item of a bulk: which part, which of its writes.
type Place = (usize, usize);

impl Bulk {
    /// With its body in a buffer that was used before: the system takes long to hand out as much memory again and again.
    pub(super) fn of(submissions: Vec<Submission>, mut body: BytesMut) -> Self {
        let span = tracing::info_span!(span::BULK, submissions = submissions.len());
        let bytes = submissions.iter().map(|one| one.batch.bytes()).sum();
        body.clear();
        if body.capacity() < bytes {
            // Exactly as much: one that is told to grow doubles.
            body = BytesMut::with_capacity(bytes);
        }
        let mut parts = Vec::with_capacity(submissions.len());
        for submission in submissions {
            span.follows_from(&submission.submitter);
            let start = body.len();
            body.extend_from_slice(&submission.batch.body);
            parts.push(Part::new(submission, start));
        }
        Self {
            body: body.freeze(),
            writes: parts.iter().map(|part| part.lines.len()).sum(),
            parts,
            span,
        }
    }

    /// A batch whose submitter has gone is not sent again; one that has all its answers is done.
    fn finish(&mut self) {
        self.parts.retain(|part| !part.reply.is_closed());
        for part in self
            .parts
            .extract_if(.., |part| part.results.iter().all(Option::is_some))
        {
            // A submitter that has gone needs no answer.
            _ = part.reply.send(Ok(part.results.into_iter().flatten().collect()));
        }
    }

    fn fail(&mut self, away: &Away) {
        for part in self.parts.drain(..) {
            // As above.
            _ = part.reply.send(Err(away.clone()));
        }
    }

    /// What has no answer yet.
    fn open(&self) -> Vec<Place> {
        let items = |(p, part): (usize, &Part)| {
            let open = part.results.iter().enumerate().filter(|(_, result)| result.is_none());
            open.map(|(item, _)| (p, item)).collect::<Vec<_>>()
        };
        self.parts.iter().enumerate().flat_map(items).collect()
    }

    /// The body of these items; no copy where that is all of them.
    fn body(&self, items: &[Place]) -> Bytes {
        if items.len() == self.writes {
            return self.body.clone();
        }
        let lines = |(p, item): &Place| &self.body[self.parts[*p].lines[*item].clone()];
        let mut body = Vec::with_capacity(items.iter().map(|place| lines(place).len()).sum());
        items.iter().for_each(|place| body.extend_from_slice(lines(place)));
        body.into()
    }

    fn set(&mut self, (part, item): Place, written: Written) {
        self.parts[part].results[item] = Some(written);
    }
}

impl Part {
    fn new(submission: Submission, start: usize) -> Self {
        let ends = submission.batch.ends.iter().map(|end| start + end);
        let starts = std::iter::once(start).chain(ends.clone());
        let lines: Vec<_> = starts.zip(ends).map(|(start, end)| start..end).collect();
        Self {
            results: vec![None; lines.len()],
            lines,
            reply: submission.reply,
        }
    }
}

/// Sends bulks.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) transport: Transport,
    pub(super) indices: Arc<Indices>,
    pub(super) chance: Chance,
}

/// Why sending ended early.
enum Cut {
    /// No answer: perhaps only this connection.
    Connection(Away),
    /// Trying again at once cannot help.
    Stop(Away),
}

impl Sender {
    /// Sends until every write has its answer, or Elasticsearch turns out to be away. Gives the buffer of the body back,
    /// unless the connection still has it.
    pub(super) async fn work(&self, mut bulk: Bulk) -> (Seen, Option<BytesMut>) {
        let span = bulk.span.clone();
        let mut seen = Seen::default();
        self.deliver(&mut bulk, &mut seen).instrument(span).await;
        (seen, bulk.body.try_into_mut().ok())
    }

    async fn deliver(&self, bulk: &mut Bulk, seen: &mut Seen) {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let sent = self.send(bulk, attempts >= MOST_FAILURES, seen).await;
            bulk.finish();
            match sent {
                _ if bulk.parts.is_empty() => return,
                Ok(()) if attempts < MOST_ATTEMPTS => {}
                Ok(()) => return bulk.fail(&Away("Elasticsearch is too busy to write".to_owned())),
                Err(Cut::Connection(_)) if attempts < MOST_CUTS => {}
                Err(Cut::Connection(away) | Cut::Stop(away)) => return bulk.fail(&away),
            }
            let wait = self
                .chance
                .backoff(Duration::from_millis(250), Duration::from_secs(15), attempts);
            tokio::time::sleep(wait).await;
            bulk.finish();
        }
    }

    /// Sends what is open, in halves where a body is too large or malformed as a whole, and notes the answers.
    /// `give_up` on items that Elasticsearch fails at.
    async fn send(&self, bulk: &mut Bulk, give_up: bool, seen: &mut Seen) -> Result<(), Cut> {
        let mut parts = vec![bulk.open()];
        while let Some(items) = parts.pop().filter(|items| !items.is_empty()) {
            let body = bulk.body(&items);
            let bytes = body.len();
            match self.post(body, seen).await? {
                Answer::Items(mut verdicts) if verdicts.len() == items.len() => {
                    verdicts.iter_mut().for_each(|verdict| verdict.settle(give_up));
                    self.note(bulk, &items, verdicts, seen).await?;
                }
                Answer::Items(_) => return Err(Cut::Stop(Away("Elasticsearch answers another bulk".to_owned()))),
                Answer::Busy => seen.busy = true,
                Answer::Unacceptable(status) if items.len() == 1 => {
                    let refused = Refused {
                        error_type: format!("http_{status}"),
                        field: String::new(),
                    };
                    metrics::count(names::BULK_ITEMS, 1, &[BulkResult::Refused.into()]);
                    bulk.set(items[0], Written::Refused(refused));
                }
                Answer::Unacceptable(status) => {
                    if status == TOO_LARGE {
                        seen.too_large = Some(seen.too_large.map_or(bytes, |known| known.min(bytes)));
                    }
                    let half = items.len() / 2;
                    parts.extend([items[half..].to_vec(), items[..half].to_vec()]);
                }
            }
        }
        Ok(())
    }

    async fn post(&self, body: Bytes, seen: &mut Seen) -> Result<Answer, Cut> {
        let started = tokio::time::Instant::now();
        metrics::count(names::BULK_BYTES, body.len() as u64, &[]);
        let sent = self
            .transport
            .send(Method::Post, answer::PATH, answer::LINES, Some(body));
        let (status, answer) = sent.await.map_err(Cut::Connection)?;
        let took = started.elapsed();
        seen.longest = seen.longest.max(took);
        metrics::observe(names::BULK_DURATION, took.as_secs_f64(), &[]);
        if let Some(refusal) = self.transport.refusal(status, &answer) {
            return Err(Cut::Stop(refusal));
        }
        Answer::read(status, &answer).map_err(Cut::Stop)
    }

    /// Notes final verdicts. Makes lost aliases again, so that their items succeed the next time.
    async fn note(&self, bulk: &mut Bulk, items: &[Place], verdicts: Vec<Verdict>, seen: &mut Seen) -> Result<(), Cut> {
        let (mut lost, mut stopped, mut counts) = (false, None, Counts::default());
        for (place, verdict) in items.iter().zip(verdicts) {
            counts.add(&verdict);
            match verdict {
                Verdict::Final(written) => bulk.set(*place, written),
                Verdict::Busy | Verdict::Failed(_) => seen.busy = true,
                Verdict::AliasMissing => lost = true,
                Verdict::Blocked => stopped = Some(Away(answer::BLOCKED.to_owned())),
                Verdict::Forbidden => stopped = Some(Away(answer::FORBIDDEN.to_owned())),
            }
        }
        counts.tell();
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

/// Writes of one answer by what became of them.
#[derive(Debug, Default)]
struct Counts([u64; 4]);

impl Counts {
    const RESULTS: [BulkResult; 4] = [
        BulkResult::Written,
        BulkResult::Newer,
        BulkResult::Refused,
        BulkResult::Retried,
    ];

    fn add(&mut self, verdict: &Verdict) {
        let result = match verdict {
            Verdict::Final(Written::Written) => 0,
            Verdict::Final(Written::Newer) => 1,
            Verdict::Final(Written::Refused(_)) => 2,
            Verdict::Busy | Verdict::Failed(_) => 3,
            Verdict::AliasMissing | Verdict::Blocked | Verdict::Forbidden => return,
        };
        self.0[result] += 1;
    }

    fn tell(&self) {
        for (result, count) in Self::RESULTS.into_iter().zip(self.0) {
            metrics::count(names::BULK_ITEMS, count, &[result.into()]);
        }
    }
}
