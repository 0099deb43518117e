//! Time as a dependency, so that a test can set it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;

/// Tells the time of day. Waiting is tokio's; this is for what gets written down and compared.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<OffsetDateTime>>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `now` until a test moves it.
    #[must_use]
    pub fn manual(now: OffsetDateTime) -> Self {
        Self(Some(Arc::new(Mutex::new(now))))
    }

    /// The time of day in UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            None => OffsetDateTime::now_utc(),
            Some(now) => *now.lock().expect("no one panics while holding the clock"),
        }
    }

    /// Milliseconds since 1970, as revisions count them.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }

    /// Moves a manual clock; the machine's is left alone.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.0 {
            *now.lock().expect("no one panics while holding the clock") += by;
        }
    }
}
