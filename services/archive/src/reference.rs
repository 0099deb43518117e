//! What a piece of GitHub's JSON names: which repositories, and whether it says of them that they are public.
//!
//! A rule rather than a list, since GitHub adds event kinds and members without notice. Walked are all nested objects
//! and arrays; a repository is named by
//! - an object with `full_name`, or one under `repository`, `repo`, `…_repository`, `…_repo`: with `private: false`
//!   (and no other `visibility` than "public") it is *shown to be public* right there;
//! - a link of the API (`…/repos/<owner>/<name>/…` in `url`, `…_url` or `href`), or of a page (`html_url` and the like).
//!
//! Text that people write (`body`, `title`, `message`, …) is never looked into: a link in a comment makes no event private.
//! What cannot be judged — an issue that names no repository, a repository without a name, a project, nesting deeper
//! than any real answer — is *opaque*, and opaque is private.

use std::collections::BTreeSet;

use bugstream_proto::RepoName;
use serde_json::value::RawValue;

use crate::json::{self, Kind, Member};

/// Real answers nest about eight levels.
const MAX_DEPTH: usize = 64;

/// First parts of page addresses that are no accounts.
const NOT_ACCOUNTS: [&str; 10] = [
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

/// Everything that a piece of JSON names.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Every repository named anywhere.
    named: BTreeSet<RepoName>,
    /// Those of them that an object shows to be public.
    shown_public: BTreeSet<RepoName>,
    /// Something is private by its own word, or cannot be judged.
    opaque: bool,
}

/// Objects that name nothing. The events of an issue show the same few people again and again, and what an object names
/// depends on it and on the name of its member alone.
#[derive(Debug, Default)]
pub(crate) struct Seen<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Seen<'a> {
    /// Looking must stay cheaper than judging anew.
    const MOST: usize = 64;

    fn has(&self, member: &Member<'_>) -> bool {
        self.0.contains(&(&*member.name, member.value.get()))
    }

    fn add(&mut self, member: &'a Member<'a>) {
        if self.0.len() < Self::MOST {
            self.0.push((&member.name, member.value.get()));
        }
    }
}

impl References {
    /// What the members of one object name, nested ones included; the object itself counts as ordinary.
    pub(crate) fn of<'a>(members: &'a [Member<'a>], seen: &mut Seen<'a>) -> Self {
        let mut found = Self::default();
        for member in members {
            if Kind::of(member.value) != Kind::Object {
                found.member(member, 0);
            } else if !seen.has(member) {
                let one = Self::of_member(member);
                if one.is_empty() {
                    seen.add(member);
                }
                found.add(one);
            }
        }
        found
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.shown_public.is_empty() && !self.opaque
    }

    fn add(&mut self, other: Self) {
        self.named.extend(other.named);
        self.shown_public.extend(other.shown_public);
        self.opaque |= other.opaque;
    }

    /// What one member of an object names.
    pub(crate) fn of_member(member: &Member<'_>) -> Self {
        let mut found = Self::default();
        found.member(member, 0);
        found
    }

    /// Whether everything named passes: a repository passes if `known(name)`, or if it is shown to be public here and
    /// not `refused(name)`.
    pub(crate) fn all_public(&self, known: impl Fn(&RepoName) -> bool, refused: impl Fn(&RepoName) -> bool) -> bool {
        let public = |name: &RepoName| !refused(name) && (known(name) || self.shown_public.contains(name));
        !self.opaque && self.named.iter().all(public)
    }

