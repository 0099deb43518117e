//! The members of a payload that decide, read in one pass over it.
//!
//! `repository` and `issue` are in every delivery that concerns us, and large, so they are read on the way; what few events
//! have is kept as it was sent and read when it is asked for.

use bugstream_proto::{IssueId, RepoName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::is_word;

/// Titles that a moderated issue gets: the old one must not stay visible.
const MODERATION_TITLES: [&str; 2] = ["In the moderation queue.", "Issue closed."];

/// Why a genuine delivery is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No event's name.
    #[error("the event (header x-github-event) is missing or malformed")]
    Event,
    /// No delivery's id.
    #[error("the delivery's id (header x-github-delivery) is malformed")]
    DeliveryId,
    /// No JSON, or only the beginning of some.
    #[error("the payload is not complete JSON (line {line}, column {column})")]
    Json {
        /// Where it ends to be JSON, from 1.
        line: usize,
        /// Where it ends to be JSON, from 1.
        column: usize,
    },
    /// JSON, and no object.
    #[error("the payload is not a JSON object")]
    NoObject,
    /// JSON whose `issue` or `repository` has another form than GitHub's.
    #[error("the payload's issue or repository is not an object as GitHub sends it (line {line}, column {column})")]
    Form {
        /// Where it differs, from 1.
        line: usize,
        /// Where it differs, from 1.
        column: usize,
    },
    /// A member that the event must have is absent or impossible.
    #[error("the payload's {member} is {problem}")]
    Member {
        /// Which member.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Which members of a payload name the issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    Issue,
    PullRequest,
    SubIssues,
    Dependencies,
}

impl Concern {
    pub(super) fn of(event: &str) -> Option<Self> {
        match event {
            "issues" | "issue_comment" => Some(Self::Issue),
            "pull_request" | "pull_request_review" | "pull_request_review_comment" | "pull_request_review_thread" => {
                Some(Self::PullRequest)
            }
            "sub_issues" => Some(Self::SubIssues),
            "issue_dependencies" => Some(Self::Dependencies),
            _ => None,
        }
    }
}

/// The members that decide.
#[derive(Debug, Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    repository: Option<Repository>,
    #[serde(borrow)]
    issue: Option<Issue<'a>>,
    #[serde(borrow)]
    pull_request: Option<&'a RawValue>,
    #[serde(borrow)]
    comment: Option<&'a RawValue>,
    #[serde(borrow)]
    changes: Option<&'a RawValue>,
    #[serde(borrow)]
    parent_issue: Option<&'a RawValue>,
    #[serde(borrow)]
    parent_issue_repo: Option<&'a RawValue>,
    #[serde(borrow)]
    sub_issue: Option<&'a RawValue>,
    #[serde(borrow)]
    sub_issue_repo: Option<&'a RawValue>,
    #[serde(borrow)]
    blocked_issue: Option<&'a RawValue>,
    #[serde(borrow)]
    blocked_issue_repo: Option<&'a RawValue>,
    #[serde(borrow)]
    blocking_issue: Option<&'a RawValue>,
    #[serde(borrow)]
    blocking_issue_repo: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Debug, Deserialize)]
struct Issue<'a> {
    #[serde(borrow)]
    number: &'a RawValue,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    /// There only where the issue is a pull request.
    pull_request: Option<serde::de::IgnoredAny>,
}

/// An issue that a payload names beside its own, or a pull request.
#[derive(Debug, Deserialize)]
struct Other {
    number: Box<RawValue>,
    repository_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Changes {
    title: Option<serde::de::IgnoredAny>,
    body: Option<Before>,
}

#[derive(Debug, Deserialize)]
struct Before {
    from: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Comment {
    body: Option<String>,
}

/// An issue of a payload: its members, and the repository that it names itself, if any.
type Named<'a> = (&'static str, Option<&'a RawValue>, &'static str, Option<&'a RawValue>);

impl<'a> Payload<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Malformed> {
        if json.trim_ascii_start().first() == Some(&b'{') {
            return serde_json::from_slice(json).map_err(malformed);
        }
        let any: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(json);
        any.map_err(malformed).and(Err(Malformed::NoObject))
    }

    pub(super) fn action(&self) -> Result<String, Malformed> {
        let wrong = Malformed::Member {
            member: "action",
            problem: "not a word",
        };
        let raw = self.action.ok_or(missing("action"))?;
        let action: Option<String> = serde_json::from_str(raw.get()).ok();
        action.filter(|action| is_word(action)).ok_or(wrong)
    }

    /// The repository that the delivery is about.
    pub(super) fn repository(&self) -> Result<RepoName, Malformed> {
        let repository = self.repository.as_ref().ok_or(missing("repository"))?;
        named("repository", repository)
    }

    pub(super) fn is_about_a_pull_request(&self) -> bool {
        self.issue.as_ref().is_some_and(|issue| issue.pull_request.is_some())
    }

    /// The issues that the delivery concerns, of whatever repositories.
    pub(super) fn issues(&self, concern: Concern, repo: &RepoName) -> Result<Vec<IssueId>, Malformed> {
        match concern {
            Concern::Issue => Ok(vec![numbered("issue.number", repo, self.issue()?.number)?]),
            Concern::PullRequest => Ok(vec![self.pull_request(repo)?]),
            Concern::SubIssues | Concern::Dependencies => self.two_issues(concern, repo),
        }
    }

