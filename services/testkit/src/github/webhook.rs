//! Webhooks: the JSON that GitHub would send for a change, signed and sent as it does.

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::history::{Change, Draft};
use super::hooks::{Answer, Target};
use super::pull;
use super::shapes::{self, RepoRef};

/// GitHub waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where deliveries go and what signs them.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The receiver's address.
    pub url: String,
    /// The shared secret.
    pub secret: String,
}

/// A delivery to be made, or made.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `X-GitHub-Delivery`: one a delivery, kept on a redelivery.
    pub id: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's `action`, empty where it has none.
    pub action: String,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// What the receiver answered; none if it did not.
    pub status: Option<u16>,
}

impl Delivery {
    pub(super) fn new(id: String, event: &str, body: Vec<u8>) -> Self {
        let action = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|p| p["action"].as_str().map(str::to_owned));
        Self {
            id,
            event: event.to_owned(),
            action: action.unwrap_or_default(),
            body,
            status: None,
        }
    }
}

impl Delivery {
    /// The same as an App hears it: its payload names the installation.
    pub(super) fn to(&self, target: &Target) -> Self {
        let mut delivery = self.clone();
        let payload = serde_json::from_slice::<Map<String, Value>>(&self.body).ok();
        if let (Some(id), Some(mut payload)) = (target.installation, payload) {
            payload.insert(
                "installation".into(),
                json!({"id": id, "node_id": format!("IN_kwDO{id:x}")}),
            );
            delivery.body = serde_json::to_vec(&payload).expect("a JSON value has string keys only");
        }
        delivery
    }

    /// What it says beside its payload, as a hook's page shows it.
    pub(super) fn headers(&self, target: &Target) -> Map<String, Value> {
        let (kind, id) = target.owner.target();
        shapes::map(json!({
            "Accept": "*/*", "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/3f1c0de",
            "X-GitHub-Delivery": self.id, "X-GitHub-Event": self.event, "X-GitHub-Hook-ID": target.owner.hook_id().to_string(),
            "X-GitHub-Hook-Installation-Target-ID": id.to_string(), "X-GitHub-Hook-Installation-Target-Type": kind,
            "X-Hub-Signature-256": sign(&target.hook.secret, &self.body),
        }))
    }
}

/// Sends one delivery. Like GitHub it does not try again.
pub(super) async fn deliver(
    client: &reqwest::Client,
    url: &str,
    headers: &Map<String, Value>,
    body: Vec<u8>,
) -> Answer {
    let begin = tokio::time::Instant::now();
    let request = client.post(url).timeout(PATIENCE).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(name, value.as_str().unwrap_or_default())
    });
    let answer = request.send().await;
    let took_s = (begin.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    match answer {
        Ok(answer) => came(answer, took_s).await,
        Err(error) if error.is_timeout() => Answer::none(504, "timed out", took_s),
        Err(_) => Answer::none(502, "failed to connect to host", took_s),
    }
}

async fn came(answer: reqwest::Response, took_s: f64) -> Answer {
    let code = answer.status().as_u16();
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))));
    let headers = headers.collect();
    let status = if answer.status().is_success() {
        "OK".to_owned()
    } else {
        format!("Invalid HTTP Response: {code}")
    };
    Answer {
        came: true,
        code,
        status,
        took_s,
        headers,
        body: answer.text().await.unwrap_or_default(),
    }
}

/// `sha256=` and the HMAC of the body, in hexadecimal.
#[must_use]
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Event and payload for what was done to an issue, in the order of the doing. Title and body edited together are one
/// delivery, as with one `PATCH`.
pub(super) fn payloads(
    repo: &RepoRef,
    actor: &str,
    before: &Draft,
    after: &Draft,
    done: &[Change],
) -> Vec<(&'static str, Vec<u8>)> {
    let mut edited = Map::new();
    let mut sent = Vec::new();
    for change in done {
        match change {
            Change::Title(_) => _ = edited.insert("title".into(), json!({"from": before.issue.get("title")})),
            Change::Body(_) => _ = edited.insert("body".into(), json!({"from": before.issue.get("body")})),
            _ => {
                sent.extend(action(repo, after, change).map(|(event, extra)| payload(repo, actor, after, event, extra)))
            }
        }
    }
    if !edited.is_empty() {
        sent.insert(
            0,
            payload(
                repo,
                actor,
                after,
                "issues",
                json!({"action": "edited", "changes": edited}),
            ),
        );
    }
    sent
}

