//! Whom a genuine delivery of a webhook concerns and how soon: from event and payload to a decision, with no side
//! effects.
//!
//! It is a module of its own so that a delivery means the same whether GitHub brought it or it was fetched later, because
//! it had failed. Requests that follow from it are made by `bugstream_kit::requests` out of [`Queue::delivery`], so they
//! carry the same cause and the same message id both times.
//!
//! - Only the few members that decide are read; all others are skipped as they are.
//! - No text here quotes the payload, so that a reason may be answered and logged.
//! - A private partner's delivery leaves nothing behind but the numbers of public issues, and is no witness of what
//!   happened to them.
//!
//! What it is not: proof. Whoever calls has verified the signature, or asked GitHub for the delivery.

mod payload;
mod references;

use bugstream_kit::config::Repositories;
use bugstream_proto::{IssueId, RepoName, v1};

pub use payload::Malformed;
use payload::{Concern, Payload};

/// The longest event, action and delivery id that is sane; GitHub's have at most 40 characters.
const LONGEST_WORD: usize = 100;

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
    /// Different issues of mirrored repositories: one or two, or up to ten that a private partner's issue names.
    pub issues: Vec<IssueId>,
    /// The delivery, as requests and events name it. A private partner's has no action.
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

/// What decides whose deliveries concern us.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Mirrored repositories, and their private partners.
    pub repositories: Repositories,
    /// Whether events of pull requests concern us.
    pub pull_requests: bool,
}

/// What is known of a delivery besides its payload. Made of safe words only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    event: String,
    delivery_id: String,
    hook_id: u64,
}

impl Head {
    /// From the headers `X-GitHub-Event`, `X-GitHub-Delivery` and `X-GitHub-Hook-ID`. A delivery id may be empty, a hook
    /// id 0, if the sender gave none: without a delivery id nothing can be de-duplicated.
    ///
    /// # Errors
    /// [`Malformed::Event`] and [`Malformed::DeliveryId`] for what GitHub does not send.
    pub fn new(event: &str, delivery_id: &str, hook_id: u64) -> Result<Self, Malformed> {
        if !is_word(event) {
            return Err(Malformed::Event);
        }
        if !(delivery_id.is_empty() || is_word(delivery_id)) {
            return Err(Malformed::DeliveryId);
        }
        Ok(Self {
            event: event.to_owned(),
            delivery_id: delivery_id.to_owned(),
            hook_id,
        })
    }

    fn with(self, action: String) -> v1::Delivery {
        v1::Delivery {
            hook_id: self.hook_id,
            delivery_id: self.delivery_id,
            event: self.event,
            action,
        }
    }
}

/// Decides on a genuine delivery by its payload, which is JSON (a form's field is decoded already).
///
/// # Errors
/// [`Malformed`] if it is not as GitHub sends it.
pub fn route(head: Head, payload: &[u8], policy: &Policy) -> Result<Decision, Malformed> {
    let Some(concern) = Concern::of(&head.event) else {
        return Ok(Decision::Ignore("no event that changes an issue"));
    };
    if concern == Concern::PullRequest && !policy.pull_requests {
        return Ok(Decision::Ignore("pull requests are not mirrored"));
    }
    let payload = Payload::read(payload)?;
    let action = payload.action()?;
    let repo = payload.repository()?;
    let public = policy.public_side_of(&repo);
    if public.is_empty() {
        mirrored(head, concern, action, &repo, &payload, policy)
    } else {
        partners(head, concern, &action, &public, &payload)
    }
}

fn mirrored(
    head: Head,
    concern: Concern,
    action: String,
    repo: &RepoName,
    payload: &Payload<'_>,
    policy: &Policy,
) -> Result<Decision, Malformed> {
    if payload.is_about_a_pull_request() && !policy.pull_requests {
        return Ok(Decision::Ignore("pull requests are not mirrored"));
    }
    let mut issues = payload.issues(concern, repo)?;
    issues.retain(|issue| policy.repositories.of(issue).is_some());
    issues.dedup();
    if issues.is_empty() {
        return Ok(Decision::Ignore("its repository is not mirrored"));
    }
    let when = if payload.is_moderated(&action) {
        When::Now
    } else {
        soon(&action)
    };
    let delivery = head.with(action);
    Ok(Decision::Queue(Queue { issues, delivery, when }))
}

/// A private partner's issue is shown, if at all, in the public issues that it names; GitHub sends no webhook for those.
///
/// The action stays behind: that the partner's issue was deleted says nothing about the public one's end, and must not be
/// taken for its witness.
fn partners(
    head: Head,
    concern: Concern,
    action: &str,
    public: &[&RepoName],
    payload: &Payload<'_>,
) -> Result<Decision, Malformed> {
    if concern != Concern::Issue {
        return Ok(Decision::Ignore("only issues of a private partner are looked at"));
    }
    let issues = references::of(&payload.texts()?, public);
    if issues.is_empty() {
        return Ok(Decision::Ignore("it names no issue of the public repository"));
    }
    Ok(Decision::Queue(Queue {
        issues,
        delivery: head.with(String::new()),
        when: soon(action),
    }))
}

impl Policy {
    /// The repositories whose private partner this is; none for a repository that is mirrored itself.
    fn public_side_of(&self, repo: &RepoName) -> Vec<&RepoName> {
        if self.repositories.find(repo).is_some() {
            return Vec::new();
        }
        let all = self.repositories.0.iter();
        all.filter(|one| one.private.as_ref() == Some(repo))
            .map(|one| &one.name)
            .collect()
    }
}

/// Conversion to a discussion is no takedown: GitHub locks and closes the issue, and keeps it.
fn soon(action: &str) -> When {
    if matches!(action, "deleted" | "transferred") {
        When::Now
    } else {
        When::Quiet
    }
}

/// A token that is safe in a message header, a log line and a label: GitHub's events, actions and delivery ids are.
fn is_word(text: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(safe)
}

#[cfg(test)]
mod tests;
