//! Documents as the indexer and the API get them: what is added, and that nothing else changes.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod marks;
mod recorded;
mod shape;
mod splice;

use bugstream_archive::{Archived, Classified, Rules, Stamp};
use bugstream_proto::{IssueId, RepoName};
use time::macros::datetime;

fn repository() -> RepoName {
    "webcompat/web-bugs".parse().unwrap()
}

fn issue() -> IssueId {
    repository().issue(42).unwrap()
}

fn stamp(issue: &IssueId) -> Stamp<'_> {
    let downloaded_at = datetime!(2026-03-04 05:06:07.089 +2);
    Stamp {
        issue,
        revision: 1_772_593_567_089,
        downloaded_at,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        aside: None,
    }
}

fn rules() -> Rules {
    let private_partner = Some("webcompat/web-bugs-private".parse().unwrap());
    Rules {
        repository: repository(),
        private_partner,
        public: [].into(),
    }
}

/// The issue's document, the timeline's documents, the merged issue.
fn documents(raw_issue: &str, raw_timeline: &str) -> (Vec<u8>, Vec<Vec<u8>>, Vec<u8>) {
    let archived = Archived::parse(raw_issue.as_bytes(), raw_timeline.as_bytes()).unwrap();
    let classified = archived.classify(&rules());
    let issue = issue();
    let stamp = stamp(&issue);
    let mut document = Vec::new();
    archived.issue_document(&classified, &stamp, &mut document);
    let event = |position| {
        let mut line = Vec::new();
        archived.timeline_document(&classified, position, &stamp, &mut line);
        line
    };
    let timeline = (0..archived.timeline().len()).map(event).collect();
    (document, timeline, archived.merged_issue(&classified))
}

fn classify(raw_issue: &str, raw_timeline: &str) -> Classified {
    Archived::parse(raw_issue.as_bytes(), raw_timeline.as_bytes())
        .unwrap()
        .classify(&rules())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
