//! `add-range`: every number from the first to the last, behind what is more urgent.

use bugstream_proto::v1;

use crate::cli::AddRange;
use crate::deps::Deps;
use crate::enqueue::{self, Enqueue, Pace, Tally};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, thousands};
use crate::usage;

/// A million waiting requests cost the server about 700 MB of memory; no repository has as many issues.
const MOST: u64 = 1_000_000;

pub(crate) async fn run(range: &AddRange, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let count = check(range)?;
    let repository = deps.repository()?;
    let enqueue = Enqueue::open(deps, range.queue, Pace::WhenQuotaAllows, v1::Reason::Range).await?;
    progress.expect(count);
    let issues = (range.first..=range.last).map(|number| {
        let checked = repository.issue(number);
        checked.expect("between two valid numbers all are")
    });
    let mut tally = Tally::default();
    enqueue.all(issues, &mut tally, progress).await?;
    Ok(enqueue::report(range.queue, &repository, tally))
}

/// How many numbers the range has.
fn check(range: &AddRange) -> Result<u64, Failure> {
    let AddRange { queue, first, last } = *range;
    if last < first {
        let problem = format!("the range ends ({last}) before it begins ({first})");
        return Err(Failure::usage(problem, usage::of("add-range", Some(queue))));
    }
    let count = last - first + 1;
    if count > MOST {
        let problem = format!(
            "the range has {} numbers, and at most {} are queued at once",
            thousands(count),
            thousands(MOST)
        );
        let end = first + MOST - 1;
        let fix = format!("queue it in parts: queue-cli add-range {} {first} {end}", queue.name());
        return Err(Failure::usage(problem, fix));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;

    fn check_of(first: u64, last: u64) -> Result<u64, String> {
        let queue = Queue::Download;
        check(&AddRange { queue, first, last }).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_range_has_one_number_to_a_million() {
        assert_eq!(check_of(7, 7), Ok(1));
        assert_eq!(check_of(1, MOST), Ok(MOST));
        insta::assert_snapshot!(check_of(500, 1).expect_err("ends before it begins"), @r#"
        error: the range ends (1) before it begins (500)
          usage: queue-cli add-range download <FIRST> <LAST>
        "#);
        insta::assert_snapshot!(check_of(1, u64::MAX >> 11).expect_err("too many"), @r#"
        error: the range has 9,007,199,254,740,991 numbers, and at most 1,000,000 are queued at once
          queue it in parts: queue-cli add-range download 1 1000000
        "#);
    }
}
