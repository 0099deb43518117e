//! `snapshot restore`: looks through an archive, then takes from it what the log does not know.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bugstream_kit::snapshots::Snapshots;
use bugstream_proto::IssueId;
use bugstream_proto::snapshot::{Audience, SnapshotName};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::cli::Restore;
use super::{in_store, open};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::import::adopt::Archive;
use crate::import::reading::{Reading, Source};
use crate::import::take::{self, Taken, Work};
use crate::import::tally::Tally;
use crate::import::{AFTERWARDS, no_archive};
use crate::progress::Progress;
use crate::report::{Report, counted, thousands};

/// Issues that are looked up at once.
const AT_ONCE: usize = 64;

/// Newer ones that are named.
const NAMED: usize = 5;

pub(super) async fn run(asked: &Restore, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let repository = take::repository(deps)?;
    let place = Place::of(asked, deps)?;
    // Opened first: what is not there needs no server to be away.
    let source = place.open().await?;
    let archive = take::open(&repository, deps).await?;
    let known = archive.known().await?;
    let seen = look(source, asked, &archive, &known, progress).await?;
    let newer = archive.newer(&seen.known).await?;
    if !newer.is_empty() && !asked.missing_only {
        return Err(is_newer(&newer, asked));
    }
    if asked.dry_run {
        return Ok(report(asked, &seen.tally, &newer));
    }
    let reading = Reading::begin(place.open().await?, asked.largest.bytes(), Arc::new(known));
    let total = Some(seen.tally.seen());
    let (mut tally, end) = take::each(reading, Work::Take, total, &archive, progress, |_| {}).await?;
    end.map_err(|damaged| no_archive(&asked.snapshot, &damaged))?;
    tally.known.extend(seen.known.iter().map(|one| one.issue.number()));
    Ok(report(asked, &tally, &newer))
}

/// Where the archive is.
enum Place {
    Stored(Snapshots, SnapshotName),
    File(PathBuf),
}

impl Place {
    fn of(asked: &Restore, deps: &Deps) -> Result<Self, Failure> {
        let text = asked.snapshot.as_str();
        let name = text.parse().ok().or_else(|| {
            let of_file = SnapshotName::of_file(text);
            of_file.filter(|_| asked.directory.is_some())
        });
        match name {
            Some(name) => Ok(Self::Stored(open(asked.directory.as_deref(), deps)?, name)),
            None if asked.directory.is_some() => Err(no_snapshot(text)),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }

    async fn open(&self) -> Result<Source, Failure> {
        match self {
            Self::Stored(snapshots, name) => {
                let bytes = snapshots.read(Audience::Trusted, *name).await.map_err(in_store)?;
                Ok(Source::Stored(bytes))
            }
            Self::File(path) if path.is_file() => Ok(Source::File(path.clone())),
            Self::File(path) => Err(no_snapshot(&path.display().to_string())),
        }
    }
}

fn no_snapshot(name: &str) -> Failure {
    let problem = format!("there is no snapshot {name:?}");
    Failure::failed(problem).with_fix("queue-cli snapshot list shows what there is; a file is named by its path")
}

/// What an archive has.
struct Looked {
    tally: Tally,
    /// Issues of it that the log knows.
    known: Vec<Taken>,
}

/// Looks through all of it.
///
/// # Errors
/// [`Failure`] for an archive that is not whole: nothing was changed.
async fn look(
    source: Source,
    asked: &Restore,
    archive: &Archive,
    known: &HashSet<u64>,
    progress: &mut Progress<'_>,
) -> Result<Looked, Failure> {
    let reading = Reading::begin(source, asked.largest.bytes(), Arc::default());
    let mut both = Vec::new();
    let note = |taken: &Taken| {
        if known.contains(&taken.issue.number()) {
            both.push(taken.clone());
        }
    };
    let (mut tally, end) = take::each(reading, Work::Look, None, archive, progress, note).await?;
    end.map_err(|damaged| no_archive(&asked.snapshot, &damaged))?;
    if tally.breakage() > 0 {
        let named: Vec<String> = tally.named().map(|(name, why)| format!("{name}: {why}")).collect();
        let broken = counted(tally.breakage(), "issue");
        let failure = Failure::failed(format!("{broken} of it cannot be restored ({})", named.join("; ")));
        return Err(failure.with_fix("nothing was changed; queue-cli import FILE takes what is whole"));
    }
    if tally.new == 0 {
        let failure = Failure::failed(format!("{}: no issue is in it", asked.snapshot));
        return Err(failure.with_fix("nothing was changed"));
    }
    tally.new -= both.len() as u64;
    tally.known = both.iter().map(|one| one.issue.number()).collect();
    Ok(Looked { tally, known: both })
}

impl Archive {
    /// Issues of which the log knows something newer than this.
    async fn newer(&self, known: &[Taken]) -> Result<Vec<IssueId>, Failure> {
        let looked_up = stream::iter(known).map(async |one| {
            let newest = self.log.newest(&one.issue).await;
            let newest = newest.map_err(|error| Failure::failed(error.to_string()))?;
            let newer = newest.is_some_and(|newest| newest.event.revision > one.revision);
            Ok::<_, Failure>(newer.then(|| one.issue.clone()))
        });
        let mut looked_up = std::pin::pin!(looked_up.buffer_unordered(AT_ONCE));
        let mut newer = Vec::new();
        while let Some(one) = looked_up.next().await {
            newer.extend(one?);
        }
        newer.sort();
        Ok(newer)
    }
}

fn is_newer(newer: &[IssueId], asked: &Restore) -> Failure {
    let mut names: Vec<String> = newer.iter().take(NAMED).map(ToString::to_string).collect();
    if newer.len() > NAMED {
        names.push("…".to_owned());
    }
    let problem = format!(
        "the log knows something newer of {} ({}): nothing was changed",
        counted(newer.len() as u64, "issue"),
        names.join(", ")
    );
    let command = format!("queue-cli snapshot restore {} --missing-only", asked.snapshot);
    Failure::failed(problem).with_fix(format!("{command} restores only what the log does not know"))
}

fn report(asked: &Restore, tally: &Tally, newer: &[IssueId]) -> Report {
    let done = if asked.dry_run { "would be restored" } else { "restored" };
    let mut lines = tally.lines(done);
    if !newer.is_empty() {
        lines.push(format!(
            "  of {} the log knows something newer, which stays",
            thousands(newer.len() as u64)
        ));
    }
    if tally.new > 0 && !asked.dry_run {
        lines.push(AFTERWARDS.to_owned());
    }
    let mut json = tally.json();
    json["newer"] = json!(newer.iter().map(ToString::to_string).collect::<Vec<_>>());
    json["dry_run"] = json!(asked.dry_run);
    Report::new(lines.join("\n"), json)
}
