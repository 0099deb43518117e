//! What a bench prints: one JSON object.

use std::time::Duration;

use serde::Serialize;

/// The bodies that were sent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Bodies {
    /// How many different recorded payloads they were made from.
    pub(super) recorded: usize,
    /// Their mean size.
    pub(super) mean_bytes: usize,
    /// The size of the largest.
    pub(super) largest_bytes: usize,
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// Half of the rounds were below. This is the figure.
    pub(super) median: f64,
    /// The lowest round.
    pub(super) lowest: f64,
    /// The highest round.
    pub(super) highest: f64,
}

/// One round: how many webhooks a second each part did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    pub(super) receiver: f64,
    pub(super) handler: f64,
    pub(super) publishes: f64,
}

/// The receiver and the parts beneath it, in webhooks a second.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rates {
    /// Webhooks that the receiver accepted.
    pub(super) accepted_per_second: Spread,
    /// h: bodies that a bare handler read and verified.
    pub(super) bare_handler_per_second: Spread,
    /// p: pairs of messages that a bare client published.
    pub(super) bare_publish_pairs_per_second: Spread,
    /// 1 / (1/h + 1/p): what both together allow.
    pub(super) limit_per_second: Spread,
    /// Accepted through limit, round by round.
    pub(super) ratio: Spread,
}

/// Single webhooks while nothing else happens, in milliseconds from sending to the whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct AtRest {
    /// How many were sent.
    pub(super) requests: usize,
    /// Half took less.
    pub(super) p50_ms: f64,
    /// Ninety-nine of a hundred took less.
    pub(super) p99_ms: f64,
    /// The slowest.
    pub(super) highest_ms: f64,
}

impl Round {
    fn limit(self) -> f64 {
        1.0 / (1.0 / self.handler + 1.0 / self.publishes)
    }
}

impl Rates {
    /// Of at least one round.
    pub(super) fn of(rounds: &[Round]) -> Self {
        let spread = |figure: fn(&Round) -> f64, digits| Spread::of(rounds.iter().map(figure).collect(), digits);
        Self {
            accepted_per_second: spread(|round| round.receiver, 0),
            bare_handler_per_second: spread(|round| round.handler, 0),
            bare_publish_pairs_per_second: spread(|round| round.publishes, 0),
            limit_per_second: spread(|round| round.limit(), 0),
            ratio: spread(|round| round.receiver / round.limit(), 3),
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>, digits: i32) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Self {
            median: rounded(middle, digits),
            lowest: rounded(values[0], digits),
            highest: rounded(values[values.len() - 1], digits),
        }
    }
}

impl AtRest {
    /// Of at least one answer.
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let within = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
        let ms = |time: Duration| rounded(time.as_secs_f64() * 1000.0, 3);
        Self {
            requests: times.len(),
            p50_ms: ms(within(50)),
            p99_ms: ms(within(99)),
            highest_ms: ms(within(100)),
        }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_both_parts_one_after_the_other() {
        let rounds = [
            (400.0, 1000.0, 1000.0),
            (450.0, 1000.0, 1000.0),
            (500.0, 2000.0, 1000.0),
        ];
        let rounds = rounds.map(|(receiver, handler, publishes)| Round {
            receiver,
            handler,
            publishes,
        });
        let rates = Rates::of(&rounds);
        assert_eq!(rates.limit_per_second.lowest, 500.0);
        assert_eq!(rates.limit_per_second.highest, 667.0);
        assert_eq!(rates.accepted_per_second.median, 450.0);
        assert_eq!(
            (rates.ratio.lowest, rates.ratio.median, rates.ratio.highest),
            (0.75, 0.8, 0.9)
        );
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        let spread = Spread::of(vec![3.0, 1.0], 0);
        assert_eq!((spread.lowest, spread.median, spread.highest), (1.0, 2.0, 3.0));
    }

    #[test]
    fn a_hundredth_may_be_slower_than_p99() {
        let rest = AtRest::of((1..=200).map(Duration::from_millis).collect());
        assert_eq!((rest.p50_ms, rest.p99_ms, rest.highest_ms), (100.0, 198.0, 200.0));
        let one = AtRest::of(vec![Duration::from_millis(7)]);
        assert_eq!((one.p50_ms, one.p99_ms), (7.0, 7.0));
    }
}
