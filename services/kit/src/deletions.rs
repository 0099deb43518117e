//! First signs of deletion, and the fuse that stops many deletions at once. Shared by the downloader, which records and
//! counts, and queue-cli, where a person decides.
//!
//! Invariants:
//! - An issue whose deletion the fuse holds back is [`Stage::Blocked`] here and waits for a person, in no queue: a
//!   thousand blocked issues cost nothing and cannot be lost.
//! - The fuse only blows by itself; only [`Deletions::approve`] and [`Deletions::discard`] mend it.
//! - Every change of the fuse compares and swaps, so that two downloaders cannot both count the last one allowed.
//!
//! It decides nothing about what GitHub's answers mean: that is the downloader's.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use bugstream_proto::{IssueId, RepoName, topology, v1};
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::broker::Broker;
use crate::requests::Requests;

/// How long a deletion counts for the fuse.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// How often a lost race is run again. Downloaders are few, so a second turn is rare.
const TURNS: usize = 20;
const FUSE: &str = "fuse";
const EVIDENCE: &str = "evidence/";

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DeletionsError {
    /// JetStream is away.
    #[error("the bucket of deletions does not answer: {0}")]
    Unavailable(String),
    /// Someone wrote something else there by hand, or a newer version did.
    #[error("the record {key} in bucket {} cannot be read", topology::DELETIONS)]
    Unreadable {
        /// The record's key.
        key: String,
    },
}

/// What is known of one issue's deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What GitHub answered: 404, 410, or 301 for an issue that moved.
    pub status: u16,
    /// When it answered so first, with nothing else in between.
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen: OffsetDateTime,
    /// How far it got.
    pub stage: Stage,
}

/// How far a deletion got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Seen once; a second look is scheduled.
    Seen,
    /// Confirmed, but the fuse was blown: waits for a person.
    Blocked,
    /// A person said yes: it may go through whatever the fuse says, if GitHub still says so.
    Approved,
}

/// One issue's evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Whose.
    pub issue: IssueId,
    /// What is known.
    pub evidence: Evidence,
}

/// Whether deletions may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    /// They may.
    Closed,
    /// None may until a person decides.
    Blown,
}

/// The fuse as it lies in the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuseRecord {
    /// When it blew; `None` while it is closed.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub blown_at: Option<OffsetDateTime>,
    /// The deletions that it let through, by issue, with their times in seconds since 1970. Those that are more than an
    /// hour old no longer count and go at the next change.
    #[serde(default)]
    pub counted: BTreeMap<String, i64>,
}

impl FuseRecord {
    /// Counts one issue's deletion against a limit an hour. The same issue again within the hour is still one.
    #[must_use]
    pub fn count(mut self, issue: &IssueId, limit: usize, now: OffsetDateTime) -> (Self, Fuse) {
        if self.blown_at.is_some() {
            return (self, Fuse::Blown);
        }
        let (oldest, now_s) = ((now - WINDOW).unix_timestamp(), now.unix_timestamp());
        self.counted.retain(|_, at| *at > oldest);
        // What a clock that was ahead wrote down counts for an hour from here, not until that hour comes.
        self.counted.values_mut().for_each(|at| *at = (*at).min(now_s));
        let id = issue.to_string();
        if !self.counted.contains_key(&id) && self.counted.len() >= limit {
            self.blown_at = Some(now);
            return (self, Fuse::Blown);
        }
        self.counted.insert(id, now_s);
        (self, Fuse::Closed)
    }
}

/// The records of deletions. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Deletions {
    store: Store,
    requests: Requests,
}

