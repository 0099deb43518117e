//! What is private, said once more: from `docs/ARCHITECTURE.md`, not from the archive library, whose mistakes this must
//! be able to find. Nothing here is shared with it, and it should stay so.
//!
//! - An issue is private if it carries the old system's flag, says of itself that it lies in the private partner or in a
//!   private repository, or has a moderation title and a cross-reference from the partner, whose first gives its content.
//! - All of a private issue's timeline is private.
//! - An event of a public issue is public if it says where everything lies that it is about, and all repositories that
//!   its links and objects name are known to be public.
//! - Members of a public issue that are not about itself are judged in the same way, and left out one by one.
//! - Whatever the rules say, no document on the public side names the partner, but in text that people wrote.

use std::collections::BTreeSet;

use bugstream_kit::config::Repository;
use bugstream_proto::RepoName;
use serde_json::{Map, Value};

/// Marks every document of a private issue.
pub(super) const PRIVATE_FLAG: &str = "__WEBCOMPAT_PRIVATE_ISSUE__";

/// Members that hold what people wrote: a public comment may name the partner.
const WRITTEN: [&str; 10] = [
    "body",
    "body_html",
    "body_text",
    "title",
    "message",
    "description",
    "name",
    "from",
    "to",
    "diff_hunk",
];

/// First parts of page addresses that are no accounts.
const NO_ACCOUNTS: [&str; 10] = [
    "apps",
    "enterprises",
    "github-apps",
    "marketplace",
    "organizations",
    "orgs",
    "settings",
    "sponsors",
    "topics",
    "users",
];

/// Members of an issue that are about itself, by GitHub's description of an issue. Whatever else an issue has may be about
/// another place.
const OF_ITSELF: &str = "id node_id url repository_url labels_url comments_url events_url html_url timeline_url number \
    state state_reason title body body_html body_text user labels assignee assignees milestone locked \
    active_lock_reason comments pull_request closed_at created_at updated_at draft closed_by type repository \
    performed_via_github_app author_association reactions pinned_comment issue_field_values \
    issue_dependencies_summary";

/// What the configuration says about one mirrored repository.
pub(super) struct Wall<'a>(pub(super) &'a Repository);

/// Where everything of an issue belongs.
pub(super) struct Judged<'v> {
    /// Whether the issue, and so everything of it, is private.
    pub(super) private: bool,
    /// The partner's issue that gives a private issue title and body.
    pub(super) content: Option<&'v Value>,
    /// Whether each event is private.
    pub(super) events: Vec<bool>,
}

impl Wall<'_> {
    pub(super) fn judge<'v>(&self, issue: &Value, timeline: &'v [Value]) -> Judged<'v> {
        let content = self.moderated(issue, timeline);
        let private = content.is_some() || self.says_private(issue);
        let events = timeline.iter().map(|event| private || !self.is_public_event(event));
        Judged {
            private,
            content,
            events: events.collect(),
        }
    }

    /// Whether a public issue's document may have this member: one that is about the issue itself always, any other only
    /// where all that it names is known to be public.
    pub(super) fn shows(&self, name: &str, value: &Value) -> bool {
        OF_ITSELF.split(' ').any(|own| own == name) || self.names_only_public(|named| named.member(name, value))
    }

    /// Where a document names the partner outside of what people wrote.
    pub(super) fn leak(&self, document: &Value) -> Option<String> {
        let partner = self.0.private.as_ref()?.to_string();
        mention(document, &partner, "")
    }

    fn moderated<'v>(&self, issue: &Value, timeline: &'v [Value]) -> Option<&'v Value> {
        let partner = self.0.private.as_ref()?;
        if !matches!(
            issue["title"].as_str(),
            Some("In the moderation queue." | "Issue closed.")
        ) {
            return None;
        }
        let references = timeline.iter().filter(|event| event["event"] == "cross-referenced");
        references
            .map(|event| &event["source"]["issue"])
            .find(|source| places(source).contains(partner))
    }

    fn says_private(&self, issue: &Value) -> bool {
        let flag = issue.get(PRIVATE_FLAG).is_some_and(|flag| *flag != Value::Bool(false));
        let own = issue["repository"]
            .get("private")
            .is_some_and(|private| *private != Value::Bool(false));
        flag || own
            || self
                .0
                .private
                .as_ref()
                .is_some_and(|partner| places(issue).contains(partner))
    }

    fn is_public_event(&self, event: &Value) -> bool {
        let kind = event["event"].as_str().unwrap_or_default().replace('-', "_");
        let told = match about(&kind) {
            None => true,
            Some(About::Untold) => false,
            Some(About::Issue(pointer)) => event.pointer(pointer).is_some_and(|issue| !places(issue).is_empty()),
        };
        told && self.names_only_public(|named| {
            event
                .as_object()
                .into_iter()
                .flatten()
                .for_each(|(name, value)| named.member(name, value))
        })
    }

    fn names_only_public(&self, walk: impl FnOnce(&mut Named)) -> bool {
        let mut named = Named::default();
        walk(&mut named);
        let known =
            |name: &RepoName| *name == self.0.name || self.0.public.contains(name) || named.shown.contains(name);
        !named.unclear
            && named
                .all
                .iter()
                .all(|name| Some(name) != self.0.private.as_ref() && known(name))
    }
}

