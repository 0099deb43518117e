//! Which side of the privacy wall an issue and each of its timeline events belongs to. Fails closed.
//!
//! An issue is private if
//! - its stored JSON carries [`PRIVATE_FLAG`] with anything but `false` (imported from the old system), or
//! - its title is one of the two that moderation gives and a `cross-referenced` event comes from the private partner:
//!   the first such event carries the real title and body, or
//! - it says of itself that it lies in the private partner or in a private repository.
//!
//! Everything in a private issue is private. In a public issue an event is private if
//! - it names a repository that is the private partner, or not known to be public (`reference.rs`); or
//! - it is of a kind whose purpose is to name another issue (`cross-referenced`, `sub_issue_*`, `parent_issue_*`,
//!   `blocked_by_*`, `blocking_*`) and does not say where that issue lies; or
//! - it is of a kind that tells of a place whose visibility no answer tells: `transferred` and everything with projects.
//!
//! Known to be public: the mirrored repository, those in [`Rules::public`], and one whose nested object says
//! `private: false`. `connected`, `marked_as_duplicate`, `converted_to_discussion` and kinds nobody has seen yet name
//! nothing in what GitHub publishes; they are public unless the walk finds that they do. A renamed mirrored repository
//! whose old name is not in [`Rules::public`] makes old events private, never the reverse.
//!
//! A public issue's document leaves out members that name such a place, unless they are of the issue itself
//! ([`is_own`]): `parent_issue_url`, and whatever GitHub may add one day.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bugstream_kit::config::Repository;
use bugstream_proto::RepoName;

use crate::document::PRIVATE_FLAG;
use crate::outline::Value;
use crate::parse::Archived;
use crate::reference::{References, Seen, repositories_of};

/// The titles that the moderation of a private issue leaves on its public one.
const MODERATION_TITLES: [&str; 2] = ["In the moderation queue.", "Issue closed."];

/// Counts changes of these rules: documents that were placed by an older version need a rebuild.
pub const PRIVACY_VERSION: u32 = 2;

/// What is known of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The mirrored repository that the issue belongs to.
    pub repository: RepoName,
    /// The repository where its private issues really live. Never public, whatever anything else says.
    pub private_partner: Option<RepoName>,
    /// Further repositories known to be public.
    pub public: BTreeSet<RepoName>,
}

impl From<&Repository> for Rules {
    fn from(repository: &Repository) -> Self {
        Self {
            repository: repository.name.clone(),
            private_partner: repository.private.clone(),
            public: repository.public.iter().cloned().collect(),
        }
    }
}

/// A side of the privacy wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Anyone may read it.
    Public,
    /// Only with credentials.
    Private,
}

impl Side {
    /// Both, the public one first.
    pub const ALL: [Self; 2] = [Self::Public, Self::Private];

    /// As it stands in names of indices and aliases.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// Where everything of one issue belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    issue: Side,
    timeline: Vec<Side>,
    /// Position of the event that carries a private issue's title and body.
    pub(crate) merge: Option<usize>,
    /// Names of the issue's members that no public document may have.
    pub(crate) withheld: BTreeSet<String>,
}

impl Classified {
    /// Sides that something other than [`Archived::classify`] chose, for models of what happens to them: nothing is
    /// merged and nothing withheld.
    #[must_use]
    pub fn of_sides(issue: Side, timeline: Vec<Side>) -> Self {
        Self {
            issue,
            timeline,
            merge: None,
            withheld: BTreeSet::new(),
        }
    }

    /// The side of the issue document.
    #[must_use]
    pub fn issue(&self) -> Side {
        self.issue
    }

    /// The side of each timeline position.
    #[must_use]
    pub fn timeline(&self) -> &[Side] {
        &self.timeline
    }
}

impl Archived<'_> {
    /// Decides the side of the issue and of each timeline event.
    #[must_use]
    pub fn classify(&self, rules: &Rules) -> Classified {
        let merge = self.merge_source(rules);
        let issue = if merge.is_some() || is_flagged(self.issue()) || lies_behind_the_wall(self.issue(), rules) {
            Side::Private
        } else {
            Side::Public
        };
        let mut seen = Seen::none_of(&self.timeline);
        let timeline = (0..self.timeline().len()).map(|position| match issue {
            Side::Private => Side::Private,
            Side::Public => event_side(self.event(position), rules, &mut seen),
        });
        Classified {
            issue,
            timeline: timeline.collect(),
            merge,
            withheld: self.withheld(issue, rules),
        }
    }

    /// The first cross-reference from the private partner, if the title says that there should be one.
    fn merge_source(&self, rules: &Rules) -> Option<usize> {
        let partner = rules.private_partner.as_ref()?;
        let title = self.issue().get_text("title")?;
        if !MODERATION_TITLES.contains(&&*title) {
            return None;
        }
        (0..self.timeline().len()).find(|&position| {
            self.source_issue(position)
                .is_some_and(|source| repositories_of(source).any(|place| place == *partner))
        })
    }

    /// The issue that a `cross-referenced` event nests.
    pub(crate) fn source_issue(&self, position: usize) -> Option<Value<'_>> {
        let event = self.event(position);
        if event.get_text("event")? != "cross-referenced" {
            return None;
        }
        event.get("source")?.get("issue")
    }

    /// Members of a public issue that are not known to be about itself, and name what is not known to be public.
    fn withheld(&self, issue: Side, rules: &Rules) -> BTreeSet<String> {
        let foreign = |m: &Value<'_>| !is_own(&m.name());
        let tells = |m: &Value<'_>| !passes(&References::of_member(*m, &rules.repository), rules);
        if issue == Side::Private {
            return BTreeSet::new();
        }
        let members = self.issue().members().into_iter().flatten();
        let withheld = members.filter(foreign).filter(tells);
        withheld.map(|m| m.name().into_owned()).collect()
    }
}

