//! ETags of what GitHub answered last about an issue, so that it can be asked "anything new?" for no quota.
//!
//! Invariants:
//! - A validator is kept with the hash of the bytes that it stands for, and is worth something only while the newest
//!   event names just those bytes: whoever sends it compares first. So a record that is old, lost or of a lost race is
//!   harmless; it is never what an issue's state is read from.
//! - An ETag belongs to the credential that got it, so each carries that credential's id.
//!
//! One record an issue, not one a credential: who reads it cannot know yet which credential will be free, and the last
//! one that asked is the best guess.

use async_nats::jetstream::kv::Store;
use bugstream_proto::{IssueId, topology, v1};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::broker::Broker;
use crate::deletions::in_bucket;

/// The bucket does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the bucket of validators does not answer: {0}")]
pub struct ValidatorsError(String);

/// What is known of one issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the issue's own JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<KnownIssue>,
    /// Of its timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<KnownTimeline>,
}

/// One answer that had an ETag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// Whose answer it was: the id of a credential, never the credential.
    pub credential: String,
    /// The header as received, quotes included.
    pub etag: String,
}

/// The validator of an issue's JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIssue {
    /// What to send.
    #[serde(flatten)]
    pub validator: Validator,
    /// The SHA-256 of the bytes that it stands for, in hexadecimal.
    pub sha256: String,
}

/// The validators of a timeline, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTimeline {
    /// Every page, in order. The one behind a full last page is there too, with no events.
    pub pages: Vec<KnownPage>,
    /// The SHA-256 of the whole timeline as it is stored, in hexadecimal.
    pub sha256: String,
}

/// The validator of one page of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPage {
    /// What to send; `None` where the answer had none, and then this page is asked for as if it were new.
    #[serde(flatten, default)]
    pub validator: Option<Validator>,
    /// How many elements it had.
    pub events: u32,
}

impl Record {
    /// What of it stands for the objects of an event. The rest must not be sent: GitHub would say "unchanged" of bytes
    /// that nobody has.
    #[must_use]
    pub fn of(self, issue: &v1::StoredObject, timeline: &v1::StoredObject) -> Self {
        Self {
            issue: self.issue.filter(|known| stands_for(&known.sha256, issue)),
            timeline: self.timeline.filter(|known| stands_for(&known.sha256, timeline)),
        }
    }
}

/// Whether a hash as a record keeps it is that of an object.
#[must_use]
pub fn stands_for(sha256: &str, object: &v1::StoredObject) -> bool {
    sha256 == hex::encode(&object.sha256)
}

/// The hash of raw JSON as a record keeps it.
#[must_use]
pub fn sha256(raw: &[u8]) -> String {
    hex::encode(Sha256::digest(raw))
}

/// The bucket. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Validators(Store);

impl Validators {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`ValidatorsError`].
    pub async fn open(broker: &Broker) -> Result<Self, ValidatorsError> {
        let store = broker.jetstream.get_key_value(topology::VALIDATORS).await;
        store.map(Self).map_err(away)
    }

    /// What is known of an issue; nothing where the record cannot be read, since all that it saves is quota.
    ///
    /// # Errors
    /// [`ValidatorsError`].
    pub async fn read(&self, issue: &IssueId) -> Result<Record, ValidatorsError> {
        let found = self.0.get(in_bucket(issue)).await.map_err(away)?;
        let record = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(record.unwrap_or_default())
    }

    /// Writes what is known of an issue. Only after the event that names these bytes is in the log.
    ///
    /// # Errors
    /// [`ValidatorsError`].
    pub async fn write(&self, issue: &IssueId, record: &Record) -> Result<(), ValidatorsError> {
        let bytes = serde_json::to_vec(record).expect("these records have text keys only");
        let written = self.0.put(in_bucket(issue), bytes.into()).await;
        written.map(drop).map_err(away)
    }

    /// Forgets an issue that was deleted, hashes included, and leaves no marker behind.
    ///
    /// # Errors
    /// [`ValidatorsError`].
    pub async fn forget(&self, issue: &IssueId) -> Result<(), ValidatorsError> {
        let subject = format!("{}{}", self.0.prefix, in_bucket(issue));
        let purged = self.0.stream.purge().filter(subject).await;
        purged.map(drop).map_err(away)
    }
}

fn away(error: impl std::fmt::Display) -> ValidatorsError {
    ValidatorsError(error.to_string())
}

#[cfg(test)]
mod tests {
    use bugstream_proto::RepoName;

    use super::*;

    fn validator(etag: &str) -> Validator {
        Validator {
            credential: "token-1a2b3c4d".to_owned(),
            etag: etag.to_owned(),
        }
    }

    fn record(issue: &[u8], timeline: &[u8]) -> Record {
        let page = |etag: Option<&str>, events| KnownPage {
            validator: etag.map(validator),
            events,
        };
        Record {
            issue: Some(KnownIssue {
                validator: validator("W/\"1\""),
                sha256: sha256(issue),
            }),
            timeline: Some(KnownTimeline {
                pages: vec![page(Some("\"2\""), 100), page(None, 3)],
                sha256: sha256(timeline),
            }),
        }
    }

    fn object(raw: &[u8]) -> v1::StoredObject {
        v1::StoredObject {
            sha256: Sha256::digest(raw).to_vec(),
            ..v1::StoredObject::default()
        }
    }

    #[test]
    fn only_what_stands_for_the_newest_bytes_is_sent() {
        let known = record(b"issue", b"timeline");
        let (same, other) = (object(b"issue"), object(b"other"));
        let both = known.clone().of(&same, &object(b"timeline"));
        assert_eq!(both, known);
        let one = known.clone().of(&same, &other);
        assert_eq!((one.issue.is_some(), one.timeline), (true, None));
        assert_eq!(known.of(&other, &other), Record::default());
    }

    #[test]
    fn records_are_readable_json() {
        let text = serde_json::to_string(&record(b"", b"")).unwrap();
        let credential = r#""credential":"token-1a2b3c4d""#;
        assert!(
            text.contains(&format!(r#"{{{credential},"etag":"\"2\"","events":100}}"#)),
            "{text}"
        );
        assert!(text.contains(r#"{"events":3}"#), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record(b"", b""));
        assert_eq!(serde_json::from_str::<Record>("{}").unwrap(), Record::default());
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_what_is_forgotten_leaves_nothing_behind() {
        let nats = bugstream_testkit::nats::Nats::start().await;
        let section = crate::config::Nats {
            url: nats.url(),
            ..crate::config::Nats::default()
        };
        let broker = Broker::connect_once(&section, "test").await.unwrap();
        let validators = Validators::open(&broker).await.unwrap();
        let issue = RepoName::new("a", "b..c").unwrap().issue(7).unwrap();
        assert_eq!(validators.read(&issue).await.unwrap(), Record::default());
        let known = record(b"issue", b"timeline");
        validators.write(&issue, &known).await.unwrap();
        assert_eq!(validators.read(&issue).await.unwrap(), known);
        validators
            .0
            .put(in_bucket(&issue), "of another version".into())
            .await
            .unwrap();
        assert_eq!(validators.read(&issue).await.unwrap(), Record::default());
        validators.forget(&issue).await.unwrap();
        let stream = broker.jetstream.get_stream("KV_validators").await.unwrap();
        assert_eq!(stream.get_info().await.unwrap().state.messages, 0);
    }
}
