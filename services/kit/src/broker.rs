//! The connection to NATS: waits for the server rather than failing, reconnects for ever, and brings the streams in
//! line with the contract before anything else happens.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use bugstream_proto::reconcile::{ReconcileError, reconcile};
use bugstream_proto::topology;
use bytes::Bytes;

use crate::config;
use crate::service::Context;

/// How long one request to JetStream may take. A publish answers in milliseconds; a new leader in seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// For people: what it means and what to do.
const FULL: &str = "JetStream stores nothing; most often its disk is full: free space, and start nats-server again \
                    where its /healthz goes on complaining";

/// How long a probe waits: less than readiness waits for it.
const PROBE: Duration = Duration::from_millis(1_500);

/// The connection and its JetStream context. Clones share it.
#[derive(Debug, Clone)]
pub struct Broker {
    /// The connection.
    pub client: async_nats::Client,
    /// Streams, consumers and buckets.
    pub jetstream: jetstream::Context,
}

impl Broker {
    /// Connects and reconciles, waiting with back-off while the server is away. Readiness says so meanwhile.
    ///
    /// # Errors
    /// What waiting cannot mend: unreadable credentials, a server too old, a stream that cannot be changed in place;
    /// or that a stop was asked for.
    pub async fn connect(config: &config::Nats, context: &Context) -> anyhow::Result<Self> {
        context.health.down("nats", "connecting");
        let broker = Self::open(config, context.service, true).await?;
        let mut attempts = 0;
        loop {
            match broker.prepare(config.replicas).await {
                Ok(()) => break,
                Err(error @ (ReconcileError::ServerTooOld { .. } | ReconcileError::Incompatible { .. })) => {
                    return Err(error.into());
                }
                Err(error) => context.health.down("nats", error.to_string()),
            }
            let wait = context
                .chance
                .backoff(Duration::from_millis(200), Duration::from_secs(10), attempts);
            anyhow::ensure!(context.stop.sleep(wait).await, "stopped while waiting for NATS");
            attempts += 1;
        }
        context.health.up("nats");
        let probe = broker.clone();
        let service = context.service;
        context.health.probe("nats", move || probe.clone().stores(service));
        Ok(broker)
    }

    /// Connects once, for a command that a person waits for.
    ///
    /// # Errors
    /// If the server does not answer, is too old, or has streams that cannot be changed in place.
    pub async fn connect_once(config: &config::Nats, name: &str) -> anyhow::Result<Self> {
        let broker = Self::open(config, name, false).await?;
        broker.prepare(config.replicas).await?;
        Ok(broker)
    }

    async fn open(config: &config::Nats, name: &str, patient: bool) -> anyhow::Result<Self> {
        crate::tls::install();
        let mut options = async_nats::ConnectOptions::new()
            .name(name)
            .connection_timeout(REQUEST_TIMEOUT)
            .event_callback(|event| async move { tracing::info!(%event, "nats connection") });
        if let Some(file) = &config.credentials {
            let text = tokio::fs::read_to_string(file).await;
            let text = text.with_context(|| format!("NATS credentials file {}", file.display()))?;
            options = options.credentials(&text).context("NATS credentials file")?;
        }
        if patient {
            options = options.retry_on_initial_connect().max_reconnects(None);
        }
        let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
        let client = options
            .connect(servers)
            .await
            .context("cannot connect to NATS (NATS_URL, or [nats] url)")?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self { client, jetstream })
    }

    async fn prepare(&self, replicas: usize) -> Result<(), ReconcileError> {
        let away = |why: String| ReconcileError::Unavailable {
            what: "connection".to_owned(),
            why,
        };
        let flushed = tokio::time::timeout(REQUEST_TIMEOUT, self.client.flush()).await;
        flushed
            .map_err(|_| away("no server answers".to_owned()))?
            .map_err(|error| away(error.to_string()))?;
        reconcile(&self.client, &self.jetstream, replicas).await
    }

    /// Whether JetStream answers, and stores: a server whose disk was full answers every question and takes nothing until
    /// it is started again. What is written lives as long as a lease.
    async fn stores(self, service: &'static str) -> Result<(), String> {
        let asked = async {
            let away = |error: &dyn std::fmt::Display| error.to_string();
            self.jetstream.query_account().await.map_err(|error| away(&error))?;
            let leases = self.jetstream.get_key_value(topology::LEASES).await;
            let leases = leases.map_err(|error| away(&error))?;
            let put = tokio::time::timeout(PROBE, leases.put(format!("probe-{service}"), Bytes::new())).await;
            put.map_err(|_| FULL.to_owned())?
                .map(drop)
                .map_err(|error| away(&error))
        };
        asked.await
    }

    /// Sends what is buffered, acks above all, before the process ends.
    pub async fn flush(&self) {
        if tokio::time::timeout(REQUEST_TIMEOUT, self.client.flush())
            .await
            .is_err()
        {
            tracing::warn!("nats did not take the last acks; their messages will be delivered again");
        }
    }
}
