//! `dead-letters purge`: removes letters. What comes in meanwhile stays.

use bugstream_kit::dead_letter::StoredLetters;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::cli::Purge;
use super::which::{Selection, away};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, counted};

/// Letters that are removed at once.
const IN_FLIGHT: usize = 128;

pub(super) async fn run(
    purge: &Purge,
    letters: &StoredLetters,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Report, Failure> {
    let held = letters.held().await.map_err(|error| away(&error))?;
    let selection = Selection::new(&purge.which, deps);
    progress.doing(if purge.dry_run { "read" } else { "purged" });
    let purged = match (selection.is_all(), purge.dry_run) {
        (true, true) => held.letters,
        (true, false) => letters.remove_until(held.last).await.map_err(|error| away(&error))?,
        (false, _) => each(purge, letters, &selection, held.last, progress).await?,
    };
    let what = counted(purged, "letter");
    let human = if purge.dry_run {
        format!("would purge {what}; nothing was changed")
    } else {
        format!("purged {what}")
    };
    Ok(Report::new(
        human,
        json!({ "dry_run": purge.dry_run, "letters": purged }),
    ))
}

async fn each(
    purge: &Purge,
    letters: &StoredLetters,
    selection: &Selection<'_>,
    last: u64,
    progress: &mut Progress<'_>,
) -> Result<u64, Failure> {
    let removals = selection.read(letters, last).map_ok(async |letter| {
        if purge.dry_run {
            return Ok(true);
        }
        letters.remove(letter.sequence).await.map_err(|error| away(&error))
    });
    let mut removed = removals.try_buffer_unordered(IN_FLIGHT);
    let mut purged = 0;
    while let Some(was_there) = removed.next().await {
        let so_far = || {
            format!(
                "{} purged so far; give the same command again",
                counted(purged, "letter")
            )
        };
        purged += u64::from(was_there.map_err(|failure| failure.with_fix(so_far()))?);
        progress.step(purged);
    }
    Ok(purged)
}
