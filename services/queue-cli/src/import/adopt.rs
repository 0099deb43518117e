//! Takes one issue into the archive: objects first, then the event that names them.

use std::collections::BTreeSet;

use bugstream_archive::{Archived, Marks, Rules, Side};
use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::Repository;
use bugstream_kit::log::{Log, LogError};
use bugstream_kit::objects::Objects;
use bugstream_proto::{Change, Downloaded, Event, IssueId, Part, RepoName, v1};
use time::OffsetDateTime;

use super::pairs::Found;
use crate::failure::Failure;

/// The archive of one repository.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    pub(crate) log: Log,
    pub(crate) objects: Objects,
    pub(crate) chance: Chance,
    pub(crate) clock: Clock,
    pub(crate) rules: Rules,
}

/// What became of an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// It is in the log now.
    New,
    /// The log knows it, and stays as it is.
    Known,
}

/// An issue that may be taken.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) issue: IssueId,
    /// Which revision it becomes: the time of its files.
    pub(crate) revision: u64,
    /// Whether it is private.
    pub(crate) private: bool,
    found: Found,
    marks: Marks,
    events: u32,
}

/// Looks whether files are an issue of this repository.
///
/// # Errors
/// Why they are not. Quotes no content.
pub(crate) fn check(found: Found, rules: &Rules, now: OffsetDateTime) -> Result<Checked, String> {
    let issue = id(&rules.repository, found.number)?;
    let archived = Archived::parse(&found.issue, &found.timeline).map_err(|error| error.to_string())?;
    archived.belongs_to(&issue).map_err(|error| error.to_string())?;
    let classified = archived.classify(rules);
    let events = archived.timeline().len();
    Ok(Checked {
        issue,
        revision: revision(found.modified_ms, now),
        private: classified.issue() == Side::Private,
        marks: Marks::default().grow(&classified),
        events: u32::try_from(events).map_err(|_| "its timeline is too long".to_owned())?,
        found,
    })
}

fn id(repo: &RepoName, number: u64) -> Result<IssueId, String> {
    repo.issue(number).map_err(|error| error.to_string())
}

/// A time that has been: later downloads must count as newer.
fn revision(modified_ms: u64, now: OffsetDateTime) -> u64 {
    let now = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(1);
    modified_ms.clamp(1, now.max(1))
}

impl Archive {
    pub(crate) fn new(log: Log, objects: Objects, chance: Chance, clock: Clock, repository: &Repository) -> Self {
        Self {
            log,
            objects,
            chance,
            clock,
            rules: Rules::from(repository),
        }
    }

    /// Stores it and tells the log, unless that knows the issue.
    ///
    /// # Errors
    /// [`Failure`] if a server is away: what is not told of may lie in the object store, and is collected there.
    pub(crate) async fn adopt(&self, checked: Checked) -> Result<Adopted, Failure> {
        let nonce = self.chance.nonce();
        let Found { issue, timeline, .. } = checked.found;
        let put = |part, raw| self.objects.put(&checked.issue, checked.revision, &nonce, part, raw);
        let stored = tokio::try_join!(put(Part::Issue, issue), put(Part::Timeline, timeline));
        let (issue, timeline) = stored.map_err(|error| Failure::failed(error.to_string()))?;
        let keys = BTreeSet::from([issue.key.clone(), timeline.key.clone()]);
        let at = i128::from(checked.revision) * 1_000_000;
        let event = Event {
            issue: checked.issue,
            revision: checked.revision,
            occurred_at: OffsetDateTime::from_unix_timestamp_nanos(at).unwrap_or_else(|_| self.clock.now()),
            marks: checked.marks.into(),
            cause: v1::Cause::new(v1::Reason::Import, self.clock.now()),
            change: Change::Downloaded(Downloaded {
                issue,
                timeline,
                timeline_events: checked.events,
            }),
        };
        match self.log.publish(&event, None, &nonce).await {
            Ok(_) => Ok(Adopted::New),
            // Nobody else has this nonce, so no event names these objects.
            Err(LogError::Conflict) => {
                let keys: Vec<String> = keys.into_iter().collect();
                let dropped = self.objects.delete(&keys).await;
                dropped.map_err(|error| Failure::failed(error.to_string()))?;
                Ok(Adopted::Known)
            }
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn checked(issue: &'static str, timeline: &'static str, modified_ms: u64) -> Result<(u64, bool), String> {
        let rules = Rules {
            repository: "a/b".parse().expect("a repository"),
            private_partner: None,
            public: [].into(),
        };
        let found = Found {
            number: 7,
            modified_ms,
            issue: Bytes::from_static(issue.as_bytes()),
            timeline: Bytes::from_static(timeline.as_bytes()),
        };
        check(found, &rules, NOW).map(|checked| (checked.revision, checked.private))
    }

    #[test]
    fn what_is_whole_and_ours_is_taken_as_of_its_time() {
        let seven = r#"{"number":7,"title":"a"}"#;
        assert_eq!(checked(seven, "[]", 1_000), Ok((1_000, false)));
        assert_eq!(checked(seven, "[]", 0), Ok((1, false)), "a file without a time");
        let now = 1_795_262_400_000;
        assert_eq!(
            checked(seven, "[]", u64::MAX),
            Ok((now, false)),
            "a clock that was ahead"
        );
        let flagged = r#"{"number":7,"title":"a","__WEBCOMPAT_PRIVATE_ISSUE__":true}"#;
        assert_eq!(checked(flagged, "[]", 1_000), Ok((1_000, true)));
    }

    #[test]
    fn what_is_not_says_why_and_quotes_nothing() {
        let table = [
            (r#"{"number":8}"#, "[]", "the issue has another number"),
            (
                r#"{"number":7,"repository_url":"https://x/repos/c/d"}"#,
                "[]",
                "the issue belongs to another repository",
            ),
            ("<html>", "[]", "the issue is not JSON (line 1, column 1)"),
            (
                r#"{"number":7"#,
                "[]",
                "the issue is cut short (after line 1, column 11)",
            ),
            (r#"{"number":7}"#, "{}", "the timeline is an object, not an array"),
            ("", "", "the issue is cut short (after line 1, column 0)"),
        ];
        for (issue, timeline, why) in table {
            assert_eq!(checked(issue, timeline, 1), Err(why.to_owned()), "{issue}");
        }
    }
}
