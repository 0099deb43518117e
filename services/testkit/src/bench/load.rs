//! The sender: keep-alive connections that each send one delivery after another.
//!
//! It is a thin layer over hyper, since it shares the processor with what it measures. Bodies and signatures are ready
//! before the clock starts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::bodies::Signed;

/// Every delivery sent by this process: an id that was seen before would be stored only once.
static SENT: AtomicU64 = AtomicU64::new(0);

/// A connection to a receiver.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    /// Moves the bytes until it is dropped.
    _driver: JoinSet<()>,
}

impl Connection {
    pub(super) async fn open(target: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target)
            .await
            .with_context(|| format!("nobody listens on {target}"))?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("HTTP handshake")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // A connection that breaks fails the request that waits on it.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            host: target.to_string(),
            _driver: driver,
        })
    }

    /// Sends one delivery and reads the whole answer, which must be 202.
    pub(super) async fn send(&mut self, signed: &Signed) -> anyhow::Result<()> {
        self.sender.ready().await.context("the connection was closed")?;
        let answer = self
            .sender
            .send_request(self.request(signed)?)
            .await
            .context("no answer")?;
        let status = answer.status();
        let text = answer.into_body().collect().await.context("half an answer")?.to_bytes();
        anyhow::ensure!(
            status == StatusCode::ACCEPTED,
            "a delivery was answered with {status}: {}",
            String::from_utf8_lossy(&text)
        );
        Ok(())
    }

    fn request(&self, signed: &Signed) -> anyhow::Result<Request<Full<Bytes>>> {
        let id = format!("72d3162e-cc78-11e3-81ab-{:012x}", SENT.fetch_add(1, Ordering::Relaxed));
        Request::post("/github/receive")
            .header("host", &self.host)
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("accept", "*/*")
            .header("content-type", "application/json")
            .header("x-github-event", "issues")
            .header("x-github-delivery", id)
            .header("x-github-hook-id", "292430182")
            .header("x-github-hook-installation-target-id", "79929171")
            .header("x-github-hook-installation-target-type", "repository")
            .header("x-hub-signature-256", &signed.signature)
            .body(Full::new(signed.body.clone()))
            .context("a request")
    }
}

/// Sends every body once, over this many connections at the same time; how long it took from the first byte to the last
/// answer.
///
/// # Errors
/// The first answer that is not 202.
pub(super) async fn send_all(
    target: SocketAddr,
    bodies: &Arc<Vec<Signed>>,
    connections: usize,
) -> anyhow::Result<Duration> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(target).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for connection in open {
        workers.spawn(send_what_is_left(connection, Arc::clone(bodies), Arc::clone(&next)));
    }
    finish(workers).await?;
    Ok(begin.elapsed())
}

async fn send_what_is_left(
    mut connection: Connection,
    bodies: Arc<Vec<Signed>>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    while let Some(signed) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        connection.send(signed).await?;
    }
    Ok(())
}

/// Waits until all workers are done, or one failed.
pub(super) async fn finish(mut workers: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(done) = workers.join_next().await {
        done.context("a worker panicked")??;
    }
    Ok(())
}
