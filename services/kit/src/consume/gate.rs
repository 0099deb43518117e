//! Stops a loop from asking for messages while a part beneath is away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::chance::Chance;
use crate::health::Health;
use crate::service::{Context, Stop};

/// The first and the longest wait where nothing prescribes one.
const BASE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Open, closed until some instant, or half open: asking for one message to see whether the part is back.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
    consumer: &'static str,
    health: Health,
    chance: Chance,
}

#[derive(Debug, Default)]
struct State {
    closed_until: Option<Instant>,
    /// Holds in a row.
    holds: u64,
}

impl Gate {
    pub(super) fn new(consumer: &'static str, context: &Context) -> Self {
        let (health, chance) = (context.health.clone(), context.chance.clone());
        Self {
            state: Arc::default(),
            consumer,
            health,
            chance,
        }
    }

    /// Waits until messages may be asked for and says how many at most; `None` if a stop is asked for.
    pub(super) async fn open(&self, stop: &Stop, free: usize) -> Option<usize> {
        loop {
            let (until, holds) = {
                let state = self.state.lock().expect("no one panics while holding it");
                (state.closed_until, state.holds)
            };
            match until.filter(|until| *until > Instant::now()) {
                None if holds > 0 => return Some(1),
                None => return Some(free.max(1)),
                Some(until) => {
                    if !stop.sleep(until.saturating_duration_since(Instant::now())).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether nothing is away, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock().expect("no one panics while holding it");
        state.holds == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        let state = self.state.lock().expect("no one panics while holding it");
        state.closed_until.is_some_and(|until| until > Instant::now())
    }

    /// Whether it closed and nothing has succeeded since.
    pub(super) fn is_half_open(&self) -> bool {
        let state = self.state.lock().expect("no one panics while holding it");
        state.holds > 0 && state.closed_until.is_none_or(|until| until <= Instant::now())
    }

    /// Closes for `after`, or for a back-off; answers the wait. Holds that come in while it is closed are one.
    pub(super) fn close(&self, after: Option<Duration>, why: &str, ready: bool) -> Duration {
        let mut state = self.state.lock().expect("no one panics while holding it");
        let now = Instant::now();
        let news = state.closed_until.is_none_or(|until| until <= now);
        state.holds += u64::from(news);
        let wait = after.unwrap_or_else(|| self.chance.backoff(BASE, LONGEST, state.holds - 1));
        let until = state.closed_until.map_or(now + wait, |known| known.max(now + wait));
        state.closed_until = Some(until);
        if !ready {
            self.health.down(self.consumer, why);
        } else if news {
            tracing::info!(
                consumer = self.consumer,
                why,
                wait_s = wait.as_secs(),
                "asking for nothing for a while"
            );
        }
        until.saturating_duration_since(now)
    }

    /// A look for one message found none: what was held is gone, and nothing is left to show that the part is back.
    pub(super) fn nothing_waits(&self) {
        self.succeeded();
    }

    /// A message succeeded, so what was away is back.
    pub(super) fn succeeded(&self) {
        let mut state = self.state.lock().expect("no one panics while holding it");
        if state.holds > 0 && state.closed_until.is_none_or(|until| until <= Instant::now()) {
            *state = State::default();
            self.health.up(self.consumer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_closes_for_the_prescribed_time_and_asks_for_one_first() {
        let context = Context::new("test");
        let gate = Gate::new("c", &context);
        assert_eq!(gate.open(&context.stop, 8).await, Some(8));
        gate.close(Some(Duration::from_secs(60)), "limited", true);
        gate.close(Some(Duration::from_secs(10)), "limited", true);
        let started = Instant::now();
        assert_eq!(gate.open(&context.stop, 8).await, Some(1), "half open");
        assert_eq!(started.elapsed().as_secs(), 60, "the longest wait counts");
        gate.succeeded();
        assert_eq!(gate.open(&context.stop, 8).await, Some(8));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_away_shows_in_health_until_something_succeeds() {
        let context = Context::new("test");
        let gate = Gate::new("c", &context);
        let first = gate.close(None, "store away", false);
        assert!(first <= BASE);
        assert!(context.health.away().await.contains_key("c"));
        gate.succeeded();
        assert!(
            context.health.away().await.contains_key("c"),
            "still closed: a late success of before proves nothing"
        );
        tokio::time::advance(first).await;
        assert!(gate.close(None, "store away", false) <= 2 * BASE);
        tokio::time::advance(2 * BASE).await;
        gate.succeeded();
        assert!(context.health.away().await.is_empty());
    }
}
