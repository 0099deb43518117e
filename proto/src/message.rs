//! Checked messages beside the generated types: what decodes here is complete and belongs to its subject.
//!
//! Protobuf decodes much garbage into empty messages, so every decoder here demands the issue and compares it with the
//! subject's. An empty request is valid: `nats pub download.webcompat.web-bugs.12345 ''` queues an issue by hand.

use prost::Message;
use time::OffsetDateTime;

use crate::ids::{IssueId, RepoName};
use crate::v1;

/// Why bytes are no message of the contract. Never quotes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not protobuf.
    #[error("the payload is not a {0} message (protobuf)")]
    Undecodable(&'static str),
    /// A field is missing or impossible.
    #[error("the {message} message has no valid {field}")]
    Field {
        /// Which message.
        message: &'static str,
        /// Which field of it.
        field: &'static str,
    },
    /// The message belongs to another subject.
    #[error("the message is about another issue than its subject says")]
    OtherIssue,
    /// The message belongs to another subject.
    #[error("the message is about another repository than its subject says")]
    OtherRepository,
    /// The event carries a change that this version does not know.
    #[error("the event's kind is unknown: it was written by a newer version of the contract; update this service")]
    Newer,
}

impl From<&IssueId> for v1::Issue {
    fn from(issue: &IssueId) -> Self {
        let repo = issue.repo();
        Self {
            owner: repo.owner().to_owned(),
            repo: repo.repo().to_owned(),
            number: issue.number(),
        }
    }
}

impl v1::Issue {
    /// The checked id.
    ///
    /// # Errors
    /// [`MessageError::Field`] for names or numbers that GitHub would refuse.
    pub fn id(&self) -> Result<IssueId, MessageError> {
        let wrong = |_| MessageError::Field {
            message: "Issue",
            field: "owner, repo and number",
        };
        RepoName::new(&self.owner, &self.repo)
            .and_then(|repo| repo.issue(self.number))
            .map_err(wrong)
    }
}

/// A time as protobuf carries it.
#[must_use]
pub fn timestamp(at: OffsetDateTime) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.nanosecond()).expect("below 1,000,000,000");
    prost_types::Timestamp {
        seconds: at.unix_timestamp(),
        nanos,
    }
}

