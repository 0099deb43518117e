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

/// How fast a part was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Measured {
    /// Webhooks a second.
    pub(super) rate: f64,
    /// Microseconds of processor time a webhook, in all processes together.
    pub(super) processor_us: f64,
}

/// One round.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Round {
    pub(super) receiver: Measured,
    pub(super) handler: Measured,
    pub(super) publishes: Measured,
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
    /// The same by processor time, which depends less on what else the machine does.
    pub(super) processor: Processor,
}

/// Processor time a webhook in microseconds, of sender, receiver (or handler) and broker together.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Processor {
    /// A webhook at the receiver.
    pub(super) receiver_us: Spread,
    /// A body at the bare handler.
    pub(super) bare_handler_us: Spread,
    /// A pair of bare publishes.
    pub(super) bare_publish_pair_us: Spread,
    /// Handler and publishes through receiver, round by round: `ratio` on a machine whose processors are all busy with
    /// this.
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
        1.0 / (1.0 / self.handler.rate + 1.0 / self.publishes.rate)
    }

    fn beneath_us(self) -> f64 {
        self.handler.processor_us + self.publishes.processor_us
    }
}

impl Rates {
    /// Of at least one round.
    pub(super) fn of(rounds: &[Round]) -> Self {
        let spread = |figure: fn(&Round) -> f64, digits| Spread::of(rounds.iter().map(figure).collect(), digits);
        Self {
            accepted_per_second: spread(|round| round.receiver.rate, 0),
            bare_handler_per_second: spread(|round| round.handler.rate, 0),
            bare_publish_pairs_per_second: spread(|round| round.publishes.rate, 0),
            limit_per_second: spread(|round| round.limit(), 0),
            ratio: spread(|round| round.receiver.rate / round.limit(), 3),
            processor: Processor {
                receiver_us: spread(|round| round.receiver.processor_us, 0),
                bare_handler_us: spread(|round| round.handler.processor_us, 0),
                bare_publish_pair_us: spread(|round| round.publishes.processor_us, 0),
                ratio: spread(|round| round.beneath_us() / round.receiver.processor_us, 3),
            },
        }
    }
}

impl Spread {
    /// Of at least one value.
    pub(super) fn of(mut values: Vec<f64>, digits: i32) -> Self {
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
        let measured = |rate| Measured {
            rate,
            processor_us: 100.0,
        };
        let rounds = rounds.map(|(receiver, handler, publishes)| Round {
            receiver: measured(receiver),
            handler: measured(handler),
            publishes: measured(publishes),
        });
        let rates = Rates::of(&rounds);
        assert_eq!(rates.limit_per_second.lowest, 500.0);
        assert_eq!(rates.limit_per_second.highest, 667.0);
        assert_eq!(rates.accepted_per_second.median, 450.0);
        assert_eq!(
            (rates.ratio.lowest, rates.ratio.median, rates.ratio.highest),
            (0.75, 0.8, 0.9)
        );
        assert_eq!(rates.processor.ratio.median, 2.0);
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
