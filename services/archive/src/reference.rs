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

use crate::outline::{Kind, Outline, Value};

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
#[derive(Debug)]
pub(crate) struct References<'r> {
    /// The mirrored repository, which nearly all links are to.
    own: &'r RepoName,
    names_own: bool,
    /// Every other repository named anywhere.
    named: BTreeSet<RepoName>,
    /// Repositories that an object shows to be public.
    shown_public: BTreeSet<RepoName>,
    /// Something is private by its own word, or cannot be judged.
    opaque: bool,
}

/// Objects that name nothing, by [`Value::body`]. The events of an issue show the same few people again and again, and
/// what an object names depends on its text and on the name of its member alone.
#[derive(Debug)]
pub(crate) struct Seen(Vec<bool>);

impl Seen {
    /// Nothing seen yet.
    pub(crate) fn none_of(outline: &Outline<'_>) -> Self {
        Self(vec![false; outline.len()])
    }
}

impl<'r> References<'r> {
    fn none(own: &'r RepoName) -> Self {
        Self {
            own,
            names_own: false,
            named: BTreeSet::new(),
            shown_public: BTreeSet::new(),
            opaque: false,
        }
    }

    /// What the members of one object name, nested ones included; the object itself counts as ordinary.
    pub(crate) fn of(object: Value<'_>, own: &'r RepoName, seen: &mut Seen) -> Self {
        let mut found = Self::none(own);
        for member in object.members().into_iter().flatten() {
            if member.kind() != Kind::Object {
                found.member(member, 0);
            } else if !seen.0[member.body()] {
                let one = Self::of_member(member, own);
                seen.0[member.body()] = one.is_empty();
                found.add(one);
            }
        }
        found
    }

    fn is_empty(&self) -> bool {
        !self.names_own && self.named.is_empty() && self.shown_public.is_empty() && !self.opaque
    }

    fn add(&mut self, other: Self) {
        self.names_own |= other.names_own;
        self.named.extend(other.named);
        self.shown_public.extend(other.shown_public);
        self.opaque |= other.opaque;
    }

    /// What one member of an object names.
    pub(crate) fn of_member(member: Value<'_>, own: &'r RepoName) -> Self {
        let mut found = Self::none(own);
        found.member(member, 0);
        found
    }

    /// Whether everything named passes: a repository passes if `known(name)`, or if it is shown to be public here and
    /// not `refused(name)`.
    pub(crate) fn all_public(&self, known: impl Fn(&RepoName) -> bool, refused: impl Fn(&RepoName) -> bool) -> bool {
        let public = |name: &RepoName| !refused(name) && (known(name) || self.shown_public.contains(name));
        !self.opaque && self.named.iter().all(public) && (!self.names_own || public(self.own))
    }

    fn member(&mut self, member: Value<'_>, depth: usize) {
        let name = &*member.name();
        if name.starts_with("project") && member.kind() != Kind::Null {
            self.opaque = true;
        }
        self.value(name, member, depth);
    }

    fn value(&mut self, name: &str, value: Value<'_>, depth: usize) {
        match value.kind() {
            Kind::Object | Kind::Array if depth >= MAX_DEPTH => self.opaque = true,
            Kind::Object => self.object(name, value, depth + 1),
            Kind::Array => self.array(name, value, depth + 1),
            Kind::Text => self.text(name, value),
            Kind::Number | Kind::Bool => self.opaque |= holds_repository(name),
            Kind::Null => {}
        }
    }

    fn array(&mut self, name: &str, array: Value<'_>, depth: usize) {
        for element in array.elements().into_iter().flatten() {
            self.value(name, element, depth);
        }
    }

    fn object(&mut self, name: &str, object: Value<'_>, depth: usize) {
        let Some(members) = object.members() else {
            self.opaque = true;
            return;
        };
        if holds_repository(name) || object.get("full_name").is_some() {
            self.repository(object);
        } else if is_numbered(object) && repositories_of(object).next().is_none() {
            self.opaque = true;
        }
        members.for_each(|member| self.member(member, depth));
    }

    fn repository(&mut self, object: Value<'_>) {
        let Some(name) = name_of_repository(object) else {
            self.opaque = true;
            return;
        };
        let private = object.get("private").map(Value::json);
        let visibility = object.get_text("visibility");
        let visible = visibility.as_deref().is_none_or(|v| v == "public");
        match private {
            Some("false") if visible => drop(self.shown_public.insert(name.clone())),
            None if visible => {}
            _ => self.opaque = true,
        }
        self.named.insert(name);
    }

    fn text(&mut self, name: &str, value: Value<'_>) {
        let is_link = name == "url" || name == "href" || name.ends_with("_url");
        if !is_link && !holds_repository(name) {
            return;
        }
        match value.text().as_deref().map(|text| link(name, text)) {
            Some(Link::Repository(owner, repo)) => self.name(owner, repo),
            Some(Link::Elsewhere) => {}
            Some(Link::Unclear) | None => self.opaque = true,
        }
    }

    fn name(&mut self, owner: &str, repo: &str) {
        let is = |own: &str, name: &str| own == name || own.eq_ignore_ascii_case(name);
        if is(self.own.owner(), owner) && is(self.own.repo(), repo) {
            self.names_own = true;
        } else {
            match RepoName::new(owner, repo) {
                Ok(name) => drop(self.named.insert(name)),
                Err(_) => self.opaque = true,
            }
        }
    }
}

