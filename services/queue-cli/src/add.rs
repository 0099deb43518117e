//! `add`: single issues, due at once.

use bugstream_proto::{IssueId, v1};

use crate::cli::Add;
use crate::deps::Deps;
use crate::enqueue::{self, Enqueue, Pace, Tally};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;

pub(crate) async fn run(add: &Add, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let repository = deps.repository()?;
    let issue = |number: &u64| {
        repository
            .issue(*number)
            .map_err(|error| Failure::usage(error.to_string(), "write another"))
    };
    let mut issues: Vec<IssueId> = add.numbers.iter().map(issue).collect::<Result<_, _>>()?;
    issues.sort_unstable();
    issues.dedup();
    let enqueue = Enqueue::open(deps, add.queue, Pace::Now, v1::Reason::Manual).await?;
    let mut tally = Tally::default();
    enqueue.all(issues.into_iter(), &mut tally, progress).await?;
    Ok(enqueue::report(add.queue, &repository, tally))
}
