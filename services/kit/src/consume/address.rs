//! What a message is addressed to, as its subject says: an issue, or a task of a repository.

use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use bugstream_proto::{IssueId, Subject, TaskSubject};

/// A parsed subject.
pub trait Address: FromStr<Err: fmt::Display> + Clone + fmt::Debug + Send + Sync + 'static {
    /// Messages of one key are handled in order, one after another.
    type Key: Hash;

    /// Its key.
    fn key(&self) -> &Self::Key;

    /// The issue on whose `retry.…` subject a message that keeps failing waits; `None` if it stays where it is.
    fn issue(&self) -> Option<&IssueId>;
}

impl Address for Subject {
    type Key = IssueId;

    fn key(&self) -> &IssueId {
        &self.issue
    }

    fn issue(&self) -> Option<&IssueId> {
        Some(&self.issue)
    }
}

/// Tasks are few, so one that keeps failing cannot exhaust `max_ack_pending`: it stays where it is.
impl Address for TaskSubject {
    type Key = Self;

    fn key(&self) -> &Self {
        self
    }

    fn issue(&self) -> Option<&IssueId> {
        None
    }
}
