//! A real NATS server for one test: own folder, free port, killed when the value is dropped.

use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::server;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The variable that names the `nats-server` binary.
pub const BINARY: &str = "BUGSTREAM_TEST_NATS_SERVER";

/// How long the server may take to answer: its disk, or the whole machine, may stand still for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server. Dropping it kills the process, then deletes its folder.
#[derive(Debug)]
pub struct Nats {
    // Taken out only while a blocking call has it.
    server: Option<server::Nats>,
    _folder: Option<tempfile::TempDir>,
}

impl Nats {
    /// Starts a server with JetStream; it is ready when this returns.
    ///
    /// # Panics
    /// If there is no binary (`cargo stack test` provides it) or it does not start: without it, no test means anything.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let nats = Self::start_in(folder.path()).await;
        Self {
            _folder: Some(folder),
            ..nats
        }
    }

    /// Starts a server whose data lie in a folder of the caller's, which outlives it.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_in(folder: &std::path::Path) -> Self {
        let options = server::NatsOptions::new(crate::provided(BINARY), folder);
        let server = blocking(move || server::Nats::start(options))
            .await
            .expect("nats-server starts");
        Self {
            server: Some(server),
            _folder: None,
        }
    }

    /// Address for clients; it stays the same over [`Self::restart`].
    #[must_use]
    pub fn url(&self) -> String {
        self.server().url()
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server().pid()
    }

    /// A connection of its own.
    ///
    /// # Panics
    /// If the server is not running.
    pub async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url())
            .await
            .expect("the test's own server accepts clients")
    }

    /// JetStream over a connection of its own.
    ///
    /// # Panics
    /// If the server is not running.
    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        let mut jetstream = async_nats::jetstream::new(self.client().await);
        jetstream.set_timeout(PATIENCE);
        jetstream
    }

    /// Kills the server without warning.
    pub fn kill9(&mut self) {
        self.server_mut().kill9();
    }

    /// Starts it again on the same port and data, killing it first where it still runs.
    ///
    /// # Panics
    /// If it does not get ready.
    pub async fn restart(&mut self) {
        let mut server = self.server.take().expect("only a restart takes it, and gives it back");
        let restarted = blocking(move || server.restart().map(|()| server)).await;
        self.server = Some(restarted.expect("nats-server starts again"));
    }

    /// Publishes as `nats pub SUBJECT TEXT` does, by the text protocol: core NATS, no headers, no reply subject.
    ///
    /// # Errors
    /// If the server can not be reached or refuses it.
    pub async fn publish_by_hand(&self, subject: &str, text: &str) -> anyhow::Result<()> {
        let address = self.url().replace("nats://", "");
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        let lines = format!(
            "CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{text}\r\nPING\r\n",
            text.len()
        );
        stream.write_all(lines.as_bytes()).await?;
        tokio::time::timeout(PATIENCE, pong(&mut stream))
            .await
            .context("no PONG in time")?
    }

    fn server(&self) -> &server::Nats {
        self.server
            .as_ref()
            .expect("only a restart takes it, and gives it back")
    }

    fn server_mut(&mut self) -> &mut server::Nats {
        self.server
            .as_mut()
            .expect("only a restart takes it, and gives it back")
    }
}

/// Reads until the server has dealt with everything sent before the PING.
async fn pong(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        anyhow::ensure!(!line.starts_with("-ERR"), "the server refuses: {}", line.trim());
        if line.starts_with("PONG") {
            return Ok(());
        }
        line.clear();
    }
    anyhow::bail!("the server hung up")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the starting thread panicked")?
}

/// Waits until the server knows what was sent over this connection, subscriptions among it, and what it sent before has
/// come. (`flush` only writes.)
///
/// # Panics
/// If JetStream does not answer.
pub async fn round_trip(client: &async_nats::Client) {
    let request = async_nats::Request::new().timeout(Some(PATIENCE));
    let answer = client.send_request("$JS.API.INFO", request).await;
    answer.expect("JetStream answers");
}
