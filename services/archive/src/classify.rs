//! Which side of the privacy wall an issue and each of its timeline events belongs to. Fails closed.
//!
//! An issue is private if
//! - its stored JSON carries [`PRIVATE_FLAG`] with anything but `false` (imported from the old system), or
//! - its title is one of the two that moderation gives and a `cross-referenced` event comes from the private partner:
//!   the first such event carries the real title and body, or
//! - it says of itself that it lies in the private partner or in a private repository.
//!
//! Everything in a private issue is private. In a public issue an event is private if
//! - it names a repository that is the private partner, or not known to be public ([`crate::reference`]); or
//! - it is of a kind whose purpose is to name another issue (`cross-referenced`, `sub_issue_*`, `parent_issue_*`,
//!   `blocked_by_*`, `blocking_*`) and does not say where that issue lies; or
//! - it is of a kind that tells of a place whose visibility no answer tells: `transferred` and everything with projects.
//!
//! Known to be public: the mirrored repository, those in [`Rules::public`], and one whose nested object says
//! `private: false`. `connected`, `marked_as_duplicate`, `converted_to_discussion` and kinds nobody has seen yet name
//! nothing in what GitHub publishes; they are public unless the walk finds that they do. A renamed mirrored repository
//! whose old name is not in [`Rules::public`] makes old events private, never the reverse.
//!
//! A public issue's own members that name such a place (`parent_issue_url`) are left out of its documents.

use std::collections::BTreeSet;

use bugstream_proto::RepoName;

use crate::document::PRIVATE_FLAG;
use crate::json::{self, Member};
use crate::parse::Archived;
use crate::reference::{References, repositories_of};

/// The titles that the moderation of a private issue leaves on its public one.
const MODERATION_TITLES: [&str; 2] = ["In the moderation queue.", "Issue closed."];

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
        let issue = if merge.is_some() || is_flagged(&self.issue) || lies_behind_the_wall(&self.issue, rules) {
            Side::Private
        } else {
            Side::Public
        };
        let timeline = (0..self.timeline().len()).map(|position| match issue {
            Side::Private => Side::Private,
            Side::Public => self.event_side(position, rules),
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
        let title = json::find_text(&self.issue, "title")?;
        if !MODERATION_TITLES.contains(&&*title) {
            return None;
        }
        (0..self.timeline().len()).find(|&position| {
            self.source_issue(position)
                .is_some_and(|source| repositories_of(&source).contains(partner))
        })
    }

    /// The issue that a `cross-referenced` event nests.
    pub(crate) fn source_issue(&self, position: usize) -> Option<Vec<Member<'_>>> {
        let event = self.event(position)?;
        if json::find_text(&event, "event")? != "cross-referenced" {
            return None;
        }
        let source = json::members(json::find(&event, "source")?)?;
        json::members(json::find(&source, "issue")?)
    }

    fn event_side(&self, position: usize, rules: &Rules) -> Side {
        match self.event(position) {
            Some(event) if is_public(&event, rules) => Side::Public,
            _ => Side::Private,
        }
    }

    /// Members of a public issue that are about another issue, as `parent_issue_url` is, and name what is not known to
    /// be public. All others are the issue's own, whatever name of its repository their links still tell.
    fn withheld(&self, issue: Side, rules: &Rules) -> BTreeSet<String> {
        let elsewhere = |m: &&Member<'_>| !matches!(Subject::of(&m.name), Subject::Nothing);
        let tells = |m: &&Member<'_>| issue == Side::Public && !passes(&References::of_member(m), rules);
        self.issue
            .iter()
            .filter(elsewhere)
            .filter(tells)
            .map(|m| m.name.to_string())
            .collect()
    }
}

