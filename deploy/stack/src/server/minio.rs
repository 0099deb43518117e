//! MinIO: S3 on one drive, for tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Options, Running, START, answers};
use crate::process::Process;

/// What a MinIO needs to start.
#[derive(Debug, Clone)]
pub struct MinioOptions {
    /// The `minio` program.
    pub binary: PathBuf,
    /// The folder for its buckets (`data/`) and its log (`minio.log`); created if missing.
    pub dir: PathBuf,
    /// Port on 127.0.0.1, 0 for a free one.
    pub port: u16,
}

impl MinioOptions {
    /// A server on a free port.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            dir: dir.into(),
            port: 0,
        }
    }

    fn buckets(&self) -> PathBuf {
        self.dir.join("data")
    }
}

/// A running MinIO.
pub type Minio = Running<MinioOptions>;

impl Minio {
    /// Name of the access key that may do everything.
    pub const ACCESS_KEY_ID: &str = "bugstream";

    /// That access key. It opens a server on loopback that lives as long as its test.
    pub const SECRET_ACCESS_KEY: &str = "bugstream-loopback";

    /// Its address, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Makes a bucket. On one drive every folder beside MinIO's own is one, also while it runs.
    ///
    /// # Errors
    /// The folder cannot be made, or is there.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        fs::create_dir(self.options.buckets().join(name)).with_context(|| format!("cannot make the bucket {name}"))
    }

    /// Kills the server without warning (SIGKILL), as a crash does.
    pub fn kill9(&mut self) {
        self.process.kill();
    }
}

impl Options for MinioOptions {
    fn port(&self) -> u16 {
        self.port
    }

    fn on(&self, port: u16) -> Result<Self> {
        Ok(Self { port, ..self.clone() })
    }

    fn launch(&self) -> Result<Process> {
        let certificates = self.dir.join("certificates");
        for folder in [&self.buckets(), &certificates] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut command = Command::new(&self.binary);
        // What a person's shell holds for another MinIO must not reach this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MINIO_")) {
            command.env_remove(name);
        }
        command
            .args(["server", "--quiet", "--address", &format!("127.0.0.1:{}", self.port)])
            .arg("--certs-dir")
            .arg(certificates)
            .arg(self.buckets());
        command
            .env("MINIO_ROOT_USER", Minio::ACCESS_KEY_ID)
            .env("MINIO_ROOT_PASSWORD", Minio::SECRET_ACCESS_KEY)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off");
        let mut process = Process::start("minio", command, &self.log())?;
        let health = format!("http://127.0.0.1:{}/minio/health/ready", self.port);
        process.wait_ready(START, || answers(&health))?;
        Ok(process)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("minio.log")
    }
}
