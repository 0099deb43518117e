//! What people do to an issue, and what that leaves in its JSON and its timeline.
//!
//! The seed and live edits go through the same [`Draft::apply`], so that an issue always agrees with its timeline:
//! its labels are those added and not removed, its number of comments is the number of `commented` events.

use serde_json::{Map, Value, json};

use super::shapes::{self, RepoRef, id_of, user};

/// One thing done to an issue. Text is what a person typed; names are those of accounts, labels, milestones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A new title; leaves a `renamed` event.
    Title(String),
    /// A new description; GitHub's timeline does not mention it.
    Body(String),
    /// A comment.
    Comment(String),
    /// A label put on. Putting it on twice is no change.
    Label(String),
    /// A label taken off. One that is not there is no change.
    Unlabel(String),
    /// Closed as `completed`, `not_planned` or `duplicate`.
    Close(String),
    /// Opened again.
    Reopen,
    /// Assigned to an account.
    Assign(String),
    /// No longer assigned to it.
    Unassign(String),
    /// Put into a milestone, leaving the former one.
    Milestone(String),
    /// Locked, with GitHub's reason (`spam`, `too heated`, …).
    Lock(String),
    /// Unlocked.
    Unlock,
    /// An issue type set.
    Type(String),
    /// A person was named in a comment: no news for `updated_at`.
    Mention(String),
    /// A person follows the issue from now on: no news for `updated_at`.
    Subscribe(String),
    /// A commit named the issue: no news for `updated_at`.
    Reference,
    /// Another issue named this one. GitHub does not bump `updated_at` for it, and the event has no id.
    CrossReference(Box<Value>),
    /// Another issue became a part of this one.
    SubIssue(Box<Value>),
    /// This issue became a part of another one.
    Parent(Box<Value>),
    /// A commit pushed to the pull request (this and what follows is no change to a plain issue); the event has no id and no `created_at`.
    Commit(String),
    /// A review: `approved`, `changes_requested` or `commented`, with its text.
    Review(&'static str, String),
    /// The pull request's branch was rewritten.
    ForcePush,
    /// The pull request was merged, which also closes it.
    Merge,
    /// It goes on as a discussion.
    Discussion,
}

/// Who did it, when, and the id that the event gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) repo: &'a RepoRef,
    pub(super) actor: &'a str,
    /// RFC 3339, UTC, whole seconds, as GitHub writes it.
    pub(super) at: &'a str,
    pub(super) id: u64,
}

/// An issue in the making: its JSON and its timeline as values.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) issue: Map<String, Value>,
    pub(super) timeline: Vec<Value>,
}

impl Draft {
    /// Does it; false if there was nothing to do (a label that is already there), and then nothing changed.
    pub(super) fn apply(&mut self, change: &Change, by: By<'_>) -> bool {
        if self.is_idle(change) {
            return false;
        }
        let renamed_from = self.issue.get("title").cloned().unwrap_or_default();
        self.change_issue(change, by);
        self.timeline.extend(self.events(change, by, renamed_from));
        if bumps(change) {
            self.set("updated_at", json!(by.at));
        }
        true
    }

    fn is_idle(&self, change: &Change) -> bool {
        match change {
            Change::Title(title) => self.issue.get("title") == Some(&json!(title)),
            Change::Body(body) => self.issue.get("body") == Some(&json!(body)),
            Change::Label(name) => self.has("labels", "name", name),
            Change::Unlabel(name) => !self.has("labels", "name", name),
            Change::Assign(login) => self.has("assignees", "login", login),
            Change::Unassign(login) => !self.has("assignees", "login", login),
            Change::Commit(_) | Change::Review(..) | Change::ForcePush => !self.is_pull_request(),
            Change::Merge => !self.is_pull_request() || self.is_closed(),
            Change::Close(_) => self.is_closed(),
            Change::Reopen => self.issue.get("state") == Some(&json!("open")),
            Change::Milestone(title) => self.issue.get("milestone").is_some_and(|m| m["title"] == json!(title)),
            _ => false,
        }
    }

    fn is_pull_request(&self) -> bool {
        self.issue.contains_key("pull_request")
    }

    fn is_closed(&self) -> bool {
        self.issue.get("state") == Some(&json!("closed"))
    }

