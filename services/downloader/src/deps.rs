//! What the steps of a download share.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bugstream_github::Client;
use bugstream_kit::broker::Broker;
use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::Repositories;
use bugstream_kit::deletions::Deletions;
use bugstream_kit::log::Log;
use bugstream_kit::objects::Objects;
use bugstream_kit::requests::Requests;
use bugstream_kit::service::Context;
use bugstream_proto::RepoName;

use crate::Config;
use crate::memory::{SeenRepositories, Trouble};
use crate::queue::Queue;

#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) github: Client,
    pub(crate) objects: Objects,
    pub(crate) log: Log,
    pub(crate) requests: Requests,
    pub(crate) queue: Queue,
    pub(crate) deletions: Deletions,
    pub(crate) repositories: Repositories,
    pub(crate) confirm_delay: Duration,
    pub(crate) deletions_per_hour: usize,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) trouble: Trouble,
    pub(crate) seen: SeenRepositories,
    renamed: Mutex<HashSet<RepoName>>,
}

impl Deps {
    pub(crate) fn new(
        config: &Config,
        broker: &Broker,
        objects: Objects,
        deletions: Deletions,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let jetstream = &broker.jetstream;
        let github = bugstream_github::Config {
            max_body: config.max_body,
            ..bugstream_github::Config::try_from(&config.github)?
        };
        Ok(Self {
            github: Client::new(github, context.clock.clone()).context("the client of GitHub")?,
            objects,
            log: Log::new(jetstream.clone(), context.clock.clone()),
            requests: Requests::new(jetstream.clone()),
            queue: Queue::new(jetstream.clone()),
            deletions,
            repositories: config.repositories.clone(),
            confirm_delay: config.confirm_delay,
            deletions_per_hour: config.deletions_per_hour,
            clock: context.clock.clone(),
            chance: context.chance.clone(),
            trouble: Trouble::default(),
            seen: SeenRepositories::default(),
            renamed: Mutex::default(),
        })
    }

    /// Says once that a repository has a new name; it is followed meanwhile.
    pub(crate) fn renamed(&self, from: &RepoName, to: &RepoName) {
        let mut told = self.renamed.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(from.clone()) {
            tracing::warn!(repository = %from, now = %to, "the repository was renamed; put the new name into the configuration");
        }
    }
}
