//! How to reach GitHub, and what makes no client.

use std::time::Duration;

use bugstream_kit::config::{Credentials, Github};
use url::Url;

use crate::credentials::KeyError;
use crate::ledger::{Bounds, POINTS};

/// Background work must get on at all.
const MOST_RESERVED: u8 = 90;

/// How to reach GitHub.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API's base: `https://api.github.com`, or `https://host/api/v3` of a GitHub Enterprise Server.
    pub api_url: Url,
    /// Who asks; nobody is allowed 60 requests an hour.
    pub credentials: Credentials,
    /// The share in percent of each credential's hour, minute and places that background work leaves to live work, at
    /// most 90.
    pub reserve_percent: u8,
    /// GitHub refuses requests without one.
    pub user_agent: String,
    /// For the connection alone.
    pub connect_timeout: Duration,
    /// For one request as a whole.
    pub timeout: Duration,
    /// The largest answer, in bytes, after decompression; a whole timeline counts as one.
    pub max_body: usize,
    /// Requests under way at once with one credential, 1 to 100 (GitHub's own limit).
    pub concurrency: usize,
}

impl Config {
    /// Without credentials, with moderate limits.
    #[must_use]
    pub fn new(api_url: Url) -> Self {
        Self {
            api_url,
            credentials: Credentials::default(),
            reserve_percent: 20,
            user_agent: concat!("bugstream/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            max_body: 100 << 20,
            concurrency: 20,
        }
    }

    pub(crate) fn bounds(&self) -> Result<Bounds, ConfigError> {
        if !(1..=100).contains(&self.concurrency) {
            return Err(ConfigError::Concurrency(self.concurrency));
        }
        Ok(Bounds {
            concurrency: self.concurrency.try_into().expect("at most 100"),
            points: (!self.is_enterprise()).then_some(POINTS),
            reserve: self.reserve_percent.min(MOST_RESERVED),
        })
    }

    /// A GitHub Enterprise Server, which counts no points unless its administrator wants it; then its answers tell.
    fn is_enterprise(&self) -> bool {
        self.api_url.path().trim_end_matches('/').ends_with("/api/v3")
    }

    /// The base to which paths are joined, so it must end in a slash.
    pub(crate) fn base(&self) -> Result<Url, ConfigError> {
        let mut url = self.api_url.clone();
        let plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !plain {
            return Err(ConfigError::Url);
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(url)
    }
}

/// What the configuration file and the environment say.
impl TryFrom<&Github> for Config {
    type Error = ConfigError;

    fn try_from(section: &Github) -> Result<Self, ConfigError> {
        let api_url = Url::parse(&section.api_url).map_err(|_| ConfigError::Url)?;
        Ok(Self {
            credentials: section.credentials(),
            reserve_percent: section.reserve_percent,
            timeout: Duration::from_secs(section.timeout_s),
            concurrency: section.concurrency,
            ..Self::new(api_url)
        })
    }
}

/// A configuration that makes no client. No credential is in it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not http or https, or with credentials or a query in it.
    #[error("the API's address must be http(s)://host[/path], without credentials and query")]
    Url,
    /// A character that no header can carry.
    #[error("the token has characters that no token has")]
    Token,
    /// Not 1 to 100.
    #[error("{0} requests at once are not between 1 and 100")]
    Concurrency(usize),
    /// The App's private key is none.
    #[error("the GitHub App's private key: {0}")]
    Key(#[source] KeyError),
    /// Nothing says whose installation of the App is meant.
    #[error("the GitHub App needs an installation_id, or a repository to look it up by")]
    Installation,
    /// The user agent is no header, or TLS cannot be set up.
    #[error("the HTTP client cannot be built")]
    Http(#[source] reqwest::Error),
}