fn is_flagged(issue: &[Member<'_>]) -> bool {
    json::find(issue, PRIVATE_FLAG).is_some_and(|flag| flag.get() != "false")
}

fn lies_behind_the_wall(issue: &[Member<'_>], rules: &Rules) -> bool {
    let in_partner = rules
        .private_partner
        .as_ref()
        .is_some_and(|partner| repositories_of(issue).contains(partner));
    let repository = json::find(issue, "repository")
        .and_then(json::members)
        .unwrap_or_default();
    in_partner || json::find(&repository, "private").is_some_and(|private| private.get() != "false")
}

fn is_public(event: &[Member<'_>], rules: &Rules) -> bool {
    let kind = json::find_text(event, "event").unwrap_or_default().replace('-', "_");
    let told = match Subject::of(&kind) {
        Subject::Nothing => true,
        Subject::Untold => false,
        Subject::Issue(path) => is_placed(event, path),
    };
    told && passes(&References::of(event), rules)
}

/// What an event of a kind is about, or a member of that name, besides its own issue.
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
fn is_placed(event: &[Member<'_>], path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return !repositories_of(event).is_empty();
    };
    json::find(event, first)
        .and_then(json::members)
        .is_some_and(|nested| is_placed(&nested, rest))
}

fn passes(references: &References, rules: &Rules) -> bool {
    let known = |name: &RepoName| *name == rules.repository || rules.public.contains(name);
    let refused = |name: &RepoName| rules.private_partner.as_ref() == Some(name);
    references.all_public(known, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://api.github.com/repos/o/r";

    fn rules() -> Rules {
        Rules {
            repository: "o/r".parse().unwrap(),
            private_partner: Some("o/secret".parse().unwrap()),
            public: BTreeSet::from(["friends/open".parse().unwrap()]),
        }
    }

    fn classify(issue: &str, timeline: &str) -> Classified {
        Archived::parse(issue.as_bytes(), timeline.as_bytes())
            .unwrap()
            .classify(&rules())
    }

    fn event(json: &str) -> Side {
        classify(r#"{"title":"x"}"#, &format!("[{json}]")).timeline()[0]
    }

    fn cross_reference(issue: &str) -> String {
        format!(r#"{{"event":"cross-referenced","source":{{"type":"issue","issue":{issue}}}}}"#)
    }

    #[test]
    fn ordinary_events_are_public() {
        let events = [
            r#"{"event":"closed","url":"https://api.github.com/repos/o/r/issues/events/1","commit_id":null,"commit_url":null,"actor":{"login":"x","url":"https://api.github.com/users/x","html_url":"https://github.com/x","repos_url":"https://api.github.com/users/x/repos"}}"#,
            r#"{"event":"labeled","label":{"name":"project: secret","color":"fff"}}"#,
            r#"{"event":"milestoned","milestone":{"title":"v1"}}"#,
            r#"{"event":"renamed","rename":{"from":"see o/secret#1","to":"https://github.com/o/secret"}}"#,
            r#"{"event":"commented","url":"https://api.github.com/repos/O/R/issues/comments/1","html_url":"https://github.com/O/R/issues/1#issuecomment-1","issue_url":"https://api.github.com/repos/O/R/issues/1","body":"see https://github.com/o/secret/issues/3 and https://api.github.com/repos/o/secret","reactions":{"url":"https://api.github.com/repos/o/r/issues/comments/1/reactions"},"user":{"login":"b[bot]","html_url":"https://github.com/apps/b"},"performed_via_github_app":{"name":"b","external_url":"https://example.com/a/b","html_url":"https://github.com/apps/b","owner":{"html_url":"https://github.com/x"}}}"#,
            r#"{"event":"committed","sha":"a","url":"https://api.github.com/repos/o/r/git/commits/a","html_url":"https://github.com/o/r/commit/a","message":"fix o/secret#1","tree":{"url":"https://api.github.com/repos/o/r/git/trees/b"},"parents":[{"url":"https://api.github.com/repos/o/r/git/commits/c","html_url":"https://github.com/o/r/commit/c"}]}"#,
            r#"{"event":"reviewed","html_url":"https://github.com/o/r/pull/1#pullrequestreview-2","pull_request_url":"https://api.github.com/repos/o/r/pulls/1","_links":{"html":{"href":"https://github.com/o/r/pull/1#pullrequestreview-2"},"pull_request":{"href":"https://api.github.com/repos/o/r/pulls/1"}}}"#,
            r#"{"event":"referenced","commit_id":"a","commit_url":"https://api.github.com/repos/o/r/commits/a"}"#,
            r#"{"event":"review_requested","requested_team":{"name":"t","html_url":"https://github.com/orgs/o/teams/t","repositories_url":"https://api.github.com/organizations/1/team/2/repos"}}"#,
            r#"{"event":"connected","url":"https://api.github.com/repos/o/r/issues/events/5"}"#,
            r#"{"event":"marked_as_duplicate"}"#,
            r#"{"event":"converted_to_discussion"}"#,
            r#"{"event":"a_kind_of_2031","thing":{"deep":[{"er":1e400}]}}"#,
            r#"{"event":null}"#,
            "{}",
        ];
        for json in events {
            assert_eq!(event(json), Side::Public, "{json}");
        }
    }

    #[test]
    fn events_that_name_what_is_not_known_to_be_public_are_private() {
        let events = [
            r#"{"event":"referenced","commit_url":"https://api.github.com/repos/fork/r/commits/a"}"#,
            r#"{"event":"closed","commit_url":"https://api.github.com/repos/o/secret/commits/a"}"#,
            r#"{"event":"closed","commit_url":"https://api.github.com/repositories/5/commits/a"}"#,
            r#"{"event":"connected","subject":{"number":5,"title":"t"}}"#,
            r#"{"event":"connected","subject":{"number":5,"html_url":"https://github.com/o/secret/pull/5"}}"#,
            r#"{"event":"marked_as_duplicate","canonical":{"repository":{"full_name":"who/knows"}}}"#,
            r#"{"event":"converted_to_discussion","discussion":{"number":3,"html_url":"https://github.com/who/knows/discussions/3"}}"#,
            r#"{"event":"a_kind_of_2031","deep":[[{"repo":{"name":"nameless"}}]]}"#,
            r#"{"event":"a_kind_of_2031","origin_repository":"who/knows"}"#,
            r#"{"event":"a_kind_of_2031","repository":17}"#,
            r#"{"event":"a_kind_of_2031","repository":{"full_name":"friends/open","private":true}}"#,
            r#"{"event":"a_kind_of_2031","repository":{"full_name":"friends/open","private":"no"}}"#,
            r#"{"event":"a_kind_of_2031","repository":{"full_name":"who/knows","private":false,"visibility":"internal"}}"#,
            r#"{"event":"a_kind_of_2031","x":{"\ud800":1}}"#,
            r#"{"event":"labeled","project_card":{"url":"https://api.github.com/projects/columns/cards/1"}}"#,
            r#"{"event":"transferred"}"#,
            r#"{"event":"added_to_project"}"#,
            r#"{"event":"added_to_project_v2"}"#,
            r#"{"event":"project_v2_item_status_changed"}"#,
            r#"{"event":"moved_columns_in_project","project_card":{"project_id":1}}"#,
            r#"{"event":"removed_from_project"}"#,
            r#"{"event":"converted_note_to_issue"}"#,
        ];
        for json in events {
            assert_eq!(event(json), Side::Private, "{json}");
        }
        let deep = format!(
            r#"{{"event":"x","a":{}1{}}}"#,
            r#"{"a":"#.repeat(5000),
            "}".repeat(5000)
        );
        assert_eq!(event(&deep), Side::Private);
    }

    #[test]
    fn cross_references_are_public_only_from_where_is_known_to_be_public() {
        let table = [
            (
                r#"{"number":2,"repository_url":"https://api.github.com/repos/o/r"}"#,
                Side::Public,
            ),
            (
                r#"{"number":2,"repository":{"full_name":"O/R","private":false}}"#,
                Side::Public,
            ),
            (r#"{"number":2,"repository":{"full_name":"o/r"}}"#, Side::Public),
            (
                r#"{"number":2,"repository_url":"https://api.github.com/repos/friends/open"}"#,
                Side::Public,
            ),
            (
                r#"{"number":2,"repository_url":"https://api.github.com/repos/a/b","repository":{"full_name":"a/b","private":false,"url":"https://api.github.com/repos/a/b","html_url":"https://github.com/a/b"},"milestone":{"number":1,"title":"m","url":"https://api.github.com/repos/a/b/milestones/1"}}"#,
                Side::Public,
            ),
            (
                r#"{"number":2,"html_url":"https://github.com/o/r/issues/2"}"#,
                Side::Public,
            ),
            (
                r#"{"number":2,"repository_url":"https://api.github.com/repos/a/b"}"#,
                Side::Private,
            ),
            (
                r#"{"number":2,"repository":{"full_name":"a/b","private":true}}"#,
                Side::Private,
            ),
            (
                r#"{"number":2,"repository":{"full_name":"o/secret","private":false}}"#,
                Side::Private,
            ),
            (
                r#"{"number":2,"repository_url":"https://api.github.com/repos/o/r","repository":{"full_name":"o/secret"}}"#,
                Side::Private,
            ),
            (
                r#"{"number":2,"repository_url":"https://api.github.com/repos/o/r","parent_issue_url":"https://api.github.com/repos/o/secret/issues/9"}"#,
                Side::Private,
            ),
            (r#"{"number":2,"repository":{"private":false}}"#, Side::Private),
            (
                r#"{"number":2,"repository":{"full_name":"a/b","private":false},"body":"x","base":{"repo":{"full_name":"who/knows"}}}"#,
                Side::Private,
            ),
            (r#"{"number":2,"title":"no repository"}"#, Side::Private),
            ("{}", Side::Private),
            ("null", Side::Private),
            ("[]", Side::Private),
        ];
        for (issue, want) in table {
            assert_eq!(event(&cross_reference(issue)), want, "{issue}");
        }
        for shape in [
            r#""source":null"#,
            r#""source":{"type":"issue"}"#,
            r#""x":1"#,
            r#""source":{"issue":"o/r#1"}"#,
        ] {
            assert_eq!(
                event(&format!(r#"{{"event":"cross-referenced",{shape}}}"#)),
                Side::Private,
                "{shape}"
            );
        }
    }

    #[test]
    fn kinds_that_nest_an_issue_must_say_where_it_lies() {
        for (kind, member) in [
            ("sub_issue_added", "sub_issue"),
            ("sub_issue_removed", "sub_issue"),
            ("parent_issue_added", "parent_issue"),
            ("parent_issue_removed", "parent_issue"),
            ("blocked_by_added", "blocked_by"),
            ("blocked_by_removed", "blocked_by"),
            ("blocking_added", "blocking"),
            ("blocking_removed", "blocking"),
        ] {
            let with =
                |value: &str| format!(r#"{{"event":"{kind}","url":"{OWN}/issues/events/1","{member}":{value}}}"#);
            let table = [
                (
                    r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"a/b","private":false}}"#,
                    Side::Public,
                ),
                (
                    r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"o/r","private":false}}"#,
                    Side::Public,
                ),
                (
                    r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"a/b","private":true}}"#,
                    Side::Private,
                ),
                (
                    r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"o/secret","private":false}}"#,
                    Side::Private,
                ),
                (
                    r#"{"id":1,"number":2,"title":"t","repository":{"full_name":"a/b"}}"#,
                    Side::Private,
                ),
                (r#"{"id":1,"number":2,"title":"t"}"#, Side::Private),
                ("null", Side::Private),
                ("7", Side::Private),
            ];
            for (value, want) in table {
                assert_eq!(event(&with(value)), want, "{kind}: {value}");
            }
            assert_eq!(
                event(&format!(r#"{{"event":"{kind}","url":"{OWN}/issues/events/1"}}"#)),
                Side::Private,
                "{kind}"
            );
        }
    }

    #[test]
    fn an_issue_is_private_by_title_and_partner_or_by_flag_or_by_place() {
        let partner = cross_reference(r#"{"number":7,"repository":{"full_name":"O/Secret","private":true}}"#);
        let by_url = cross_reference(r#"{"number":7,"repository_url":"https://api.github.com/repos/o/secret"}"#);
        let other = cross_reference(r#"{"number":7,"repository":{"full_name":"a/b","private":true}}"#);
        let mention = r#"{"event":"mentioned","source":{"issue":{"repository":{"full_name":"o/secret"}}}}"#;
        let table = [
            (r#"{"title":"In the moderation queue."}"#, &*partner, Side::Private),
            (r#"{"title":"Issue closed."}"#, &*partner, Side::Private),
            (r#"{"title":"\u0049ssue closed."}"#, &*by_url, Side::Private),
            (r#"{"title":"Issue closed"}"#, &*partner, Side::Public),
            (r#"{"title":"issue closed."}"#, &*partner, Side::Public),
            (r#"{"title":"Issue closed. "}"#, &*partner, Side::Public),
            (r#"{"title":"Issue closed."}"#, &*other, Side::Public),
            (r#"{"title":"Issue closed."}"#, mention, Side::Public),
            (r#"{"title":"Issue closed."}"#, r#"{"event":"closed"}"#, Side::Public),
            (
                r#"{"title":"real","__WEBCOMPAT_PRIVATE_ISSUE__":true}"#,
                r#"{"event":"closed"}"#,
                Side::Private,
            ),
            (
                r#"{"title":"real","__WEBCOMPAT_PRIVATE_ISSUE__":null}"#,
                r#"{"event":"closed"}"#,
                Side::Private,
            ),
            (
                r#"{"title":"real","__WEBCOMPAT_PRIVATE_ISSUE__":false}"#,
                r#"{"event":"closed"}"#,
                Side::Public,
            ),
            (
                r#"{"repository_url":"https://api.github.com/repos/o/secret"}"#,
                r#"{"event":"closed"}"#,
                Side::Private,
            ),
            (
                r#"{"repository":{"full_name":"o/r","private":true}}"#,
                r#"{"event":"closed"}"#,
                Side::Private,
            ),
            (
                r#"{"repository":{"full_name":"o/r","private":false}}"#,
                r#"{"event":"closed"}"#,
                Side::Public,
            ),
        ];
        for (issue, event, want) in table {
            let got = classify(issue, &format!(r#"[{event},{{"event":"labeled"}}]"#));
            assert_eq!(got.issue(), want, "{issue} {event}");
            assert_eq!(got.timeline()[1], want, "the timeline of {issue} {event}");
        }
    }

    #[test]
    fn without_a_partner_no_title_makes_an_issue_private() {
        let timeline = format!("[{}]", cross_reference(r#"{"repository":{"full_name":"o/secret"}}"#));
        let archived = Archived::parse(br#"{"title":"Issue closed."}"#, timeline.as_bytes()).unwrap();
        let got = archived.classify(&Rules {
            private_partner: None,
            ..rules()
        });
        assert_eq!((got.issue(), got.timeline()), (Side::Public, &[Side::Private][..]));
    }
}
