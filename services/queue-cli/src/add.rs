//! `add`: single issues, due at once.

use bugstream_kit::log::{Log, LogError};
use bugstream_proto::{Change, IssueId, v1};

use crate::cli::Add;
use crate::deps::Deps;
use crate::enqueue::{self, Enqueue, Pace, Tally};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::queue::Queue;
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
    if add.queue == Queue::Download {
        refuse_forgotten(&issues, deps).await?;
    }
    let enqueue = Enqueue::open(deps, add.queue, Pace::Now, v1::Reason::Manual).await?;
    let mut tally = Tally::default();
    enqueue.all(issues.into_iter(), &mut tally, progress).await?;
    Ok(enqueue::report(add.queue, &repository, tally))
}

/// The downloader would refuse them, where nobody sees it who waits for them.
async fn refuse_forgotten(issues: &[IssueId], deps: &Deps) -> Result<(), Failure> {
    let log = Log::new(deps.broker().await?.jetstream, deps.context().clock.clone());
    for issue in issues {
        match log.newest(issue).await {
            Ok(Some(newest)) if newest.event.change == Change::Forgotten => return Err(forgotten(issue)),
            Ok(_) | Err(LogError::Unreadable { .. }) => {}
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
    }
    Ok(())
}

fn forgotten(issue: &IssueId) -> Failure {
    let number = issue.number();
    Failure::failed(format!(
        "{issue} is forgotten, and not downloaded any more; nothing was queued"
    ))
    .with_fix(format!("queue-cli forget {number} --allow lets it be, and asks for it"))
}
