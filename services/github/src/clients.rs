//! The clients of all repositories: each with its own credentials or with everybody's, each credential counted once.

use std::collections::HashMap;
use std::sync::Arc;

use bugstream_kit::clock::Clock;
use bugstream_kit::config::{Repositories, Repository};
use bugstream_proto::RepoName;

use crate::client::{Client, Shared};
use crate::config::{Config, ConfigError};
use crate::credentials::{Credential, Registry};
use crate::quota::QuotaState;

/// A client for each repository. Clones share everything.
#[derive(Debug, Clone)]
pub struct Clients(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    others: Client,
    of: HashMap<RepoName, Client>,
    credentials: Vec<Arc<Credential>>,
}

impl Clients {
    /// Builds the clients; nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: &Config, repositories: &Repositories, clock: Clock) -> Result<Self, ConfigError> {
        let shared = Shared::new(config, clock)?;
        let mut registry = Registry::default();
        let mut client = |repository: Option<&Repository>| {
            let own = repository.and_then(|repository| repository.credentials.as_ref());
            let name = repository.map(|repository| &repository.name);
            let pool = registry.pool(own.unwrap_or(&config.credentials), name)?;
            Ok(Client::of(Arc::clone(&shared), pool))
        };
        let mut of = HashMap::new();
        for repository in &repositories.0 {
            let client = client(Some(repository))?;
            of.extend(
                repository
                    .private
                    .iter()
                    .map(|partner| (partner.clone(), client.clone())),
            );
            of.insert(repository.name.clone(), client);
        }
        // For what was transferred elsewhere, the first repository's owner is as good as any.
        let others = match repositories.0.first() {
            Some(first) => client(Some(&Repository {
                credentials: None,
                ..first.clone()
            }))?,
            None => client(None)?,
        };
        Ok(Self(Arc::new(Inner {
            shared,
            others,
            of,
            credentials: registry.all(),
        })))
    }

    /// The client of a repository, or of its private partner; of any other name, the one that everybody shares.
    #[must_use]
    pub fn of(&self, repository: &RepoName) -> &Client {
        self.0.of.get(repository).unwrap_or(&self.0.others)
    }

    /// What is known of each credential, each once.
    #[must_use]
    pub fn quotas(&self) -> Vec<QuotaState> {
        self.0.shared.quotas(&self.0.credentials)
    }

    /// Takes over what another process knew. What is known here already stays.
    pub fn restore(&self, states: &[QuotaState]) {
        let now = self.0.shared.now();
        states.iter().for_each(|state| state.restore(&self.0.credentials, now));
    }
}
