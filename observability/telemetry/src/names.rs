//! Every metric, label and span name, once. Dashboards, alerts and services use these and nothing else.
//!
//! Names follow OpenTelemetry: dots, no unit in the name. A store such as Prometheus turns the dots into
//! underscores and appends unit and `_total` itself: `bugstream.webhooks.received` becomes
//! `bugstream_webhooks_received_total`.
//!
//! Labels are bounded: an enum or a constant, an HTTP status, the name of a consumer or a service. Never an issue, a
//! repository of a stranger's choice, a path with a number in it, or a text.

use opentelemetry::{KeyValue, StringValue};

/// Something that is counted; it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The name that is sent.
    pub name: &'static str,
    /// UCUM unit: `By`, or what is counted in braces.
    pub unit: &'static str,
    /// What one step of it means.
    pub help: &'static str,
}

/// Something that is measured, of which the distribution matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Histogram {
    /// The name that is sent.
    pub name: &'static str,
    /// UCUM unit, for example `s`.
    pub unit: &'static str,
    /// What one value of it means.
    pub help: &'static str,
    /// Upper bounds of the buckets, in `unit`, growing.
    pub bounds: &'static [f64],
}

/// Something that is looked at now and then: the last value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// The name that is sent.
    pub name: &'static str,
    /// UCUM unit. Points in time are seconds since 1970, so that an alarm computes the age itself.
    pub unit: &'static str,
    /// What its value means.
    pub help: &'static str,
}

/// From a handler that has nothing to do (5 ms) to a long timeline fetched behind a rate limit (10 min), in seconds.
const DURATION_BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0,
];

/// From a webhook searchable at once (0.25 s) through the usual debounce (300 s) to a backfill of days, in seconds.
const DELAY_BOUNDS: &[f64] = &[
    0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 21_600.0, 86_400.0, 259_200.0,
];

