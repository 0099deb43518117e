//! The decision about one issue, as a pure function.

use std::collections::HashSet;
use std::time::Duration;

use bugstream_proto::{IssueId, ObjectKey};
use time::OffsetDateTime;

use super::{DAY, Rules};
use crate::log::Entry;
use crate::objects::Stored;

/// What may go of one issue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The events before this sequence go.
    pub drop_before: Option<u64>,
    /// How many those are.
    pub events: u64,
    /// Objects that only those events named.
    pub revisions: Vec<Stored>,
    /// Objects that no event named.
    pub orphans: Vec<Stored>,
    /// Of the orphans: those that are newer than everything that the log knows of the issue.
    pub suspects: u64,
    /// Files that are no objects of ours.
    pub unknown: u64,
    /// Whether an event could not be read: then all stays, since it may name any of it.
    pub unreadable: bool,
}

/// Decides what may go of an issue, from its files and from its events as they were read after those were listed.
#[must_use]
pub fn garbage(issue: &IssueId, files: &[Stored], history: &[Entry], rules: Rules, now: OffsetDateTime) -> Garbage {
    let events = history.iter().map(|entry| entry.event.as_ref().ok());
    let Some(events) = events.collect::<Option<Vec<_>>>() else {
        return Garbage {
            unreadable: true,
            ..Garbage::default()
        };
    };
    let old = rules.revisions.map_or(0, |bound| superseded_for(history, bound, now));
    // What was deleted or forgotten had its objects purged: no event before names anything any more.
    let gone = events.iter().rposition(|event| event.objects().is_empty());
    let keys = |from: usize, to: usize| -> HashSet<&str> {
        let objects = events[from..to].iter().flat_map(|event| event.objects());
        objects.map(|object| object.key.as_str()).collect()
    };
    let named = keys(old.max(gone.unwrap_or(0)), events.len());
    let named_once = keys(0, events.len());
    let newest = events.last().map_or(0, |event| event.revision);
    let mut garbage = Garbage {
        drop_before: (old > 0).then(|| history[old].sequence),
        events: old as u64,
        ..Garbage::default()
    };
    for file in files {
        let Some(key) = key_of(&file.key, issue) else {
            garbage.unknown += 1;
            continue;
        };
        let age = age(file.modified, key.revision, now);
        if named.contains(file.key.as_str()) || age <= rules.orphans {
            continue;
        }
        if named_once.contains(file.key.as_str()) {
            garbage.revisions.push(file.clone());
        } else {
            garbage.suspects += u64::from(key.revision > newest);
            garbage.orphans.push(file.clone());
        }
    }
    garbage
}

/// How many of the oldest events were superseded longer ago than that.
fn superseded_for(history: &[Entry], bound: Duration, now: OffsetDateTime) -> usize {
    let revision = |entry: &Entry| entry.event.as_ref().map_or(0, |event| event.revision);
    let successors = history.iter().skip(1);
    let old = successors.take_while(|next| age(next.stored_at, revision(next), now) > bound);
    old.count()
}

/// How long ago something was, from the time that a server wrote down and the revision that a downloader drew: whichever
/// says less. After a clock was ahead once, an issue's revisions may stay ahead for ever, and say nothing.
fn age(written: OffsetDateTime, revision: u64, now: OffsetDateTime) -> Duration {
    let drawn = OffsetDateTime::from_unix_timestamp_nanos(i128::from(revision) * 1_000_000);
    let drawn = drawn.ok().filter(|drawn| *drawn < now + DAY);
    let latest = drawn.map_or(written, |drawn| drawn.max(written));
    Duration::try_from(now - latest).unwrap_or_default()
}

