//! `add-updated-since`: what GitHub says was updated, pull requests included.

use std::collections::HashSet;

use bugstream_proto::{IssueId, RepoName, v1};
use time::OffsetDateTime;

use crate::cli::AddUpdatedSince;
use crate::deps::Deps;
use crate::enqueue::{self, Enqueue, Pace, Tally};
use crate::failure::Failure;
use crate::github::Updated;
use crate::progress::Progress;
use crate::report::{Report, time_of};
use crate::usage;

pub(crate) async fn run(since: &AddUpdatedSince, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    check(since, deps.context().clock.now())?;
    let repository = deps.repository()?;
    let list = Updated {
        client: deps.github(&repository)?,
        chance: deps.context().chance.clone(),
        repository: repository.clone(),
        since: since.date,
        newest_first: since.limit.is_some(),
    };
    let enqueue = Enqueue::open(deps, since.queue, Pace::WhenQuotaAllows, v1::Reason::Sweep).await?;
    let tally = Box::pin(walk(&list, &enqueue, since.limit, progress)).await?;
    Ok(enqueue::report(since.queue, &repository, tally))
}

/// GitHub would answer an empty list, as if all were well.
fn check(since: &AddUpdatedSince, now: OffsetDateTime) -> Result<(), Failure> {
    if since.date <= now {
        return Ok(());
    }
    let problem = format!("{} lies in the future", time_of(since.date));
    Err(Failure::usage(
        problem,
        usage::of("add-updated-since", Some(since.queue)),
    ))
}

async fn walk(
    list: &Updated,
    enqueue: &Enqueue,
    limit: Option<usize>,
    progress: &mut Progress<'_>,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut wanted = Wanted::new(limit);
    let mut page = list.page(None, progress).await?;
    loop {
        let issues = wanted.take(&page.numbers, &list.repository);
        enqueue.all(issues.into_iter(), &mut tally, progress).await?;
        match page.next {
            Some(cursor) if !wanted.enough() => page = list.page(Some(&cursor), progress).await?,
            _ => return Ok(tally),
        }
    }
}

/// Picks the issues to queue: each once, since an issue that changes meanwhile is listed again, and no more than wanted.
struct Wanted {
    seen: HashSet<u64>,
    limit: usize,
}

impl Wanted {
    fn new(limit: Option<usize>) -> Self {
        Self {
            seen: HashSet::new(),
            limit: limit.unwrap_or(usize::MAX),
        }
    }

    fn enough(&self) -> bool {
        self.seen.len() >= self.limit
    }

    fn take(&mut self, numbers: &[u64], repository: &RepoName) -> Vec<IssueId> {
        let mut issues = Vec::new();
        for issue in numbers.iter().filter_map(|number| repository.issue(*number).ok()) {
            if !self.enough() && self.seen.insert(issue.number()) {
                issues.push(issue);
            }
        }
        issues
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::queue::Queue;

    #[test]
    fn each_issue_is_taken_once_up_to_the_limit() {
        let repository: RepoName = "a/b".parse().expect("a repository");
        let mut wanted = Wanted::new(Some(3));
        let mut take = |numbers: &[u64]| -> Vec<u64> {
            let issues = wanted.take(numbers, &repository);
            issues.iter().map(IssueId::number).collect()
        };
        assert_eq!(take(&[9, 8, 9]), [9, 8]);
        assert_eq!(take(&[8, 7, 6]), [7]);
        assert!(wanted.enough());
    }

    #[test]
    fn a_date_that_is_yet_to_come_is_refused() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let since = |date| AddUpdatedSince {
            queue: Queue::Index,
            date,
            limit: None,
        };
        assert_eq!(check(&since(now), now), Ok(()));
        let refused = check(&since(datetime!(2031-01-31 00:00 UTC)), now).expect_err("in the future");
        insta::assert_snapshot!(refused, @r#"
        error: 2031-01-31T00:00:00Z lies in the future
          usage: queue-cli add-updated-since index <DATE> [--limit <COUNT>]
        "#);
    }
}
