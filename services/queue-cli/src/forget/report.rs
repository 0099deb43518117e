//! What went, and what holds something of the issue besides.

use bugstream_proto::IssueId;
use serde::Serialize;
use serde_json::{Value, json};

use super::log::Allowed;
use crate::report::{Report, counted, size};

/// Other issues that are named at most.
const NAMED: usize = 20;

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Removed {
    pub(super) events: u64,
    pub(super) objects: u64,
    pub(super) bytes: u64,
    pub(super) requests: u64,
    #[serde(rename = "dead_letters")]
    pub(super) letters: u64,
    pub(super) documents: u64,
}

/// What the command does not remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// Snapshots in the object store that may have it.
    pub(super) snapshots: Vec<String>,
    /// Issues whose timelines carry it with its title.
    pub(super) naming: Vec<IssueId>,
    /// Whether Elasticsearch was asked to merge its files; `None` if nothing was removed.
    pub(super) merging: Option<bool>,
}

pub(super) fn forgotten(issue: &IssueId, removed: &Removed, elsewhere: &Elsewhere) -> Report {
    let mut lines = vec![
        format!("{issue} is forgotten, and not downloaded any more"),
        format!("  removed  {}", amounts(removed)),
        "  remains  one event of the log that says so, and empty documents that nobody finds".to_owned(),
    ];
    lines.extend(besides(issue, elsewhere));
    Report::new(lines.join("\n"), as_json(issue, removed, elsewhere, false))
}

pub(super) fn would(issue: &IssueId, found: &Removed, elsewhere: &Elsewhere) -> Report {
    let mut lines = vec![format!("{issue}: would remove {}; nothing was changed", amounts(found))];
    lines.extend(besides(issue, elsewhere));
    Report::new(lines.join("\n"), as_json(issue, found, elsewhere, true))
}

pub(super) fn allowed(issue: &IssueId, allowed: Allowed) -> Report {
    let when = match allowed {
        Allowed::Now => "may be downloaded again",
        Allowed::Before => "was allowed before",
    };
    let text = format!("{issue} {when}, and waits in the download queue");
    Report::new(text, json!({ "issue": issue.to_string(), "allowed": true }))
}

fn amounts(removed: &Removed) -> String {
    let Removed {
        events,
        objects,
        bytes,
        requests,
        letters,
        documents,
    } = *removed;
    format!(
        "{}, {} ({}), {}, {}, {}",
        counted(events, "event"),
        counted(objects, "object"),
        size(bytes),
        counted(documents, "document"),
        counted(requests, "waiting request"),
        counted(letters, "dead letter"),
    )
}

/// What else holds it, with what to do.
fn besides(issue: &IssueId, elsewhere: &Elsewhere) -> Vec<String> {
    let mut lines = vec!["not removed, for you to look after:".to_owned()];
    if !elsewhere.snapshots.is_empty() {
        lines.push(format!("  snapshots {}", elsewhere.snapshots.join(", ")));
        lines.push(
            "    queue-cli snapshot make (and --public, where there are some), then queue-cli snapshot prune --keep-days 0"
                .to_owned(),
        );
    }
    if !elsewhere.naming.is_empty() {
        lines.push(format!(
            "  timelines {}: they carry its title and text",
            named(&elsewhere.naming)
        ));
        lines.push(format!(
            "    once GitHub does not show it there any more: queue-cli add download {}",
            again(issue, elsewhere)
        ));
    }
    if let Some(asked) = elsewhere.merging {
        let asked = if asked {
            "it was asked to"
        } else {
            "it could not be asked to"
        };
        lines.push(format!("  files of Elasticsearch, until it merges them: {asked}"));
        lines.push("    for certain: queue-cli rebuild, then queue-cli generations prune --keep 0".to_owned());
    }
    lines.push("  backups, snapshots in other directories, caches, and GitHub itself".to_owned());
    lines
}

