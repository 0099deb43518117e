//! Where documents lie: kinds, sides, ids and names, spelled as `docs/ARCHITECTURE.md` does. The archive library is not
//! asked, so that a mistake in a name is found too.

use bugstream_proto::{IssueId, RepoName, v1};

/// A side of the privacy wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Public,
    Private,
}

impl Side {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// What an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Issues,
    Timelines,
}

/// The live aliases, through which people find what is visible: `issues-public` and so on.
pub(super) fn aliases(prefix: &str) -> String {
    let names = [
        "issues-public",
        "issues-private",
        "timelines-public",
        "timelines-private",
    ];
    names.map(|name| format!("{prefix}{name}")).join(",")
}

/// Kind and side of an index: `bugstream-issues-public-000001`.
pub(super) fn of_index(prefix: &str, index: &str) -> Option<(Kind, Side)> {
    let rest = index.strip_prefix(prefix)?.strip_prefix("bugstream-")?;
    let mut parts = rest.split('-');
    let kind = match parts.next()? {
        "issues" => Kind::Issues,
        "timelines" => Kind::Timelines,
        _ => return None,
    };
    match parts.next()? {
        "public" => Some((kind, Side::Public)),
        "private" => Some((kind, Side::Private)),
        _ => None,
    }
}

/// Which document of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Issue,
    Position(usize),
}

/// The id of a document: `owner/repo/n`, or `owner/repo/n/<position>`.
pub(super) fn id(issue: &IssueId, slot: Slot) -> String {
    match slot {
        Slot::Issue => format!("{}/{}", issue.repo(), issue.number()),
        Slot::Position(position) => format!("{}/{}/{position}", issue.repo(), issue.number()),
    }
}

/// Reads an id in an index of that kind; `None` for what no document of ours is called there.
pub(super) fn of_id(kind: Kind, text: &str) -> Option<(IssueId, Slot)> {
    let parts: Vec<&str> = text.split('/').collect();
    let (owner, repo, number, slot) = match (kind, &parts[..]) {
        (Kind::Issues, [owner, repo, number]) => (owner, repo, number, Slot::Issue),
        (Kind::Timelines, [owner, repo, number, position]) => {
            (owner, repo, number, Slot::Position(position.parse().ok()?))
        }
        _ => return None,
    };
    let issue = RepoName::new(owner, repo)
        .ok()?
        .issue(IssueId::parse_number(number).ok()?)
        .ok()?;
    (id(&issue, slot) == text).then_some((issue, slot))
}

/// Whether indexing the event again writes to that place, and so mends what lies there.
pub(super) fn is_covered(marks: &v1::Marks, side: Side, slot: Slot) -> bool {
    let marks = match side {
        Side::Public => marks.public.unwrap_or_default(),
        Side::Private => marks.private.unwrap_or_default(),
    };
    match slot {
        Slot::Issue => marks.issue,
        Slot::Position(position) => position < marks.timeline as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_nothing_else_is_one() {
        for (kind, text) in [(Kind::Issues, "o/r.x/12"), (Kind::Timelines, "o/r.x/12/0")] {
            let (issue, slot) = of_id(kind, text).expect("an id");
            assert_eq!(id(&issue, slot), text);
        }
        for (kind, text) in [
            (Kind::Issues, "o/r/12/0"),
            (Kind::Timelines, "o/r/12"),
            (Kind::Issues, "O/r/12"),
            (Kind::Timelines, "o/r/12/01"),
            (Kind::Timelines, "o/r/12/-1"),
            (Kind::Issues, "o/r/0"),
            (Kind::Issues, "abc"),
        ] {
            assert!(of_id(kind, text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_index_tells_kind_and_side() {
        assert_eq!(
            of_index("t-", "t-bugstream-issues-private-000007"),
            Some((Kind::Issues, Side::Private))
        );
        assert_eq!(
            of_index("", "bugstream-timelines-public-000001"),
            Some((Kind::Timelines, Side::Public))
        );
        assert_eq!(of_index("", "issues"), None);
    }
}
