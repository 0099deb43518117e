//! A mirror that nobody downloaded: invented issues straight into object store and log, as a downloader leaves them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream;
use bugstream_proto::message::{Change, Downloaded, Event};
use bugstream_proto::{IssueId, Nonce, ObjectKey, Part, RepoName, Verb, topology, v1};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::github::{Invented, invent};
use crate::minio::Bucket;

/// The mirrored repository. Its private partner has the same name with `-private`.
pub const REPOSITORY: &str = "bugstream-demo/web-bugs";

/// Issues that are invented at a time, and may refer to each other.
const TOGETHER: u64 = 250;

/// Objects or events under way at once.
const AT_ONCE: usize = 64;

/// When everything was downloaded.
const DOWNLOADED: OffsetDateTime = time::macros::datetime!(2026-01-02 03:04:05 UTC);

/// Where raw JSON lies.
#[derive(Debug, Clone)]
pub enum Store {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    S3(Bucket),
}

impl Store {
    /// The section `[object_store]` of a configuration.
    #[must_use]
    pub fn configuration(&self) -> String {
        match self {
            Self::Folder(folder) => format!("[object_store]\nurl = '{}'\n", folder.display()),
            Self::S3(bucket) => format!(
                "[object_store]\nurl = '{}'\nendpoint = '{}'\nregion = 'us-east-1'\naccess_key_id = '{}'\nsecret_access_key = '{}'\n",
                bucket.url, bucket.endpoint, bucket.access_key_id, bucket.secret_access_key
            ),
        }
    }

    fn open(&self) -> anyhow::Result<Arc<dyn ObjectStore>> {
        Ok(match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                Arc::new(LocalFileSystem::new_with_prefix(folder)?)
            }
            Self::S3(bucket) => Arc::new(
                AmazonS3Builder::new()
                    .with_url(&bucket.url)
                    .with_endpoint(&bucket.endpoint)
                    .with_region("us-east-1")
                    .with_access_key_id(bucket.access_key_id)
                    .with_secret_access_key(bucket.secret_access_key)
                    .with_allow_http(true)
                    .build()?,
            ),
        })
    }
}

/// What there is to index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Size {
    /// Events in the log, one an issue.
    pub(super) issues: u64,
    /// Timeline events of all issues.
    pub(super) timeline_events: u64,
    /// Bytes of raw JSON that they are made of.
    pub(super) bytes: u64,
}

/// Raw JSON in the store, which events may name.
#[derive(Debug, Clone)]
struct Stored {
    change: Change,
    marks: v1::Marks,
    bytes: u64,
}

/// Invented issues in an object store.
#[derive(Debug)]
pub(super) struct Corpus {
    repository: RepoName,
    stored: Vec<Stored>,
}

impl Corpus {
    /// Invents this many issues and stores them. Of a timeline no more than `longest` events are kept, but all of every
    /// fiftieth issue's.
    pub(super) async fn store(store: &Store, issues: u64, longest: usize) -> anyhow::Result<Self> {
        let store = store.open()?;
        let repository: RepoName = REPOSITORY.parse().context("a repository's name")?;
        let mut stored = Vec::new();
        for first in (1..=issues).step_by(usize::try_from(TOGETHER)?) {
            let numbers = first..=issues.min(first + TOGETHER - 1);
            let private = format!("{REPOSITORY}-private");
            let invented = tokio::task::spawn_blocking(move || invent(REPOSITORY, &private, numbers, first)).await?;
            let puts = invented.into_iter().map(|mut one| {
                if !one.number.is_multiple_of(50) {
                    one.timeline.truncate(longest);
                }
                put(&store, &repository, one)
            });
            let put: Vec<Stored> = stream::iter(puts).buffered(AT_ONCE).try_collect().await?;
            stored.extend(put);
        }
        Ok(Self { repository, stored })
    }

    /// No objects at all, for events that nobody looks into.
    pub(super) fn of_nothing() -> anyhow::Result<Self> {
        let repository: RepoName = REPOSITORY.parse().context("a repository's name")?;
        let object = |part| described(&repository.issue(1)?, part, b"nothing");
        let (issue, timeline) = (object(Part::Issue)?, object(Part::Timeline)?);
        let stored = Stored {
            change: Change::Downloaded(Downloaded {
                issue,
                timeline,
                timeline_events: 15,
            }),
            marks: v1::Marks::default(),
            bytes: 0,
        };
        Ok(Self {
            repository,
            stored: vec![stored],
        })
    }