fn named(issues: &[IssueId]) -> String {
    let names: Vec<String> = issues.iter().take(NAMED).map(ToString::to_string).collect();
    match issues.len().saturating_sub(NAMED) {
        0 => format!("of {}", names.join(", ")),
        more => format!("of {} and {more} more (--output json names all)", names.join(", ")),
    }
}

/// Numbers of the same repository, for a command line.
fn again(issue: &IssueId, elsewhere: &Elsewhere) -> String {
    let same = elsewhere.naming.iter().filter(|other| other.repo() == issue.repo());
    let numbers: Vec<String> = same.take(NAMED).map(|other| other.number().to_string()).collect();
    numbers.join(" ")
}

fn as_json(issue: &IssueId, removed: &Removed, elsewhere: &Elsewhere, dry_run: bool) -> Value {
    let naming: Vec<String> = elsewhere.naming.iter().map(ToString::to_string).collect();
    json!({
        "issue": issue.to_string(),
        "dry_run": dry_run,
        "removed": removed,
        "besides": { "snapshots": elsewhere.snapshots, "timelines": naming, "merge_asked": elsewhere.merging },
    })
}

#[cfg(test)]
mod tests {
    use bugstream_proto::RepoName;

    use super::*;
    use crate::cli::Output;

    fn issue(number: u64) -> IssueId {
        RepoName::new("webcompat", "web-bugs")
            .and_then(|repo| repo.issue(number))
            .expect("an issue")
    }

    fn removed() -> Removed {
        Removed {
            events: 4,
            objects: 8,
            bytes: 1_234_567,
            requests: 1,
            letters: 0,
            documents: 43,
        }
    }

    #[test]
    fn it_says_what_went_and_what_else_holds_it() {
        let elsewhere = Elsewhere {
            snapshots: vec!["latest".to_owned(), "20261121_0300".to_owned()],
            naming: vec![issue(7), issue(9)],
            merging: Some(true),
        };
        let report = forgotten(&issue(12_345), &removed(), &elsewhere);
        insta::assert_snapshot!(report.render(Output::Human), @r"
        webcompat/web-bugs#12345 is forgotten, and not downloaded any more
          removed  4 events, 8 objects (1.2 MB), 43 documents, 1 waiting request, 0 dead letters
          remains  one event of the log that says so, and empty documents that nobody finds
        not removed, for you to look after:
          snapshots latest, 20261121_0300
            queue-cli snapshot make (and --public, where there are some), then queue-cli snapshot prune --keep-days 0
          timelines of webcompat/web-bugs#7, webcompat/web-bugs#9: they carry its title and text
            once GitHub does not show it there any more: queue-cli add download 7 9
          files of Elasticsearch, until it merges them: it was asked to
            for certain: queue-cli rebuild, then queue-cli generations prune --keep 0
          backups, snapshots in other directories, caches, and GitHub itself
        ");
        insta::assert_snapshot!(report.render(Output::Json), @r#"{"besides":{"merge_asked":true,"snapshots":["latest","20261121_0300"],"timelines":["webcompat/web-bugs#7","webcompat/web-bugs#9"]},"dry_run":false,"issue":"webcompat/web-bugs#12345","removed":{"bytes":1234567,"dead_letters":0,"documents":43,"events":4,"objects":8,"requests":1}}"#);
        insta::assert_snapshot!(would(&issue(12_345), &removed(), &Elsewhere::default()).render(Output::Human), @r"
        webcompat/web-bugs#12345: would remove 4 events, 8 objects (1.2 MB), 43 documents, 1 waiting request, 0 dead letters; nothing was changed
        not removed, for you to look after:
          backups, snapshots in other directories, caches, and GitHub itself
        ");
    }

    #[test]
    fn very_many_are_not_all_named() {
        let many: Vec<IssueId> = (1..=25).map(issue).collect();
        let named = named(&many);
        assert!(
            named.ends_with("webcompat/web-bugs#20 and 5 more (--output json names all)"),
            "{named}"
        );
    }
}
