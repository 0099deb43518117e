//! A real S3 server, MinIO: one for the tests of a program that run at the same time, a bucket of its own for each.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context as _;
use bugstream_stack::server;

/// The variable that names the `minio` program.
pub const BINARY: &str = "BUGSTREAM_TEST_MINIO";

/// The server. Dropping its last clone kills the process, then deletes its folder.
#[derive(Debug, Clone)]
pub struct Minio(Arc<Server>);

#[derive(Debug)]
struct Server {
    // Before the folder, so that nothing is written while that is deleted.
    running: Mutex<server::Minio>,
    _folder: tempfile::TempDir,
}

/// What a test needs to know to use a bucket, as `[object_store]` names it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// `s3://bucket`
    pub url: String,
    /// The server's address.
    pub endpoint: String,
    /// Whose key it is.
    pub access_key_id: &'static str,
    /// That key.
    pub secret_access_key: &'static str,
}

impl Minio {
    /// The server that other tests of this program use right now, else a new one. Not to be stopped.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn shared() -> Self {
        static SHARED: tokio::sync::Mutex<Weak<Server>> = tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Self(server);
        }
        let minio = Self::start().await;
        *shared = Arc::downgrade(&minio.0);
        minio
    }

    /// Starts a server of this test's own; it is ready when this returns.
    ///
    /// # Panics
    /// If there is no program (`cargo stack test` provides it) or it does not start: without it, no test means anything.
    pub async fn start() -> Self {
        let binary = crate::provided(BINARY);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = server::MinioOptions::new(binary, folder.path());
        let running = blocking(move || server::Minio::start(options)).await;
        Self(Arc::new(Server {
            running: Mutex::new(running.expect("MinIO starts")),
            _folder: folder,
        }))
    }

    /// A bucket that nobody else knows.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        let name = format!("t{}", &crate::nonce()[..20]);
        self.with(|minio| minio.make_bucket(&name)).expect("a fresh bucket");
        self.named(&name)
    }

    /// What a bucket of this name would be, without making it.
    #[must_use]
    pub fn named(&self, name: &str) -> Bucket {
        Bucket {
            url: format!("s3://{name}"),
            endpoint: self.with(|minio| minio.url()),
            access_key_id: server::Minio::ACCESS_KEY_ID,
            secret_access_key: server::Minio::SECRET_ACCESS_KEY,
        }
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.with(|minio| minio.pid())
    }

    /// Kills the server without warning.
    pub fn kill9(&self) {
        self.with(server::Minio::kill9);
    }

    /// Starts it again on the same port and data, killing it first where it still runs.
    ///
    /// # Panics
    /// If it does not get ready.
    pub async fn restart(&self) {
        let minio = self.clone();
        let restarted = blocking(move || minio.with(server::Minio::restart)).await;
        restarted.expect("MinIO starts again");
    }

    fn with<T>(&self, act: impl FnOnce(&mut server::Minio) -> T) -> T {
        // A test that panicked elsewhere left the value whole.
        act(&mut self.0.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the starting thread panicked")?
}
