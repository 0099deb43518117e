//! Subjects as one type that prints and parses: `<verb>.<owner>.<repo>.<number>`.
//!
//! Printed in lower case with a dot inside a repository name as `%2E`; upper case is accepted. Order is kept per parsed
//! issue, never per spelling. Nothing else in the project spells a subject.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::ids::{IdError, IssueId, RepoName};

/// Which queue a scheduled retry goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// `download.…`: webhooks, single requests.
    Download,
    /// `backfill.…`: ranges, sweeps, audits.
    Backfill,
    /// `index.…`: index requests.
    Index,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Download, Self::Backfill, Self::Index];

    /// The subject token, which is also the verb of the lane's due messages.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Backfill => "backfill",
            Self::Index => "index",
        }
    }

    /// The verb of a due message of this lane.
    #[must_use]
    pub fn due(self) -> Verb {
        match self {
            Self::Download => Verb::Download,
            Self::Backfill => Verb::Backfill,
            Self::Index => Verb::Index,
        }
    }
}

/// What a message on a subject asks for or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Scheduled: fires after quiet seconds; the last one wins.
    Debounce,
    /// Scheduled: fires at the longest wait; the first one wins.
    Deadline,
    /// Scheduled after failures, back into its lane.
    Retry(Lane),
    /// Download now.
    Download,
    /// Download when the quota allows.
    Backfill,
    /// Index again what the log says.
    Index,
    /// An event of the log.
    Issue,
}

impl Verb {
    const PLAIN: [Self; 6] = [
        Self::Debounce,
        Self::Deadline,
        Self::Download,
        Self::Backfill,
        Self::Index,
        Self::Issue,
    ];

    /// The leading tokens of its subjects, without a trailing dot.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Debounce => "debounce",
            Self::Deadline => "deadline",
            Self::Retry(Lane::Download) => "retry.download",
            Self::Retry(Lane::Backfill) => "retry.backfill",
            Self::Retry(Lane::Index) => "retry.index",
            Self::Download => "download",
            Self::Backfill => "backfill",
            Self::Index => "index",
            Self::Issue => "issue",
        }
    }

    /// The wildcard that captures all its subjects, malformed ones too, for example `download.>`.
    #[must_use]
    pub fn wildcard(self) -> String {
        format!("{}.>", self.prefix())
    }

    /// The subject of this verb for one issue.
    #[must_use]
    pub fn of(self, issue: &IssueId) -> Subject {
        Subject {
            verb: self,
            issue: issue.clone(),
        }
    }

    /// The wildcard over one repository's subjects, for example `issue.webcompat.web-bugs.*`.
    #[must_use]
    pub fn of_repo(self, repo: &RepoName) -> String {
        format!("{}.{}.{}.*", self.prefix(), repo.owner(), encode(repo.repo()))
    }
}

/// A well-formed subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// What it asks for.
    pub verb: Verb,
    /// For which issue.
    pub issue: IssueId,
}

/// Why a subject is none of ours. The text names the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The leading token is no verb.
    #[error("{0:?} is no verb of a subject")]
    Verb(String),
    /// Not four tokens (five for `retry`).
    #[error(
        "write {verb}.<owner>.<repo>.<number>, with a dot inside a repository name as %2E; this subject has {found} \
         parts after {verb}"
    )]
    Shape {
        /// The verb's tokens.
        verb: &'static str,
        /// How many tokens follow it.
        found: usize,
    },
    /// A token is no owner, repository or number.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repo = self.issue.repo();
        write!(
            f,
            "{}.{}.{}.{}",
            self.verb.prefix(),
            repo.owner(),
            encode(repo.repo()),
            self.issue.number()
        )
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let tokens: Vec<&str> = text.split('.').collect();
        let (verb, rest) = split_verb(&tokens)?;
        let [owner, repo, number] = rest else {
            return Err(SubjectError::Shape {
                verb: verb.prefix(),
                found: rest.len(),
            });
        };
        let repo = RepoName::new(owner, &decode(repo))?;
        let issue = IssueId::new(repo, IssueId::parse_number(number)?)?;
        Ok(Self { verb, issue })
    }
}

fn split_verb<'a, 'b>(tokens: &'a [&'b str]) -> Result<(Verb, &'a [&'b str]), SubjectError> {
    let unknown = || SubjectError::Verb(tokens.first().copied().unwrap_or_default().chars().take(60).collect());
    match tokens {
        ["retry", lane, rest @ ..] => {
            let lane = Lane::ALL.into_iter().find(|l| l.token() == *lane).ok_or_else(unknown)?;
            Ok((Verb::Retry(lane), rest))
        }
        [first, rest @ ..] => {
            let verb = Verb::PLAIN
                .into_iter()
                .find(|v| v.prefix() == *first)
                .ok_or_else(unknown)?;
            Ok((verb, rest))
        }
        [] => Err(unknown()),
    }
}

pub(crate) fn encode(repo: &str) -> String {
    repo.replace('.', "%2E")
}

pub(crate) fn decode(token: &str) -> Cow<'_, str> {
    if token.contains('%') {
        token.replace("%2E", ".").replace("%2e", ".").into()
    } else {
        token.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(owner: &str, repo: &str, number: u64) -> IssueId {
        RepoName::new(owner, repo).unwrap().issue(number).unwrap()
    }

    #[test]
    fn every_verb_prints_and_parses_back() {
        let retries = Lane::ALL.map(Verb::Retry);
        for verb in Verb::PLAIN.into_iter().chain(retries) {
            for repo in ["web-bugs", "socket.io", "a.b.c", "_x-"] {
                let subject = verb.of(&issue("webcompat", repo, 12_345));
                assert_eq!(subject.to_string().parse(), Ok(subject));
            }
        }
    }

    #[test]
    fn spellings_of_one_issue_are_one_issue() {
        let lower: Subject = "download.webcompat.socket%2Eio.5".parse().unwrap();
        let upper: Subject = "download.WebCompat.Socket%2eIO.5".parse().unwrap();
        assert_eq!(lower, upper);
        assert_eq!(upper.to_string(), "download.webcompat.socket%2Eio.5");
    }

    #[test]
    fn malformed_subjects_say_what_to_write() {
        let cases = [
            ("download.12345", "write download.<owner>.<repo>.<number>"),
            ("download.a.my.repo.5", "%2E"),
            ("retry.download.a.b", "write retry.download.<owner>.<repo>.<number>"),
            ("download.a.b.xyz", "\"xyz\" is not an issue number"),
            ("download.a.b.0", "is not an issue number"),
            ("download.a.b.1180591620717411303424", "is not an issue number"),
            ("download..b.1", "is not a GitHub account name"),
            ("download.a.%20.1", "is not a repository name"),
            ("nonsense.a.b.1", "\"nonsense\" is no verb"),
            ("retry.elsewhere.a.b.1", "is no verb"),
            ("", "is no verb"),
        ];
        for (subject, reason) in cases {
            let error = subject.parse::<Subject>().expect_err(subject).to_string();
            assert!(error.contains(reason), "{subject}: {error}");
        }
    }

    #[test]
    fn wildcards_capture_malformed_subjects_too() {
        assert_eq!(Verb::Download.wildcard(), "download.>");
        assert_eq!(Verb::Retry(Lane::Index).wildcard(), "retry.index.>");
        assert_eq!(
            Verb::Issue.of_repo(&RepoName::new("a", "b.c").unwrap()),
            "issue.a.b%2Ec.*"
        );
    }
}
