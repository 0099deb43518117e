//! Time as a dependency, so that a test can set it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

/// Tells the time of day. Waiting is tokio's; this is for what gets written down and compared.
#[derive(Debug, Clone, Default)]
pub struct Clock(Hands);

#[derive(Debug, Clone, Default)]
enum Hands {
    /// The machine's own.
    #[default]
    Machine,
    /// The machine's, wrong by so much.
    Wrong(Arc<Mutex<time::Duration>>),
    /// Standing.
    Standing(Arc<Mutex<OffsetDateTime>>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Hands::Machine)
    }

    /// The machine's clock, right until a test makes it [`Self::step`].
    #[must_use]
    pub fn stepping() -> Self {
        Self(Hands::Wrong(Arc::default()))
    }

    /// A clock that stands at `now` until a test moves it.
    #[must_use]
    pub fn manual(now: OffsetDateTime) -> Self {
        Self(Hands::Standing(Arc::new(Mutex::new(now))))
    }

    /// The time of day in UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Hands::Machine => OffsetDateTime::now_utc(),
            Hands::Wrong(by) => OffsetDateTime::now_utc() + *by.lock().unwrap_or_else(PoisonError::into_inner),
            Hands::Standing(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Milliseconds since 1970, as revisions count them.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }

    /// Moves a manual clock on; the machine's is left alone.
    pub fn advance(&self, by: Duration) {
        self.step(time::Duration::try_from(by).unwrap_or(time::Duration::MAX));
    }

    /// Makes a clock of a test's step, for its clones too; the machine's is left alone.
    pub fn step(&self, by: time::Duration) {
        match &self.0 {
            Hands::Machine => {}
            Hands::Wrong(known) => *known.lock().unwrap_or_else(PoisonError::into_inner) += by,
            Hands::Standing(now) => *now.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }
}
