//! Quotas across a change of leaders: what GitHub said of each credential is kept in a bucket, so that who takes over
//! waits for what the one before was told to wait for.
//!
//! Kept at once when a limit is met, and every few seconds besides. Restored before the first request is sent.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bugstream_github::{Clients, QuotaState};
use bugstream_kit::service::Context;
use bugstream_kit::watermarks::Watermarks;

/// Between two looks for what changed.
const EVERY: Duration = Duration::from_secs(5);
/// The first and the longest wait for a bucket that does not answer.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The quotas in the bucket.
#[derive(Debug)]
pub(crate) struct Quotas {
    watermarks: Watermarks,
    /// What was written last, by credential.
    written: Mutex<HashMap<String, QuotaState>>,
}

impl Quotas {
    pub(crate) fn new(watermarks: Watermarks) -> Self {
        Self {
            watermarks,
            written: Mutex::default(),
        }
    }

    /// Tells the clients what is kept, however long the bucket takes to answer. `false` if a stop is asked for.
    pub(crate) async fn restore(&self, clients: &Clients, context: &Context) -> bool {
        let mut attempts = 0;
        loop {
            match self.watermarks.quotas::<QuotaState>().await {
                Ok(kept) => {
                    clients.restore(&kept);
                    return true;
                }
                Err(error) => tracing::warn!(%error, "quotas are not known yet; nothing is asked of github"),
            }
            let wait = context.chance.backoff(FIRST_WAIT, LONGEST_WAIT, attempts);
            if !context.stop.sleep(wait).await {
                return false;
            }
            attempts += 1;
        }
    }

    /// Keeps what changed, every few seconds until a stop, and once more then.
    pub(crate) async fn watch(&self, clients: &Clients, context: &Context) -> anyhow::Result<()> {
        while context.stop.sleep(EVERY).await {
            self.keep(clients).await;
        }
        self.keep(clients).await;
        Ok(())
    }

    /// Keeps what changed since the last time. What cannot be written is tried again at the next.
    pub(crate) async fn keep(&self, clients: &Clients) {
        for quota in clients.quotas() {
            if self.is_written(&quota) {
                continue;
            }
            match self.watermarks.put_quota(&quota.label, &quota).await {
                Ok(()) => self.note(quota),
                Err(error) => tracing::warn!(%error, "a quota is not kept; who takes over may not know of a limit"),
            }
        }
    }

    fn is_written(&self, quota: &QuotaState) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&quota.label) == Some(quota)
    }

    fn note(&self, quota: QuotaState) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(quota.label.clone(), quota);
    }
}
