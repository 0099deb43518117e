//! `length`: how many issues wait.

use serde_json::{Value, json};

use crate::cli::Length;
use crate::contents::{self, Contents, Scope};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::queue::Queue;
use crate::report::Report;

pub(crate) async fn run(length: &Length, deps: &Deps) -> Result<Report, Failure> {
    let repository = deps.named()?;
    let broker = deps.broker().await?;
    let mut found = Vec::new();
    for queue in length.queue.map_or(Queue::ALL.to_vec(), |queue| vec![queue]) {
        let stream = contents::stream(&broker, queue).await?;
        found.push((
            queue,
            contents::read(&stream, &Scope::new(queue, repository.clone())).await?,
        ));
    }
    Ok(report(&found))
}

/// The old tool's line for each queue: nothing else, since scripts read it.
fn report(found: &[(Queue, Contents)]) -> Report {
    let line = |(queue, contents): &(Queue, Contents)| format!("{}.length = {}", queue.name(), contents.length());
    let lines: Vec<_> = found.iter().map(line).collect();
    let entries = found
        .iter()
        .map(|(queue, contents)| (queue.name().to_owned(), entry(contents)));
    Report::new(lines.join("\n"), Value::Object(entries.collect()))
}

fn entry(contents: &Contents) -> Value {
    json!({
        "length": contents.length(),
        "requests": contents.requests(),
        "malformed": contents.malformed,
        "by_subject": contents.families,
    })
}
