//! nats-server with JetStream.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Options, Running, START, answers};
use crate::ports;
use crate::process::Process;

/// What a NATS server needs to start.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The `nats-server` program.
    pub binary: PathBuf,
    /// The folder for its configuration (`nats.conf`), streams (`jetstream/`) and log (`nats.log`); created if missing.
    pub dir: PathBuf,
    /// Port for clients on 127.0.0.1, 0 for a free one.
    pub port: u16,
    /// Port for monitoring on 127.0.0.1, 0 for a free one.
    pub monitor_port: u16,
}

impl NatsOptions {
    /// A server on free ports.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            dir: dir.into(),
            port: 0,
            monitor_port: 0,
        }
    }
}

/// A running NATS server; ready once it accepts clients and has recovered its streams.
pub type Nats = Running<NatsOptions>;

impl Nats {
    /// Address for clients, `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Address of its monitoring, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.monitor_port)
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills the server without warning (SIGKILL), as a crash does.
    pub fn kill9(&mut self) {
        self.process.kill();
    }
}

impl Options for NatsOptions {
    fn port(&self) -> u16 {
        self.port
    }

    fn on(&self, port: u16) -> Result<Self> {
        let monitor_port = match self.monitor_port {
            0 => ports::free()?,
            given => given,
        };
        Ok(Self {
            port,
            monitor_port,
            ..self.clone()
        })
    }

    fn launch(&self) -> Result<Process> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        let file = self.dir.join("nats.conf");
        fs::write(&file, configuration(self)).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(&file);
        let mut process = Process::start("nats-server", command, &self.log())?;
        // 200 only once clients are accepted and JetStream has recovered its streams and consumers.
        let health = format!("http://127.0.0.1:{}/healthz", self.monitor_port);
        process.wait_ready(START, || answers(&health))?;
        Ok(process)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("nats.log")
    }
}

/// Messages carry keys, never contents, so the server's default payload limit (1 MB) is generous.
fn configuration(options: &NatsOptions) -> String {
    let (port, monitor) = (options.port, options.monitor_port);
    let store = options.dir.join("jetstream");
    format!(
        "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\njetstream {{\n  store_dir: {}\n}}\n",
        serde_json::Value::from(store.display().to_string())
    )
}
