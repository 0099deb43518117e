//! One stack: its folders, its state, what the user brought along, and the addresses that follow from these.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::checkout::{data_folder, run_folder};
use crate::given::Given;
use crate::state::{Mirrored, State};

/// Everything that a command needs to know about the stack.
#[derive(Debug)]
pub(crate) struct Stack {
    /// What is kept over `down` and `up`.
    pub(crate) data: PathBuf,
    /// What the commands remember.
    pub(crate) state: State,
    /// What the user brought along.
    pub(crate) given: Given,
}

impl Stack {
    /// Opens the stack of this checkout, running or not.
    pub(crate) fn open() -> Result<Self> {
        let data = data_folder();
        Ok(Self {
            state: State::load(&data)?,
            given: Given::from_environment()?,
            data,
        })
    }

    /// Writes what changed.
    pub(crate) fn save(&self) -> Result<()> {
        self.state.save(&self.data)
    }

    /// NATS for the services.
    pub(crate) fn nats_url(&self) -> Result<String> {
        given_or(self.given.nats.as_ref(), || {
            Ok(format!("nats://127.0.0.1:{}", self.state.port("nats")?))
        })
    }

    /// Elasticsearch for the services.
    pub(crate) fn elastic_url(&self) -> Result<String> {
        given_or(self.given.elasticsearch.as_ref(), || self.http("elasticsearch"))
    }

    /// The object store for downloader and indexer.
    pub(crate) fn object_store_url(&self) -> Result<String> {
        given_or(self.given.object_store.as_ref(), || {
            Ok(format!("file://{}", self.data.join("objects").display()))
        })
    }

    /// The GitHub that is mirrored.
    pub(crate) fn github_url(&self) -> Result<String> {
        given_or(self.given.github_api.as_ref(), || self.http("github-simulator"))
    }

    /// Where webhooks go.
    pub(crate) fn webhook_url(&self) -> Result<String> {
        Ok(format!("{}/github/receive", self.http("webhook-receiver")?))
    }

    /// `http://127.0.0.1:<port>` of a part of the stack.
    pub(crate) fn http(&self, part: &str) -> Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.state.port(part)?))
    }

    /// What webhooks are signed with.
    pub(crate) fn webhook_secret(&self) -> &str {
        self.given
            .webhook_secret
            .as_deref()
            .unwrap_or(&self.state.webhook_secret)
    }

    /// What the parts answer on when they are ready.
    pub(crate) fn ready_url(&self, part: &str) -> Result<String> {
        let (port, path) = match part {
            "nats" => ("nats-monitor", "/healthz"),
            "elasticsearch" => (part, "/_cluster/health?wait_for_status=yellow&timeout=1s"),
            "github-simulator" => (part, "/_simulator/requests"),
            service => (service, "/readyz"),
        };
        Ok(format!("{}{path}", self.http(port)?))
    }

    /// Where a mirror made now lies.
    pub(crate) fn mirror(&self) -> Result<Mirrored> {
        let archive = format!(
            "{} {} {}",
            self.given.repository,
            self.nats_url()?,
            self.object_store_url()?
        );
        // A data folder a line: what 9 wrote, 8 cannot open, and the log refills the other.
        let own = || self.elastic_folder().map(|folder| folder.display().to_string());
        Ok(Mirrored {
            archive,
            search: given_or(self.given.elasticsearch.as_ref(), own)?,
        })
    }

    /// The newest of its own Elasticsearch folders in use.
    fn elastic_folder(&self) -> Result<PathBuf> {
        fs::read_link(self.data.join(ELASTIC)).context("Elasticsearch was never started")
    }

    /// The folder of an Elasticsearch of this version, from now on the one in use.
    pub(crate) fn use_elastic_folder(&self, version: &str) -> Result<PathBuf> {
        let line = version.split('.').next().unwrap_or(version);
        let (folder, link) = (self.data.join(format!("{ELASTIC}-{line}")), self.data.join(ELASTIC));
        remove_file(&link)?;
        std::os::unix::fs::symlink(&folder, &link).with_context(|| format!("cannot write {}", link.display()))?;
        Ok(folder)
    }

    /// Erases what the stack itself keeps. Servers that the user brought along are not touched.
    pub(crate) fn erase(&mut self) -> Result<()> {
        remove_file(&self.data.join(ELASTIC))?;
        remove_file(&self.data.join(SIMULATOR_STATE))?;
        for folder in ["nats", "objects", "elasticsearch-8", "elasticsearch-9"] {
            remove_folder(&self.data.join(folder))?;
        }
        self.state.mirrored = None;
        self.state.ports.clear();
        self.save()
    }

    /// Where the simulator keeps its issues.
    pub(crate) fn simulator_state(&self) -> PathBuf {
        self.data.join(SIMULATOR_STATE)
    }

    /// Writes the configuration that the services read.
    pub(crate) fn write_configuration(&self) -> Result<()> {
        let path = run_folder().join("bugstream.toml");
        write_closed(&path, &self.configuration()?)
    }

    /// Secrets are not in the file: services get them by environment.
    fn configuration(&self) -> Result<String> {
        // JSON's quoting of a text is also TOML's.
        let quoted = |text: &str| Value::from(text).to_string();
        let listen = |part: &str| Ok::<_, anyhow::Error>(quoted(&format!("127.0.0.1:{}", self.state.port(part)?)));
        let private = self
            .given
            .private
            .as_ref()
            .map(|name| format!("private = {}\n", quoted(name)))
            .unwrap_or_default();
        Ok(format!(
            "# Written by `cargo stack up`, overwritten by the next.\n\
             [nats]\nurl = {nats}\n\n[object_store]\nurl = {objects}\n\n[elasticsearch]\nnode = {elastic}\n\n\
             [github]\napi_url = {github}\n\n[[repositories]]\nname = {name}\n{private}\n\
             [webhook_receiver]\nlisten = {receiver}\n\
             # Short, so that an edit is searchable while one watches.\ninactivity_delay_s = 5\nlongest_wait_s = 60\n\n\
             [downloader]\nhealth_listen = {downloader}\n\n[indexer]\nhealth_listen = {indexer}\n",
            nats = quoted(&self.nats_url()?),
            objects = quoted(&self.object_store_url()?),
            elastic = quoted(&self.elastic_url()?),
            github = quoted(&self.github_url()?),
            name = quoted(&self.given.repository),
            receiver = listen("webhook-receiver")?,
            downloader = listen("downloader")?,
            indexer = listen("indexer")?,
        ))
    }

    /// Writes `endpoints.json`, for programs that work with the running stack: the base address of each part.
    pub(crate) fn write_endpoints(&self) -> Result<()> {
        let endpoints = json!({
            "nats": self.nats_url()?,
            "elasticsearch": self.elastic_url()?,
            "github_api": self.github_url()?,
            "webhook_receiver": self.http("webhook-receiver")?,
            "object_store": self.object_store_url()?,
            "webhook_secret": self.webhook_secret(),
            "repository": self.given.repository,
        });
        let path = run_folder().join("endpoints.json");
        write_closed(&path, &format!("{endpoints:#}\n"))
    }
}