impl Deletions {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`DeletionsError::Unavailable`].
    pub async fn open(broker: &Broker) -> Result<Self, DeletionsError> {
        let store = broker.jetstream.get_key_value(topology::DELETIONS).await;
        Ok(Self {
            store: store.map_err(unavailable)?,
            requests: Requests::new(broker.jetstream.clone()),
        })
    }

    /// What is known of an issue's deletion.
    ///
    /// # Errors
    /// [`DeletionsError`].
    pub async fn evidence(&self, issue: &IssueId) -> Result<Option<Evidence>, DeletionsError> {
        Ok(self.read(&key_of(issue)).await?.0)
    }

    /// Writes what is known of an issue's deletion.
    ///
    /// # Errors
    /// [`DeletionsError::Unavailable`].
    pub async fn record(&self, issue: &IssueId, evidence: &Evidence) -> Result<(), DeletionsError> {
        let stored = self.store.put(key_of(issue), bytes_of(evidence)).await;
        stored.map(drop).map_err(unavailable)
    }

    /// Holds a deletion back for a person, whatever was known of it; `false` if a person said yes already, which stands.
    ///
    /// # Errors
    /// [`DeletionsError`].
    pub async fn hold_back(
        &self,
        issue: &IssueId,
        status: u16,
        first_seen: OffsetDateTime,
    ) -> Result<bool, DeletionsError> {
        let (key, stage) = (key_of(issue), Stage::Blocked);
        let blocked = Evidence {
            status,
            first_seen,
            stage,
        };
        for _ in 0..TURNS {
            let (found, revision) = self.read::<Evidence>(&key).await?;
            if found.is_some_and(|found| found.stage == Stage::Approved) {
                return Ok(false);
            }
            if self.swap(&key, &blocked, revision).await? {
                return Ok(true);
            }
        }
        Err(changes_all_the_time(&key))
    }

    /// Forgets what was known: the issue is there after all, or its deletion went through.
    ///
    /// # Errors
    /// [`DeletionsError::Unavailable`].
    pub async fn clear(&self, issue: &IssueId) -> Result<(), DeletionsError> {
        self.remove(&key_of(issue)).await
    }

    /// Every issue with evidence, in order; those seen once included.
    ///
    /// # Errors
    /// [`DeletionsError`].
    pub async fn all(&self) -> Result<Vec<Sighting>, DeletionsError> {
        let keys = self.store.keys().await.map_err(unavailable)?;
        let keys: Vec<String> = keys.try_collect().await.map_err(unavailable)?;
        let mut all = Vec::new();
        for key in keys {
            let Some(issue) = issue_of(&key) else { continue };
            if let (Some(evidence), _) = self.read(&key).await? {
                all.push(Sighting { issue, evidence });
            }
        }
        all.sort_by(|a, b| a.issue.cmp(&b.issue));
        Ok(all)
    }

    /// The issues whose deletion waits for a person, in order.
    ///
    /// # Errors
    /// [`DeletionsError`].
    pub async fn pending(&self) -> Result<Vec<Sighting>, DeletionsError> {
        let mut all = self.all().await?;
        all.retain(|sighting| sighting.evidence.stage == Stage::Blocked);
        Ok(all)
    }

    /// The fuse.
    ///
    /// # Errors
    /// [`DeletionsError`].
    pub async fn fuse(&self) -> Result<FuseRecord, DeletionsError> {
        Ok(self.read(FUSE).await?.0.unwrap_or_default())
    }

    /// Counts a deletion that is about to go through, or says that it may not. More than `limit` an hour blow the fuse.
    ///
    /// # Errors
    /// [`DeletionsError`].
    pub async fn count_one(&self, issue: &IssueId, limit: usize, now: OffsetDateTime) -> Result<Fuse, DeletionsError> {
        for _ in 0..TURNS {
            let (found, revision) = self.read::<FuseRecord>(FUSE).await?;
            let found = found.unwrap_or_default();
            let (next, fuse) = found.clone().count(issue, limit, now);
            if next == found || self.swap(FUSE, &next, revision).await? {
                return Ok(fuse);
            }
        }
        Err(changes_all_the_time(FUSE))
    }

    /// Lets every blocked deletion through, if GitHub still says so, and mends the fuse; answers which.
    ///
    /// # Errors
    /// [`DeletionsError`]. Nothing is half done that calling it again would not finish.
    pub async fn approve(&self, now: OffsetDateTime) -> Result<Vec<IssueId>, DeletionsError> {
        let pending = self.pending().await?;
        for Sighting { issue, evidence } in &pending {
            let stage = Stage::Approved;
            self.record(
                issue,
                &Evidence {
                    stage,
                    ..evidence.clone()
                },
            )
            .await?;
        }
        self.mend(now).await?;
        Ok(pending.into_iter().map(|sighting| sighting.issue).collect())
    }

    /// Forgets every blocked deletion and mends the fuse; answers which. The archive keeps them. Should GitHub say so
    /// again when asked for another reason, it counts as a first sign.
    ///
    /// # Errors
    /// [`DeletionsError`]. Nothing is half done that calling it again would not finish.
    pub async fn discard(&self, now: OffsetDateTime) -> Result<Vec<IssueId>, DeletionsError> {
        let pending = self.pending().await?;
        for sighting in &pending {
            self.clear(&sighting.issue).await?;
        }
        self.mend(now).await?;
        Ok(pending.into_iter().map(|sighting| sighting.issue).collect())
    }

    /// Mends the fuse, then wakes what waited for it. One that was blocked after the caller made its list is woken too:
    /// nobody decided on it, so it is judged anew.
    async fn mend(&self, now: OffsetDateTime) -> Result<(), DeletionsError> {
        self.remove(FUSE).await?;
        for sighting in self.all().await?.iter().filter(|s| s.evidence.stage != Stage::Seen) {
            self.look_again(&sighting.issue, now).await?;
        }
        Ok(())
    }

    async fn look_again(&self, issue: &IssueId, now: OffsetDateTime) -> Result<(), DeletionsError> {
        let cause = v1::Cause::new(v1::Reason::Confirm, now);
        let queued = self.requests.download_if_none_waits(issue, cause).await;
        queued.map(drop).map_err(unavailable)
    }

    /// A record with the revision to swap it against: 0 if the key was never written.
    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<(Option<T>, u64), DeletionsError> {
        let Some(entry) = self.store.entry(key).await.map_err(unavailable)? else {
            return Ok((None, 0));
        };
        if entry.operation != Operation::Put {
            return Ok((None, entry.revision));
        }
        let record = serde_json::from_slice(&entry.value);
        let record = record.map_err(|_| DeletionsError::Unreadable { key: key.to_owned() })?;
        Ok((Some(record), entry.revision))
    }

    /// Leaves no marker behind, as a delete of the bucket's would for every issue that ever had a record.
    async fn remove(&self, key: &str) -> Result<(), DeletionsError> {
        let subject = format!("{}{key}", self.store.prefix);
        let purged = self.store.stream.purge().filter(subject).await;
        purged.map(drop).map_err(unavailable)
    }

    async fn swap<T: Serialize>(&self, key: &str, record: &T, revision: u64) -> Result<bool, DeletionsError> {
        match self.store.update(key, bytes_of(record), revision).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn bytes_of<T: Serialize>(record: &T) -> bytes::Bytes {
    serde_json::to_vec(record)
        .expect("these records have text keys only")
        .into()
}

fn key_of(issue: &IssueId) -> String {
    format!("{EVIDENCE}{}", in_bucket(issue))
}

/// An issue's name within a key. A dot would split the key into subject tokens and `%` is not allowed, hence `=2E`.
pub(crate) fn in_bucket(issue: &IssueId) -> String {
    let repo = issue.repo();
    format!(
        "{}/{}/{}",
        repo.owner(),
        repo.repo().replace('.', "=2E"),
        issue.number()
    )
}

fn issue_of(key: &str) -> Option<IssueId> {
    let mut parts = key.strip_prefix(EVIDENCE)?.split('/');
    let (owner, repo, number) = (parts.next()?, parts.next()?, parts.next()?);
    let repo = RepoName::new(owner, &repo.replace("=2E", ".")).ok()?;
    repo.issue(IssueId::parse_number(number).ok()?).ok()
}

fn changes_all_the_time(key: &str) -> DeletionsError {
    DeletionsError::Unavailable(format!("the record {key} changes all the time"))
}

fn unavailable(error: impl std::fmt::Display) -> DeletionsError {
    DeletionsError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn issue(number: u64) -> IssueId {
        RepoName::new("a", "b..c").unwrap().issue(number).unwrap()
    }

    #[test]
    fn keys_print_and_parse_back() {
        let key = key_of(&issue(7));
        assert!(!key.contains('.'), "{key}");
        assert_eq!(issue_of(&key), Some(issue(7)));
        assert_eq!(issue_of(FUSE), None);
    }

    #[test]
    fn one_more_than_the_limit_blows_it_and_it_stays_blown() {
        let mut fuse = FuseRecord::default();
        for number in [1, 2, 2, 1] {
            let (next, allowed) = fuse.count(&issue(number), 2, NOW);
            assert_eq!(allowed, Fuse::Closed, "the same issue counts once");
            fuse = next;
        }
        let (fuse, third) = fuse.count(&issue(3), 2, NOW);
        assert_eq!((third, fuse.blown_at), (Fuse::Blown, Some(NOW)));
        let (_, later) = fuse.count(&issue(1), 2, NOW + 10 * WINDOW);
        assert_eq!(later, Fuse::Blown, "no time mends it");
    }

    #[test]
    fn what_is_more_than_an_hour_old_counts_no_more() {
        let (fuse, _) = FuseRecord::default().count(&issue(1), 1, NOW);
        assert_eq!(fuse.clone().count(&issue(2), 1, NOW + WINDOW / 2).1, Fuse::Blown);
        assert_eq!(fuse.count(&issue(2), 1, NOW + WINDOW).1, Fuse::Closed);
    }

    #[test]
    fn what_a_clock_that_was_ahead_wrote_down_counts_for_an_hour_and_not_for_a_day() {
        let (fuse, _) = FuseRecord::default().count(&issue(1), 2, NOW + 24 * WINDOW);
        let (fuse, second) = fuse.count(&issue(2), 2, NOW);
        assert_eq!(second, Fuse::Closed);
        assert_eq!(
            fuse.clone().count(&issue(3), 2, NOW + WINDOW / 2).1,
            Fuse::Blown,
            "it still counts"
        );
        assert_eq!(fuse.count(&issue(3), 2, NOW + WINDOW).1, Fuse::Closed);
    }

    #[test]
    fn a_limit_of_zero_lets_none_through() {
        assert_eq!(FuseRecord::default().count(&issue(1), 0, NOW).1, Fuse::Blown);
    }

    #[test]
    fn records_are_readable_json() {
        let evidence = Evidence {
            status: 404,
            first_seen: NOW,
            stage: Stage::Seen,
        };
        let text = String::from_utf8(bytes_of(&evidence).to_vec()).unwrap();
        assert_eq!(
            text,
            r#"{"status":404,"first_seen":"2026-11-21T12:00:00Z","stage":"seen"}"#
        );
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
        let blown = FuseRecord {
            blown_at: Some(NOW),
            ..FuseRecord::default()
        };
        assert_eq!(serde_json::from_slice::<FuseRecord>(&bytes_of(&blown)).unwrap(), blown);
    }

    #[tokio::test]
    async fn two_downloaders_at_once_let_exactly_the_limit_through() {
        const LIMIT: usize = 7;
        let nats = bugstream_testkit::nats::Nats::start().await;
        let section = crate::config::Nats {
            url: nats.url(),
            ..crate::config::Nats::default()
        };
        let broker = Broker::connect_once(&section, "test").await.unwrap();
        let deletions = Deletions::open(&broker).await.unwrap();
        let both = [deletions.clone(), Deletions::open(&broker).await.unwrap()];
        let counted = (1..=12).map(|number| {
            let deletions = &both[number as usize % 2];
            async move { deletions.count_one(&issue(number), LIMIT, NOW).await.unwrap() }
        });
        let counted = futures_util::future::join_all(counted).await;
        assert_eq!(counted.iter().filter(|fuse| **fuse == Fuse::Closed).count(), LIMIT);
        assert_eq!(deletions.fuse().await.unwrap().blown_at, Some(NOW));
    }

    #[tokio::test]
    async fn what_is_removed_leaves_nothing_behind_and_can_be_written_again() {
        let nats = bugstream_testkit::nats::Nats::start().await;
        let section = crate::config::Nats {
            url: nats.url(),
            ..crate::config::Nats::default()
        };
        let broker = Broker::connect_once(&section, "test").await.unwrap();
        let deletions = Deletions::open(&broker).await.unwrap();
        let blocked = Evidence {
            status: 404,
            first_seen: NOW,
            stage: Stage::Blocked,
        };
        for _ in 0..2 {
            deletions.count_one(&issue(1), 0, NOW).await.unwrap();
            deletions.record(&issue(1), &blocked).await.unwrap();
            assert_eq!(deletions.pending().await.unwrap()[0].issue, issue(1));
            assert_eq!(deletions.discard(NOW).await.unwrap(), [issue(1)]);
            assert_eq!(deletions.fuse().await.unwrap(), FuseRecord::default());
        }
        let left = broker
            .jetstream
            .get_stream("KV_deletions")
            .await
            .unwrap()
            .get_info()
            .await;
        assert_eq!(left.unwrap().state.messages, 0);
    }
}