macro_rules! metrics {
    ($list:ident: $kind:ident; $($(#[$doc:meta])* $id:ident = $name:literal, $unit:literal, $help:literal $(, $bounds:expr)?;)+) => {
        $($(#[$doc])* pub const $id: $kind = $kind { name: $name, unit: $unit, help: $help $(, bounds: $bounds)? };)+

        /// All of them, for checks of dashboards and alerts.
        pub const $list: &[$kind] = &[$($id),+];
    };
}

metrics! { COUNTERS: Counter;
    /// Labels: [`WebhookResult`].
    WEBHOOKS_RECEIVED = "bugstream.webhooks.received", "{webhook}", "deliveries answered by the webhook-receiver";
    /// Labels: [`Verb`], [`label::SERVICE`]. Counted after the PubAck.
    REQUESTS_PUBLISHED = "bugstream.requests.published", "{message}", "requests that the broker has acknowledged";
    /// Labels: [`Verb`]. A deadline that was pending already is no failure and shows how much is coalesced.
    REQUESTS_COALESCED = "bugstream.requests.coalesced", "{message}", "requests that found one pending already";
    /// Labels: [`label::CONSUMER`], [`Outcome`].
    MESSAGES_HANDLED = "bugstream.messages.handled", "{message}", "messages whose handler has decided";
    /// Labels: [`label::CONSUMER`]. A consumer that ended or failed and was built again.
    CONSUMERS_REBUILT = "bugstream.consumers.rebuilt", "{consumer}", "consumers built again after they ended or failed";
    /// Labels: [`Route`], [`label::STATUS`] (an HTTP status, or `0` where no answer came).
    GITHUB_REQUESTS = "bugstream.github.requests", "{request}", "requests sent to GitHub, by answer";
    /// Labels: [`Limit`].
    GITHUB_LIMITED = "bugstream.github.limited", "{answer}", "answers of GitHub that asked to wait";
    /// No labels; the log names the credential. Each step wants a person's look.
    GITHUB_SET_ASIDE = "bugstream.github.set_aside", "{credential}", "credentials that GitHub did not accept any more";
    /// Labels: [`Download`].
    DOWNLOADS = "bugstream.downloads", "{download}", "downloads that ended, by what they found";
    /// Labels: [`Part`]. As stored, so after compression.
    OBJECTS_BYTES = "bugstream.objects.bytes", "By", "bytes written to the object store";
    /// No labels. Each step is an issue that is downloaded again.
    OBJECTS_LOST = "bugstream.objects.lost", "{event}", "events whose objects are missing or damaged";
    /// Labels: [`BulkResult`].
    BULK_ITEMS = "bugstream.bulk.items", "{item}", "documents sent to Elasticsearch, by answer";
    /// No labels.
    BULK_BYTES = "bugstream.bulk.bytes", "By", "bytes of bulk requests sent to Elasticsearch, retries included";
    /// No labels. Old ranges have gaps, so this is no failure.
    INDEX_UNKNOWN_ISSUES = "bugstream.index.unknown_issues", "{issue}", "index requests for issues that the log does not know";
    /// Labels: [`label::SERVICE`], [`DeadLetter`].
    DEAD_LETTERS = "bugstream.dead_letters", "{message}", "messages and documents that can never succeed";
    /// No labels. Each step wants a person's decision.
    DELETIONS_BLOCKED = "bugstream.deletions.blocked", "{issue}", "deletions that the fuse has held back";
    /// No labels.
    COLLECTED_EVENTS = "bugstream.collected.events", "{event}", "old events that were removed from the log";
    /// Labels: [`Garbage`].
    COLLECTED_OBJECTS = "bugstream.collected.objects", "{object}", "objects that were removed because nothing recent names them";
    /// Labels: [`Garbage`]. As stored.
    COLLECTED_BYTES = "bugstream.collected.bytes", "By", "bytes of those objects";
}

metrics! { HISTOGRAMS: Histogram;
    /// Labels: [`label::CONSUMER`], [`Outcome`].
    MESSAGE_DURATION = "bugstream.message.duration", "s", "time a handler took for one message", DURATION_BOUNDS;
    /// Labels: [`Route`].
    GITHUB_DURATION = "bugstream.github.duration", "s", "time until GitHub's whole answer was there", DURATION_BOUNDS;
    /// Labels: [`Route`]. Only those that waited at all.
    GITHUB_WAITED = "bugstream.github.waited", "s", "time a request waited for a place or for the points of the minute", DURATION_BOUNDS;
    /// No labels.
    BULK_DURATION = "bugstream.bulk.duration", "s", "time one bulk request took", DURATION_BOUNDS;
    /// No labels. From the first request of a change until it was indexed, the debounce included.
    INDEXED_AFTER = "bugstream.indexed.after", "s", "time from the first request of a change until it was indexed", DELAY_BOUNDS;
}

metrics! { GAUGES: Gauge;
    /// No labels.
    MIRROR_NEWEST = "bugstream.mirror.newest", "s", "when the newest event of the log was published, in seconds since 1970";
    /// No labels. The time of the look itself where nothing waits.
    REQUESTS_OLDEST = "bugstream.requests.oldest", "s", "when the oldest request that waits for a download was published, in seconds since 1970";
    /// No labels. Scheduled ones too.
    REQUESTS_WAITING = "bugstream.requests.waiting", "{message}", "requests that wait for a download";
    /// Labels: [`label::REPOSITORY`].
    SWEEP_LAST = "bugstream.sweep.last", "s", "when a sweep last read GitHub's list to its end, in seconds since 1970";
    /// Labels: [`label::REPOSITORY`].
    DELIVERIES_LAST = "bugstream.deliveries.last", "s", "when failed deliveries were last looked for, in seconds since 1970";
    /// Labels: [`label::REPOSITORY`].
    AUDIT_SHARE = "bugstream.audit.share", "1", "how much of the audit's round is done, from 0 to 1";
    /// Labels: [`label::CREDENTIAL`].
    GITHUB_LEFT = "bugstream.github.left", "{request}", "what is left of a credential's hourly quota";
}

/// Keys of labels whose values are not an enum here, each with a way to make one.
pub mod label {
    use super::{KeyValue, StringValue};

    /// Which service, by its `service.name`.
    pub const SERVICE: &str = "service";
    /// Which durable consumer, by its declared name.
    pub const CONSUMER: &str = "consumer";
    /// An HTTP status.
    pub const STATUS: &str = "status";
    /// A configured repository, `owner/name`.
    pub const REPOSITORY: &str = "repository";
    /// A configured credential, by its id.
    pub const CREDENTIAL: &str = "credential";

    /// A repository of the configuration, so the label is bounded.
    #[must_use]
    pub fn repository(name: impl Into<StringValue>) -> KeyValue {
        KeyValue::new(REPOSITORY, name.into())
    }

    /// A credential of the configuration, by its id, which is no secret.
    #[must_use]
    pub fn credential(id: impl Into<StringValue>) -> KeyValue {
        KeyValue::new(CREDENTIAL, id.into())
    }

    /// The service that counts.
    #[must_use]
    pub fn service(name: &'static str) -> KeyValue {
        KeyValue::new(SERVICE, name)
    }

    /// A durable consumer. The contract declares a handful, so the label is bounded.
    #[must_use]
    pub fn consumer(name: impl Into<StringValue>) -> KeyValue {
        KeyValue::new(CONSUMER, name.into())
    }

    /// An HTTP status; none is `0`: the request ended without an answer.
    #[must_use]
    pub fn status(status: Option<u16>) -> KeyValue {
        KeyValue::new(STATUS, i64::from(status.unwrap_or_default()))
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $id:ident as $key:literal { $($(#[$case_doc:meta])* $case:ident = $value:literal,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $id { $($(#[$case_doc])* $case,)+ }

            impl $id {
                /// The key of the label.
                pub const KEY: &'static str = $key;
                /// Every value that the label can have.
                pub const ALL: &'static [Self] = &[$(Self::$case),+];

                /// The value that is sent.
                #[must_use]
                pub const fn as_str(self) -> &'static str {
                    match self { $(Self::$case => $value,)+ }
                }
            }

            impl From<$id> for KeyValue {
                fn from(value: $id) -> Self {
                    KeyValue::new($id::KEY, value.as_str())
                }
            }
        )+
    };
}

labels! {
    /// How a webhook was answered.
    WebhookResult as "result" {
        /// Published and acknowledged by the broker.
        Accepted = "accepted",
        /// Genuine, but of no concern here.
        Ignored = "ignored",
        /// Forged or malformed.
        Refused = "refused",
        /// The broker was away; the sender was asked to come back.
        Unavailable = "unavailable",
    }

    /// The family of subjects that a request was published to.
    Verb as "verb" {
        /// Waits for a quiet time.
        Debounce = "debounce",
        /// The longest wait.
        Deadline = "deadline",
        /// Waits after failures.
        Retry = "retry",
        /// Due now.
        Download = "download",
        /// Due when the quota allows.
        Backfill = "backfill",
        /// Asks for an issue to be indexed again.
        Index = "index",
    }

    /// What a handler decided on a message.
    Outcome as "outcome" {
        /// Acknowledged: its effect is durable.
        Done = "done",
        /// Comes again later.
        Retry = "retry",
        /// Became a dead letter.
        Reject = "reject",
    }

    /// What a request to GitHub asked for. Never the path, which has numbers in it.
    Route as "route" {
        /// One issue.
        Issue = "issue",
        /// A page of one issue's timeline.
        Timeline = "timeline",
        /// A page of a repository's list of issues.
        Issues = "issues",
        /// The repository itself.
        Repository = "repository",
        /// What is left of the rate limit.
        RateLimit = "rate_limit",
        /// A repository's webhooks.
        Hooks = "hooks",
        /// Deliveries of a webhook.
        Deliveries = "deliveries",
        /// An App's installation, and its tokens.
        Installation = "installation",
        /// Anything else.
        Other = "other",
    }

    /// Which of GitHub's limits asked to wait.
    Limit as "limit" {
        /// The hourly quota.
        Primary = "primary",
        /// Too much at once.
        Secondary = "secondary",
        /// The share of the hour that is kept for live work: Bugstream asks itself.
        Reserve = "reserve",
    }

    /// What a download found.
    Download as "result" {
        /// A new revision, or the first.
        New = "new",
        /// What the archive already has.
        Unchanged = "unchanged",
        /// Confirmed as deleted.
        Deleted = "deleted",
        /// A number that neither GitHub nor the log knows.
        Unknown = "unknown",
        /// Refused: an operator had the issue forgotten.
        Forgotten = "forgotten",
    }

    /// Why an object was collected.
    Garbage as "kind" {
        /// Of a revision that was superseded long ago, or whose issue is gone.
        Revision = "revision",
        /// No event named it.
        Orphan = "orphan",
    }

    /// Which object of an issue.
    Part as "part" {
        /// `issue.json`.
        Issue = "issue",
        /// `timeline.json`.
        Timeline = "timeline",
    }

    /// How Elasticsearch answered one item of a bulk request.
    BulkResult as "result" {
        /// Written.
        Written = "written",
        /// A newer version is there, which is as good.
        Newer = "newer",
        /// Busy; sent again.
        Retried = "retried",
        /// Refused by the mapping; an error stub takes its place.
        Refused = "refused",
    }

    /// What became a dead letter.
    DeadLetter as "kind" {
        /// A subject that names no issue.
        Subject = "subject",
        /// A payload that does not decode, or decodes to something impossible.
        Payload = "payload",
        /// A stored object that is missing or is not what the event says.
        Object = "object",
        /// A document that Elasticsearch refuses.
        Document = "document",
        /// A scheduled subject that holds no valid schedule.
        Schedule = "schedule",
        /// Refused for another reason, which the letter names.
        Other = "other",
    }
}

/// Span names: the steps of one issue's trace. Ids are fields, never part of a name.
pub mod span {
    /// webhook-receiver: one delivery, from the first byte to the answer.
    pub const RECEIVE: &str = "receive";
    /// Publishing one message and waiting for its PubAck.
    pub const PUBLISH: &str = "publish";
    /// One message in the hands of a consumer loop.
    pub const HANDLE: &str = "handle";
    /// downloader: one request of one issue, as a whole.
    pub const DOWNLOAD: &str = "download";
    /// downloader: one HTTP request to GitHub.
    pub const GITHUB: &str = "github";
    /// downloader: writing the objects of one revision.
    pub const STORE: &str = "store";
    /// indexer: one event of one issue, as a whole.
    pub const INDEX: &str = "index";
    /// indexer: one bulk request, linked to every issue in it.
    pub const BULK: &str = "bulk";

    /// All of them, for checks of dashboards.
    pub const ALL: &[&str] = &[RECEIVE, PUBLISH, HANDLE, DOWNLOAD, GITHUB, STORE, INDEX, BULK];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> Vec<(&'static str, &'static str, &'static str)> {
        let counters = COUNTERS.iter().map(|c| (c.name, c.unit, c.help));
        counters
            .chain(HISTOGRAMS.iter().map(|h| (h.name, h.unit, h.help)))
            .chain(GAUGES.iter().map(|g| (g.name, g.unit, g.help)))
            .collect()
    }

    fn well_formed(name: &str) -> bool {
        name.split('.')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    }

    #[test]
    fn names_are_unique_and_ours() {
        let all = names();
        let unique: BTreeSet<_> = all.iter().map(|(name, ..)| name).collect();
        assert_eq!(unique.len(), all.len());
        for (name, unit, help) in all {
            assert!(name.starts_with("bugstream.") && well_formed(name), "{name}");
            assert!(!unit.is_empty() && !help.is_empty(), "{name}");
        }
    }

    #[test]
    fn bounds_grow() {
        for histogram in HISTOGRAMS {
            assert!(histogram.bounds.is_sorted_by(|a, b| a < b), "{}", histogram.name);
        }
    }

    #[test]
    fn spans_are_unique_and_well_formed() {
        let unique: BTreeSet<_> = span::ALL.iter().collect();
        assert_eq!(unique.len(), span::ALL.len());
        assert!(span::ALL.iter().all(|name| well_formed(name)));
    }

    #[test]
    fn a_label_carries_its_key() {
        let label = KeyValue::from(Outcome::Done);
        assert_eq!((label.key.as_str(), label.value.as_str().as_ref()), ("outcome", "done"));
        assert_eq!(label::status(None).value.as_str(), "0");
    }
}
