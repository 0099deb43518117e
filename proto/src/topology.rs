//! Streams, consumers and key-value buckets as data; [`crate::reconcile`] brings a server in line with them.

use std::time::Duration;

use async_nats::jetstream::{consumer, kv, stream};

use crate::subject::{Lane, Verb};
use crate::task::Stage;

/// The smallest server that has message schedules as we need them.
pub const NATS_AT_LEAST: (u64, u64) = (2, 14);

/// Requests to download, scheduled and due.
pub const DOWNLOADS: &str = "DOWNLOADS";
/// The log: the newest message of a subject is that issue's current state.
pub const ISSUES: &str = "ISSUES";
/// Requests to index again what the log says.
pub const INDEXING: &str = "INDEXING";
/// What the active downloader does without being asked for an issue, scheduled and due.
pub const TASKS: &str = "TASKS";
/// What could not succeed.
pub const DEAD_LETTERS: &str = "DEAD_LETTERS";

/// The subject of a service's dead letters.
#[must_use]
pub fn dead_letter_subject(service: &str) -> String {
    format!("dead.{service}")
}

/// Bucket: who is the active downloader. Keys live [`LEASE_TTL`].
pub const LEASES: &str = "leases";
/// Bucket: first signs of deletion with their evidence, by issue, and the fuse.
pub const DELETIONS: &str = "deletions";
/// Bucket: ETags of what GitHub answered last, by issue and by page of a list.
pub const VALIDATORS: &str = "validators";
/// Bucket: how far sweeps, audits, repairs of deliveries and backfills got, and what is left of each quota.
pub const WATERMARKS: &str = "watermarks";
/// How long a lease in [`LEASES`] holds without renewal.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

/// Largest request message. A request is a few hundred bytes.
const REQUEST_BYTES: i32 = 64 * 1024;
/// Largest event of the log: keys, sizes, counts.
const EVENT_BYTES: i32 = 256 * 1024;
/// A crashed worker's messages wait this long; a living one reports progress three times as often.
const ACK_WAIT: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A durable pull consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// Stream it reads.
    pub stream: &'static str,
    /// Its durable name.
    pub name: &'static str,
    /// What it filters.
    pub filter: Filter,
    /// How long the server waits for an ack or a sign of progress before it delivers again.
    pub ack_wait: Duration,
    /// What it delivers first.
    pub start: Start,
}

/// What a consumer takes of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Messages about issues, of one verb.
    Verb(Verb),
    /// Tasks that are due.
    Tasks,
}

impl Filter {
    /// The wildcard over its subjects, malformed ones too.
    #[must_use]
    pub fn wildcard(self) -> String {
        match self {
            Self::Verb(verb) => verb.wildcard(),
            Self::Tasks => Stage::Due.wildcard(),
        }
    }
}

/// Where a new consumer begins. It goes on with everything that comes afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest message.
    All,
    /// With the newest message of every subject.
    NewestOfEach,
    /// With the message of that sequence, or the first one after it.
    At(u64),
}

impl Start {
    fn policy(self) -> consumer::DeliverPolicy {
        match self {
            Self::All => consumer::DeliverPolicy::All,
            Self::NewestOfEach => consumer::DeliverPolicy::LastPerSubject,
            Self::At(start_sequence) => consumer::DeliverPolicy::ByStartSequence { start_sequence },
        }
    }
}

/// Due downloads: webhooks, single requests.
pub const DOWNLOADER_LIVE: ConsumerSpec = ConsumerSpec {
    stream: DOWNLOADS,
    name: "downloader-live",
    filter: Filter::Verb(Verb::Download),
    ack_wait: ACK_WAIT,
    start: Start::All,
};
/// Downloads that wait for quota.
pub const DOWNLOADER_BACKFILL: ConsumerSpec = ConsumerSpec {
    stream: DOWNLOADS,
    name: "downloader-backfill",
    filter: Filter::Verb(Verb::Backfill),
    ack_wait: ACK_WAIT,
    start: Start::All,
};
/// Tasks of the active downloader.
pub const DOWNLOADER_TASKS: ConsumerSpec = ConsumerSpec {
    stream: TASKS,
    name: "downloader-tasks",
    filter: Filter::Tasks,
    ack_wait: ACK_WAIT,
    start: Start::All,
};
/// The log, for the live indices.
pub const INDEXER: ConsumerSpec = ConsumerSpec {
    stream: ISSUES,
    name: "indexer",
    filter: Filter::Verb(Verb::Issue),
    ack_wait: ACK_WAIT,
    start: Start::All,
};
/// Index requests.
pub const INDEXER_REQUESTS: ConsumerSpec = ConsumerSpec {
    stream: INDEXING,
    name: "indexer-requests",
    filter: Filter::Verb(Verb::Index),
    ack_wait: ACK_WAIT,
    start: Start::All,
};