/// The members that GitHub publishes for an issue, without those about other issues (`parent_issue_url`,
/// `sub_issues_summary`). They are of the issue itself, whatever name of its repository
/// their links tell: after a renaming that is an old one, which nobody knows to be public.
fn is_own(name: &str) -> bool {
    matches!(
        name,
        "active_lock_reason"
            | "assignee"
            | "assignees"
            | "author_association"
            | "body"
            | "body_html"
            | "body_text"
            | "closed_at"
            | "closed_by"
            | "comments"
            | "comments_url"
            | "created_at"
            | "draft"
            | "events_url"
            | "html_url"
            | "id"
            | "issue_dependencies_summary"
            | "issue_field_values"
            | "labels"
            | "labels_url"
            | "locked"
            | "milestone"
            | "node_id"
            | "number"
            | "performed_via_github_app"
            | "pinned_comment"
            | "pull_request"
            | "reactions"
            | "repository"
            | "repository_url"
            | "state"
            | "state_reason"
            | "timeline_url"
            | "title"
            | "type"
            | "updated_at"
            | "url"
            | "user"
    )
}

fn is_flagged(issue: Value<'_>) -> bool {
    issue.get(PRIVATE_FLAG).is_some_and(|flag| flag.json() != "false")
}

fn lies_behind_the_wall(issue: Value<'_>, rules: &Rules) -> bool {
    let partner = rules.private_partner.as_ref();
    let in_partner = partner.is_some_and(|partner| repositories_of(issue).any(|place| place == *partner));
    let private = issue.get("repository").and_then(|repository| repository.get("private"));
    in_partner || private.is_some_and(|private| private.json() != "false")
}

/// Private, too, where a name is no text.
fn event_side(event: Value<'_>, rules: &Rules, seen: &mut Seen) -> Side {
    match event.members() {
        Some(_) if is_public(event, rules, seen) => Side::Public,
        _ => Side::Private,
    }
}

fn is_public(event: Value<'_>, rules: &Rules, seen: &mut Seen) -> bool {
    let kind = event.get_text("event").unwrap_or_default();
    let told = match Subject::of(&underscored(kind)) {
        Subject::Nothing => true,
        Subject::Untold => false,
        Subject::Issue(path) => is_placed(event, path),
    };
    told && passes(&References::of(event, &rules.repository, seen), rules)
}

fn underscored(kind: Cow<'_, str>) -> Cow<'_, str> {
    match kind.contains('-') {
        true => Cow::Owned(kind.replace('-', "_")),
        false => kind,
    }
}

/// What an event of a kind is about besides its own issue.
enum Subject {
    Nothing,
    /// A place that the event does not name, or whose visibility no answer tells.
    Untold,
    /// Another issue, nested under these members.
    Issue(&'static [&'static str]),
}

impl Subject {
    fn of(kind: &str) -> Self {
        match kind {
            "cross_referenced" => Self::Issue(&["source", "issue"]),
            "transferred" | "converted_note_to_issue" => Self::Untold,
            _ if kind.contains("project") => Self::Untold,
            _ if kind.starts_with("sub_issue") => Self::Issue(&["sub_issue"]),
            _ if kind.starts_with("parent_issue") => Self::Issue(&["parent_issue"]),
            _ if kind.starts_with("blocked_by") => Self::Issue(&["blocked_by"]),
            _ if kind.starts_with("blocking") => Self::Issue(&["blocking"]),
            _ => Self::Nothing,
        }
    }
}

/// Whether an issue is nested there, and says which repository it belongs to.
fn is_placed(event: Value<'_>, path: &[&str]) -> bool {
    let nested = path.iter().try_fold(event, |value, name| value.get(name));
    nested.is_some_and(|issue| repositories_of(issue).next().is_some())
}

fn passes(references: &References<'_>, rules: &Rules) -> bool {
    let known = |name: &RepoName| *name == rules.repository || rules.public.contains(name);
    let refused = |name: &RepoName| rules.private_partner.as_ref() == Some(name);
    references.all_public(known, refused)
}

#[cfg(test)]
mod tests;
