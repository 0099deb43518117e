//! What the downloader reads of the configuration, checked.

use std::net::SocketAddr;
use std::time::Duration;

use bugstream_kit::config::{ConfigError, Github, Nats, ObjectStore, Repositories, Settings};
use bugstream_kit::retention::Retention;
use serde::Deserialize;

/// The configuration of a downloader.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where requests come from and events go.
    pub nats: Nats,
    /// Where raw JSON is kept.
    pub object_store: ObjectStore,
    /// What is mirrored, and as whom.
    pub github: Github,
    /// Whose issues are downloaded.
    pub repositories: Repositories,
    /// Address of `/livez` and `/readyz`.
    pub health_listen: SocketAddr,
    /// Live downloads under way at once.
    pub slots: usize,
    /// Backfill downloads under way at once, besides the live ones.
    pub backfill_slots: usize,
    /// Time between the first sign of a deletion and the second look.
    pub confirm_delay: Duration,
    /// More deletions than this in an hour blow the fuse.
    pub deletions_per_hour: usize,
    /// The largest answer of GitHub's that is read, in bytes; a whole timeline counts as one.
    pub max_body: usize,
    /// What keeps the mirror fresh besides webhooks.
    pub freshness: Freshness,
    /// How long old revisions are kept.
    pub retention: Retention,
}

/// The layers of freshness besides webhooks; `None` is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Between two sweeps over what GitHub lists as updated.
    pub sweep: Option<Duration>,
    /// Between two looks for webhooks that failed to arrive.
    pub deliveries: Option<Duration>,
    /// The time that an audit of every known issue takes at least.
    pub audit_round: Option<Duration>,
    /// The share of the hourly quota that an audit may spend, in percent.
    pub audit_percent: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    health_listen: String,
    slots: usize,
    backfill_slots: usize,
    confirm_delay_s: u32,
    deletions_per_hour: usize,
    max_body_mb: usize,
    sweep_interval_s: u32,
    deliveries_interval_s: u32,
    audit_round_s: u32,
    audit_percent: u8,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            health_listen: "127.0.0.1:8082".to_owned(),
            slots: 8,
            backfill_slots: 4,
            confirm_delay_s: 600,
            deletions_per_hour: 50,
            max_body_mb: 100,
            sweep_interval_s: 300,
            deliveries_interval_s: 300,
            audit_round_s: 7 * 24 * 60 * 60,
            audit_percent: 25,
        }
    }
}

impl Config {
    /// Reads and checks everything this service uses.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: Section = settings.section("downloader")?;
        between(settings, "downloader.slots", section.slots, 1, 100)?;
        between(settings, "downloader.backfill_slots", section.backfill_slots, 1, 100)?;
        between(settings, "downloader.max_body_mb", section.max_body_mb, 1, 1024)?;
        between(
            settings,
            "downloader.audit_percent",
            section.audit_percent.into(),
            1,
            100,
        )?;
        Ok(Self {
            nats: Nats::read(settings)?,
            object_store: ObjectStore::read(settings)?,
            github: Github::read(settings)?,
            repositories: Repositories::read(settings)?,
            health_listen: listen(settings, &section.health_listen)?,
            slots: section.slots,
            backfill_slots: section.backfill_slots,
            confirm_delay: Duration::from_secs(section.confirm_delay_s.into()),
            deletions_per_hour: section.deletions_per_hour,
            max_body: section.max_body_mb << 20,
            freshness: Freshness {
                sweep: unless_zero(section.sweep_interval_s),
                deliveries: unless_zero(section.deliveries_interval_s),
                audit_round: unless_zero(section.audit_round_s),
                audit_percent: section.audit_percent,
            },
            retention: Retention::read(settings)?,
        })
    }
}

/// 0 switches off.
fn unless_zero(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn between(
    settings: &Settings,
    path: &'static str,
    found: usize,
    least: usize,
    most: usize,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let what = format!("is not between {least} and {most}");
    let write = format!("write a number from {least} to {most}");
    Err(settings.wrong(path, &what, Some(&found.to_string()), &write))
}

fn listen(settings: &Settings, text: &str) -> Result<SocketAddr, ConfigError> {
    let wrong = |_| {
        settings.wrong(
            "downloader.health_listen",
            "is no address to listen on",
            Some(text),
            "write ip:port, for example 127.0.0.1:8082 or [::]:8082",
        )
    };
    text.parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let base = [
            ("GITHUB_ORG", "webcompat"),
            ("GITHUB_REPO_PUBLIC", "web-bugs"),
            ("OBJECT_STORE_URL", "/var/lib/bugstream"),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), section).unwrap();
        let value = |name: &str| environment.iter().chain(&base).find(|(n, _)| *n == name);
        let env = |name: &str| value(name).map(|(_, v)| (*v).to_owned());
        Config::read(&Settings::load(Some(file.path()), env, &[])?)
    }

    #[test]
    fn defaults_are_careful() {
        let config = read("", &[]).unwrap();
        assert_eq!(config.confirm_delay, Duration::from_secs(600));
        assert_eq!((config.deletions_per_hour, config.max_body), (50, 100 << 20));
        assert_eq!(config.health_listen.port(), 8082);
        let freshness = config.freshness;
        assert_eq!(freshness.sweep, Some(Duration::from_secs(300)));
        assert_eq!(freshness.deliveries, Some(Duration::from_secs(300)));
        assert_eq!(freshness.audit_round, Some(Duration::from_secs(604_800)));
    }

    #[test]
    fn zero_switches_a_layer_off() {
        let off = "[downloader]\nsweep_interval_s = 0\ndeliveries_interval_s = 0\naudit_round_s = 0";
        let freshness = read(off, &[]).unwrap().freshness;
        assert_eq!(
            (freshness.sweep, freshness.deliveries, freshness.audit_round),
            (None, None, None)
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (section, problem) in [
            ("slots = 0", "[downloader] slots is not between 1 and 100"),
            ("backfill_slots = 101", "[downloader] backfill_slots is not between"),
            ("max_body_mb = 0", "[downloader] max_body_mb is not between"),
            (
                "audit_percent = 0",
                "[downloader] audit_percent is not between 1 and 100",
            ),
            ("sweep_interval_s = -1", "[downloader]"),
            ("slotz = 3", "slotz"),
            ("confirm_delay_s = -1", "[downloader]"),
        ] {
            let error = read(&format!("[downloader]\n{section}"), &[]).unwrap_err();
            assert!(error.problem.contains(problem), "{section}: {error}");
        }
        let error = read("", &[("DOWNLOADER_HEALTH_LISTEN", "here")]).unwrap_err();
        assert!(
            error.problem.contains("DOWNLOADER_HEALTH_LISTEN is no address"),
            "{error}"
        );
    }
}
