//! `purge`: empties a queue, over all its subject families.

use async_nats::jetstream::stream::Stream;
use serde_json::json;

use crate::cli::Purge;
use crate::contents::{self, Contents, Scope, away};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, counted};

pub(crate) async fn run(purge: &Purge, deps: &Deps) -> Result<Report, Failure> {
    let scope = Scope::new(purge.queue, deps.named()?);
    let broker = deps.broker().await?;
    let stream = contents::stream(&broker, purge.queue).await?;
    let contents = contents::read(&stream, &scope).await?;
    let requests = match (purge.dry_run, scope.filters()) {
        (true, _) => contents.requests(),
        (false, None) => stream.purge().await.map_err(|error| away(&error))?.purged,
        (false, Some(filters)) => each(&stream, filters.iter().chain(&contents.odd_spellings)).await?,
    };
    Ok(report(purge, &contents, requests))
}

async fn each(stream: &Stream<()>, filters: impl Iterator<Item = &String>) -> Result<u64, Failure> {
    let mut purged = 0;
    for filter in filters {
        let answer = stream.purge().filter(filter).await.map_err(|error| away(&error))?;
        purged += answer.purged;
    }
    Ok(purged)
}

fn report(purge: &Purge, contents: &Contents, requests: u64) -> Report {
    let (name, issues) = (purge.queue.name(), contents.length());
    let what = format!("{} for {}", counted(requests, "request"), counted(issues, "issue"));
    let human = if purge.dry_run {
        format!("would purge {what} from {name}; nothing was changed")
    } else {
        format!("purged {what} from {name}")
    };
    let json = json!({ "queue": name, "dry_run": purge.dry_run, "requests": requests, "issues": issues });
    Report::new(human, json)
}