/// What an event kind is about besides its own issue.
enum About {
    /// A place that is not told, or whose visibility is not.
    Untold,
    /// The issue that lies there.
    Issue(&'static str),
}

fn about(kind: &str) -> Option<About> {
    if matches!(kind, "transferred" | "converted_note_to_issue") || kind.contains("project") {
        return Some(About::Untold);
    }
    let table = [
        ("cross_referenced", "/source/issue"),
        ("sub_issue", "/sub_issue"),
        ("parent_issue", "/parent_issue"),
        ("blocked_by", "/blocked_by"),
        ("blocking", "/blocking"),
    ];
    let row = table.into_iter().find(|(prefix, _)| kind.starts_with(prefix));
    row.map(|(_, pointer)| About::Issue(pointer))
}

/// The repositories that a piece of JSON names.
#[derive(Default)]
struct Named {
    all: BTreeSet<RepoName>,
    /// Those that an object here says are public.
    shown: BTreeSet<RepoName>,
    /// Something cannot be judged, or says that it is private.
    unclear: bool,
}

impl Named {
    fn member(&mut self, name: &str, value: &Value) {
        self.unclear |= name.starts_with("project") && !value.is_null();
        self.value(name, value);
    }

    fn value(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(members) => self.object(name, members, value),
            Value::Array(elements) => elements.iter().for_each(|element| self.value(name, element)),
            Value::String(text) => self.text(name, text),
            Value::Number(_) | Value::Bool(_) => self.unclear |= is_repository(name),
            Value::Null => {}
        }
    }

    fn object(&mut self, name: &str, members: &Map<String, Value>, value: &Value) {
        if is_repository(name) || members.contains_key("full_name") {
            self.repository(value);
        } else if members.contains_key("number") {
            self.unclear |= places(value).is_empty();
        }
        members.iter().for_each(|(name, value)| self.member(name, value));
    }

    fn repository(&mut self, value: &Value) {
        let Some(name) = name_of(value) else {
            self.unclear = true;
            return;
        };
        let visible = value
            .get("visibility")
            .and_then(Value::as_str)
            .is_none_or(|word| word == "public");
        match value.get("private") {
            Some(Value::Bool(false)) if visible => drop(self.shown.insert(name.clone())),
            None if visible => {}
            _ => self.unclear = true,
        }
        self.all.insert(name);
    }

    fn text(&mut self, name: &str, text: &str) {
        let is_link = name == "href" || name == "url" || name.ends_with("_url");
        if is_link || is_repository(name) {
            match linked(name, text) {
                Some(Ok(repository)) => drop(self.all.insert(repository)),
                Some(Err(())) => self.unclear = true,
                None => {}
            }
        }
    }
}

/// The repositories in which an issue says that it lies.
fn places(issue: &Value) -> BTreeSet<RepoName> {
    let links = ["repository_url", "url", "html_url"]
        .into_iter()
        .filter_map(|name| link_of(issue, name));
    name_of(&issue["repository"]).into_iter().chain(links).collect()
}

fn name_of(repository: &Value) -> Option<RepoName> {
    match repository["full_name"].as_str() {
        Some(name) => name.parse().ok(),
        None => ["url", "html_url"]
            .into_iter()
            .find_map(|name| link_of(repository, name)),
    }
}

fn link_of(value: &Value, name: &str) -> Option<RepoName> {
    linked(name, value[name].as_str()?)?.ok()
}

/// The repository in a link; `None` for one to something else, an error for what cannot be read.
fn linked(name: &str, text: &str) -> Option<Result<RepoName, ()>> {
    let Some((_, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return is_repository(name).then(|| text.parse().map_err(drop));
    };
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix("api/v3/").unwrap_or(path);
    let cut = |part: &'_ str| part.split('{').next().unwrap_or_default().to_owned();
    let parts: Vec<String> = path.split('/').map(cut).filter(|part| !part.is_empty()).collect();
    let is_page = matches!(name, "html_url" | "diff_url" | "patch_url" | "href") || is_repository(name);
    match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["repos", owner, repo, ..] => Some(RepoName::new(owner, repo).map_err(drop)),
        ["repos" | "repositories", ..] => Some(Err(())),
        [owner, repo, ..] if is_page && !NO_ACCOUNTS.contains(&owner) => Some(RepoName::new(owner, repo).map_err(drop)),
        _ => None,
    }
}

fn is_repository(name: &str) -> bool {
    matches!(name, "repository" | "repo") || name.ends_with("_repository") || name.ends_with("_repo")
}

/// Where a value has that name as a whole word, whatever its case.
fn mention(value: &Value, name: &str, path: &str) -> Option<String> {
    match value {
        Value::String(text) => is_in(&text.to_ascii_lowercase(), name).then(|| path.to_owned()),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .find_map(|(n, element)| mention(element, name, &format!("{path}/{n}"))),
        Value::Object(members) => {
            let mut told = members
                .iter()
                .filter(|(member, value)| !(value.is_string() && WRITTEN.contains(&member.as_str())));
            told.find_map(|(member, value)| mention(value, name, &format!("{path}/{member}")))
        }
        _ => None,
    }
}

fn is_in(text: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(part_of_name) && !after.starts_with(|c| part_of_name(c) || c == '.')
    })
}

#[cfg(test)]
mod tests;
