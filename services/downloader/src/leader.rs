//! One active downloader at a time, others standing by.
//!
//! GitHub's limits are per credential, so more workers in more processes gain nothing. The lease is a key that lives
//! some seconds and is renewed by compare-and-swap. It is no lock: a process that stalls may work on for a moment after
//! another has taken over, and optimistic concurrency on the log is what keeps that harmless.

use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use bugstream_kit::broker::Broker;
use bugstream_kit::service::Context;
use bugstream_proto::topology::{LEASE_TTL, LEASES};
use bytes::Bytes;
use tokio::time::Instant;

/// The key of the one lease.
const KEY: &str = "downloader";
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(3);
/// Work stops this long before the server would drop a lease that cannot be renewed.
const MARGIN: Duration = Duration::from_secs(3);
/// Between two looks of one that stands by.
const LOOK: Duration = Duration::from_secs(1);

/// Opens the bucket of leases.
pub(crate) async fn leases(broker: &Broker) -> anyhow::Result<Store> {
    Ok(broker.jetstream.get_key_value(LEASES).await?)
}

/// Works while this process holds the lease, and stands by while another does, until a stop.
pub(crate) async fn lead<F, W>(leases: Store, context: &Context, work: F) -> anyhow::Result<()>
where
    F: Fn(Context) -> W,
    W: Future<Output = anyhow::Result<()>>,
{
    let mut candidate = Candidate {
        store: leases,
        id: format!("{:016x}", context.chance.bits()).into(),
        revision: 0,
        until: Instant::now(),
    };
    let mut told = false;
    while !context.stop.is_asked() {
        match candidate.take().await {
            Ok(true) => {
                tracing::info!("leading");
                candidate.serve(context, &work).await?;
                told = false;
            }
            Ok(false) if !told => {
                tracing::info!("another downloader leads; standing by");
                told = true;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(error, "could not ask for the lease"),
        }
        context.stop.sleep(LOOK).await;
    }
    Ok(())
}

/// One process that wants the lease, or has it.
struct Candidate {
    store: Store,
    id: Bytes,
    /// Of the key, while the lease is ours.
    revision: u64,
    /// When work must stop unless the lease is renewed before.
    until: Instant,
}

impl Candidate {
    /// Takes the lease if nobody has it.
    async fn take(&mut self) -> Result<bool, String> {
        let asked = Instant::now();
        let entry = self.store.entry(KEY).await.map_err(|error| error.to_string())?;
        let revision = match entry.filter(|entry| entry.operation == Operation::Put) {
            Some(entry) if entry.value == self.id => Some(entry.revision),
            Some(_) => return Ok(false),
            None => self.create().await?,
        };
        let Some(revision) = revision else { return Ok(false) };
        self.held(revision, asked);
        // One that was taken before, with the answer lost, may be nearly over.
        self.renew().await
    }

    async fn create(&self) -> Result<Option<u64>, String> {
        match self.store.create(KEY, self.id.clone()).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Renews the lease; `false` if it is another's by now.
    async fn renew(&mut self) -> Result<bool, String> {
        let asked = Instant::now();
        match self.store.update(KEY, self.id.clone(), self.revision).await {
            Ok(revision) => {
                self.held(revision, asked);
                Ok(true)
            }
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => self.adopt(asked).await,
            Err(error) => Err(error.to_string()),
        }
    }

    /// A renewal whose answer was lost moved the revision on: the value says whose the lease is.
    async fn adopt(&mut self, asked: Instant) -> Result<bool, String> {
        let entry = self.store.entry(KEY).await.map_err(|error| error.to_string())?;
        let own = entry.filter(|entry| entry.operation == Operation::Put && entry.value == self.id);
        let revision = own.map(|entry| entry.revision);
        if let Some(revision) = revision {
            self.revision = revision;
            self.until = self.until.min(asked + LEASE_TTL - MARGIN);
        }
        Ok(revision.is_some())
    }

    fn held(&mut self, revision: u64, asked: Instant) {
        self.revision = revision;
        self.until = asked + LEASE_TTL - MARGIN;
    }

    /// Works until the lease is lost or a stop is asked for, and gives the lease back so that another need not wait.
    async fn serve<F, W>(&mut self, context: &Context, work: F) -> anyhow::Result<()>
    where
        F: Fn(Context) -> W,
        W: Future<Output = anyhow::Result<()>>,
    {
        let term = Context {
            stop: context.stop.child(),
            ..context.clone()
        };
        let mut working = Box::pin(work(term.clone()));
        let ended = tokio::select! {
            ended = &mut working => Some(ended),
            () = self.keep() => None,
        };
        match ended {
            Some(ended) => {
                self.release().await;
                ended
            }
            None => {
                tracing::warn!("the lease is lost; finishing what is under way");
                term.stop.soft();
                working.await
            }
        }
    }

    /// Renews until the lease is lost.
    async fn keep(&mut self) {
        loop {
            tokio::time::sleep_until(self.until.min(Instant::now() + RENEW)).await;
            let renewed = tokio::time::timeout_at(self.until, self.renew()).await;
            match renewed {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(error, "could not renew the lease"),
                Err(_) => return,
            }
            if Instant::now() >= self.until {
                return;
            }
        }
    }

    async fn release(&self) {
        let released = self.store.delete_expect_revision(KEY, Some(self.revision)).await;
        match released {
            Ok(()) => tracing::info!("gave the lease back"),
            Err(error) => tracing::info!(%error, "the lease was not given back; it ends by itself"),
        }
    }
}
