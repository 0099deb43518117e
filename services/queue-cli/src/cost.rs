//! What a backfill costs: requests from the number of issues, time from the requests and from GitHub's limits.
//!
//! Every figure that the program or `docs/OPERATIONS.md` gives about the length of a backfill comes from here.
//!
//! What it is not: a promise. Live work takes from the same quota, and what it takes in the hours to come is not known.

use std::time::Duration;

/// Rows of a page, of the list and of a timeline.
const PAGE: u64 = 100;
/// GitHub counts the quota in windows of an hour.
const WINDOW_S: u64 = 60 * 60;
/// What a credential may send in a minute whatever its quota: a request is one of 900 points.
const A_MINUTE: u64 = 900;

/// How many timeline pages some issues have: what is known of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) issues: u64,
    pub(crate) pages: u64,
}

impl Sample {
    /// Where nothing is known: an issue has at most a hundred events.
    pub(crate) const ASSUMED: Self = Self { issues: 1, pages: 1 };

    /// Of issues with so many timeline events each; `None` if there are none.
    pub(crate) fn of(events: impl IntoIterator<Item = u64>) -> Option<Self> {
        let count = |sum: Self, events: u64| Self {
            issues: sum.issues + 1,
            pages: sum.pages + events.div_ceil(PAGE).max(1),
        };
        let sum = events.into_iter().fold(Self { issues: 0, pages: 0 }, count);
        (sum.issues > 0).then_some(sum)
    }
}

/// The requests of a backfill: those of the list, and those of every issue's timeline.
pub(crate) fn requests(issues: u64, sample: Sample) -> u64 {
    list(issues) + timelines(issues, sample)
}

/// Pages of the list, whose rows are the issues.
pub(crate) fn list(issues: u64) -> u64 {
    issues.div_ceil(PAGE)
}

/// Pages of all timelines, if they are as long as those of the sample.
pub(crate) fn timelines(issues: u64, sample: Sample) -> u64 {
    (issues * sample.pages).div_ceil(sample.issues)
}

/// What one credential may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests an hour.
    pub(crate) limit: u64,
    /// Of those, left until the reset.
    pub(crate) remaining: u64,
    pub(crate) resets_in_s: u64,
}

impl Quota {
    /// An hour that begins now.
    pub(crate) fn full(limit: u64) -> Self {
        Self {
            limit,
            remaining: limit,
            resets_in_s: WINDOW_S,
        }
    }

    /// Of a server that limits nobody, as GitHub Enterprise Server does unless told to.
    pub(crate) fn unlimited() -> Self {
        Self::full(1 << 40)
    }

    /// What a backfill may have sent with it after that long, when `reserve` percent of every hour and of every minute
    /// are kept for live work.
    fn supply(&self, seconds: u64, reserve: u64) -> u64 {
        let share = |whole: u64| whole * reserve / 100;
        let kept = share(self.limit);
        let a_minute = A_MINUTE - share(A_MINUTE);
        let burst = |seconds: u64, quota: u64| quota.min(seconds * a_minute / 60);
        let (first, hour) = (self.remaining.saturating_sub(kept), self.limit.saturating_sub(kept));
        let Some(later) = seconds.checked_sub(self.resets_in_s) else {
            return burst(seconds, first);
        };
        let whole = later / WINDOW_S * burst(WINDOW_S, hour);
        burst(self.resets_in_s, first) + whole + burst(later % WINDOW_S, hour)
    }
}

/// How long that many requests take with these credentials; `None` if they leave nothing to a backfill.
pub(crate) fn duration(requests: u64, quotas: &[Quota], reserve: u64) -> Option<Duration> {
    let enough = |seconds| quotas.iter().map(|quota| quota.supply(seconds, reserve)).sum::<u64>() >= requests;
    let hours = 1
        + (0..=40)
            .map(|power| 1 << power)
            .find(|hours| enough(hours * WINDOW_S))?;
    let (mut low, mut high) = (0, hours * WINDOW_S);
    while low < high {
        let middle = u64::midpoint(low, high);
        if enough(middle) {
            high = middle
        } else {
            low = middle + 1
        }
    }
    Some(Duration::from_secs(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{hours, thousands};

    /// As [`bugstream_kit::config::Github`] has it by default.
    const RESERVE: u64 = 20;
    const TABLE: [(&str, &[u64]); 6] = [
        ("none", &[60]),
        ("1 token", &[5_000]),
        ("2 tokens of two people", &[5_000; 2]),
        ("3 tokens of three people", &[5_000; 3]),
        ("App on a large organisation", &[12_500]),
        ("App on GitHub Enterprise Cloud", &[15_000]),
    ];

    fn row(name: &str, limits: &[u64]) -> String {
        let quotas: Vec<_> = limits.iter().map(|limit| Quota::full(*limit)).collect();
        let time = |issues| {
            let requests = requests(issues, Sample::ASSUMED);
            hours(duration(requests, &quotas, RESERVE).expect("some quota is left"))
        };
        let quota = thousands(limits.iter().sum());
        format!("| {name} | {quota} | {} | {} |", time(200_000), time(2_000))
    }

    #[test]
    fn the_operators_table_is_what_this_computes() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md");
        let document = std::fs::read_to_string(file).expect("the document is there");
        let rows: Vec<_> = TABLE.iter().map(|(name, limits)| row(name, limits)).collect();
        let table = rows.join("\n");
        assert!(document.contains(&table), "docs/OPERATIONS.md must have\n{table}");
        let sentence = format!("{} requests", thousands(requests(200_000, Sample::ASSUMED)));
        assert!(document.contains(&sentence), "docs/OPERATIONS.md must say {sentence}");
    }

    #[test]
    fn an_issue_costs_its_timeline_and_its_share_of_a_list_page() {
        assert_eq!(Sample::of([]), None);
        let sample = Sample::of([0, 1, 100, 101, 250]);
        assert_eq!(sample, Some(Sample { issues: 5, pages: 8 }));
        assert_eq!(requests(0, Sample::ASSUMED), 0);
        assert_eq!(requests(1, Sample::ASSUMED), 2);
        assert_eq!(requests(201, Sample::ASSUMED), 3 + 201);
        assert_eq!(requests(5, sample.expect("five")), 1 + 8);
    }

    #[test]
    fn a_window_is_spent_at_once_and_the_next_one_waited_for() {
        let left = Quota {
            limit: 5_000,
            remaining: 1_900,
            resets_in_s: 600,
        };
        let seconds = |requests, quotas: &[Quota]| duration(requests, quotas, RESERVE).map(|time| time.as_secs());
        let table = [
            (0, Some(0)),
            (12, Some(1)),
            (900, Some(75)),
            (901, Some(601)),
            (4_900, Some(600 + 334)),
            (4_901, Some(600 + 3_600 + 1)),
        ];
        for (requests, wanted) in table {
            assert_eq!(seconds(requests, &[left]), wanted, "{requests}");
        }
        assert_eq!(seconds(1_200, &[left, Quota::full(5_000)]), Some(50), "both at once");
        let spent = Quota { remaining: 3, ..left };
        assert_eq!(seconds(1, &[spent]), Some(601), "below the reserve it waits");
        assert_eq!(
            seconds(43_200, &[Quota::unlimited()]),
            Some(3_600),
            "720 a minute all the same"
        );
        assert_eq!(seconds(1, &[]), None);
        assert_eq!(duration(1, &[Quota::full(60)], 100), None, "all is kept for live work");
    }
}