    /// Whether an edit gave the issue a moderation title. The payload's issue is as it is after the edit.
    pub(super) fn is_moderated(&self, action: &str) -> bool {
        let title = || text(self.issue.as_ref()?.title?);
        action == "edited"
            && self.changes().title.is_some()
            && title().is_some_and(|title| MODERATION_TITLES.contains(&title.as_str()))
    }

    /// What people wrote that may name other issues: the issue's body, a comment, and what stood there before an edit.
    pub(super) fn texts(&self) -> Result<Vec<String>, Malformed> {
        let comment: Comment = self.comment.and_then(lenient).unwrap_or_default();
        let before = self.changes().body.and_then(|body| body.from);
        let texts = [self.issue()?.body.and_then(text), comment.body, before];
        Ok(texts.into_iter().flatten().collect())
    }

    fn issue(&self) -> Result<&Issue<'a>, Malformed> {
        self.issue.as_ref().ok_or(missing("issue"))
    }

    /// Not the same for all events, so what is of another form counts as absent.
    fn changes(&self) -> Changes {
        self.changes.and_then(lenient).unwrap_or_default()
    }

    fn pull_request(&self, repo: &RepoName) -> Result<IssueId, Malformed> {
        let pull: Other = object("pull_request", self.pull_request)?.ok_or(missing("pull_request"))?;
        numbered("pull_request.number", repo, &pull.number)
    }

    /// Both ends of a relation. A payload may lack the far one, or its repository.
    fn two_issues(&self, concern: Concern, repo: &RepoName) -> Result<Vec<IssueId>, Malformed> {
        let mut found = Vec::new();
        let ends = self.ends(concern);
        for end in ends {
            found.extend(far_issue(repo, end)?);
        }
        if found.is_empty() {
            return Err(missing(ends[0].0));
        }
        Ok(found)
    }

    fn ends(&self, concern: Concern) -> [Named<'a>; 2] {
        let p = self;
        if concern == Concern::SubIssues {
            let parent = ("parent_issue", p.parent_issue, "parent_issue_repo", p.parent_issue_repo);
            return [parent, ("sub_issue", p.sub_issue, "sub_issue_repo", p.sub_issue_repo)];
        }
        let (blocked, blocking) = (p.blocked_issue_repo, p.blocking_issue_repo);
        [
            ("blocked_issue", p.blocked_issue, "blocked_issue_repo", blocked),
            ("blocking_issue", p.blocking_issue, "blocking_issue_repo", blocking),
        ]
    }
}

/// An issue that may lie in another repository than the delivery's: `<name>_repo` says so, else its own URL.
fn far_issue(repo: &RepoName, (name, raw, repo_name, raw_repo): Named<'_>) -> Result<Option<IssueId>, Malformed> {
    let Some(issue) = object::<Other>(name, raw)? else {
        return Ok(None);
    };
    let own = match object::<Repository>(repo_name, raw_repo)? {
        Some(own) => Some(named(repo_name, &own)?),
        None => issue.repository_url.as_deref().and_then(repository_of_url),
    };
    numbered(name, own.as_ref().unwrap_or(repo), &issue.number).map(Some)
}

/// `https://…/repos/<owner>/<name>`, on GitHub and on an Enterprise Server.
fn repository_of_url(url: &str) -> Option<RepoName> {
    url.rsplit_once("/repos/")?.1.parse().ok()
}

fn named(member: &'static str, repository: &Repository) -> Result<RepoName, Malformed> {
    repository.full_name.parse().map_err(|_| Malformed::Member {
        member,
        problem: "not a repository (full_name must be owner/name)",
    })
}

fn numbered(member: &'static str, repo: &RepoName, number: &RawValue) -> Result<IssueId, Malformed> {
    let wrong = |_| Malformed::Member {
        member,
        problem: "not an issue number (a whole number from 1 up)",
    };
    let number = IssueId::parse_number(number.get()).map_err(wrong)?;
    repo.issue(number).map_err(wrong)
}

/// Reads a member that must be an object where it is there. (Serde alone would read an array as one, too.)
fn object<T: DeserializeOwned>(member: &'static str, raw: Option<&RawValue>) -> Result<Option<T>, Malformed> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let problem = "not an object as GitHub sends it";
    if !raw.starts_with('{') {
        return Err(Malformed::Member { member, problem });
    }
    serde_json::from_str(raw)
        .map(Some)
        .map_err(|_| Malformed::Member { member, problem })
}

fn lenient<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn text(raw: &RawValue) -> Option<String> {
    lenient(raw)
}

fn missing(member: &'static str) -> Malformed {
    Malformed::Member {
        member,
        problem: "missing",
    }
}

fn malformed(error: serde_json::Error) -> Malformed {
    let (line, column) = (error.line(), error.column());
    if error.classify() == Category::Data {
        Malformed::Form { line, column }
    } else {
        Malformed::Json { line, column }
    }
}
