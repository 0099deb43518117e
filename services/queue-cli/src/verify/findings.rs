//! What was found: differences by kind, never a title or a body.

use std::collections::BTreeMap;

use bugstream_proto::{IssueId, RepoName, v1};
use serde_json::{Value, json};

use super::elastic::Handle;
use crate::report::{Report, counted, thousands};

/// Differences that are listed one by one; further ones are only counted, so that memory stays bounded.
const LISTED: usize = 10_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The newest event of an issue cannot be read.
    UnreadableEvent,
    /// The newest event names an object that is not there.
    MissingObject,
    /// An object has another size, hash or shape than its event says.
    DamagedObject,
    /// An object of a deleted issue.
    LeftoverObject,
    /// A document that the newest event demands is not visible.
    MissingDocument,
    /// A document of an older revision is visible.
    StaleDocument,
    /// A document differs from what the stored JSON demands.
    WrongDocument,
    /// Elasticsearch refused the document; an almost empty one stands in its place.
    RefusedDocument,
    /// A document is visible past the timeline's end, or of a deleted issue.
    ExtraDocument,
    /// A private document lies in a public index, or one that names the private partner.
    LeakedDocument,
    /// A public document lies in a private index.
    MisplacedDocument,
    /// A document of an issue that the log does not know.
    StrayDocument,
    /// GitHub has other JSON than the archive.
    DiffersFromGithub,
    /// GitHub says that an issue is gone which the log has.
    GoneFromGithub,
    /// GitHub has an issue that the log does not know, or knows as deleted.
    MissingFromLog,
}

impl Kind {
    /// A stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableEvent => "unreadable-event",
            Self::MissingObject => "missing-object",
            Self::DamagedObject => "damaged-object",
            Self::LeftoverObject => "leftover-object",
            Self::MissingDocument => "missing-document",
            Self::StaleDocument => "stale-document",
            Self::WrongDocument => "wrong-document",
            Self::RefusedDocument => "refused-document",
            Self::ExtraDocument => "extra-document",
            Self::LeakedDocument => "leaked-document",
            Self::MisplacedDocument => "misplaced-document",
            Self::StrayDocument => "stray-document",
            Self::DiffersFromGithub => "differs-from-github",
            Self::GoneFromGithub => "gone-from-github",
            Self::MissingFromLog => "missing-from-log",
        }
    }
}

/// What mends a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// Nothing that a command could do.
    Nothing,
    /// Indexing the newest event again.
    Index,
    /// Asking GitHub again, for this reason.
    Download(v1::Reason),
    /// Deleting exactly the document that was found.
    Remove(Handle),
    /// Deleting the issue's objects below a revision.
    Purge(u64),
}

impl Fix {
    fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Index => Some("index"),
            Self::Download(_) => Some("download"),
            Self::Remove(_) | Self::Purge(_) => Some("remove"),
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is wrong.
    pub kind: Kind,
    /// Whose it is, if that can be told.
    pub issue: Option<IssueId>,
    /// The key of the object, the id of the document, or the issue.
    pub what: String,
    /// For people: how it differs. Names members, never their content.
    pub why: String,
    pub(super) fix: Fix,
}

impl Difference {
    pub(super) fn new(kind: Kind, issue: &IssueId, what: impl Into<String>, why: impl Into<String>, fix: Fix) -> Self {
        let (what, why) = (what.into(), why.into());
        Self {
            kind,
            issue: Some(issue.clone()),
            what,
            why,
            fix,
        }
    }

    fn line(&self) -> String {
        format!("{:<20} {}: {}", self.kind.as_str(), self.what, self.why)
    }

    fn json(&self) -> Value {
        json!({
            "kind": self.kind.as_str(),
            "issue": self.issue.as_ref().map(ToString::to_string),
            "what": self.what,
            "why": self.why,
            "repair": self.fix.as_str(),
        })
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whose issues were compared.
    pub repositories: Vec<RepoName>,
    /// Issues of the log that were compared, deleted ones included.
    pub issues: u64,
    /// Visible documents of theirs.
    pub documents: u64,
    /// How many differences of each kind there are.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first 10,000 of them.
    pub differences: Vec<Difference>,
    /// Whether they were repaired, as far as possible.
    pub repaired: bool,
}

impl Findings {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many differences there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(super) fn add(&mut self, differences: Vec<Difference>) {
        for difference in differences {
            *self.counts.entry(difference.kind.as_str()).or_default() += 1;
            if self.differences.len() < LISTED {
                self.differences.push(difference);
            }
        }
    }

    pub(super) fn report(&self) -> Report {
        let report = Report::new(self.human(), self.json());
        if self.is_clean() { report } else { report.that_differs() }
    }

    fn human(&self) -> String {
        let names: Vec<_> = self.repositories.iter().map(ToString::to_string).collect();
        let looked = format!(
            "{} and {} of {}",
            counted(self.issues, "issue"),
            counted(self.documents, "document"),
            names.join(", ")
        );
        if self.is_clean() {
            return format!("{looked}: no difference");
        }
        let mut lines: Vec<String> = self.differences.iter().map(Difference::line).collect();
        let unlisted = self.total() - self.differences.len() as u64;
        if unlisted > 0 {
            lines.push(format!("and {} more", thousands(unlisted)));
        }
        lines.push(format!("{looked}: {}", counted(self.total(), "difference")));
        let next = if self.repaired {
            "repairs are queued or done: verify again when the queues are empty"
        } else {
            "queue-cli verify --repair   queues what is needed and removes strays"
        };
        lines.push(format!("  {next}"));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!({
            "clean": self.is_clean(),
            "repositories": self.repositories.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "issues": self.issues,
            "documents": self.documents,
            "total": self.total(),
            "counts": self.counts,
            "differences": self.differences.iter().map(Difference::json).collect::<Vec<_>>(),
            "repaired": self.repaired,
        })
    }
}
