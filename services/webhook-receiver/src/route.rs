//! Whom a genuine delivery concerns and how soon: from headers and body to a decision, with no side effects.
//!
//! Only the few members that decide are read; all others are skipped as they are. No text here quotes the payload, so
//! that a reason may be answered and logged.

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bugstream_kit::config::Repositories;
use bugstream_proto::{IssueId, RepoName, v1};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Titles that a moderated issue gets: the old one must not stay visible.
const MODERATION_TITLES: [&str; 2] = ["In the moderation queue.", "Issue closed."];

/// The longest event, action and delivery id that is sane; GitHub's have at most 40 characters.
const LONGEST_NAME: usize = 100;

/// What becomes of a genuine delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Of no concern here, and why.
    Ignore(&'static str),
    /// Download these issues.
    Queue(Queue),
}

/// Requests that a delivery makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// One or two different issues of mirrored repositories.
    pub issues: Vec<IssueId>,
    /// The delivery, as requests and events name it.
    pub delivery: v1::Delivery,
    /// How soon.
    pub when: When,
}

/// How soon an issue is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// After quiet time.
    Quiet,
    /// At once: something was taken down.
    Now,
}

/// Why a genuine delivery is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither of the two forms that GitHub sends.
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    ContentType,
    /// A header that is absent or not what GitHub sends.
    #[error("the header {0} is missing or malformed")]
    Header(&'static str),
    /// A form without its one field.
    #[error("the form has no field \"payload\"")]
    Form,
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
    /// A member that the event must have is absent or impossible.
    #[error("the payload's {member} is {problem}")]
    Member {
        /// Which member.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What decides whose deliveries concern us.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Mirrored repositories.
    pub repositories: Repositories,
    /// Whether events of pull requests concern us.
    pub pull_requests: bool,
}

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    event: String,
    /// Empty if the sender gave none: then nothing can be de-duplicated.
    delivery_id: String,
    /// 0 if the sender gave none.
    hook_id: u64,
    form: bool,
}

/// The members that decide, each as it was sent.
#[derive(Debug, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    repository: Option<&'a RawValue>,
    #[serde(borrow)]
    issue: Option<&'a RawValue>,
    #[serde(borrow)]
    pull_request: Option<&'a RawValue>,
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
struct Issue {
    number: Box<RawValue>,
    title: Option<String>,
    repository_url: Option<String>,
    /// There only where the issue is a pull request.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
struct Changes {
    title: Option<serde::de::IgnoredAny>,
}

/// An issue of a payload: its members, and the repository that it names itself, if any.
type Named<'a> = (&'static str, Option<&'a RawValue>, &'static str, Option<&'a RawValue>);

/// Decides on a delivery whose signature is verified.
///
/// # Errors
/// [`Malformed`] if it is not as GitHub sends it.
pub fn route(headers: &HeaderMap, body: &[u8], policy: &Policy) -> Result<Decision, Malformed> {
    let head = Head::read(headers)?;
    let Some(concern) = Concern::of(&head.event) else {
        return Ok(Decision::Ignore("no event that changes an issue"));
    };
    if concern == Concern::PullRequest && !policy.pull_requests {
        return Ok(Decision::Ignore("pull requests are not mirrored"));
    }
    let json = if head.form {
        form_field(body)?
    } else {
        Cow::Borrowed(body)
    };
    decide(head, concern, &parse(&json)?, policy)
}

/// Which members of a payload name the issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    Issue,
    PullRequest,
    SubIssues,
    Dependencies,
}

