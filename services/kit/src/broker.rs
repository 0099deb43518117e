//! The connection to NATS: waits for the server rather than failing, reconnects for ever, and brings the streams in
//! line with the contract before anything else happens.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use bugstream_proto::reconcile::{ReconcileError, reconcile};

use crate::config;
use crate::service::Context;

/// How long one request to JetStream may take. A publish answers in milliseconds; a new leader in seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

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
        context.health.probe("nats", move || probe.clone().answers());
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

    async fn answers(self) -> Result<(), String> {
        self.jetstream
            .query_account()
            .await
            .map(drop)
            .map_err(|error| error.to_string())
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
