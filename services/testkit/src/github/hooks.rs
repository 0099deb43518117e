//! Hooks, and the record that GitHub keeps of their deliveries: three days long, of those too that never arrived.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::shapes::{self, API, RepoRef};
use super::webhook::{Delivery, Webhook};
use super::{World, seed};

/// How long a delivery is remembered.
const REMEMBERED: Duration = Duration::days(3);

/// Whose hook it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Repository(u64),
    App(u64),
}

impl Owner {
    /// The hook's number, which a change of its address keeps.
    pub(super) fn hook_id(self) -> u64 {
        match self {
            Self::Repository(id) => shapes::id_of(&format!("the hook of repository {id}")),
            Self::App(id) => shapes::id_of(&format!("the hook of app {id}")),
        }
    }

    /// Kind and number as `X-GitHub-Hook-Installation-Target-…` tell them.
    pub(super) fn target(self) -> (&'static str, u64) {
        match self {
            Self::Repository(id) => ("repository", id),
            Self::App(id) => ("integration", id),
        }
    }
}

/// Where a delivery goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) owner: Owner,
    pub(super) hook: Webhook,
    /// The installation that an App's payload names.
    pub(super) installation: Option<u64>,
}

/// A delivery that was made, or failed.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) id: u64,
    pub(super) owner: Owner,
    pub(super) delivery: Delivery,
    at: OffsetDateTime,
    redelivery: bool,
    url: String,
    installation: Option<u64>,
    request: Map<String, Value>,
    answer: Answer,
}

/// What came back.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Whether there was one.
    pub(super) came: bool,
    pub(super) code: u16,
    pub(super) status: String,
    pub(super) took_s: f64,
    pub(super) headers: Map<String, Value>,
    pub(super) body: String,
}

impl Answer {
    /// What GitHub notes where no answer came.
    pub(super) fn none(code: u16, status: &str, took_s: f64) -> Self {
        Self {
            came: false,
            code,
            status: status.to_owned(),
            took_s,
            headers: Map::new(),
            body: String::new(),
        }
    }

    /// What it notes of a delivery that was lost on the way.
    pub(super) fn lost() -> Self {
        Self::none(502, "failed to connect to host", 0.02)
    }
}

/// All deliveries of the last three days, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last_id: u64,
    made: Vec<Made>,
}

impl Ledger {
    /// Notes a delivery; a second one under the same id to the same hook is a redelivery.
    pub(super) fn note(
        &mut self,
        target: &Target,
        delivery: Delivery,
        request: Map<String, Value>,
        answer: Answer,
        now: OffsetDateTime,
    ) {
        self.made.retain(|made| made.at + REMEMBERED > now);
        let known = |made: &Made| made.owner == target.owner && made.delivery.id == delivery.id;
        let redelivery = self.made.iter().any(known);
        // Numbers with gaps, as GitHub's have.
        self.last_id = self.last_id.max(12_077_000_000) + 3;
        self.made.push(Made {
            id: self.last_id,
            owner: target.owner,
            delivery,
            at: now,
            redelivery,
            url: target.hook.url.clone(),
            installation: target.installation,
            request,
            answer,
        });
    }

    /// Those that no receiver has taken yet, each once, oldest first.
    pub(super) fn untaken(&self) -> Vec<Delivery> {
        let taken = self.made.iter().filter(|made| made.answer.came && !made.has_failed());
        let mut known: HashSet<&str> = taken.map(|made| made.delivery.id.as_str()).collect();
        let all = self.made.iter().map(|made| &made.delivery);
        all.filter(|delivery| known.insert(&delivery.id)).cloned().collect()
    }

    /// Those of a hook, newest first.
    pub(super) fn of(&self, owner: Owner, now: OffsetDateTime) -> impl Iterator<Item = &Made> {
        let young = move |made: &&Made| made.owner == owner && made.at + REMEMBERED > now;
        self.made.iter().rev().filter(young)
    }
}

impl Made {
    /// A row of the list of deliveries.
    pub(super) fn to_row(&self) -> Value {
        let action = Some(&self.delivery.action).filter(|action| !action.is_empty());
        json!({
            "id": self.id, "guid": self.delivery.id, "delivered_at": seed::stamp(self.at), "redelivery": self.redelivery,
            "duration": self.answer.took_s, "status": self.answer.status, "status_code": self.answer.code,
            "event": self.delivery.event, "action": action, "installation_id": self.installation,
            "repository_id": self.payload()["repository"]["id"].as_u64(), "throttled_at": null,
        })
    }

    /// The whole delivery, with what was sent and what came back.
    pub(super) fn to_json(&self) -> Value {
        let mut all = self.to_row();
        all["url"] = json!(self.url);
        all["request"] = json!({"headers": self.request, "payload": self.payload()});
        all["response"] = json!({"headers": self.answer.headers, "payload": self.answer.body});
        all
    }

    pub(super) fn has_failed(&self) -> bool {
        self.answer.code >= 400
    }

    fn payload(&self) -> Value {
        serde_json::from_slice(&self.delivery.body).unwrap_or_default()
    }
}

/// A repository's hook as its list has it.
pub(super) fn to_json(repository: &RepoRef, hook: &Webhook, last: Option<&Made>) -> Value {
    let id = Owner::Repository(repository.id).hook_id();
    let url = format!("{API}/repos/{}/hooks/{id}", repository.full_name);
    let since = "2024-01-02T03:04:05Z";
    let last = match last {
        Some(made) => json!({"code": made.answer.code, "status": "active", "message": made.answer.status}),
        None => json!({"code": null, "status": "unused", "message": null}),
    };
    json!({
        "type": "Repository", "id": id, "name": "web", "active": true, "events": ["issues", "issue_comment", "pull_request"],
        "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": hook.url},
        "updated_at": since, "created_at": since, "url": url, "test_url": format!("{url}/test"),
        "ping_url": format!("{url}/pings"), "deliveries_url": format!("{url}/deliveries"), "last_response": last,
    })
}

impl World {
    /// The hooks that hear of a delivery: that of its repository, and the App's.
    pub(super) fn targets(&self, delivery: &Delivery) -> Vec<Target> {
        let repository = serde_json::from_slice::<Value>(&delivery.body)
            .ok()
            .and_then(|payload| payload["repository"]["id"].as_u64());
        let owner = Owner::Repository(repository.unwrap_or(self.main.id));
        let of_repository = self.webhook.clone().map(|hook| Target {
            owner,
            hook,
            installation: None,
        });
        let app = self.credentials.app.as_ref();
        let of_app = app.and_then(|app| {
            Some(Target {
                owner: Owner::App(app.id),
                hook: app.webhook.clone()?,
                installation: Some(app.installation),
            })
        });
        of_repository.into_iter().chain(of_app).collect()
    }

    /// Notes a delivery that was never sent.
    pub(super) fn lose(&mut self, delivery: &Delivery) {
        let now = self.now();
        for target in self.targets(delivery) {
            let delivery = delivery.to(&target);
            let headers = delivery.headers(&target);
            self.ledger.note(&target, delivery, headers, Answer::lost(), now);
        }
    }
}
