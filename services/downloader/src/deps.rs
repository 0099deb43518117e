//! What the steps of a download share.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bugstream_github::{Client, Clients, Priority};
use bugstream_kit::broker::Broker;
use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::Repositories;
use bugstream_kit::deletions::Deletions;
use bugstream_kit::log::Log;
use bugstream_kit::objects::Objects;
use bugstream_kit::requests::Requests;
use bugstream_kit::service::Context;
use bugstream_kit::validators::Validators;
use bugstream_kit::watermarks::Watermarks;
use bugstream_proto::RepoName;

use crate::Config;
use crate::memory::{Doubts, SeenRepositories, Trouble, Turns};
use crate::queue::Queue;
use crate::quotas::Quotas;

#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) clients: Clients,
    pub(crate) quotas: Quotas,
    /// How far sweeps, audits, repairs and backfills got.
    pub(crate) watermarks: Watermarks,
    pub(crate) objects: Objects,
    pub(crate) log: Log,
    pub(crate) requests: Requests,
    pub(crate) queue: Queue,
    pub(crate) deletions: Deletions,
    pub(crate) validators: Validators,
    pub(crate) repositories: Repositories,
    pub(crate) confirm_delay: Duration,
    pub(crate) deletions_per_hour: usize,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) trouble: Trouble,
    /// As [`Self::trouble`], for what the credentials may not read.
    pub(crate) refused: Trouble,
    pub(crate) seen: SeenRepositories,
    pub(crate) doubts: Doubts,
    pub(crate) turns: Turns,
    renamed: Mutex<HashSet<RepoName>>,
}

/// The key-value buckets that a download uses.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) deletions: Deletions,
    pub(crate) validators: Validators,
    pub(crate) watermarks: Watermarks,
}

impl Deps {
    pub(crate) fn new(
        config: &Config,
        broker: &Broker,
        objects: Objects,
        buckets: Buckets,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let jetstream = &broker.jetstream;
        let github = bugstream_github::Config {
            max_body: config.max_body,
            ..bugstream_github::Config::try_from(&config.github)?
        };
        Ok(Self {
            clients: Clients::new(&github, &config.repositories, context.clock.clone())
                .context("the client of GitHub")?,
            quotas: Quotas::new(buckets.watermarks.clone()),
            watermarks: buckets.watermarks,
            objects,
            log: Log::new(jetstream.clone(), context.clock.clone()),
            requests: Requests::new(jetstream.clone()),
            queue: Queue::new(jetstream.clone()),
            deletions: buckets.deletions,
            validators: buckets.validators,
            repositories: config.repositories.clone(),
            confirm_delay: config.confirm_delay,
            deletions_per_hour: config.deletions_per_hour,
            clock: context.clock.clone(),
            chance: context.chance.clone(),
            trouble: Trouble::default(),
            refused: Trouble::default(),
            seen: SeenRepositories::default(),
            doubts: Doubts::new(context.health.clone()),
            turns: Turns::default(),
            renamed: Mutex::default(),
        })
    }

    /// A client with a repository's own credentials, where it has some.
    pub(crate) fn client(&self, repo: &RepoName, priority: Priority) -> Client {
        let client = self.clients.of(repo);
        match priority {
            Priority::Live => client.live(),
            Priority::Background => client.background(),
        }
    }

    /// Whether a repository has credentials of its own, so that what befalls them is no other's trouble.
    pub(crate) fn has_own_credentials(&self, repo: &RepoName) -> bool {
        let repository = self.repositories.0.iter().find(|repository| repository.name == *repo);
        repository.is_some_and(|repository| repository.credentials.is_some())
    }

    /// Says once that a repository has a new name; it is followed meanwhile.
    pub(crate) fn renamed(&self, from: &RepoName, to: &RepoName) {
        let mut told = self.renamed.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(from.clone()) {
            tracing::warn!(repository = %from, now = %to, "the repository was renamed; put the new name into the configuration");
        }
    }
}
