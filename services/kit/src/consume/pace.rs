//! Spreads retries out where very many messages fail, so that a round of them never stands before what is fresh.
//!
//! Back-off alone does not do that: thousands that failed together come back together, and a service that GitHub allows
//! fifteen requests a second would do nothing else for minutes. So only so many come back at once, and beyond them one
//! at a time; every success makes room for one more, so that a few failures among much work wait no longer than they
//! have to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two retries where nothing succeeds: at two requests each about half of what GitHub allows a credential.
const EVERY: Duration = Duration::from_millis(250);
/// Retries that need not wait for their turn.
const AT_ONCE: u32 = 40;

/// Gives every retry its turn.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Instant>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// How long a message that failed and would wait for `wait` has to, with all that failed before it.
    pub(super) fn turn(&self, wait: Duration) -> Duration {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Turns that nobody took pile up to what may come at once, and no further.
        *last = (*last).max(now) + EVERY;
        let behind = last.saturating_duration_since(now).saturating_sub(EVERY * AT_ONCE);
        wait.max(behind)
    }

    /// A message succeeded.
    pub(super) fn succeeded(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = last.checked_sub(EVERY) {
            *last = earlier.max(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_few_wait_for_nobody_and_thousands_come_one_after_another() {
        let pace = Pace::new();
        for _ in 0..AT_ONCE {
            assert_eq!(pace.turn(SECOND), SECOND);
        }
        let waits: Vec<Duration> = (0..2_000).map(|_| pace.turn(Duration::ZERO)).collect();
        assert!(waits.windows(2).all(|pair| pair[1] == pair[0] + EVERY));
        assert_eq!(waits[1_999], EVERY * 2_000);
        assert_eq!(pace.turn(SECOND * 3_600), SECOND * 3_600, "back-off may ask for more");
    }

    #[tokio::test(start_paused = true)]
    async fn time_and_every_success_make_room() {
        let pace = Pace::new();
        for _ in 0..AT_ONCE + 8 {
            pace.turn(Duration::ZERO);
        }
        (0..8).for_each(|_| pace.succeeded());
        assert_eq!(pace.turn(Duration::ZERO), EVERY, "as if eight had not failed");
        tokio::time::advance(EVERY * (AT_ONCE + 1)).await;
        (0..1_000).for_each(|_| pace.succeeded());
        let at_once = (0..AT_ONCE).all(|_| pace.turn(Duration::ZERO) == Duration::ZERO);
        assert!(
            at_once && pace.turn(Duration::ZERO) == EVERY,
            "no more than may come at once"
        );
    }
}
