//! What waits in the queues, for an observer who asks the broker directly.
//!
//! Every look has a deadline, since the broker may be dying: it answers nothing then.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use bugstream_proto::header;
use bugstream_proto::topology::{self, ConsumerSpec};
use futures_util::TryStreamExt as _;

/// How long one look may take: longer than a busy machine lets the broker stand still.
const PATIENCE: Duration = Duration::from_secs(30);

/// As many messages are named at most.
const NAMED: usize = 20;

/// An observer. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Queues {
    jetstream: jetstream::Context,
}

impl Queues {
    /// Over a connection to the broker itself.
    #[must_use]
    pub fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// What is still to be done: every request in a queue, due or scheduled, and events that are not indexed; none if the
    /// broker does not say.
    ///
    /// Work moves from the requests to the log, and back where an event is scheduled to be indexed again. So the requests are
    /// looked at before and after the log: what moves between two looks is seen by one of them.
    pub async fn waiting(&self) -> Option<u64> {
        let before = self.subjects().await?.len();
        let (events, _) = self.events().await?;
        let after = self.subjects().await?.len();
        Some(before.max(after) as u64 + events)
    }

    /// How many events are not indexed, and the sequence at which the log ends; none if the broker does not say. It counts
    /// what waits for a consumer a moment after it said that an event is stored, so that a consumer which is not at the end
    /// of the log has one at least.
    pub async fn events(&self) -> Option<(u64, u64)> {
        let look = async {
            let log = self.jetstream.get_stream(topology::ISSUES).await.ok()?;
            Some(log.cached_info().state.last_sequence)
        };
        let end = tokio::time::timeout(PATIENCE, look).await.ok().flatten()?;
        let indexer = self.consumer(topology::INDEXER).await?;
        let is_behind = indexer.delivered.stream_sequence < end;
        let undone = indexer.num_pending.max(is_behind.into()) + indexer.num_ack_pending as u64;
        Some((undone, end))
    }

    /// What the broker knows of a consumer; none if it does not say.
    pub async fn consumer(&self, spec: ConsumerSpec) -> Option<jetstream::consumer::Info> {
        let look = async {
            let stream = self.jetstream.get_stream_no_info(spec.stream).await.ok()?;
            stream.consumer_info(spec.name).await.ok()
        };
        tokio::time::timeout(PATIENCE, look).await.ok().flatten()
    }

    /// How much of what waits, on a line.
    pub async fn counts(&self) -> String {
        let (Some(subjects), Some((events, _))) = (self.subjects().await, self.events().await) else {
            return "the broker does not say what waits".to_owned();
        };
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, subject) in &subjects {
            *counts.entry(kind(subject)).or_default() += 1;
        }
        counts.insert("issue", events);
        let counts = counts.iter().filter(|(_, count)| **count > 0);
        let words: Vec<String> = counts.map(|(kind, count)| format!("{count} {kind}")).collect();
        if words.is_empty() {
            "nothing waits".to_owned()
        } else {
            format!("waiting: {}", words.join(", "))
        }
    }

    /// What waits and why, for a test that waited in vain: messages by name with their schedules, and every consumer.
    pub async fn in_words(&self) -> String {
        let mut words = vec![self.counts().await];
        for (stream, subject) in self.subjects().await.unwrap_or_default().iter().take(NAMED) {
            words.push(self.message(stream, subject).await.unwrap_or_else(|| subject.clone()));
        }
        for spec in topology::CONSUMERS {
            if let Some(info) = self.consumer(spec).await {
                words.push(format!(
                    "{}: {} pending, {} unacknowledged, {} delivered again, {} asked for",
                    spec.name, info.num_pending, info.num_ack_pending, info.num_redelivered, info.num_waiting
                ));
            }
        }
        words.join("\n")
    }

    /// Stream and subject of all requests, due or scheduled.
    async fn subjects(&self) -> Option<Vec<(&'static str, String)>> {
        let look = async {
            let mut all = Vec::new();
            for name in [topology::DOWNLOADS, topology::INDEXING] {
                let stream = self.jetstream.get_stream_no_info(name).await.ok()?;
                let subjects: Vec<_> = stream.info_with_subjects(">").await.ok()?.try_collect().await.ok()?;
                all.extend(subjects.into_iter().map(|(subject, _)| (name, subject)));
            }
            Some(all)
        };
        tokio::time::timeout(PATIENCE, look).await.ok().flatten()
    }

    async fn message(&self, stream: &str, subject: &str) -> Option<String> {
        let look = async {
            let stream = self.jetstream.get_stream_no_info(stream).await.ok()?;
            stream.get_last_raw_message_by_subject(subject).await.ok()
        };
        let message = tokio::time::timeout(PATIENCE, look).await.ok().flatten()?;
        let due = header::scheduled_at(&message.headers).map_or_else(|| "due".to_owned(), |at| format!("due at {at}"));
        let attempts = header::attempts(Some(&message.headers));
        Some(format!(
            "{subject}: message {} of {}, {due}, {attempts} attempts",
            message.sequence, message.time
        ))
    }
}

/// The leading tokens of a subject, those of a verb if it has one.
fn kind(subject: &str) -> &str {
    let tokens = if subject.starts_with("retry.") { 2 } else { 1 };
    let end = subject.match_indices('.').nth(tokens - 1);
    end.map_or(subject, |(at, _)| &subject[..at])
}

#[cfg(test)]
mod tests {
    use bugstream_proto::{Lane, Verb};

    use super::*;

    #[test]
    fn a_kind_is_a_verb() {
        for verb in [Verb::Debounce, Verb::Retry(Lane::Index), Verb::Download] {
            assert_eq!(kind(&verb.wildcard()), verb.prefix());
        }
        assert_eq!(kind("nonsense"), "nonsense");
    }
}
