//! `purge`: empties a queue, over all its subject families.

use async_nats::jetstream::stream::Stream;
use bugstream_proto::{Lane, RepoName, Verb};
use serde_json::json;

use crate::cli::Purge;
use crate::contents::{self, Contents, away};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::queue::Queue;
use crate::report::{Report, counted};

pub(crate) async fn run(purge: &Purge, deps: &Deps) -> Result<Report, Failure> {
    let repository = deps.named()?;
    let broker = deps.broker().await?;
    let stream = contents::stream(&broker, purge.queue).await?;
    let contents = contents::read(&stream, purge.queue, repository.as_ref()).await?;
    let requests = match (purge.dry_run, &repository) {
        (true, _) => contents.requests(),
        (false, None) => all(&stream).await?,
        (false, Some(repository)) => of_repository(&stream, purge.queue, repository, &contents).await?,
    };
    Ok(report(purge, &contents, requests))
}

async fn all(stream: &Stream<()>) -> Result<u64, Failure> {
    let purged = stream.purge().await.map_err(|error| away(&error))?;
    Ok(purged.purged)
}

async fn of_repository(
    stream: &Stream<()>,
    queue: Queue,
    repository: &RepoName,
    contents: &Contents,
) -> Result<u64, Failure> {
    let ours = verbs(queue).iter().map(|verb| verb.of_repo(repository));
    let mut purged = 0;
    for filter in ours.chain(contents.odd_spellings.iter().cloned()) {
        let answer = stream.purge().filter(filter).await.map_err(|error| away(&error))?;
        purged += answer.purged;
    }
    Ok(purged)
}

fn verbs(queue: Queue) -> &'static [Verb] {
    match queue {
        Queue::Download => &[
            Verb::Debounce,
            Verb::Deadline,
            Verb::Retry(Lane::Download),
            Verb::Retry(Lane::Backfill),
            Verb::Download,
            Verb::Backfill,
        ],
        Queue::Index => &[Verb::Retry(Lane::Index), Verb::Index],
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bugstream_proto::topology;

    use super::*;

    #[test]
    fn every_family_of_the_stream_is_purged() {
        for queue in Queue::ALL {
            let streams = topology::streams();
            let stream = streams
                .iter()
                .find(|stream| stream.name == queue.stream())
                .expect("declared");
            let declared: BTreeSet<_> = stream.subjects.iter().cloned().collect();
            assert_eq!(declared, verbs(queue).iter().map(|verb| verb.wildcard()).collect());
        }
    }
}