const ELASTIC: &str = "elasticsearch";
const SIMULATOR_STATE: &str = "github-simulator.json";

fn given_or(given: Option<&String>, own: impl FnOnce() -> Result<String>) -> Result<String> {
    given.map_or_else(own, |url| Ok(url.clone()))
}

/// Writes a file that only its owner can read: addresses that the user gave may hold passwords.
pub(crate) fn write_closed(path: &Path, text: &str) -> Result<()> {
    let error = || format!("cannot write {}", path.display());
    let mut file = fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(error)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .with_context(error)?;
    file.write_all(text.as_bytes()).with_context(error)
}

fn remove_file(path: &Path) -> Result<()> {
    ignore_missing(fs::remove_file(path)).with_context(|| format!("cannot remove {}", path.display()))
}

fn remove_folder(path: &Path) -> Result<()> {
    ignore_missing(fs::remove_dir_all(path)).with_context(|| format!("cannot remove {}", path.display()))
}

fn ignore_missing(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn stack() -> Stack {
        let mut state = State {
            webhook_secret: "made".to_owned(),
            ..State::default()
        };
        state.choose_ports(|_| true).expect("all free");
        let given = Given {
            nats: None,
            elasticsearch: None,
            object_store: None,
            github_api: None,
            repository: "o/r".to_owned(),
            private: None,
            webhook_secret: None,
        };
        Stack {
            data: PathBuf::from("/data"),
            state,
            given,
        }
    }

    #[test]
    fn what_the_user_brought_along_is_used() {
        let mut stack = stack();
        assert_eq!(stack.nats_url().expect("an address"), "nats://127.0.0.1:4222");
        stack.given.nats = Some("nats://elsewhere:4222".to_owned());
        stack.given.webhook_secret = Some("mine".to_owned());
        assert_eq!(stack.nats_url().expect("an address"), "nats://elsewhere:4222");
        assert_eq!(stack.webhook_secret(), "mine");
    }

    #[test]
    fn the_configuration_names_every_address_and_no_secret() {
        let text = stack().configuration().expect("complete");
        for address in [
            "nats://127.0.0.1:4222",
            "http://127.0.0.1:9200",
            "file:///data/objects",
            "127.0.0.1:8080",
        ] {
            assert!(text.contains(address), "{text}");
        }
        assert!(!text.contains("made") && !text.contains("private ="), "{text}");
    }
}
