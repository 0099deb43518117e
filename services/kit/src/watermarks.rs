//! How far each layer of freshness got: one record a task and repository, written by the active downloader, read by
//! queue-cli. And what is left of each credential's quota, so that a limit holds across a take-over.
//!
//! Invariants:
//! - A record is written by compare-and-swap against the one that the step began with, so two downloaders cannot both
//!   carry a step on; the one that comes too late gets [`WatermarkError::Conflict`] and drops its step, which the other
//!   has done.
//! - A watermark moves only after what it stands for is durable. Losing a record costs requests, never an issue.
//!
//! The record of a task holds no requests: those wait in the stream `TASKS`.

use std::collections::BTreeMap;
use std::fmt;

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use bugstream_proto::{RepoName, Task, topology};
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339::option as at;

use crate::broker::Broker;
use crate::retention::Collected;

const QUOTA: &str = "quota/";

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// JetStream is away.
    #[error("the bucket of watermarks does not answer: {0}")]
    Unavailable(String),
    /// Someone wrote something else there by hand, or a newer version did.
    #[error(
        "the record {key} in bucket {} cannot be read; delete it to begin anew",
        topology::WATERMARKS
    )]
    Unreadable {
        /// The record's key.
        key: String,
    },
    /// Another downloader wrote it first.
    #[error("another downloader moved this watermark first")]
    Conflict,
}

/// Whether a layer does its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is", content = "why")]
pub enum State {
    /// It never ran.
    #[default]
    New,
    /// Its last step succeeded.
    On,
    /// It does nothing, for the reason given: switched off, or GitHub does not let it.
    Off(String),
    /// Its last step failed, and is tried again.
    Failing(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "not run yet"),
            Self::On => write!(f, "on"),
            Self::Off(why) => write!(f, "off: {why}"),
            Self::Failing(why) => write!(f, "failing: {why}"),
        }
    }
}

/// A record of one task and repository. All of them have a state; what is missing in an older one has its default.
pub trait Record: Clone + Default + Serialize + DeserializeOwned + Send {
    /// Whose it is.
    const TASK: Task;
}

/// The `since` sweep of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sweep {
    /// Whether it works.
    pub state: State,
    /// The newest `updated_at` whose request is stored: the watermark.
    #[serde(with = "at")]
    pub newest: Option<OffsetDateTime>,
    /// Where the list of the sweep under way goes on; `None` between two sweeps.
    pub cursor: Option<String>,
    /// Rows at most an overlap older than the watermark that were asked for: `updated_at` in seconds since 1970, by
    /// number. They come again in the next list, and need not be asked for again.
    pub asked: BTreeMap<u64, i64>,
    /// When a list was last read to its end.
    #[serde(with = "at")]
    pub last_run: Option<OffsetDateTime>,
    /// How many issues this sweep asked for so far, or the last one in all.
    pub found: u64,
}

/// The audit of one repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Whether it works.
    pub state: State,
    /// Which round is under way, counted from 1; 0 before the first.
    pub round: u64,
    /// When it began.
    #[serde(with = "at")]
    pub began: Option<OffsetDateTime>,
    /// The number that was asked for last.
    pub position: u64,
    /// The highest number that the log knew when the round began.
    pub last: u64,
    /// How many issues the log knew then, deleted ones included.
    pub known: u64,
    /// How many were asked for in this round.
    pub asked: u64,
    /// How many are passed in this round, asked for or known to be deleted.
    pub passed: u64,
    /// Primary quota that an audited issue costs, as measured lately; other use of the same credentials counts too.
    pub cost: f64,
    /// When the last step was.
    #[serde(with = "at")]
    pub last_run: Option<OffsetDateTime>,
    /// When the round before was finished.
    #[serde(with = "at")]
    pub finished: Option<OffsetDateTime>,
}

impl Audit {
    /// How much of the round is done, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn share(&self) -> f64 {
        if self.known == 0 {
            return 0.0;
        }
        (self.passed as f64 / self.known as f64).min(1.0)
    }
}

/// The repair of failed webhook deliveries to one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deliveries {
    /// Whether it works. Off with the reason where the credentials may not see deliveries.
    pub state: State,
    /// How far each hook's deliveries are known, by the hook's name.
    pub hooks: BTreeMap<String, HookMark>,
    /// When the list was last read to the watermark.
    #[serde(with = "at")]
    pub last_run: Option<OffsetDateTime>,
    /// How many lost events were repaired since ever.
    pub repaired: u64,
}