    fn has(&self, list: &str, key: &str, name: &str) -> bool {
        self.issue
            .get(list)
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|one| one[key] == json!(name)))
    }

    fn set(&mut self, key: &str, value: Value) {
        self.issue.insert(key.to_owned(), value);
    }

    fn list(&mut self, key: &str) -> &mut Vec<Value> {
        let slot = self.issue.entry(key).or_insert_with(|| json!([]));
        if !slot.is_array() {
            *slot = json!([]);
        }
        slot.as_array_mut().expect("it was made an array above")
    }

    fn change_issue(&mut self, change: &Change, by: By<'_>) {
        match change {
            Change::Title(title) => self.set("title", json!(title)),
            Change::Body(body) => self.set("body", json!(body)),
            Change::Comment(_) => self.add("comments", 1),
            Change::Label(name) => self.list("labels").push(shapes::label(by.repo, name)),
            Change::Unlabel(name) => self.list("labels").retain(|label| label["name"] != json!(name)),
            Change::Close(reason) => self.close(Some(reason), by),
            Change::Merge => self.merge(by),
            Change::Reopen => self.reopen(),
            Change::Assign(login) => self.assign(|all| all.push(user(login))),
            Change::Unassign(login) => self.assign(|all| all.retain(|one| one["login"] != json!(login))),
            Change::Milestone(title) => self.set("milestone", shapes::milestone(by.repo, title)),
            Change::Lock(reason) => self.lock(true, json!(reason)),
            Change::Unlock => self.lock(false, Value::Null),
            Change::Type(name) => self.set("type", shapes::issue_type(name)),
            Change::SubIssue(_) => self.count("sub_issues_summary", "total"),
            Change::Parent(parent) => self.set("parent_issue_url", parent["url"].clone()),
            _ => {}
        }
    }

    fn close(&mut self, reason: Option<&str>, by: By<'_>) {
        self.set("state", json!("closed"));
        self.set("state_reason", json!(reason));
        self.set("closed_at", json!(by.at));
        self.set("closed_by", user(by.actor));
    }

    fn merge(&mut self, by: By<'_>) {
        self.close(None, by);
        if let Some(pull) = self.issue.get_mut("pull_request") {
            pull["merged_at"] = json!(by.at);
        }
    }

    fn reopen(&mut self) {
        self.set("state", json!("open"));
        self.set("state_reason", json!("reopened"));
        self.set("closed_at", Value::Null);
        self.set("closed_by", Value::Null);
    }

    fn assign(&mut self, edit: impl FnOnce(&mut Vec<Value>)) {
        edit(self.list("assignees"));
        let first = self.list("assignees").first().cloned().unwrap_or_default();
        self.set("assignee", first);
    }

    fn lock(&mut self, locked: bool, reason: Value) {
        self.set("locked", json!(locked));
        self.set("active_lock_reason", reason);
    }

    pub(super) fn add(&mut self, key: &str, by: i64) {
        let count = self.issue.get(key).and_then(Value::as_i64).unwrap_or(0) + by;
        self.set(key, json!(count.max(0)));
    }

    fn count(&mut self, object: &str, key: &str) {
        if let Some(slot) = self.issue.get_mut(object).filter(|slot| slot.is_object()) {
            slot[key] = json!(slot[key].as_i64().unwrap_or(0) + 1);
        }
    }

    fn events(&self, change: &Change, by: By<'_>, renamed_from: Value) -> Vec<Value> {
        let one = |name: &str, extra: Value| vec![event(name, by, extra)];
        match change {
            Change::Title(title) => one("renamed", json!({"rename": {"from": renamed_from, "to": title}})),
            Change::Body(_) => vec![],
            Change::Comment(body) => vec![self.comment(body, by)],
            Change::Label(name) => one("labeled", json!({"label": named_label(by.repo, name)})),
            Change::Unlabel(name) => one("unlabeled", json!({"label": named_label(by.repo, name)})),
            Change::Close(reason) => one("closed", json!({"state_reason": reason})),
            Change::Reopen => one("reopened", json!({"state_reason": null})),
            Change::Assign(login) => one("assigned", json!({"assignee": user(login)})),
            Change::Unassign(login) => one("unassigned", json!({"assignee": user(login)})),
            Change::Milestone(title) => one("milestoned", json!({"milestone": {"title": title}})),
            Change::Lock(reason) => one("locked", json!({"lock_reason": reason})),
            Change::Unlock => one("unlocked", json!({"lock_reason": null})),
            Change::Type(name) => one("issue_type_added", json!({"issue_type": short_type(name)})),
            Change::Mention(login) => vec![event("mentioned", By { actor: login, ..by }, json!({}))],
            Change::Subscribe(login) => vec![event("subscribed", By { actor: login, ..by }, json!({}))],
            Change::Reference => one("referenced", self.commit_of(by)),
            Change::CrossReference(source) => vec![cross_reference(source, by)],
            Change::SubIssue(other) => one(
                "sub_issue_added",
                json!({"sub_issue": shapes::issue_reference(other, by.repo)}),
            ),
            Change::Parent(other) => one(
                "parent_issue_added",
                json!({"parent_issue": shapes::issue_reference(other, by.repo)}),
            ),
            Change::Commit(message) => vec![commit(message, by)],
            Change::Review(state, body) => vec![self.review(state, body, by)],
            Change::Discussion => one("converted_to_discussion", json!({})),
            Change::ForcePush => one("head_ref_force_pushed", self.commit_of(by)),
            Change::Merge => vec![
                event("merged", by, self.commit_of(by)),
                event("closed", By { id: by.id + 1, ..by }, json!({"state_reason": null})),
            ],
        }
    }

    fn text(&self, key: &str) -> &str {
        self.issue.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn commit_of(&self, by: By<'_>) -> Value {
        let sha = sha(&format!("{}{}", self.text("url"), by.id));
        json!({"commit_id": sha, "commit_url": format!("{}/commits/{sha}", by.repo.url())})
    }

    fn comment(&self, body: &str, by: By<'_>) -> Value {
        let url = format!("{}/issues/comments/{}", by.repo.url(), by.id);
        json!({
            "event": "commented", "id": by.id, "node_id": format!("IC_kwDO{:x}", by.id), "url": url,
            "html_url": format!("{}#issuecomment-{}", self.text("html_url"), by.id), "issue_url": self.text("url"),
            "user": user(by.actor), "actor": user(by.actor), "created_at": by.at, "updated_at": by.at,
            "author_association": shapes::association(by.actor), "body": body,
            "reactions": shapes::reactions(&url, [by.id % 5 / 3, by.id % 11 / 10, 0]), "performed_via_github_app": null,
        })
    }

    fn review(&self, state: &str, body: &str, by: By<'_>) -> Value {
        let (html, pull) = (
            format!("{}#pullrequestreview-{}", self.text("html_url"), by.id),
            self.issue.get("pull_request"),
        );
        let pull_url = pull.map_or(Value::Null, |pull| pull["url"].clone());
        json!({
            "event": "reviewed", "id": by.id, "node_id": format!("PRR_kwDO{:x}", by.id), "user": user(by.actor), "body": body,
            "state": state, "html_url": html, "pull_request_url": pull_url, "commit_id": sha(self.text("url")),
            "_links": {"html": {"href": html}, "pull_request": {"href": pull_url}}, "submitted_at": by.at, "updated_at": by.at,
            "author_association": shapes::association(by.actor),
        })
    }
}