/// The log, for the generation of indices that a rebuild fills. Made when a rebuild begins, deleted when it ends; it
/// remembers how far the rebuild got. What a killed rebuild had under way is delivered again soon.
#[must_use]
pub const fn rebuild(start: Start) -> ConsumerSpec {
    ConsumerSpec {
        stream: ISSUES,
        name: "rebuild",
        filter: Filter::Verb(Verb::Issue),
        ack_wait: Duration::from_secs(10),
        start,
    }
}

/// Every durable consumer that always exists.
pub const CONSUMERS: [ConsumerSpec; 5] = [
    DOWNLOADER_LIVE,
    DOWNLOADER_BACKFILL,
    DOWNLOADER_TASKS,
    INDEXER,
    INDEXER_REQUESTS,
];

impl ConsumerSpec {
    /// Messages that may be unacknowledged at once, delayed NAKs included.
    pub const MAX_ACK_PENDING: i64 = 2_000;

    /// The consumer as the server wants it. No `max_deliver`: what keeps failing is retried, never lost.
    #[must_use]
    pub fn config(&self) -> consumer::pull::Config {
        consumer::pull::Config {
            durable_name: Some(self.name.to_owned()),
            filter_subject: self.filter.wildcard(),
            ack_policy: consumer::AckPolicy::Explicit,
            deliver_policy: self.start.policy(),
            ack_wait: self.ack_wait,
            max_ack_pending: Self::MAX_ACK_PENDING,
            max_deliver: -1,
            ..Default::default()
        }
    }
}

/// The verbs of `DOWNLOADS`: scheduled, and due.
pub const DOWNLOADS_VERBS: &[Verb] = &[
    Verb::Debounce,
    Verb::Deadline,
    Verb::Retry(Lane::Download),
    Verb::Retry(Lane::Backfill),
    Verb::Download,
    Verb::Backfill,
];
/// The verbs of `INDEXING`.
pub const INDEXING_VERBS: &[Verb] = &[Verb::Retry(Lane::Index), Verb::Index];

/// Every stream, in the order in which they are made. Replicas are the operator's choice.
#[must_use]
pub fn streams() -> Vec<stream::Config> {
    vec![
        queue(
            DOWNLOADS,
            wildcards(DOWNLOADS_VERBS),
            "Requests to download issues, scheduled and due",
        ),
        stream::Config {
            name: ISSUES.to_owned(),
            description: Some("The log: what happened to every issue; kept without an age limit".to_owned()),
            subjects: vec![Verb::Issue.wildcard()],
            retention: stream::RetentionPolicy::Limits,
            max_message_size: EVENT_BYTES,
            ..common()
        },
        queue(
            INDEXING,
            wildcards(INDEXING_VERBS),
            "Requests to index again what the log says",
        ),
        queue(
            TASKS,
            vec![Stage::Scheduled.wildcard(), Stage::Due.wildcard()],
            "Sweeps, audits, repairs of deliveries and backfills, scheduled and due",
        ),
        stream::Config {
            name: DEAD_LETTERS.to_owned(),
            description: Some("What could not succeed, with the reason".to_owned()),
            subjects: vec![dead_letter_subject(">")],
            retention: stream::RetentionPolicy::Limits,
            max_bytes: 1024 * 1024 * 1024,
            max_age: 90 * DAY,
            ..common()
        },
    ]
}

fn wildcards(verbs: &[Verb]) -> Vec<String> {
    verbs.iter().map(|verb| verb.wildcard()).collect()
}

/// A work queue with at most one message a subject: a newer request replaces an older one.
fn queue(name: &str, subjects: Vec<String>, description: &str) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        subjects,
        retention: stream::RetentionPolicy::WorkQueue,
        max_messages_per_subject: 1,
        max_message_size: REQUEST_BYTES,
        allow_message_schedules: true,
        ..common()
    }
}

fn common() -> stream::Config {
    stream::Config {
        discard: stream::DiscardPolicy::Old,
        storage: stream::StorageType::File,
        duplicate_window: Duration::from_secs(120),
        allow_direct: true,
        ..Default::default()
    }
}

/// Every key-value bucket.
#[must_use]
pub fn buckets() -> Vec<kv::Config> {
    let bucket = |name: &str, description: &str| kv::Config {
        bucket: name.to_owned(),
        description: description.to_owned(),
        history: 1,
        ..Default::default()
    };
    vec![
        kv::Config {
            max_age: LEASE_TTL,
            ..bucket(LEASES, "Who is the active downloader")
        },
        bucket(DELETIONS, "First signs of deletion with their evidence, and the fuse"),
        bucket(WATERMARKS, "How far sweeps, audits, repairs and backfills got; quotas"),
        bucket(
            VALIDATORS,
            "Validators of conditional requests, with what each stands for",
        ),
    ]
}
