//! How much Elasticsearch is asked to do at once: as much as it takes without complaint, within the configured bounds.
//!
//! Additive increase, multiplicative decrease, of two figures: bulks under way, and bytes of one. A 429 halves the first;
//! an answer that took long shrinks both; a body that is too large lowers the second for good. Both grow slowly while
//! answers are quick and more is waiting.

use std::time::Duration;

use super::Options;

/// An answer that took longer says that it was asked for too much at once.
const SLOW: Duration = Duration::from_secs(5);
/// One that took less leaves room for more.
const QUICK: Duration = Duration::from_secs(1);
/// Smaller bodies are not worth their requests.
const LEAST_BYTES: usize = 100_000;
/// Where it begins: enough to keep one at work while another is under way.
const FIRST_CONNECTIONS: f64 = 2.0;

/// What was seen while a bulk was delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Elasticsearch said of something that it is busy.
    pub(super) busy: bool,
    /// A body of that many bytes was too large.
    pub(super) too_large: Option<usize>,
    /// The longest that an answer took.
    pub(super) longest: Duration,
}

/// How much at once.
#[derive(Debug)]
pub(super) struct Pace {
    most: Options,
    connections: f64,
    bytes: usize,
}

impl Pace {
    pub(super) fn new(most: Options) -> Self {
        let most = Options {
            connections: most.connections.max(1),
            ..most
        };
        Self {
            most,
            connections: FIRST_CONNECTIONS.min(most.connections as f64),
            bytes: most.bytes,
        }
    }

    /// Bulks under way at once.
    pub(super) fn connections(&self) -> usize {
        self.connections as usize
    }

    /// Bytes of a bulk.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Learns from a bulk that is done. `more` says whether other writes were waiting for it.
    pub(super) fn learn(&mut self, seen: Seen, more: bool) {
        if let Some(bytes) = seen.too_large {
            self.most.bytes = self.most.bytes.min(bytes / 2).max(LEAST_BYTES);
        }
        if seen.busy {
            self.connections /= 2.0;
        } else if seen.longest > SLOW {
            self.connections *= 0.75;
            self.bytes = self.bytes / 4 * 3;
        } else if seen.longest < QUICK && more {
            // One more after each of those under way was quick.
            self.connections += 1.0 / self.connections;
            self.bytes += self.bytes / 8;
        }
        self.connections = self.connections.clamp(1.0, self.most.connections as f64);
        self.bytes = self.bytes.max(LEAST_BYTES).min(self.most.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Options = Options {
        connections: 8,
        bytes: 5_000_000,
        in_flight: 0,
    };
    const FINE: Seen = Seen {
        busy: false,
        too_large: None,
        longest: Duration::from_millis(100),
    };
    const BUSY: Seen = Seen { busy: true, ..FINE };

    fn learned(pace: &mut Pace, seen: Seen, times: usize) -> (usize, usize) {
        (0..times).for_each(|_| pace.learn(seen, true));
        (pace.connections(), pace.bytes())
    }

    #[test]
    fn it_grows_by_one_a_round_up_to_the_bound_and_halves_when_elasticsearch_is_busy() {
        let mut pace = Pace::new(MOST);
        assert_eq!(pace.connections(), 2);
        assert_eq!(
            learned(&mut pace, FINE, 3).0,
            3,
            "two rounds of two are one more and a half"
        );
        assert_eq!(learned(&mut pace, FINE, 100), (8, 5_000_000));
        assert_eq!(learned(&mut pace, BUSY, 1).0, 4);
        assert_eq!(learned(&mut pace, BUSY, 10), (1, 5_000_000), "one always goes on");
        assert_eq!(learned(&mut pace, FINE, 1).0, 2);
    }

    #[test]
    fn what_nobody_waits_for_proves_no_room() {
        let mut pace = Pace::new(MOST);
        (0..100).for_each(|_| pace.learn(FINE, false));
        assert_eq!(pace.connections(), 2);
    }

    #[test]
    fn slow_answers_make_both_smaller_until_they_are_quick_again() {
        let mut pace = Pace::new(MOST);
        let slow = Seen {
            longest: Duration::from_secs(9),
            ..FINE
        };
        assert_eq!(learned(&mut pace, slow, 1), (1, 3_750_000));
        assert_eq!(learned(&mut pace, slow, 100), (1, LEAST_BYTES));
        let between = Seen {
            longest: Duration::from_secs(3),
            ..FINE
        };
        assert_eq!(
            learned(&mut pace, between, 10),
            (1, LEAST_BYTES),
            "neither slow nor quick"
        );
        assert_eq!(learned(&mut pace, FINE, 100), (8, 5_000_000));
    }

    #[test]
    fn a_body_that_was_too_large_is_not_tried_again() {
        let mut pace = Pace::new(MOST);
        let too_large = Seen {
            too_large: Some(4_000_000),
            ..FINE
        };
        learned(&mut pace, too_large, 1);
        assert_eq!(learned(&mut pace, FINE, 100).1, 2_000_000);
    }

    #[test]
    fn the_configured_bounds_hold_however_small() {
        let mut pace = Pace::new(Options {
            connections: 0,
            bytes: 150_000,
            in_flight: 0,
        });
        assert_eq!(learned(&mut pace, FINE, 50), (1, 150_000));
    }
}