fn bumps(change: &Change) -> bool {
    !matches!(
        change,
        Change::CrossReference(_) | Change::Mention(_) | Change::Subscribe(_) | Change::Reference | Change::Parent(_)
    )
}

/// An issue event in the common shape, with what this kind adds.
fn event(name: &str, by: By<'_>, extra: Value) -> Value {
    let mut event = shapes::map(json!({
        "id": by.id, "node_id": format!("EV_kwDO{:x}", by.id), "url": format!("{}/issues/events/{}", by.repo.url(), by.id),
        "actor": user(by.actor), "event": name, "commit_id": null, "commit_url": null, "created_at": by.at,
        "performed_via_github_app": null,
    }));
    event.extend(shapes::map(extra));
    Value::Object(event)
}

fn cross_reference(source: &Value, by: By<'_>) -> Value {
    json!({
        "actor": user(by.actor), "created_at": by.at, "updated_at": by.at, "event": "cross-referenced",
        "source": {"type": "issue", "issue": source},
    })
}

fn commit(message: &str, by: By<'_>) -> Value {
    let (sha, tree, parent) = (sha(&format!("{message}{}", by.id)), sha(by.at), sha(message));
    let url = |kind: &str, sha: &str| format!("{}/git/{kind}/{sha}", by.repo.url());
    let person =
        json!({"name": by.actor, "email": format!("{}@users.noreply.github.example", by.actor), "date": by.at});
    json!({
        "event": "committed", "sha": sha, "node_id": format!("C_kwDO{}", &sha[..8]), "url": url("commits", &sha),
        "html_url": format!("{}/commit/{sha}", by.repo.html_url()), "author": person, "committer": person, "message": message,
        "tree": {"sha": tree, "url": url("trees", &tree)},
        "parents": [{"sha": parent, "url": url("commits", &parent), "html_url": format!("{}/commit/{parent}", by.repo.html_url())}],
        "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null},
    })
}

fn named_label(repo: &RepoRef, name: &str) -> Value {
    json!({"name": name, "color": shapes::label(repo, name)["color"]})
}

fn short_type(name: &str) -> Value {
    json!({"id": id_of(name), "name": name, "color": shapes::issue_type(name)["color"]})
}

/// Forty hexadecimal digits that depend on `text` alone and stand for a commit.
fn sha(text: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text))[..40].to_owned()
}
