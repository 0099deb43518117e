//! What the indexer reads of the configuration.

use std::net::SocketAddr;

use bugstream_archive::names::Names;
use bugstream_kit::config::{ConfigError, Elasticsearch, Nats, ObjectStore, Repositories, Settings};
use serde::Deserialize;

use crate::bulk;

/// Everything the indexer needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The broker.
    pub nats: Nats,
    /// Where raw JSON lies.
    pub object_store: ObjectStore,
    /// Where documents go.
    pub elasticsearch: Elasticsearch,
    /// What is public and what is not.
    pub repositories: Repositories,
    /// The indexer's own section.
    pub indexer: Indexer,
}

/// `[indexer]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Indexer {
    /// Address of `/livez` and `/readyz`.
    pub health_listen: SocketAddr,
    /// Replicas of new indices. Without it: one where there is a second node, else none.
    pub replicas: Option<u32>,
    /// Issues under way at once.
    pub slots: usize,
    /// Bulk requests under way at once, at most: fewer where Elasticsearch is slow or says that it is busy.
    pub bulk_connections: usize,
    /// Bytes of a bulk request, at most. Elasticsearch refuses more than 100 MB.
    pub bulk_bytes: usize,
    /// Bytes of all issues under way, from raw JSON to bulk requests: what bounds the memory. An issue that is larger
    /// than that waits until it is alone.
    pub in_flight_bytes: usize,
}

impl Default for Indexer {
    fn default() -> Self {
        Self {
            health_listen: SocketAddr::from(([127, 0, 0, 1], 8083)),
            replicas: None,
            slots: 512,
            bulk_connections: 4,
            bulk_bytes: 5_000_000,
            in_flight_bytes: 64_000_000,
        }
    }
}

impl Indexer {
    fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: Self = settings.section("indexer")?;
        let at_least = |path, value: usize, least: usize, write| {
            let wrong = || settings.wrong(path, "is out of range", Some(&value.to_string()), write);
            if value >= least { Ok(()) } else { Err(wrong()) }
        };
        at_least("indexer.slots", section.slots, 1, "write 1 or more")?;
        at_least(
            "indexer.bulk_connections",
            section.bulk_connections,
            1,
            "write 1 or more",
        )?;
        at_least(
            "indexer.bulk_bytes",
            section.bulk_bytes,
            100_000,
            "write 100000 or more",
        )?;
        at_least(
            "indexer.bulk_bytes",
            90_000_000,
            section.bulk_bytes,
            "write 90000000 or less",
        )?;
        at_least(
            "indexer.in_flight_bytes",
            section.in_flight_bytes,
            1_000_000,
            "write 1000000 or more",
        )?;
        Ok(section)
    }

    /// How bulks are made.
    #[must_use]
    pub fn bulk(&self) -> bulk::Options {
        bulk::Options {
            connections: self.bulk_connections,
            bytes: self.bulk_bytes,
            in_flight: self.in_flight_bytes,
        }
    }
}

impl Config {
    /// Reads and checks what the indexer needs.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and what to write.
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let config = Self {
            nats: Nats::read(settings)?,
            object_store: ObjectStore::read(settings)?,
            elasticsearch: Elasticsearch::read(settings)?,
            repositories: Repositories::read(settings)?,
            indexer: Indexer::read(settings)?,
        };
        Names::new(&config.elasticsearch.prefix).map_err(|error| {
            let found = Some(config.elasticsearch.prefix.as_str());
            settings.wrong(
                "elasticsearch.prefix",
                &error.to_string(),
                found,
                "write a shorter or simpler prefix",
            )
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bugstream.toml");
        std::fs::write(
            &file,
            format!("[object_store]\nurl = \"objects\"\n[[repositories]]\nname = \"a/b\"\n{text}"),
        )
        .unwrap();
        Config::read(&Settings::load(Some(&file), |_| None, &[])?)
    }

    #[test]
    fn defaults_are_enough() {
        let config = read("").unwrap();
        assert_eq!(config.indexer.health_listen.port(), 8083);
        assert_eq!(config.indexer.replicas, None);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (text, key) in [
            ("[indexer]\nslots = 0", "slots"),
            ("[indexer]\nbulk_bytes = 5", "bulk_bytes"),
            ("[indexer]\nbulk_bytes = 900000000", "bulk_bytes"),
            ("[indexer]\nin_flight_bytes = 5", "in_flight_bytes"),
            ("[indexer]\nslot = 5", "slot"),
            ("[elasticsearch]\nprefix = \"A\"", "prefix"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
