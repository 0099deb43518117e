//! What waits in the queues, by kind.

use bugstream_kit::broker::Broker;
use bugstream_proto::RepoName;
use serde_json::json;

use super::screen::Part;
use crate::contents::{self, Contents, Scope};
use crate::failure::Failure;
use crate::queue::Queue;
use crate::report::thousands;

pub(super) async fn part(repository: &RepoName, broker: &Broker) -> Result<Part, Failure> {
    let of = async |queue| {
        let stream = contents::stream(broker, queue).await?;
        contents::read(&stream, &Scope::new(queue, Some(repository.clone()))).await
    };
    Ok(shown(&of(Queue::Download).await?, &of(Queue::Index).await?))
}

/// A deadline waits beside every debounce, and is not shown besides.
fn shown(download: &Contents, index: &Contents) -> Part {
    let of = |contents: &Contents, family| contents.families.get(family).copied().unwrap_or_default();
    let counts = [
        ("download", of(download, "download")),
        ("debounce", of(download, "debounce")),
        ("backfill", of(download, "backfill")),
        ("index", of(index, "index")),
        ("retry", of(download, "retry") + of(index, "retry")),
    ];
    let part = counts.iter().fold(Part::new("waiting"), |part, (kind, count)| {
        part.say(format!("{kind} {}", thousands(*count)))
    });
    part.json(json!({ "download": download.families, "index": index.families }))
}
