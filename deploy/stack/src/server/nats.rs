//! nats-server with JetStream.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{START, STOP, answers, on_port};
use crate::ports;
use crate::process::{Identity, Process};

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

/// A running NATS server. Dropping it kills it; its folder stays.
#[derive(Debug)]
pub struct Nats {
    options: NatsOptions,
    process: Process,
}

impl Nats {
    /// Starts the server and waits until it accepts clients and has recovered its streams.
    ///
    /// # Errors
    /// The folder cannot be written, the server ends or does not get ready (with the end of its log).
    pub fn start(options: NatsOptions) -> Result<Self> {
        on_port(options.port, |port| {
            let monitor_port = match options.monitor_port {
                0 => ports::free()?,
                given => given,
            };
            let options = NatsOptions {
                port,
                monitor_port,
                ..options.clone()
            };
            let process = launch(&options)?;
            Ok(Self { options, process })
        })
    }

    /// Address for clients, `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.options.port)
    }

    /// Address of its monitoring, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.monitor_port)
    }

    /// Port for clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.options.port
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log(&self.options.dir)
    }

    /// Kills the server without warning (SIGKILL), as a crash does.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Stops the server politely and waits for its end.
    pub fn stop(&mut self) {
        self.process.stop(STOP);
    }

    /// Starts it again on the same ports and data, killing it first if it still runs, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.options)?;
        Ok(())
    }

    /// Lets the server outlive this process.
    ///
    /// # Errors
    /// It has already ended.
    pub fn detach(self) -> Result<Identity> {
        self.process.detach()
    }
}

fn log(dir: &Path) -> PathBuf {
    dir.join("nats.log")
}

fn launch(options: &NatsOptions) -> Result<Process> {
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot create {}", options.dir.display()))?;
    let file = options.dir.join("nats.conf");
    fs::write(&file, configuration(options)).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(&options.binary);
    command.arg("-c").arg(&file);
    let mut process = Process::start("nats-server", command, &log(&options.dir))?;
    // 200 only once clients are accepted and JetStream has recovered its streams and consumers.
    let health = format!("http://127.0.0.1:{}/healthz", options.monitor_port);
    process.wait_ready(START, || answers(&health))?;
    Ok(process)
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
