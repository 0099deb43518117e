//! A GitHub App with one installation, for all repositories of the simulator.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use super::shapes::{self, API, WEB};
use super::webhook::Webhook;
use super::{Simulator, seed};

/// A GitHub App.
#[derive(Debug, Clone)]
pub struct App {
    /// Its number: the issuer of its JSON web tokens.
    pub id: u64,
    /// The number of its installation.
    pub installation: u64,
    /// Where its deliveries go; they come beside those of a repository's hook, under the same delivery id.
    pub webhook: Option<Webhook>,
    /// Whether the owner has suspended the installation: 403 for its tokens, and no new ones.
    pub suspended: bool,
}

impl Default for App {
    fn default() -> Self {
        Self {
            id: 4711,
            installation: 815,
            webhook: None,
            suspended: false,
        }
    }
}

const SLUG: &str = "bugstream-demo-mirror";
const SINCE: &str = "2024-01-02T03:04:05Z";

impl App {
    /// The private key of every simulated App, as GitHub hands keys out (PKCS #1, PEM). It was made for tests, is public,
    /// and opens nothing.
    pub const KEY: &'static str = include_str!("app.pem");

    /// The other half of the key.
    pub(super) fn public_key(&self) -> Vec<u8> {
        let text: String = Self::KEY.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(text).expect("the key of this folder is PEM");
        let pair = RsaKeyPair::from_der(&der).expect("the key of this folder is an RSA key");
        pair.public_key().as_ref().to_vec()
    }

    pub(super) fn client_id(&self) -> String {
        format!("Iv23li{:014}", self.id)
    }

    /// The App as it sees itself.
    pub(super) fn to_json(&self, owner: &str) -> Value {
        json!({
            "id": self.id, "slug": SLUG, "node_id": format!("A_kwDO{:x}", self.id), "client_id": self.client_id(),
            "owner": shapes::user(owner), "name": "Bugstream demo mirror", "description": "", "external_url": "https://bugstream.example",
            "html_url": format!("{WEB}/apps/{SLUG}"), "created_at": SINCE, "updated_at": SINCE, "permissions": permissions(),
            "events": EVENTS, "installations_count": 1,
        })
    }

    /// Its installation.
    pub(super) fn installation_json(&self, owner: &str) -> Value {
        let suspended = self.suspended.then_some(SINCE);
        json!({
            "id": self.installation, "account": shapes::user(owner), "repository_selection": "all",
            "access_tokens_url": format!("{API}/app/installations/{}/access_tokens", self.installation),
            "repositories_url": format!("{API}/installation/repositories"),
            "html_url": format!("{WEB}/organizations/{owner}/settings/installations/{}", self.installation),
            "app_id": self.id, "client_id": self.client_id(), "app_slug": SLUG, "target_id": shapes::id_of(owner),
            "target_type": "Organization", "permissions": permissions(), "events": EVENTS, "created_at": SINCE,
            "updated_at": SINCE, "single_file_name": null, "has_multiple_single_files": false, "single_file_paths": [],
            "suspended_by": suspended.map(|_| shapes::user(owner)), "suspended_at": suspended,
        })
    }

    /// A token of the installation, as it is handed out.
    pub(super) fn token_json(token: &str, expires: time::OffsetDateTime) -> Value {
        json!({
            "token": token, "expires_at": seed::stamp(expires), "permissions": permissions(), "repository_selection": "all",
        })
    }
}

const EVENTS: &[&str] = &[
    "issues",
    "issue_comment",
    "pull_request",
    "sub_issues",
    "issue_dependencies",
];

fn permissions() -> Value {
    json!({"issues": "read", "metadata": "read", "pull_requests": "read"})
}

impl Simulator {
    /// Changes the App: its webhook, whether its installation is suspended. Nothing happens where there is none.
    pub fn change_app(&self, change: impl FnOnce(&mut App)) {
        if let Some(app) = &mut self.inner.world().credentials.app {
            change(app);
        }
    }
}