/// The key of an object of this issue, or of one whose write was cut short.
fn key_of(text: &str, issue: &IssueId) -> Option<ObjectKey> {
    let whole = text.rsplit_once('#').map_or(text, |(whole, _)| whole);
    let key: ObjectKey = whole.parse().ok()?;
    (key.issue == *issue && key.to_string() == whole).then_some(key)
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bugstream_proto::{Change, Downloaded, Event, MessageError, RepoName, v1};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
    const RULES: Rules = Rules {
        revisions: Some(DAY.saturating_mul(30)),
        orphans: DAY,
    };

    fn issue() -> IssueId {
        RepoName::new("a", "b").unwrap().issue(7).unwrap()
    }

    fn days(days: u32) -> OffsetDateTime {
        NOW - DAY * days
    }

    fn revision(at: OffsetDateTime) -> u64 {
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap()
    }

    fn key(at: OffsetDateTime, part: &str) -> String {
        format!("issues/a/b/7/{}-00000000000000ff/{part}.json", revision(at))
    }

    fn file(key: &str, modified: OffsetDateTime) -> Stored {
        Stored {
            key: key.to_owned(),
            bytes: 10,
            modified,
        }
    }

    /// Both files of a download.
    fn files(at: OffsetDateTime) -> Vec<Stored> {
        ["issue", "timeline"].map(|part| file(&key(at, part), at)).to_vec()
    }

    fn entry(at: OffsetDateTime, change: Change) -> Entry {
        let event = Event {
            issue: issue(),
            revision: revision(at),
            occurred_at: at,
            marks: v1::Marks::default(),
            cause: v1::Cause::default(),
            change,
        };
        Entry {
            sequence: revision(at),
            stored_at: at,
            headers: HeaderMap::new(),
            event: Ok(event),
        }
    }

    fn names(issue: OffsetDateTime, timeline: OffsetDateTime) -> Change {
        let object = |key| v1::StoredObject {
            key,
            ..v1::StoredObject::default()
        };
        Change::Downloaded(Downloaded {
            issue: object(key(issue, "issue")),
            timeline: object(key(timeline, "timeline")),
            timeline_events: 0,
        })
    }

    fn downloaded(at: OffsetDateTime) -> Entry {
        entry(at, names(at, at))
    }

    fn decide(files: &[Stored], history: &[Entry]) -> Garbage {
        garbage(&issue(), files, history, RULES, NOW)
    }

    fn keys(files: &[Stored]) -> Vec<&str> {
        files.iter().map(|file| file.key.as_str()).collect()
    }

    #[test]
    fn a_revision_goes_so_long_after_it_was_superseded_and_the_newest_never() {
        let history = [downloaded(days(4_000)), downloaded(days(31)), downloaded(days(29))];
        let stored = [files(days(4_000)), files(days(31)), files(days(29))].concat();
        let found = decide(&stored, &history);
        assert_eq!((found.events, found.drop_before), (1, Some(history[1].sequence)));
        assert_eq!(found.revisions, files(days(4_000)));
        assert_eq!((found.orphans.len(), found.suspects), (0, 0));
        let alone = decide(&files(days(4_000)), &[downloaded(days(4_000))]);
        assert_eq!(alone, Garbage::default(), "however old it is");
        let for_ever = Rules {
            revisions: None,
            ..RULES
        };
        assert_eq!(garbage(&issue(), &stored, &history, for_ever, NOW), Garbage::default());
    }

    #[test]
    fn an_object_that_is_named_again_stays() {
        let history = [downloaded(days(50)), entry(days(40), names(days(50), days(40)))];
        let stored = [files(days(50)), files(days(40))[1..].to_vec()].concat();
        let found = decide(&stored, &history);
        assert_eq!(found.events, 1);
        assert_eq!(keys(&found.revisions), [key(days(50), "timeline")]);
    }

    #[test]
    fn an_orphan_goes_when_it_is_old_by_the_clock_of_the_store_and_by_its_revision() {
        let history = [downloaded(days(3))];
        let (young, old) = (NOW - DAY + Duration::from_secs(60), NOW - DAY - Duration::from_secs(60));
        let far_ahead = NOW + DAY * 400;
        for (drawn, written, goes) in [
            (old, old, true),
            (young, young, false),
            (old, young, false),
            (young, old, false),
            (days(900), young, false),
            (NOW + DAY / 2, old, false),
            (far_ahead, old, true),
            (old, far_ahead, false),
        ] {
            let orphan = file(&key(drawn, "issue"), written);
            let found = decide(&[files(days(3)), vec![orphan]].concat(), &history);
            assert_eq!(found.orphans.len(), usize::from(goes), "{drawn} {written}");
        }
    }

    #[test]
    fn what_was_deleted_or_forgotten_names_nothing_any_more() {
        for gone in [Change::Deleted(v1::IssueDeleted::default()), Change::Forgotten] {
            let history = [downloaded(days(9)), entry(days(2), gone)];
            let found = decide(&files(days(9)), &history);
            assert_eq!((found.events, found.revisions), (0, files(days(9))));
            let again = [&history[..], &[downloaded(days(1))]].concat();
            let found = decide(&[files(days(9)), files(days(1))].concat(), &again);
            assert_eq!(found.revisions, files(days(9)), "and the new one stays");
        }
    }

    #[test]
    fn what_cannot_be_read_may_name_anything() {
        let mut newer = downloaded(days(2));
        newer.event = Err(MessageError::Newer);
        let found = decide(&files(days(60)), &[downloaded(days(60)), newer]);
        let all_stays = Garbage {
            unreadable: true,
            ..Garbage::default()
        };
        assert_eq!(found, all_stays);
    }

    #[test]
    fn what_is_no_object_of_the_issue_is_left_and_counted() {
        let ours = key(days(9), "issue");
        for strange in [
            "issues/a/b/7/notes.txt".to_owned(),
            "issues/a/b/7".to_owned(),
            ours.replace("/7/", "/07/"),
            ours.replace("/7/", "/8/"),
            format!("{ours}.bak"),
            ours.replace("issues/", "snapshots/"),
        ] {
            let found = decide(&[file(&strange, days(9))], &[downloaded(days(2))]);
            assert_eq!((found.unknown, found.orphans.len()), (1, 0), "{strange}");
        }
    }

    #[test]
    fn a_write_that_was_cut_short_is_an_orphan_even_beside_its_object() {
        let cut_short = file(&format!("{}#1", key(days(3), "issue")), days(3));
        let found = decide(
            &[files(days(3)), vec![cut_short.clone()]].concat(),
            &[downloaded(days(3))],
        );
        assert_eq!((found.orphans, found.unknown), (vec![cut_short], 0));
    }

    #[test]
    fn what_the_log_lacks_is_suspect() {
        assert_eq!(decide(&files(days(3)), &[]).suspects, 2, "it knows nothing of it");
        assert_eq!(
            decide(&files(days(3)), &[downloaded(days(5))]).suspects,
            2,
            "it was set back"
        );
        assert_eq!(decide(&files(days(5)), &[downloaded(days(3))]).suspects, 0);
    }
}