/// A protobuf time as the rest of the project uses it; `None` outside the years that `time` knows.
#[must_use]
pub fn time_of(timestamp: &prost_types::Timestamp) -> Option<OffsetDateTime> {
    let nanos = i128::from(timestamp.seconds) * 1_000_000_000 + i128::from(timestamp.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

impl v1::Cause {
    /// A cause without deliveries.
    #[must_use]
    pub fn new(reason: v1::Reason, requested_at: OffsetDateTime) -> Self {
        Self {
            reason: reason.into(),
            first_requested_at: Some(timestamp(requested_at)),
            ..Self::default()
        }
    }

    /// A webhook's cause.
    #[must_use]
    pub fn of_delivery(delivery: v1::Delivery, requested_at: OffsetDateTime) -> Self {
        let (first_delivery, last_delivery) = (Some(delivery.clone()), Some(delivery));
        Self {
            first_delivery,
            last_delivery,
            ..Self::new(v1::Reason::Webhook, requested_at)
        }
    }
}

macro_rules! request {
    ($type:ident, $name:literal) => {
        impl v1::$type {
            /// A request for one issue.
            #[must_use]
            pub fn new(issue: &IssueId, cause: v1::Cause) -> Self {
                Self {
                    issue: Some(issue.into()),
                    cause: Some(cause),
                }
            }

            /// Reads a request from its subject's issue and its payload. An empty payload is a request made by hand.
            ///
            /// # Errors
            /// [`MessageError`] for bytes that are no such message or belong to another issue.
            pub fn read(issue: &IssueId, payload: &[u8], now: OffsetDateTime) -> Result<Self, MessageError> {
                if payload.is_empty() {
                    return Ok(Self::new(issue, v1::Cause::new(v1::Reason::Manual, now)));
                }
                let request = Self::decode(payload).map_err(|_| MessageError::Undecodable($name))?;
                let named = request
                    .issue
                    .as_ref()
                    .ok_or(MessageError::Undecodable($name))?
                    .id()?;
                if &named == issue {
                    Ok(request)
                } else {
                    Err(MessageError::OtherIssue)
                }
            }

            /// The cause, or one that says "by hand, now" where the sender gave none.
            #[must_use]
            pub fn cause_or(&self, now: OffsetDateTime) -> v1::Cause {
                self.cause
                    .clone()
                    .unwrap_or_else(|| v1::Cause::new(v1::Reason::Manual, now))
            }
        }
    };
}
request!(DownloadRequested, "DownloadRequested");
request!(IndexRequested, "IndexRequested");

/// An event of the log, checked: complete, and about the issue of its subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose event.
    pub issue: IssueId,
    /// Elasticsearch's external version of every document this event writes.
    pub revision: u64,
    /// When this state was established.
    pub occurred_at: OffsetDateTime,
    /// What was ever written for this issue, this event included.
    pub marks: v1::Marks,
    /// Why it was made.
    pub cause: v1::Cause,
    /// What happened.
    pub change: Change,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The whole issue lies in the object store.
    Downloaded(Downloaded),
    /// The issue is gone.
    Deleted(v1::IssueDeleted),
    /// The issue is gone and must not come back: an operator had everything about it removed.
    Forgotten,
}

/// The objects of a downloaded issue.
#[derive(Debug, Clone, PartialEq)]
pub struct Downloaded {
    /// The answer of `GET issue`.
    pub issue: v1::StoredObject,
    /// All timeline pages as one array.
    pub timeline: v1::StoredObject,
    /// Elements of that array.
    pub timeline_events: u32,
}

impl Event {
    /// The stored objects that this event names; none for an issue that is gone.
    #[must_use]
    pub fn objects(&self) -> Vec<&v1::StoredObject> {
        match &self.change {
            Change::Downloaded(downloaded) => vec![&downloaded.issue, &downloaded.timeline],
            Change::Deleted(_) | Change::Forgotten => Vec::new(),
        }
    }

    /// The bytes for the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let change = match self.change.clone() {
            Change::Downloaded(d) => v1::issue_event::Change::Downloaded(v1::IssueDownloaded {
                issue: Some(d.issue),
                timeline: Some(d.timeline),
                timeline_events: d.timeline_events,
            }),
            Change::Deleted(deleted) => v1::issue_event::Change::Deleted(deleted),
            Change::Forgotten => v1::issue_event::Change::Forgotten(v1::IssueForgotten {}),
        };
        let message = v1::IssueEvent {
            issue: Some((&self.issue).into()),
            revision: self.revision,
            occurred_at: Some(timestamp(self.occurred_at)),
            marks: Some(self.marks),
            cause: Some(self.cause.clone()),
            change: Some(change),
        };
        message.encode_to_vec()
    }

    /// Reads an event of the log and checks that it belongs to its subject's issue.
    ///
    /// # Errors
    /// [`MessageError`]; [`MessageError::Newer`] for a change that this version does not know.
    pub fn decode(issue: &IssueId, payload: &[u8]) -> Result<Self, MessageError> {
        let field = |field| MessageError::Field {
            message: "IssueEvent",
            field,
        };
        let message = v1::IssueEvent::decode(payload).map_err(|_| MessageError::Undecodable("IssueEvent"))?;
        let named = message
            .issue
            .as_ref()
            .ok_or(MessageError::Undecodable("IssueEvent"))?
            .id()?;
        if &named != issue {
            return Err(MessageError::OtherIssue);
        }
        if message.revision == 0 || i64::try_from(message.revision).is_err() {
            return Err(field("revision"));
        }
        Ok(Self {
            revision: message.revision,
            occurred_at: message
                .occurred_at
                .as_ref()
                .and_then(time_of)
                .ok_or(field("occurred_at"))?,
            marks: message.marks.ok_or(field("marks"))?,
            cause: message.cause.unwrap_or_default(),
            change: change(message.change)?,
            issue: named,
        })
    }
}

fn change(change: Option<v1::issue_event::Change>) -> Result<Change, MessageError> {
    match change.ok_or(MessageError::Newer)? {
        v1::issue_event::Change::Deleted(deleted) => Ok(Change::Deleted(deleted)),
        v1::issue_event::Change::Forgotten(v1::IssueForgotten {}) => Ok(Change::Forgotten),
        v1::issue_event::Change::Downloaded(downloaded) => Ok(Change::Downloaded(Downloaded {
            issue: object(downloaded.issue)?,
            timeline: object(downloaded.timeline)?,
            timeline_events: downloaded.timeline_events,
        })),
    }
}

fn object(object: Option<v1::StoredObject>) -> Result<v1::StoredObject, MessageError> {
    let object = object.ok_or(MessageError::Field {
        message: "IssueDownloaded",
        field: "object",
    })?;
    let known = matches!(object.compression(), v1::Compression::None | v1::Compression::Zstd);
    if object.key.is_empty() || object.sha256.len() != 32 || !known {
        return Err(MessageError::Field {
            message: "StoredObject",
            field: "key, sha256 or compression",
        });
    }
    Ok(object)
}