fn action(repo: &RepoRef, after: &Draft, change: &Change) -> Option<(&'static str, Value)> {
    let issues = |action: &str| Some(("issues", json!({"action": action})));
    let with = |action: &str, key: &str, value: Value| Some(("issues", json!({"action": action, key: value})));
    match change {
        Change::Comment(_) => Some((
            "issue_comment",
            json!({"action": "created", "comment": latest_comment(after)}),
        )),
        Change::Label(name) => with("labeled", "label", shapes::label(repo, name)),
        Change::Unlabel(name) => with("unlabeled", "label", shapes::label(repo, name)),
        Change::Close(_) | Change::Merge => issues("closed"),
        Change::Reopen => issues("reopened"),
        Change::Assign(login) => with("assigned", "assignee", shapes::user(login)),
        Change::Unassign(login) => with("unassigned", "assignee", shapes::user(login)),
        Change::Milestone(title) => with("milestoned", "milestone", shapes::milestone(repo, title)),
        Change::Lock(_) => issues("locked"),
        Change::Unlock => issues("unlocked"),
        // A pull request has no type.
        Change::Type(_) if after.issue.contains_key("pull_request") => None,
        Change::Type(name) => with("typed", "type", shapes::issue_type(name)),
        _ => None,
    }
}

fn latest_comment(after: &Draft) -> Value {
    after
        .timeline
        .iter()
        .rev()
        .find(|event| event["event"] == "commented")
        .map_or(Value::Null, comment)
}

/// A `commented` event as the comment that it is.
pub(super) fn comment(event: &Value) -> Value {
    let mut comment = shapes::map(event.clone());
    comment.remove("event");
    comment.remove("actor");
    Value::Object(comment)
}

/// The whole payload: what is special, the issue (or pull request), the repository, who did it.
pub(super) fn payload(
    repo: &RepoRef,
    actor: &str,
    issue: &Draft,
    event: &'static str,
    extra: Value,
) -> (&'static str, Vec<u8>) {
    let mut payload = shapes::map(extra);
    let pull = event == "issues" && issue.issue.contains_key("pull_request");
    if pull {
        payload.insert("number".into(), issue.issue["number"].clone());
        payload.insert("pull_request".into(), pull::request(repo, issue));
    } else {
        payload.insert("issue".into(), told(issue));
    }
    payload.insert("repository".into(), Value::Object(shapes::repository(repo)));
    payload.insert("organization".into(), organization(repo));
    payload.insert("sender".into(), shapes::user(actor));
    let bytes = serde_json::to_vec(&payload).expect("a JSON value has string keys only");
    (if pull { "pull_request" } else { event }, bytes)
}

/// What an issue has for who asks, and no payload has.
const NOT_TOLD: &[&str] = &["closed_by", "parent_issue_url"];

fn told(issue: &Draft) -> Value {
    let mut issue = issue.issue.clone();
    issue.retain(|key, _| !NOT_TOLD.contains(&key.as_str()));
    Value::Object(issue)
}

fn organization(repo: &RepoRef) -> Value {
    let owner = shapes::user(repo.owner());
    let url = format!("{}/orgs/{}", shapes::API, repo.owner());
    json!({
        "login": owner["login"], "id": owner["id"], "node_id": owner["node_id"], "url": url, "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events"), "hooks_url": format!("{url}/hooks"), "issues_url": format!("{url}/issues"),
        "members_url": format!("{url}/members{{/member}}"), "public_members_url": format!("{url}/public_members{{/member}}"),
        "avatar_url": owner["avatar_url"], "description": null,
    })
}
