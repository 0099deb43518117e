//! `snapshot list`: what there is, and which one `latest` is.

use bugstream_kit::snapshots::Stored;
use bugstream_proto::snapshot::{Audience, SnapshotName, Stamp};
use serde_json::json;

use super::cli::List;
use super::{in_store, latest, open};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, size};

pub(super) async fn run(asked: &List, deps: &Deps) -> Result<Report, Failure> {
    let snapshots = open(asked.directory.as_deref(), deps)?;
    let list = snapshots.list().await.map_err(in_store)?;
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for audience in Audience::ALL {
        let latest = latest(&snapshots, audience, &list).await?;
        for (stamp, stored) in stamps(&list, audience) {
            let place = snapshots.place(audience, stored.name);
            let (public, is_latest) = (audience == Audience::Public, latest == Some(stamp));
            lines.push(line(
                &stamp.to_string(),
                if public { "public" } else { "all" },
                &size(stored.size),
                &place,
                is_latest,
            ));
            all.push(json!({
                "snapshot": stamp.to_string(), "public": public, "bytes": stored.size, "latest": is_latest, "place": place,
            }));
        }
    }
    let text = if lines.is_empty() {
        "there are no snapshots: queue-cli snapshot make".to_owned()
    } else {
        lines.insert(0, line("snapshot", "content", "size", "where", false));
        lines.join("\n")
    };
    Ok(Report::new(text, json!({ "snapshots": all })))
}

fn line(stamp: &str, content: &str, size: &str, place: &str, is_latest: bool) -> String {
    let latest = if is_latest { " (latest)" } else { "" };
    format!("{stamp:<13}  {content:<7}  {size:>9}  {place}{latest}")
}

/// Those with a name of their own, oldest first.
pub(super) fn stamps(list: &[Stored], audience: Audience) -> impl Iterator<Item = (Stamp, &Stored)> {
    let of_it = list.iter().filter(move |one| one.audience == audience);
    of_it.filter_map(|one| match one.name {
        SnapshotName::At(stamp) => Some((stamp, one)),
        SnapshotName::Latest => None,
    })
}
