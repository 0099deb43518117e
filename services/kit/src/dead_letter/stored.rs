//! What was put aside, as it lies in its stream: for people who look at it, mend the cause, and have it tried again.
//!
//! Anyone may publish to the stream. What is no letter is told apart, and can be looked at and removed like one.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Message as Delivered};
use bugstream_proto::{topology, v1};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use prost::Message as _;
use serde_json::json;
use time::OffsetDateTime;

use crate::broker::Broker;

/// After this long without a letter one looks whether there is any left.
const PATIENCE: Duration = Duration::from_secs(5);
/// Share of a bound from which on it is near, in percent.
const NEAR: u64 = 80;

/// The stream cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream of dead letters does not answer: {0}")]
pub struct LettersAway(String);

/// A message of the stream.
#[derive(Debug, Clone)]
pub struct StoredLetter {
    /// Its sequence: its id for people.
    pub sequence: u64,
    /// When the server stored it, by the server's clock.
    pub stored_at: OffsetDateTime,
    /// Its subject in the stream of dead letters.
    pub subject: String,
    /// Its trace.
    pub headers: HeaderMap,
    /// Bytes of its payload.
    pub size: usize,
    /// What it says; `None` for a message that is no letter.
    pub letter: Option<v1::DeadLetter>,
}

impl StoredLetter {
    /// The service that put it aside, as the subject says.
    #[must_use]
    pub fn service(&self) -> &str {
        let all = topology::dead_letter_subject("");
        self.subject.strip_prefix(&all).unwrap_or(&self.subject)
    }
}

/// How much there is, and of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Letters.
    pub letters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Beyond this many bytes the oldest letters are lost; `None` without a bound.
    pub most_bytes: Option<u64>,
    /// When the oldest letter was stored; `None` if there is none.
    pub oldest: Option<OffsetDateTime>,
    /// Letters older than this are lost; `None` without a bound.
    pub longest: Option<Duration>,
    /// Sequence of the newest message that ever was.
    pub last: u64,
}

impl Held {
    /// Whether so much lies there that the oldest letters will soon be lost.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.most_bytes.is_some_and(|most| self.bytes > most / 100 * NEAR)
    }

    /// Whether the oldest letter is so old that it will soon be lost.
    #[must_use]
    pub fn is_nearly_over(&self, now: OffsetDateTime) -> bool {
        let limit = |longest: Duration| longest.as_secs() / 100 * NEAR;
        self.oldest.zip(self.longest).is_some_and(|(oldest, longest)| {
            u64::try_from((now - oldest).whole_seconds()).is_ok_and(|age| age > limit(longest))
        })
    }
}

/// Reads and removes dead letters of all services. Clones share the connection.
#[derive(Debug, Clone)]
pub struct StoredLetters {
    jetstream: jetstream::Context,
    stream: Stream<()>,
}

impl StoredLetters {
    /// # Errors
    /// [`LettersAway`].
    pub async fn open(broker: &Broker) -> Result<Self, LettersAway> {
        let stream = broker.jetstream.get_stream_no_info(topology::DEAD_LETTERS).await;
        Ok(Self {
            jetstream: broker.jetstream.clone(),
            stream: stream.map_err(away)?,
        })
    }

    /// How much there is now.
    ///
    /// # Errors
    /// [`LettersAway`].
    pub async fn held(&self) -> Result<Held, LettersAway> {
        let info = self.stream.get_info().await.map_err(away)?;
        let (state, config) = (info.state, info.config);
        Ok(Held {
            letters: state.messages,
            bytes: state.bytes,
            most_bytes: u64::try_from(config.max_bytes).ok().filter(|most| *most > 0),
            oldest: (state.messages > 0).then_some(state.first_timestamp),
            longest: Some(config.max_age).filter(|longest| !longest.is_zero()),
            last: state.last_sequence,
        })
    }