/// How far one hook's deliveries are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookMark {
    /// The newest delivery's time when the list was last read to the end.
    #[serde(with = "at")]
    pub newest: Option<OffsetDateTime>,
    /// The GUIDs that failed and were dealt with, with their delivery's time in seconds since 1970; forgotten as the
    /// watermark passes them by.
    pub repaired: BTreeMap<String, i64>,
}

/// A backfill of one repository: the one under way, or the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backfill {
    /// Which one.
    pub run: String,
    /// How far it got.
    pub phase: Phase,
    /// Why it failed, or waits.
    pub why: Option<String>,
    /// What is listed: issues updated since then.
    #[serde(with = "at")]
    pub since: Option<OffsetDateTime>,
    /// What is listed: "all", "open" or "closed".
    pub listed: String,
    /// Where the list goes on; `None` at its beginning.
    pub cursor: Option<String>,
    /// Pages of the list that are done.
    pub pages: u64,
    /// Rows that are done.
    pub rows: u64,
    /// Rows in all, as far as is known; 0 for unknown.
    pub estimated_rows: u64,
    /// Of the rows: those that could not be done at once and became requests in the queue.
    pub queued: u64,
    /// Primary quota that it spent, its queued rows apart.
    pub spent: u64,
    /// When it began.
    #[serde(with = "at")]
    pub began: Option<OffsetDateTime>,
    /// When its last page was done.
    #[serde(with = "at")]
    pub last_run: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "at")]
    pub ended: Option<OffsetDateTime>,
}

/// How far a backfill got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// There never was one.
    #[default]
    None,
    /// Under way.
    Running,
    /// Every page is done. Rows that became requests may wait still.
    Done,
    /// It cannot go on: `why` says what to do.
    Failed,
    /// Someone stopped it.
    Cancelled,
}

impl Backfill {
    /// Rows a second since it began; `None` before the first page.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self) -> Option<f64> {
        let (began, last) = (self.began?, self.ended.or(self.last_run)?);
        let seconds = (last - began).as_seconds_f64();
        (seconds > 0.0).then(|| self.rows as f64 / seconds)
    }
}

/// The collection of what is old in one repository: the one under way, or the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collect {
    /// Whether it works.
    pub state: State,
    /// The issue that was looked at last, by its number as a text; `None` between two collections.
    pub position: Option<String>,
    /// What it collected so far, or the last one in all.
    pub collected: Collected,
    /// When the last step was.
    #[serde(with = "at")]
    pub last_run: Option<OffsetDateTime>,
    /// When the last one came to its end.
    #[serde(with = "at")]
    pub finished: Option<OffsetDateTime>,
}

impl Record for Sweep {
    const TASK: Task = Task::Sweep;
}
impl Record for Audit {
    const TASK: Task = Task::Audit;
}
impl Record for Deliveries {
    const TASK: Task = Task::Deliveries;
}
impl Record for Backfill {
    const TASK: Task = Task::Backfill;
}
impl Record for Collect {
    const TASK: Task = Task::Collect;
}

/// A record as it was read, with what to swap it against.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked<R> {
    /// The record; its default if there is none.
    pub record: R,
    /// The revision of its key: 0 if it was never written.
    pub revision: u64,
}

/// The records. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Watermarks(Store);