/// The repositories that an issue (or pull request, or milestone) says it belongs to: by its `repository`, its
/// `repository_url`, its own address. GitHub gives several, which agree.
pub(crate) fn repositories_of(issue: Value<'_>) -> impl Iterator<Item = RepoName> {
    let nested = issue.get("repository").and_then(name_of_repository);
    let links = ["repository_url", "url", "html_url"]
        .into_iter()
        .filter_map(move |name| repository_of_link(issue, name));
    nested.into_iter().chain(links)
}

fn name_of_repository(repository: Value<'_>) -> Option<RepoName> {
    match repository.get_text("full_name") {
        Some(name) => name.parse().ok(),
        None => ["url", "html_url"]
            .into_iter()
            .find_map(|name| repository_of_link(repository, name)),
    }
}

fn repository_of_link(object: Value<'_>, name: &str) -> Option<RepoName> {
    match link(name, &object.get_text(name)?) {
        Link::Repository(owner, repo) => RepoName::new(owner, repo).ok(),
        Link::Elsewhere | Link::Unclear => None,
    }
}

fn holds_repository(name: &str) -> bool {
    matches!(name, "repository" | "repo") || name.ends_with("_repository") || name.ends_with("_repo")
}

/// Issues, pull requests, discussions, milestones: what has a number has a repository.
fn is_numbered(object: Value<'_>) -> bool {
    object.get("number").is_some()
}

#[derive(Debug, PartialEq, Eq)]
enum Link<'a> {
    /// Owner and name, which may be no names at all: what cannot be one is opaque.
    Repository(&'a str, &'a str),
    /// Names no repository: a person, an app, a team, another site.
    Elsewhere,
    /// Names one in a way that cannot be read.
    Unclear,
}

/// What the text of a link, or of a member that holds a repository, names. The host is not compared: a GitHub
/// Enterprise Server has its own, and being wrong here only makes an event private.
fn link<'a>(name: &str, text: &'a str) -> Link<'a> {
    let Some(mut path) = path_of(text) else {
        return match text.split_once('/') {
            _ if !holds_repository(name) => Link::Elsewhere,
            Some((owner, repo)) => Link::Repository(owner, repo),
            None => Link::Unclear,
        };
    };
    match next_part(&mut path) {
        Some("repos") => match (next_part(&mut path), next_part(&mut path)) {
            (Some(owner), Some(repo)) => Link::Repository(owner, repo),
            _ => Link::Unclear,
        },
        Some("repositories") => Link::Unclear,
        Some(owner) if is_page(name) && !NOT_ACCOUNTS.contains(&owner) => match next_part(&mut path) {
            Some(repo) => Link::Repository(owner, repo),
            None => Link::Elsewhere,
        },
        _ => Link::Elsewhere,
    }
}

fn is_page(name: &str) -> bool {
    matches!(name, "html_url" | "diff_url" | "patch_url" | "href") || holds_repository(name)
}

/// What follows the host in an absolute http address, and the root of the API of a GitHub Enterprise Server.
fn path_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (_, path) = cut(rest, |byte| byte == b'/');
    let path = path.strip_prefix('/').unwrap_or_default();
    Some(path.strip_prefix("api/v3/").unwrap_or(path))
}

/// Takes the next part that is not empty from a path, without what a template adds to it (`commits{/sha}`). Query and
/// fragment are no path.
fn next_part<'a>(path: &mut &'a str) -> Option<&'a str> {
    while !path.is_empty() {
        let (part, rest) = cut(path, |byte| matches!(byte, b'/' | b'?' | b'#'));
        *path = rest.strip_prefix('/').unwrap_or_default();
        let (part, _) = cut(part, |byte| byte == b'{');
        if !part.is_empty() {
            return Some(part);
        }
    }
    None
}

/// In two, before the first such byte, which is ASCII. Links are so short that a loop is quicker than any search.
fn cut(text: &str, before: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(before);
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: Result<Option<&str>, ()> = Ok(None);
    const UNCLEAR: Result<Option<&str>, ()> = Err(());

    fn named(repository: &str) -> Result<Option<&str>, ()> {
        Ok(Some(repository))
    }

    fn read(name: &str, text: &str) -> Result<Option<String>, ()> {
        match link(name, text) {
            Link::Repository(owner, repo) => RepoName::new(owner, repo).map(|it| Some(it.to_string())).map_err(drop),
            Link::Elsewhere => Ok(None),
            Link::Unclear => Err(()),
        }
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
            ("html_url", "https://github.com/octocat", ELSEWHERE),
            ("html_url", "https://github.com/apps/dependabot", ELSEWHERE),
            ("html_url", "https://github.com/orgs/o/teams/t", ELSEWHERE),
            ("url", "https://api.github.com/users/octocat", ELSEWHERE),
            ("repos_url", "https://api.github.com/users/octocat/repos", ELSEWHERE),
            (
                "repositories_url",
                "https://api.github.com/organizations/1/team/2/repos",
                ELSEWHERE,
            ),
            ("avatar_url", "https://avatars.githubusercontent.com/u/1?v=4", ELSEWHERE),
            ("external_url", "https://example.com/a/b", ELSEWHERE),
            ("gravatar_url", "", ELSEWHERE),
            ("url", "https://api.github.com/repositories/123/issues/1", UNCLEAR),
            ("url", "https://api.github.com/repos/o", UNCLEAR),
            ("url", "https://api.github.com/repos/o/%2e%2e", UNCLEAR),
            ("repository", "secret", UNCLEAR),
        ];
        for (name, text, want) in table {
            assert_eq!(
                read(name, text),
                want.map(|name| name.map(str::to_owned)),
                "{name}: {text}"
            );
        }
    }
}
