//! Whether a downloader works, and whether the fuse lets it delete.

use bugstream_kit::broker::Broker;
use bugstream_kit::deletions::{Deletions, DeletionsError, FuseRecord};
use bugstream_proto::topology::LEASES;
use serde_json::json;

use super::screen::Part;
use crate::contents::away;
use crate::failure::Failure;
use crate::report::{counted, time_of};

/// The key of the lease that the active downloader renews.
const LEASE: &str = "downloader";

/// Whether some downloader is active.
pub(crate) async fn leads(broker: &Broker) -> Result<bool, Failure> {
    let leases = broker
        .jetstream
        .get_key_value(LEASES)
        .await
        .map_err(|error| away(&error))?;
    Ok(leases.get(LEASE).await.map_err(|error| away(&error))?.is_some())
}

pub(super) async fn part(broker: &Broker) -> Result<Part, Failure> {
    let leads = leads(broker).await?;
    let failed = |error: DeletionsError| Failure::failed(error.to_string());
    let deletions = Deletions::open(broker).await.map_err(failed)?;
    let (fuse, held) = (
        deletions.fuse().await.map_err(failed)?,
        deletions.pending().await.map_err(failed)?.len() as u64,
    );
    Ok(shown(leads, &fuse, held))
}

fn shown(leads: bool, fuse: &FuseRecord, held: u64) -> Part {
    let leader = if leads { "one leads" } else { "none leads" };
    let part = Part::new("downloader").say(leader).json(json!({
        "leads": leads,
        "fuse_blown_at": fuse.blown_at.map(time_of),
        "deletions_held": held,
    }));
    let part = part.wrong_if(!leads, "nothing is downloaded: start one, or look at its log");
    match fuse.blown_at {
        Some(_) => part
            .say(format!("{} held back", counted(held, "deletion")))
            .wrong("the fuse is blown and nothing is deleted: queue-cli deletions list"),
        None => part,
    }
}