    /// Publishes one event of each issue in `numbers`. Where there are more issues than stored ones, several have the same
    /// raw JSON.
    pub(super) async fn publish(
        &self,
        jetstream: &jetstream::Context,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> anyhow::Result<Size> {
        let all = stream::iter(numbers).map(|number| self.publish_one(jetstream, number));
        let sum = |size: Size, (events, bytes): (u64, u64)| async move {
            Ok(Size {
                issues: size.issues + 1,
                timeline_events: size.timeline_events + events,
                bytes: size.bytes + bytes,
            })
        };
        all.buffer_unordered(AT_ONCE).try_fold(Size::default(), sum).await
    }

    async fn publish_one(&self, jetstream: &jetstream::Context, number: u64) -> anyhow::Result<(u64, u64)> {
        let stored = &self.stored[usize::try_from(number - 1)? % self.stored.len()];
        let issue = self.repository.issue(number)?;
        let subject = Verb::Issue.of(&issue).to_string();
        let event = Event {
            issue,
            revision: 1_700_000_000_000 + number,
            occurred_at: DOWNLOADED,
            marks: stored.marks,
            cause: v1::Cause::new(v1::Reason::Backfill, DOWNLOADED),
            change: stored.change.clone(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}-{number}", super::nonce()));
        let ack = jetstream
            .publish_with_headers(subject, headers, event.encode().into())
            .await?;
        ack.await.context("an event was not stored")?;
        let events = match &stored.change {
            Change::Downloaded(downloaded) => u64::from(downloaded.timeline_events),
            _ => 0,
        };
        Ok((events, stored.bytes))
    }
}

/// How many events the log has.
pub(super) async fn logged(jetstream: &jetstream::Context) -> anyhow::Result<u64> {
    let stream = jetstream.get_stream(topology::ISSUES).await.context("no log")?;
    Ok(stream.cached_info().state.messages)
}

async fn put(store: &Arc<dyn ObjectStore>, repository: &RepoName, invented: Invented) -> anyhow::Result<Stored> {
    let id = repository.issue(invented.number)?;
    let events = u32::try_from(invented.timeline.len())?;
    let marks = marks(&invented, events);
    let timeline = [b"[" as &[u8], &invented.timeline.join(&b','), b"]"].concat();
    let bytes = (invented.issue.len() + timeline.len()) as u64;
    let (issue, timeline) = futures_util::try_join!(
        put_part(store, &id, Part::Issue, invented.issue),
        put_part(store, &id, Part::Timeline, timeline)
    )?;
    let change = Change::Downloaded(Downloaded {
        issue,
        timeline,
        timeline_events: events,
    });
    Ok(Stored { change, marks, bytes })
}

async fn put_part(
    store: &Arc<dyn ObjectStore>,
    issue: &IssueId,
    part: Part,
    raw: Vec<u8>,
) -> anyhow::Result<v1::StoredObject> {
    let object = described(issue, part, &raw)?;
    store.put(&Path::parse(&object.key)?, raw.into()).await?;
    Ok(object)
}

fn described(issue: &IssueId, part: Part, raw: &[u8]) -> anyhow::Result<v1::StoredObject> {
    let key = ObjectKey {
        issue: issue.clone(),
        revision: 1_700_000_000_000 + issue.number(),
        nonce: Nonce::from_bits(issue.number()),
        part,
        compression: v1::Compression::None,
    };
    Ok(v1::StoredObject {
        key: key.to_string(),
        size: raw.len() as u64,
        sha256: Sha256::digest(raw).to_vec(),
        compression: v1::Compression::None.into(),
    })
}

/// What a first download marks: up to the last event of each side, and the issue on its own.
fn marks(invented: &Invented, events: u32) -> v1::Marks {
    let side = |timeline, issue| Some(v1::SideMarks { timeline, issue });
    if invented.is_private {
        return v1::Marks {
            public: side(0, false),
            private: side(events, true),
        };
    }
    let is_private = |position: &u32| invented.private_events.contains(position);
    let after = |position: Option<u32>| position.map_or(0, |position| position + 1);
    v1::Marks {
        public: side(after((0..events).rev().find(|position| !is_private(position))), true),
        private: side(after((0..events).rev().find(is_private)), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_reach_to_the_last_event_of_each_side() {
        let invented = |is_private, private_events| Invented {
            number: 1,
            issue: Vec::new(),
            timeline: Vec::new(),
            is_private,
            private_events,
        };
        let of = |invented, events| {
            let marks: v1::Marks = marks(&invented, events);
            let (public, private) = (marks.public.expect("given"), marks.private.expect("given"));
            [(public.timeline, public.issue), (private.timeline, private.issue)]
        };
        assert_eq!(of(invented(true, vec![0]), 3), [(0, false), (3, true)]);
        assert_eq!(of(invented(false, vec![]), 3), [(3, true), (0, false)]);
        assert_eq!(of(invented(false, vec![0, 2]), 3), [(2, true), (3, false)]);
        assert_eq!(
            of(invented(false, vec![5]), 3),
            [(3, true), (0, false)],
            "it was cut off"
        );
    }
}
