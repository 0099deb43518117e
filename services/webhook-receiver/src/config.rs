//! What the webhook-receiver reads of the configuration, checked.

use std::net::SocketAddr;
use std::time::Duration;

use bugstream_kit::config::{ConfigError, Nats, Repositories, Settings};
use bugstream_kit::secret::Secret;
use serde::Deserialize;

/// The configuration of a webhook-receiver.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where requests are published.
    pub nats: Nats,
    /// Whose deliveries are for us. Their private partners' refresh the public issues that they name.
    pub repositories: Repositories,
    /// At least one, none of them empty; a delivery signed with any of them is genuine.
    pub secrets: Vec<Secret>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Quiet time before an issue is downloaded; zero downloads at once.
    pub inactivity_delay: Duration,
    /// After this time an issue is downloaded even if it never falls quiet. Not less than `inactivity_delay`.
    pub longest_wait: Duration,
    /// Whether events of pull requests concern us.
    pub pull_requests: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    secrets: Vec<Secret>,
    listen: String,
    inactivity_delay_s: u32,
    longest_wait_s: u32,
    pull_requests: bool,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            listen: "127.0.0.1:8080".to_owned(),
            inactivity_delay_s: 300,
            longest_wait_s: 1800,
            pull_requests: true,
        }
    }
}

impl Config {
    /// Reads and checks everything this service uses.
    ///
    /// # Errors
    /// [`ConfigError`]; above all without a secret, since then anybody could queue downloads.
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: Section = settings.section("webhook_receiver")?;
        check_secrets(settings, &section.secrets)?;
        check_waits(settings, &section)?;
        Ok(Self {
            nats: Nats::read(settings)?,
            repositories: Repositories::read(settings)?,
            listen: listen(settings, &section.listen)?,
            secrets: section.secrets,
            inactivity_delay: Duration::from_secs(section.inactivity_delay_s.into()),
            longest_wait: Duration::from_secs(section.longest_wait_s.into()),
            pull_requests: section.pull_requests,
        })
    }
}

fn check_secrets(settings: &Settings, secrets: &[Secret]) -> Result<(), ConfigError> {
    let write = "write the secret that the webhook has on GitHub";
    if secrets.is_empty() {
        return Err(settings.wrong("webhook_receiver.secrets", "is missing", None, write));
    }
    if secrets.iter().any(|secret| secret.expose().trim().is_empty()) {
        return Err(settings.wrong("webhook_receiver.secrets", "has an empty secret", None, write));
    }
    Ok(())
}

fn check_waits(settings: &Settings, section: &Section) -> Result<(), ConfigError> {
    if section.longest_wait_s >= section.inactivity_delay_s {
        return Ok(());
    }
    let found = section.longest_wait_s.to_string();
    let write = format!("write at least {}", section.inactivity_delay_s);
    Err(settings.wrong(
        "webhook_receiver.longest_wait_s",
        "is less than inactivity_delay_s",
        Some(&found),
        &write,
    ))
}

fn listen(settings: &Settings, text: &str) -> Result<SocketAddr, ConfigError> {
    let wrong = |_| {
        settings.wrong(
            "webhook_receiver.listen",
            "is no address to listen on",
            Some(text),
            "write ip:port, for example 127.0.0.1:8080 or [::]:8080",
        )
    };
    text.parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)], more: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let base = [("GITHUB_ORG", "webcompat"), ("GITHUB_REPO_PUBLIC", "web-bugs")];
        let all: Vec<_> = base.iter().chain(environment).copied().collect();
        let env = |name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let flags: Vec<_> = more.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
        Config::read(&Settings::load(None, env, &flags)?)
    }

    #[test]
    fn the_old_systems_variables_are_enough() {
        let config = read(
            &[("GITHUB_WEBHOOK_SECRET", "new, old"), ("BUG_INACTIVITY_DELAY", "5")],
            &[],
        )
        .unwrap();
        let secrets: Vec<_> = config.secrets.iter().map(Secret::expose).collect();
        assert_eq!(secrets, ["new", "old"]);
        assert_eq!(config.inactivity_delay.as_secs(), 5);
        assert_eq!(config.longest_wait.as_secs(), 1800);
        assert!(config.pull_requests);
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn without_a_secret_it_names_the_variable_and_does_not_start() {
        let error = read(&[], &[]).unwrap_err().to_string();
        assert!(
            error.contains("secrets is missing") && error.contains("GITHUB_WEBHOOK_SECRET"),
            "{error}"
        );
        let commas = read(&[("GITHUB_WEBHOOK_SECRET", " , ,")], &[]).unwrap_err();
        assert!(commas.problem.contains("is missing"), "{commas}");
    }

    #[test]
    fn an_empty_secret_in_a_file_is_refused_since_anybody_could_sign_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bugstream.toml");
        std::fs::write(&file, "[webhook_receiver]\nsecrets = ['good', ' ']").unwrap();
        let settings = Settings::load(Some(&file), |_| None, &[]).unwrap();
        let error = Config::read(&settings).unwrap_err().to_string();
        assert!(
            error.contains("has an empty secret") && !error.contains("good"),
            "{error}"
        );
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let secret = ("GITHUB_WEBHOOK_SECRET", "s");
        for (path, text, expected) in [
            ("webhook_receiver.listen", "localhost", "is no address to listen on"),
            (
                "webhook_receiver.longest_wait_s",
                "299",
                "is less than inactivity_delay_s",
            ),
            ("webhook_receiver.pull_requests", "maybe", "is not true or false"),
            ("webhook_receiver.inactivity_delay_s", "-1", "is not a whole number"),
        ] {
            let error = read(&[secret], &[(path, text)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