impl Concern {
    fn of(event: &str) -> Option<Self> {
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

fn decide(head: Head, concern: Concern, payload: &Payload<'_>, policy: &Policy) -> Result<Decision, Malformed> {
    let action = action(payload)?;
    let repo = repository("repository", payload.repository)?.ok_or(missing("repository"))?;
    let (issues, when) = match concern {
        Concern::Issue => match one_issue(&action, &repo, payload, policy)? {
            Some(one) => one,
            None => return Ok(Decision::Ignore("pull requests are not mirrored")),
        },
        Concern::PullRequest => (vec![pull_request(&repo, payload)?], soon(&action)),
        Concern::SubIssues | Concern::Dependencies => (two_issues(concern, &repo, payload)?, When::Quiet),
    };
    let mut issues: Vec<_> = issues
        .into_iter()
        .filter(|issue| policy.repositories.of(issue).is_some())
        .collect();
    issues.dedup();
    if issues.is_empty() {
        return Ok(Decision::Ignore("its repository is not mirrored"));
    }
    let delivery = v1::Delivery {
        hook_id: head.hook_id,
        delivery_id: head.delivery_id,
        event: head.event,
        action,
    };
    Ok(Decision::Queue(Queue { issues, delivery, when }))
}

/// The issue of `issues` and `issue_comment`; `None` for a comment on a pull request that is not for us.
fn one_issue(
    action: &str,
    repo: &RepoName,
    payload: &Payload<'_>,
    policy: &Policy,
) -> Result<Option<(Vec<IssueId>, When)>, Malformed> {
    let issue: Issue = object("issue", payload.issue)?.ok_or(missing("issue"))?;
    if issue.pull_request.is_some() && !policy.pull_requests {
        return Ok(None);
    }
    let moderated = action == "edited" && is_moderated(&issue, payload)?;
    let when = if moderated { When::Now } else { soon(action) };
    Ok(Some((vec![numbered("issue.number", repo, &issue)?], when)))
}

fn pull_request(repo: &RepoName, payload: &Payload<'_>) -> Result<IssueId, Malformed> {
    let pull: Issue = object("pull_request", payload.pull_request)?.ok_or(missing("pull_request"))?;
    numbered("pull_request.number", repo, &pull)
}

/// Both ends of a relation. A payload may lack the far one, or its repository.
fn two_issues(concern: Concern, repo: &RepoName, payload: &Payload<'_>) -> Result<Vec<IssueId>, Malformed> {
    let p = payload;
    let ends: [Named<'_>; 2] = if concern == Concern::SubIssues {
        [
            ("parent_issue", p.parent_issue, "parent_issue_repo", p.parent_issue_repo),
            ("sub_issue", p.sub_issue, "sub_issue_repo", p.sub_issue_repo),
        ]
    } else {
        [
            (
                "blocked_issue",
                p.blocked_issue,
                "blocked_issue_repo",
                p.blocked_issue_repo,
            ),
            (
                "blocking_issue",
                p.blocking_issue,
                "blocking_issue_repo",
                p.blocking_issue_repo,
            ),
        ]
    };
    let mut found = Vec::new();
    for end in ends {
        found.extend(far_issue(repo, end)?);
    }
    if found.is_empty() {
        return Err(missing(ends[0].0));
    }
    Ok(found)
}

/// An issue that may lie in another repository than the delivery's: `<name>_repo` says so, else its own URL.
fn far_issue(repo: &RepoName, (name, raw, repo_name, raw_repo): Named<'_>) -> Result<Option<IssueId>, Malformed> {
    let Some(issue) = object::<Issue>(name, raw)? else {
        return Ok(None);
    };
    let own = match repository(repo_name, raw_repo)? {
        Some(own) => Some(own),
        None => issue.repository_url.as_deref().and_then(repository_of_url),
    };
    numbered(name, own.as_ref().unwrap_or(repo), &issue).map(Some)
}

/// `https://…/repos/<owner>/<name>`, on GitHub and on an Enterprise Server.
fn repository_of_url(url: &str) -> Option<RepoName> {
    url.rsplit_once("/repos/")?.1.parse().ok()
}

fn soon(action: &str) -> When {
    if matches!(action, "deleted" | "transferred") {
        When::Now
    } else {
        When::Quiet
    }
}

/// Whether an edit gave the issue a moderation title. The payload's issue is as it is after the edit.
fn is_moderated(issue: &Issue, payload: &Payload<'_>) -> Result<bool, Malformed> {
    let changes: Changes = object("changes", payload.changes)?.unwrap_or_default();
    let title = issue.title.as_deref();
    Ok(changes.title.is_some() && title.is_some_and(|title| MODERATION_TITLES.contains(&title)))
}

fn action(payload: &Payload<'_>) -> Result<String, Malformed> {
    let wrong = Malformed::Member {
        member: "action",
        problem: "not a word",
    };
    let action: String = match payload.action {
        None => return Err(missing("action")),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| wrong.clone())?,
    };
    if is_word(&action) { Ok(action) } else { Err(wrong) }
}

fn repository(member: &'static str, raw: Option<&RawValue>) -> Result<Option<RepoName>, Malformed> {
    let wrong = |_| Malformed::Member {
        member,
        problem: "not a repository (full_name must be owner/name)",
    };
    object::<Repository>(member, raw)?
        .map(|repository| repository.full_name.parse().map_err(wrong))
        .transpose()
}

fn numbered(member: &'static str, repo: &RepoName, issue: &Issue) -> Result<IssueId, Malformed> {
    let wrong = |_| Malformed::Member {
        member,
        problem: "not an issue number (a whole number from 1 up)",
    };
    let number = IssueId::parse_number(issue.number.get()).map_err(wrong)?;
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

fn missing(member: &'static str) -> Malformed {
    Malformed::Member {
        member,
        problem: "missing",
    }
}

fn parse(json: &[u8]) -> Result<Payload<'_>, Malformed> {
    let incomplete = |error: serde_json::Error| Malformed::Json {
        line: error.line(),
        column: error.column(),
    };
    if json.trim_ascii_start().first() == Some(&b'{') {
        return serde_json::from_slice(json).map_err(incomplete);
    }
    let any: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(json);
    any.map_err(incomplete).and(Err(Malformed::NoObject))
}

fn form_field(body: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    let mut fields = form_urlencoded::parse(body);
    let (_, payload) = fields.find(|(name, _)| name == "payload").ok_or(Malformed::Form)?;
    Ok(match payload {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

impl Head {
    fn read(headers: &HeaderMap) -> Result<Self, Malformed> {
        let form = is_form(headers)?;
        let event = text(headers, "x-github-event")?.filter(|event| is_word(event));
        let id = text(headers, "x-github-delivery")?.unwrap_or_default();
        if !(id.is_empty() || is_word(id)) {
            return Err(Malformed::Header("x-github-delivery"));
        }
        let hook = text(headers, "x-github-hook-id")?.map(str::parse);
        Ok(Self {
            event: event.ok_or(Malformed::Header("x-github-event"))?.to_owned(),
            delivery_id: id.to_owned(),
            hook_id: hook
                .transpose()
                .map_err(|_| Malformed::Header("x-github-hook-id"))?
                .unwrap_or(0),
            form,
        })
    }
}

fn is_form(headers: &HeaderMap) -> Result<bool, Malformed> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(false),
        "application/x-www-form-urlencoded" => Ok(true),
        _ => Err(Malformed::ContentType),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Malformed> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Malformed::Header(name))
}

/// A token that is safe in a message header, a log line and a label: GitHub's events, actions and delivery ids are.
fn is_word(text: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(safe)
}

#[cfg(test)]
mod tests;