    fn members(&mut self, members: &[Member<'_>], depth: usize) {
        members.iter().for_each(|member| self.member(member, depth));
    }

    fn member(&mut self, member: &Member<'_>, depth: usize) {
        let name = &*member.name;
        if name.starts_with("project") && Kind::of(member.value) != Kind::Null {
            self.opaque = true;
        }
        self.value(name, member.value, depth);
    }

    fn value(&mut self, name: &str, value: &RawValue, depth: usize) {
        match Kind::of(value) {
            Kind::Object | Kind::Array if depth >= MAX_DEPTH => self.opaque = true,
            Kind::Object => self.object(name, value, depth + 1),
            Kind::Array => self.array(name, value, depth + 1),
            Kind::Text => self.text(name, value),
            Kind::Number | Kind::Bool => self.opaque |= holds_repository(name),
            Kind::Null => {}
        }
    }

    fn array(&mut self, name: &str, value: &RawValue, depth: usize) {
        match json::elements(value) {
            Some(elements) => elements
                .into_iter()
                .for_each(|element| self.value(name, element, depth)),
            None => self.opaque = true,
        }
    }

    fn object(&mut self, name: &str, value: &RawValue, depth: usize) {
        let Some(members) = json::members(value) else {
            self.opaque = true;
            return;
        };
        if holds_repository(name) || json::find(&members, "full_name").is_some() {
            self.repository(&members);
        } else if is_numbered(&members) && repositories_of(&members).is_empty() {
            self.opaque = true;
        }
        self.members(&members, depth);
    }

    fn repository(&mut self, members: &[Member<'_>]) {
        let Some(name) = name_of_repository(members) else {
            self.opaque = true;
            return;
        };
        let private = json::find(members, "private").map(RawValue::get);
        let visibility = json::find_text(members, "visibility");
        let visible = visibility.as_deref().is_none_or(|v| v == "public");
        match private {
            Some("false") if visible => drop(self.shown_public.insert(name.clone())),
            None if visible => {}
            _ => self.opaque = true,
        }
        self.named.insert(name);
    }

    fn text(&mut self, name: &str, value: &RawValue) {
        let is_link = name == "url" || name == "href" || name.ends_with("_url");
        if !is_link && !holds_repository(name) {
            return;
        }
        match json::text(value).map(|text| link(name, &text)) {
            Some(Link::Repository(repository)) => drop(self.named.insert(repository)),
            Some(Link::Elsewhere) => {}
            Some(Link::Unclear) | None => self.opaque = true,
        }
    }
}

/// The repositories that an issue (or pull request, or milestone) says it belongs to: by its `repository`, its
/// `repository_url`, its own address. GitHub gives several, which agree.
pub(crate) fn repositories_of(members: &[Member<'_>]) -> BTreeSet<RepoName> {
    let nested = json::find(members, "repository")
        .and_then(json::members)
        .and_then(|r| name_of_repository(&r));
    let links = ["repository_url", "url", "html_url"]
        .into_iter()
        .filter_map(|name| repository_of_link(members, name));
    nested.into_iter().chain(links).collect()
}

fn name_of_repository(members: &[Member<'_>]) -> Option<RepoName> {
    match json::find_text(members, "full_name") {
        Some(name) => name.parse().ok(),
        None => ["url", "html_url"]
            .into_iter()
            .find_map(|name| repository_of_link(members, name)),
    }
}

fn repository_of_link(members: &[Member<'_>], name: &str) -> Option<RepoName> {
    match link(name, &json::find_text(members, name)?) {
        Link::Repository(repository) => Some(repository),
        Link::Elsewhere | Link::Unclear => None,
    }
}

fn holds_repository(name: &str) -> bool {
    matches!(name, "repository" | "repo") || name.ends_with("_repository") || name.ends_with("_repo")
}

/// Issues, pull requests, discussions, milestones: what has a number has a repository.
fn is_numbered(members: &[Member<'_>]) -> bool {
    json::find(members, "number").is_some()
}

#[derive(Debug, PartialEq, Eq)]
enum Link {
    Repository(RepoName),
    /// Names no repository: a person, an app, a team, another site.
    Elsewhere,
    /// Names one in a way that cannot be read.
    Unclear,
}

/// What the text of a link, or of a member that holds a repository, names. The host is not compared: a GitHub
/// Enterprise Server has its own, and being wrong here only makes an event private.
fn link(name: &str, text: &str) -> Link {
    let Some(path) = path_of(text) else {
        return if holds_repository(name) {
            text.parse().map_or(Link::Unclear, Link::Repository)
        } else {
            Link::Elsewhere
        };
    };
    let path = path.strip_prefix("api/v3/").unwrap_or(path);
    let mut parts = path
        .split('/')
        .map(|part| part.split('{').next().unwrap_or(part))
        .filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next()) {
        (Some("repos"), Some(owner), Some(repo)) => repository(owner, repo),
        (Some("repos" | "repositories"), _, _) => Link::Unclear,
        (Some(owner), Some(repo), _) if is_page(name) && !NOT_ACCOUNTS.contains(&owner) => repository(owner, repo),
        _ => Link::Elsewhere,
    }
}

fn repository(owner: &str, repo: &str) -> Link {
    RepoName::new(owner, repo).map_or(Link::Unclear, Link::Repository)
}

fn is_page(name: &str) -> bool {
    matches!(name, "html_url" | "diff_url" | "patch_url" | "href") || holds_repository(name)
}

/// The path of an absolute http address, without leading slash, query and fragment.
fn path_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (_, path) = rest.split_once('/').unwrap_or((rest, ""));
    path.split(['?', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(repository: &str) -> Link {
        Link::Repository(repository.parse().unwrap())
    }

    #[test]
    fn links() {
        let table = [
            ("url", "https://api.github.com/repos/O/r/issues/1", named("o/r")),
            ("url", "https://ghe.example/api/v3/repos/o/r", named("o/r")),
            (
                "commits_url",
                "https://api.github.com/repos/o/r/commits{/sha}",
                named("o/r"),
            ),
            ("labels_url", "https://api.github.com/repos/o/r{/x}", named("o/r")),
            (
                "html_url",
                "https://github.com/o/r/issues/1#issuecomment-2",
                named("o/r"),
            ),
            ("html_url", "http://127.0.0.1:8081/o/r", named("o/r")),
            (
                "href",
                "https://github.com/o/r/pull/3#pullrequestreview-1",
                named("o/r"),
            ),
            ("patch_url", "https://github.com/o/r/pull/3.patch", named("o/r")),
            ("repository", "o/r", named("o/r")),
            ("sub_issue_repo", "https://api.github.com/repos/o/r", named("o/r")),
            ("source_repository", "https://github.com/o/r", named("o/r")),
            ("html_url", "https://github.com/octocat", Link::Elsewhere),
            ("html_url", "https://github.com/apps/dependabot", Link::Elsewhere),
            ("html_url", "https://github.com/orgs/o/teams/t", Link::Elsewhere),
            ("url", "https://api.github.com/users/octocat", Link::Elsewhere),
            (
                "repos_url",
                "https://api.github.com/users/octocat/repos",
                Link::Elsewhere,
            ),
            (
                "repositories_url",
                "https://api.github.com/organizations/1/team/2/repos",
                Link::Elsewhere,
            ),
            (
                "avatar_url",
                "https://avatars.githubusercontent.com/u/1?v=4",
                Link::Elsewhere,
            ),
            ("external_url", "https://example.com/a/b", Link::Elsewhere),
            ("gravatar_url", "", Link::Elsewhere),
            ("url", "https://api.github.com/repositories/123/issues/1", Link::Unclear),
            ("url", "https://api.github.com/repos/o", Link::Unclear),
            ("url", "https://api.github.com/repos/o/%2e%2e", Link::Unclear),
            ("repository", "secret", Link::Unclear),
        ];
        for (name, text, want) in table {
            assert_eq!(link(name, text), want, "{name}: {text}");
        }
    }
}
