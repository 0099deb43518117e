//! The right to work on a message, which ends before the server would give it to another worker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use tokio::time::Instant;

/// How long before the server's ack wait a lease ends: a sixth of it, five seconds as usual.
fn margin(ack_wait: Duration) -> Duration {
    ack_wait / 6
}

/// The lease ran out: another worker may have the message by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease on the message ran out")]
pub struct LeaseLost;

/// The right to write on behalf of a message. Clones share it.
#[derive(Debug, Clone)]
pub struct Lease {
    until: Arc<Mutex<Instant>>,
    /// Whatever progress is reported.
    end: Instant,
    ack_wait: Duration,
}

impl Lease {
    /// A lease from now.
    #[must_use]
    pub fn new(ack_wait: Duration, longest: Duration) -> Self {
        let now = Instant::now();
        let until = Arc::new(Mutex::new(now + ack_wait.saturating_sub(margin(ack_wait))));
        Self {
            until,
            end: now + longest,
            ack_wait,
        }
    }

    /// Whether writing is still allowed.
    ///
    /// # Errors
    /// [`LeaseLost`] if not: stop, write nothing, decide nothing.
    pub fn check(&self) -> Result<(), LeaseLost> {
        if Instant::now() < self.until() {
            Ok(())
        } else {
            Err(LeaseLost)
        }
    }

    fn until(&self) -> Instant {
        (*self.until.lock().expect("no one panics while holding it")).min(self.end)
    }

    /// Extends from the moment the progress was sent, since the server counts from when it arrived, which is later.
    fn extend(&self, sent: Instant) {
        *self.until.lock().expect("no one panics while holding it") =
            sent + self.ack_wait.saturating_sub(margin(self.ack_wait));
    }

    /// Reports progress until the longest time is over; ends when the lease does. Only a confirmed report extends.
    pub(super) async fn tick(&self, message: &Message) {
        loop {
            tokio::time::sleep(self.ack_wait / 3).await;
            if self.check().is_err() {
                tracing::warn!(subject = %message.subject, "lease ran out; the message will be delivered again");
                return;
            }
            let sent = Instant::now();
            match message.double_ack_with(AckKind::Progress).await {
                Ok(()) => self.extend(sent),
                Err(error) => tracing::debug!(%error, "progress was not confirmed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_before_the_ack_wait_and_at_the_longest_time_whatever_happens() {
        let lease = Lease::new(Duration::from_secs(30), Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(24)).await;
        assert_eq!(lease.check(), Ok(()));
        lease.extend(Instant::now());
        tokio::time::advance(Duration::from_secs(24)).await;
        assert_eq!(lease.check(), Ok(()));
        lease.extend(Instant::now());
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!(lease.check(), Err(LeaseLost), "sixty seconds are over");
        let idle = Lease::new(Duration::from_secs(30), Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(idle.check(), Err(LeaseLost));
    }
}