    /// One letter, asked of the stream's leader; `None` if there is no such any more.
    ///
    /// # Errors
    /// [`LettersAway`].
    pub async fn get(&self, sequence: u64) -> Result<Option<StoredLetter>, LettersAway> {
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(StoredLetter {
                sequence,
                stored_at: message.time,
                subject: message.subject.to_string(),
                size: message.payload.len(),
                letter: read(&message.payload),
                headers: message.headers,
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    /// Every letter up to and with that sequence, oldest first. What comes later is left out, so that what is tried again
    /// and put aside again is not met again. Memory is bounded, however many there are.
    ///
    /// # Errors
    /// Its items: [`LettersAway`], after which it ends.
    #[must_use]
    pub fn until(&self, last: u64) -> BoxStream<'_, Result<StoredLetter, LettersAway>> {
        let begin = Reading {
            letters: self,
            last,
            position: 0,
            messages: None,
        };
        Box::pin(stream::try_unfold(begin, |mut reading| async move {
            let next = reading.next().await?;
            Ok(next.map(|letter| (letter, reading)))
        }))
    }

    /// Removes one letter; answers whether it was there. Its bytes are not overwritten, which would take a hundred times
    /// as long: a letter holds no content.
    ///
    /// # Errors
    /// [`LettersAway`].
    pub async fn remove(&self, sequence: u64) -> Result<bool, LettersAway> {
        let subject = format!("STREAM.MSG.DELETE.{}", topology::DEAD_LETTERS);
        let request = json!({ "seq": sequence, "no_erase": true });
        let answer: Response<Removed> = self.jetstream.request(subject, &request).await.map_err(away)?;
        match answer {
            Response::Ok(removed) => Ok(removed.success),
            Response::Err { error } => match self.get(sequence).await? {
                Some(_) => Err(away(error)),
                None => Ok(false),
            },
        }
    }

    /// Removes everything up to and with that sequence; answers how many letters that were.
    ///
    /// # Errors
    /// [`LettersAway`].
    pub async fn remove_until(&self, last: u64) -> Result<u64, LettersAway> {
        let purge = self.stream.purge().sequence(last + 1);
        Ok(purge.await.map_err(away)?.purged)
    }

    /// Whether there is a letter from one sequence to another.
    async fn is_any(&self, from: u64, last: u64) -> Result<bool, LettersAway> {
        let all = topology::dead_letter_subject(">");
        match self.stream.get_first_raw_message_by_subject(&all, from).await {
            Ok(message) => Ok(message.sequence <= last),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(away(error)),
        }
    }

    async fn messages(&self, from: u64) -> Result<pull::Ordered, LettersAway> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
            ..Default::default()
        };
        let consumer = self.stream.create_consumer(config).await.map_err(away)?;
        consumer.messages().await.map_err(away)
    }
}

#[derive(Debug, serde::Deserialize)]
struct Removed {
    success: bool,
}

/// Letters on their way to a reader. The server sends some hundred ahead.
struct Reading<'a> {
    letters: &'a StoredLetters,
    last: u64,
    /// Sequence of the letter that was read last.
    position: u64,
    messages: Option<pull::Ordered>,
}

impl Reading<'_> {
    async fn next(&mut self) -> Result<Option<StoredLetter>, LettersAway> {
        loop {
            let (letters, from) = (self.letters, self.position + 1);
            let mut messages = match self.messages.take() {
                Some(messages) if from <= self.last => messages,
                None if letters.is_any(from, self.last).await? => letters.messages(from).await?,
                _ => return Ok(None),
            };
            // None comes where someone removed the rest meanwhile, or the server is busy: then one looks again.
            if let Ok(Some(message)) = tokio::time::timeout(PATIENCE, messages.next()).await {
                let letter = of_delivered(&message.map_err(away)?)?;
                self.position = letter.sequence;
                self.messages = Some(messages);
                return Ok((letter.sequence <= self.last).then_some(letter));
            }
        }
    }
}

fn of_delivered(message: &Delivered) -> Result<StoredLetter, LettersAway> {
    let info = message.info().map_err(away)?;
    Ok(StoredLetter {
        sequence: info.stream_sequence,
        stored_at: info.published,
        subject: message.subject.to_string(),
        headers: message.headers.clone().unwrap_or_default(),
        size: message.payload.len(),
        letter: read(&message.payload),
    })
}

/// Protobuf decodes much garbage into empty messages; a letter says at least what it is about and why. Letters of any
/// version of the contract do.
fn read(payload: &[u8]) -> Option<v1::DeadLetter> {
    let letter = v1::DeadLetter::decode(payload).ok()?;
    let says = |text: &str| !text.is_empty();
    (says(&letter.stream) && says(&letter.subject) && says(&letter.kind)).then_some(letter)
}

fn away(error: impl std::fmt::Display) -> LettersAway {
    LettersAway(error.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn garbage_is_no_letter() {
        for garbage in [&b""[..], b"garbage", b"\x0a\x01x", &[0xff; 40]] {
            assert!(read(garbage).is_none(), "{garbage:?}");
        }
    }

    #[test]
    fn a_letter_of_any_version_is_one() {
        let first = v1::DeadLetter {
            service: "indexer".to_owned(),
            stream: "ISSUES".to_owned(),
            subject: "issue.a.b.1".to_owned(),
            kind: "of-another-version".to_owned(),
            ..v1::DeadLetter::default()
        };
        let mut newer = first.encode_to_vec();
        newer.extend(b"\xfa\x07\x03new");
        assert_eq!(read(&newer), Some(first));
    }

    #[test]
    fn bounds_are_near_before_they_are_reached() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let held = |bytes, days| Held {
            letters: 1,
            bytes,
            most_bytes: Some(1 << 30),
            oldest: Some(now - time::Duration::days(days)),
            longest: Some(Duration::from_secs(90 * 86_400)),
            last: 1,
        };
        let (few, many) = (held(800 << 20, 71), held(900 << 20, 73));
        assert!(!few.is_nearly_full() && !few.is_nearly_over(now));
        assert!(many.is_nearly_full() && many.is_nearly_over(now));
    }
}
