//! Stores a delivery's requests in JetStream, and tries again for as long as the sender waits.
//!
//! GitHub never delivers again by itself, so a broker that is away for two seconds must not cost a delivery. What was
//! stored before an attempt failed does no harm: a debounce replaces itself, and a deadline gives way to the first.

use std::sync::OnceLock;
use std::time::Duration;

use bugstream_github::webhook::{Queue, When};
use bugstream_kit::broker::Broker;
use bugstream_kit::publish::PublishError;
use bugstream_kit::requests::{Queued, Requests, Waits};
use bugstream_kit::service::Context;
use bugstream_proto::{IssueId, v1};
use bugstream_telemetry::{metrics, names};
use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::config::Config;

/// The first and the longest wait between two attempts.
const BASE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// JetStream did not take the requests while the sender waited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JetStream did not take the request in time: {0}")]
pub struct Unavailable(String);

/// Publishes requests, once there is a broker.
#[derive(Debug)]
pub struct Publisher {
    connected: OnceLock<(Broker, Requests)>,
    context: Context,
    waits: Waits,
}

impl Publisher {
    /// Without a broker yet: everything is [`Unavailable`] until [`Self::connect`] has found it.
    #[must_use]
    pub fn new(config: &Config, context: &Context) -> Self {
        Self {
            connected: OnceLock::new(),
            context: context.clone(),
            waits: Waits {
                quiet: config.inactivity_delay,
                longest: config.longest_wait,
            },
        }
    }

    /// Waits for the broker while deliveries are answered already.
    ///
    /// # Errors
    /// What waiting cannot mend; see [`Broker::connect`].
    pub async fn connect(&self, nats: &bugstream_kit::config::Nats) -> anyhow::Result<()> {
        match Broker::connect(nats, &self.context).await {
            Ok(broker) => {
                let requests = Requests::new(broker.jetstream.clone());
                // A second call would find the same broker.
                let _ = self.connected.set((broker, requests));
                Ok(())
            }
            Err(_) if self.context.stop.is_asked() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores every request of a delivery, with a PubAck for each, by `deadline`.
    ///
    /// # Errors
    /// [`Unavailable`], with the last reason.
    pub async fn publish(&self, queue: &Queue, deadline: Instant) -> Result<(), Unavailable> {
        let mut last = "no answer".to_owned();
        for attempts in 0.. {
            match tokio::time::timeout_at(deadline, self.attempt(queue)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(why)) => last = why,
                Err(_) => break,
            }
            let next = Instant::now() + self.context.chance.backoff(BASE, LONGEST, attempts);
            if next >= deadline {
                break;
            }
            tokio::time::sleep_until(next).await;
        }
        Err(Unavailable(last))
    }

    async fn attempt(&self, queue: &Queue) -> Result<(), String> {
        let (_, requests) = self.connected.get().ok_or("connecting")?;
        let stored = queue.issues.iter().map(|issue| self.request(requests, issue, queue));
        try_join_all(stored).await.map(drop).map_err(|error| error.to_string())
    }

    async fn request(&self, requests: &Requests, issue: &IssueId, queue: &Queue) -> Result<(), PublishError> {
        let now = self.context.clock.now();
        let cause = v1::Cause::of_delivery(queue.delivery.clone(), now);
        if queue.when == When::Now || self.waits.quiet.is_zero() {
            requests.download(issue, cause).await?;
            self.count(names::REQUESTS_PUBLISHED, names::Verb::Download);
            return Ok(());
        }
        let deadline = requests.when_quiet(issue, cause, now, self.waits).await?;
        self.count(names::REQUESTS_PUBLISHED, names::Verb::Debounce);
        match deadline {
            Queued::New => self.count(names::REQUESTS_PUBLISHED, names::Verb::Deadline),
            Queued::Waiting => metrics::count(names::REQUESTS_COALESCED, 1, &[names::Verb::Deadline.into()]),
        }
        Ok(())
    }

    fn count(&self, metric: names::Counter, verb: names::Verb) {
        metrics::count(metric, 1, &[verb.into(), names::label::service(self.context.service)]);
    }

    /// Sends what is buffered before the process ends.
    pub async fn flush(&self) {
        if let Some((broker, _)) = self.connected.get() {
            broker.flush().await;
        }
    }
}