impl Watermarks {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`WatermarkError::Unavailable`].
    pub async fn open(broker: &Broker) -> Result<Self, WatermarkError> {
        let store = broker.jetstream.get_key_value(topology::WATERMARKS).await;
        store.map(Self).map_err(unavailable)
    }

    /// The record of a repository.
    ///
    /// # Errors
    /// [`WatermarkError`], but no conflict.
    pub async fn read<R: Record>(&self, repo: &RepoName) -> Result<Marked<R>, WatermarkError> {
        let key = key_of(R::TASK, repo);
        let entry = self.0.entry(&key).await.map_err(unavailable)?;
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        let record = match entry.filter(|entry| entry.operation == Operation::Put) {
            None => R::default(),
            Some(entry) => serde_json::from_slice(&entry.value).map_err(|_| WatermarkError::Unreadable { key })?,
        };
        Ok(Marked { record, revision })
    }

    /// Writes a record in the place of the one that was read, and answers with what to swap it against next.
    ///
    /// # Errors
    /// [`WatermarkError::Conflict`] if another wrote first, [`WatermarkError::Unavailable`].
    pub async fn swap<R: Record>(
        &self,
        repo: &RepoName,
        record: R,
        revision: u64,
    ) -> Result<Marked<R>, WatermarkError> {
        let key = key_of(R::TASK, repo);
        match self.0.update(&key, bytes_of(&record), revision).await {
            Ok(revision) => Ok(Marked { record, revision }),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Err(WatermarkError::Conflict),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Changes a record, again if another writes meanwhile; `change` answers `false` to leave it as it is.
    ///
    /// # Errors
    /// [`WatermarkError`].
    pub async fn change<R: Record>(
        &self,
        repo: &RepoName,
        change: impl Fn(&mut R) -> bool,
    ) -> Result<R, WatermarkError> {
        const TURNS: usize = 20;
        for _ in 0..TURNS {
            let Marked { mut record, revision } = self.read::<R>(repo).await?;
            if !change(&mut record) {
                return Ok(record);
            }
            match self.swap(repo, record, revision).await {
                Err(WatermarkError::Conflict) => {}
                swapped => return swapped.map(|marked| marked.record),
            }
        }
        Err(WatermarkError::Conflict)
    }

    /// What was left of every credential's quota when it was last written. What cannot be read is left out.
    ///
    /// # Errors
    /// [`WatermarkError::Unavailable`].
    pub async fn quotas<Q: DeserializeOwned>(&self) -> Result<Vec<Q>, WatermarkError> {
        let keys: Vec<String> = self
            .0
            .keys()
            .await
            .map_err(unavailable)?
            .try_collect()
            .await
            .map_err(unavailable)?;
        let mut quotas = Vec::new();
        for key in keys.iter().filter(|key| key.starts_with(QUOTA)) {
            let bytes = self.0.get(key).await.map_err(unavailable)?;
            quotas.extend(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()));
        }
        Ok(quotas)
    }

    /// Writes what is left of one credential's quota. The last one wins: it is the active downloader's.
    ///
    /// # Errors
    /// [`WatermarkError::Unavailable`].
    pub async fn put_quota<Q: Serialize>(&self, credential: &str, quota: &Q) -> Result<(), WatermarkError> {
        let put = self.0.put(format!("{QUOTA}{credential}"), bytes_of(quota)).await;
        put.map(drop).map_err(unavailable)
    }
}

fn bytes_of<T: Serialize>(record: &T) -> bytes::Bytes {
    serde_json::to_vec(record)
        .expect("these records have text keys only")
        .into()
}

/// A dot would split a key into subject tokens and `%` is not allowed in one, hence `=2E`.
fn key_of(task: Task, repo: &RepoName) -> String {
    format!("{}/{}/{}", task.token(), repo.owner(), repo.repo().replace('.', "=2E"))
}

fn unavailable(error: impl fmt::Display) -> WatermarkError {
    WatermarkError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_older_version_is_read_with_defaults() {
        let sweep: Sweep = serde_json::from_str(r#"{"found": 3, "gone_since": true}"#).unwrap();
        assert_eq!((sweep.found, sweep.state), (3, State::New));
        assert_eq!(serde_json::from_str::<Backfill>("{}").unwrap().phase, Phase::None);
    }

    #[test]
    fn states_survive_being_written() {
        for state in [
            State::New,
            State::On,
            State::Off("no rights".into()),
            State::Failing("5xx".into()),
        ] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{text}");
        }
    }

    #[test]
    fn a_share_and_a_rate_need_something_to_count() {
        assert!(Audit::default().share().abs() < f64::EPSILON);
        let (began, ended) = (
            OffsetDateTime::UNIX_EPOCH,
            OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(10),
        );
        let backfill = Backfill {
            rows: 50,
            began: Some(began),
            ended: Some(ended),
            ..Backfill::default()
        };
        assert_eq!(backfill.rate(), Some(5.0));
        assert_eq!(Backfill::default().rate(), None);
    }
}
