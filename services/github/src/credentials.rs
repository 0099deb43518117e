//! Who asks: nobody, personal access tokens, GitHub Apps. Each with an account of its own, since GitHub counts by credential.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bugstream_kit::config;
use bugstream_kit::secret::Secret;
use bugstream_proto::RepoName;
use reqwest::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::app::{App, Installation, Place};
use crate::config::ConfigError;
use crate::ledger::Ledger;

/// One credential. Shared by every client that uses it.
#[derive(Debug)]
pub(crate) struct Credential {
    /// Its id in logs, validators and buckets: never the credential.
    pub(crate) label: String,
    pub(crate) auth: Auth,
    ledger: Mutex<Ledger>,
}

/// How it authorises a request.
#[derive(Debug)]
pub(crate) enum Auth {
    /// Not at all.
    Nobody,
    /// A personal access token.
    Token(HeaderValue),
    /// An App on a repository's owner.
    Installation(Installation),
    /// The App itself: for its installations and its own webhook.
    App(App),
}

impl Credential {
    fn new(label: String, auth: Auth) -> Arc<Self> {
        let ledger = Mutex::default();
        Arc::new(Self { label, auth, ledger })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every credential once, however many repositories use it.
#[derive(Debug, Default)]
pub(crate) struct Registry(HashMap<String, Arc<Credential>>);

/// Whose requests a client sends.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Never empty.
    pub(crate) credentials: Vec<Arc<Credential>>,
    /// The App behind an installation among them.
    pub(crate) app: Option<Arc<Credential>>,
}

impl Registry {
    /// The pool of some credentials, for a repository.
    pub(crate) fn pool(
        &mut self,
        credentials: &config::Credentials,
        repository: Option<&RepoName>,
    ) -> Result<Pool, ConfigError> {
        let mut pool = Pool::default();
        for token in &credentials.tokens {
            pool.credentials.push(self.token(token)?);
        }
        if let Some(config) = &credentials.app {
            let app = self.app(config)?;
            pool.credentials.push(self.installation(config, &app, repository)?);
            pool.app = Some(app);
        }
        if pool.credentials.is_empty() {
            pool.credentials
                .push(self.once("anonymous".to_owned(), || Ok(Auth::Nobody))?);
        }
        Ok(pool)
    }

    /// All of them, in the order of their ids.
    pub(crate) fn all(self) -> Vec<Arc<Credential>> {
        let mut all: Vec<_> = self.0.into_values().collect();
        all.sort_by(|a, b| a.label.cmp(&b.label));
        all
    }

    fn token(&mut self, token: &Secret) -> Result<Arc<Credential>, ConfigError> {
        let hash = hex::encode(Sha256::digest(token.expose()));
        self.once(format!("token-{}", &hash[..8]), || {
            bearer(token.expose()).map(Auth::Token).ok_or(ConfigError::Token)
        })
    }

    fn app(&mut self, config: &config::App) -> Result<Arc<Credential>, ConfigError> {
        self.once(format!("app-{}", config.id), || App::read(config).map(Auth::App))
    }

    fn installation(
        &mut self,
        config: &config::App,
        app: &Arc<Credential>,
        repository: Option<&RepoName>,
    ) -> Result<Arc<Credential>, ConfigError> {
        let place = match (config.installation_id, repository) {
            (Some(id), _) => Place::Id(id),
            (None, Some(repository)) => Place::Of(repository.clone()),
            (None, None) => return Err(ConfigError::Installation),
        };
        self.once(format!("app-{}-{place}", config.id), || {
            Ok(Auth::Installation(Installation::new(Arc::clone(app), place)))
        })
    }

    fn once(
        &mut self,
        label: String,
        auth: impl FnOnce() -> Result<Auth, ConfigError>,
    ) -> Result<Arc<Credential>, ConfigError> {
        if let Some(known) = self.0.get(&label) {
            return Ok(Arc::clone(known));
        }
        let credential = Credential::new(label.clone(), auth()?);
        self.0.insert(label, Arc::clone(&credential));
        Ok(credential)
    }
}

/// The header that a token makes; `None` if it has characters that no header can carry.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Why a file holds no usable private key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Missing, or not ours to read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No PEM, or PEM of something else.
    #[error("{} holds no private key in PEM", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of another kind, or damaged.
    #[error("{} holds no RSA private key of 2048 bits or more", path.display())]
    NotRsa {
        /// The file.
        path: PathBuf,
    },
}
