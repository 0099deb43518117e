//! Chance as a dependency: nonces and jitter, seeded in tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bugstream_proto::Nonce;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of random bits, shared by its clones.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// Seeded by the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// The same sequence for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A fresh nonce for an object key.
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        Nonce::from_bits(self.bits())
    }

    /// Sixty-four random bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.0.lock().expect("no one panics while drawing").random()
    }

    /// Between half of `around` and all of it, so that many waiters do not come back at once.
    #[must_use]
    pub fn jitter(&self, around: Duration) -> Duration {
        let share: f64 = self
            .0
            .lock()
            .expect("no one panics while drawing")
            .random_range(0.5..1.0);
        around.mul_f64(share)
    }

    /// The wait before attempt `attempts` + 1: `base` doubled each time up to `longest`, with jitter.
    #[must_use]
    pub fn backoff(&self, base: Duration, longest: Duration, attempts: u64) -> Duration {
        let doublings = u32::try_from(attempts.min(20)).expect("at most 20");
        self.jitter(base.saturating_mul(1 << doublings).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_and_is_bounded() {
        let chance = Chance::seeded(1);
        let wait = |attempts| chance.backoff(Duration::from_secs(1), Duration::from_secs(60), attempts);
        assert!(wait(0) <= Duration::from_secs(1));
        assert!((Duration::from_secs(4)..=Duration::from_secs(8)).contains(&wait(3)));
        for attempts in [7, 63, u64::MAX] {
            assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&wait(attempts)));
        }
    }

    #[test]
    fn nonces_differ() {
        let chance = Chance::seeded(1);
        assert_ne!(chance.nonce(), chance.nonce());
    }
}
