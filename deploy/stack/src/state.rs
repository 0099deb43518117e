//! What the stack remembers between commands: chosen ports, running processes, the webhook's secret, what was mirrored.
//!
//! Written whole and renamed into place, so that a killed command leaves the old or the new state. Processes are
//! remembered with their start time, so that nobody else's process is ever signalled.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bugstream_stack::ports;
use bugstream_stack::process::Identity;
use serde::{Deserialize, Serialize};

/// Ports that the stack takes if it can: a person remembers them.
pub(crate) const PORTS: [(&str, u16); 7] = [
    ("nats", 4222),
    ("nats-monitor", 8222),
    ("elasticsearch", 9200),
    ("webhook-receiver", 8080),
    ("github-simulator", 8081),
    ("downloader", 8082),
    ("indexer", 8083),
];

/// The file's content.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Port of each part, kept over `down` and `up`.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Signs webhooks; random, made once.
    pub(crate) webhook_secret: String,
    /// Started parts in the order in which they were started.
    pub(crate) running: Vec<Running>,
    /// What was mirrored into what; `None` before the first mirror is complete.
    pub(crate) mirrored: Option<Mirrored>,
}

/// A started part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// `nats`, `elasticsearch`, `downloader` …
    pub(crate) part: String,
    /// Its process.
    pub(crate) identity: Identity,
}

/// Where a complete mirror lies. If only the search differs, the log can fill it without GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mirrored {
    /// Repository, event log and object store.
    pub(crate) archive: String,
    /// Elasticsearch.
    pub(crate) search: String,
}

impl State {
    /// Reads the state; a stack that never ran has an empty one with a fresh secret.
    pub(crate) fn load(data: &Path) -> Result<Self> {
        match fs::read(file(data)) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged: `cargo stack up --fresh` after removing it",
                    file(data).display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self {
                webhook_secret: random_secret()?,
                ..Self::default()
            }),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file(data).display())),
        }
    }

    /// Writes the state, readable by its owner only: it holds the webhook's secret.
    pub(crate) fn save(&self, data: &Path) -> Result<()> {
        let (path, new) = (file(data), data.join("state.json.new"));
        let text = serde_json::to_string_pretty(self).context("the state can always be written as JSON")?;
        crate::stack::write_closed(&new, &text)?;
        fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The process of a part, if it runs.
    pub(crate) fn alive(&self, part: &str) -> Option<Identity> {
        let of_part = |running: &&Running| running.part == part && running.identity.is_alive();
        self.running.iter().find(of_part).map(|running| running.identity)
    }

    /// Remembers a part that was just started.
    pub(crate) fn record(&mut self, part: &str, identity: Identity) {
        self.running.retain(|running| running.part != part);
        self.running.push(Running {
            part: part.to_owned(),
            identity,
        });
    }

    /// Forgets parts that have ended.
    pub(crate) fn forget_ended(&mut self) {
        self.running.retain(|running| running.identity.is_alive());
    }

    /// The port of a part.
    pub(crate) fn port(&self, part: &str) -> Result<u16> {
        self.ports
            .get(part)
            .copied()
            .with_context(|| format!("{part} has no port yet: cargo stack up"))
    }

    /// Chooses a port for every part: the one it had, else its usual one, else the next free one.
    pub(crate) fn choose_ports(&mut self, is_free: impl Fn(u16) -> bool) -> Result<()> {
        for (part, usual) in PORTS {
            let server = part.trim_end_matches("-monitor");
            let had = self.ports.get(part).copied();
            if had.is_some() && self.alive(server).is_some() {
                continue;
            }
            let taken: Vec<u16> = self
                .ports
                .iter()
                .filter(|(name, _)| *name != part)
                .map(|(_, port)| *port)
                .collect();
            let kept = had.filter(|port| is_free(*port) && !taken.contains(port));
            let port = kept.map_or_else(|| ports::fixed_or_next(usual, &taken, &is_free), Ok)?;
            self.ports.insert(part.to_owned(), port);
        }
        Ok(())
    }
}

fn file(data: &Path) -> PathBuf {
    data.join("state.json")
}

/// Thirty-two random bytes in hexadecimal.
fn random_secret() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let mut source = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    source.read_exact(&mut bytes).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Keeps other `cargo stack` commands from changing the stack at the same time; closed by the end of this process too.
pub(crate) fn lock(data: &Path) -> Result<File> {
    fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another `cargo stack` is changing this stack\n  wait for it to finish, or end it");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Identity {
        Identity::of(std::process::id()).expect("this process runs")
    }

    #[test]
    fn usual_ports_are_taken_and_kept() {
        let mut state = State::default();
        state.choose_ports(|_| true).expect("all free");
        assert_eq!(state.port("elasticsearch").expect("chosen"), 9200);
        let first = state.clone();
        state.choose_ports(|_| true).expect("all free");
        assert_eq!(state, first);
    }

    #[test]
    fn a_taken_port_makes_room_for_the_next_without_a_clash() {
        let mut state = State::default();
        state
            .choose_ports(|port| port != 8080 && port != 8081)
            .expect("enough are free");
        let mut chosen: Vec<u16> = state.ports.values().copied().collect();
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), PORTS.len());
        assert_eq!(state.port("webhook-receiver").expect("chosen"), 8082);
        // What was chosen stays, even when the usual port becomes free again.
        state.choose_ports(|_| true).expect("all free");
        assert_eq!(state.port("webhook-receiver").expect("chosen"), 8082);
    }

    #[test]
    fn the_port_of_a_running_part_is_its_own() {
        let mut state = State::default();
        state.choose_ports(|_| true).expect("all free");
        state.record("indexer", me());
        state.choose_ports(|port| port != 8083).expect("enough are free");
        assert_eq!(state.port("indexer").expect("chosen"), 8083);
    }

    #[test]
    fn a_process_that_ended_is_forgotten() {
        let mut state = State::default();
        state.record(
            "indexer",
            Identity {
                started: me().started + 1,
                ..me()
            },
        );
        assert_eq!(state.alive("indexer"), None);
        state.record("downloader", me());
        state.forget_ended();
        assert_eq!(state.running.len(), 1);
    }

    #[test]
    fn the_state_survives_and_keeps_its_secret() {
        let data = std::env::temp_dir().join(format!("bugstream-state-{}", std::process::id()));
        fs::create_dir_all(&data).expect("a folder");
        let mut state = State::load(&data).expect("a fresh state");
        assert_eq!(state.webhook_secret.len(), 64);
        state.record("indexer", me());
        state.save(&data).expect("saved");
        let again = State::load(&data).expect("read");
        fs::remove_dir_all(&data).expect("removed");
        assert_eq!(again, state);
    }
}
