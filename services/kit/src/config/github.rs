//! `[github]`: where the API is and who asks it. A repository may have credentials of its own.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::sections::check_http;
use super::{ConfigError, Settings};
use crate::secret::Secret;

/// `[github]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Github {
    /// REST API's base URL; for GitHub Enterprise Server `https://host/api/v3`.
    pub api_url: String,
    /// Personal access tokens, comma-separated; without any credentials GitHub allows 60 requests an hour.
    pub token: Option<Secret>,
    /// The same as a list.
    #[serde(deserialize_with = "one_or_many")]
    pub tokens: Vec<Secret>,
    /// `[github.app]`: a GitHub App, besides the tokens or in their place.
    pub app: Option<App>,
    /// The share of each credential's hour that background work leaves to live work, 0 to 90.
    pub reserve_percent: u8,
    /// Requests under way at once with one credential, 1 to 100.
    pub concurrency: usize,
    /// Seconds that one request may take.
    pub timeout_s: u64,
    /// The old system's name for the owner of the first repository.
    pub(super) org: Option<String>,
    pub(super) repo_public: Option<String>,
    pub(super) repo_private: Option<String>,
}

/// A list, or a text where a list was meant. Errors of serde's own would quote it, and it is a secret.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a token is neither a text nor a list of texts")]
    enum OneOrMany {
        One(Secret),
        Many(Vec<Secret>),
    }
    OneOrMany::deserialize(from).map(|found| match found {
        OneOrMany::One(token) => vec![token],
        OneOrMany::Many(tokens) => tokens,
    })
}

impl Default for Github {
    fn default() -> Self {
        Self {
            api_url: "https://api.github.com".to_owned(),
            token: None,
            tokens: Vec::new(),
            app: None,
            reserve_percent: 20,
            concurrency: 10,
            timeout_s: 30,
            org: None,
            repo_public: None,
            repo_private: None,
        }
    }
}

/// `[github.app]`: a GitHub App. Whether the key is one is known when the client is built, which reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct App {
    /// The App's id, from its settings page. Never 0 in a checked section.
    pub id: u64,
    /// The installation on the repository's owner; looked up when it is left out.
    pub installation_id: Option<u64>,
    /// A file with the private key in PEM, as GitHub hands it out. Never empty in a checked section.
    pub private_key_path: PathBuf,
}

/// Who asks: all of these, each with a quota of its own. None at all asks anonymously.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Personal access tokens, each once.
    pub tokens: Vec<Secret>,
    /// A GitHub App.
    pub app: Option<App>,
}

impl Credentials {
    pub(super) fn new(token: Option<&Secret>, tokens: &[Secret], app: Option<&App>) -> Self {
        let written = token.into_iter().chain(tokens).map(Secret::expose);
        let all = written.flat_map(|text| text.split(',')).map(str::trim);
        let mut each: Vec<Secret> = Vec::new();
        for token in all.filter(|token| !token.is_empty()).map(Secret::new) {
            if !each.contains(&token) {
                each.push(token);
            }
        }
        Self {
            tokens: each,
            app: app.cloned(),
        }
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.app.is_none()
    }

    pub(super) fn tokens_are_printable(&self) -> bool {
        let printable = |token: &Secret| token.expose().bytes().all(|b| b.is_ascii_graphic());
        self.tokens.iter().all(printable)
    }
}

impl Github {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let mut section: Self = settings.section("github")?;
        if settings.is_overridden("github.token") {
            section.tokens.clear();
        }
        check_http(settings, "github.api_url", &section.api_url, "https://api.github.com")?;
        section.check_credentials(settings)?;
        let between = |path, value: usize, least, most, write| {
            let what = format!("is not between {least} and {most}");
            let wrong = || settings.wrong(path, &what, Some(&value.to_string()), write);
            (least..=most).contains(&value).then_some(()).ok_or_else(wrong)
        };
        between("github.concurrency", section.concurrency, 1, 100, "write 10")?;
        between(
            "github.reserve_percent",
            section.reserve_percent.into(),
            0,
            90,
            "write 20",
        )?;
        Ok(section)
    }

    /// Who asks for every repository that has no credentials of its own.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::new(self.token.as_ref(), &self.tokens, self.app.as_ref())
    }

    fn check_credentials(&self, settings: &Settings) -> Result<(), ConfigError> {
        if self.token.is_some() && !self.tokens.is_empty() {
            return Err(settings.wrong("github.tokens", "is there besides token", None, "write one of them"));
        }
        if !self.credentials().tokens_are_printable() {
            return Err(settings.wrong(
                "github.token",
                "has characters that no token has",
                None,
                "copy it again",
            ));
        }
        match &self.app {
            Some(app) if app.id == 0 => Err(settings.wrong(
                "github.app.id",
                "is missing",
                None,
                "write the App's id, a number on its settings page",
            )),
            Some(app) if app.private_key_path.as_os_str().is_empty() => Err(settings.wrong(
                "github.app.private_key_path",
                "is missing",
                None,
                "write the path of the App's private key, a .pem file",
            )),
            _ => Ok(()),
        }
    }
}
