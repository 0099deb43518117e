//! `import`: takes what the old system kept into the archive, so that moving in costs minutes instead of days of
//! downloads.
//!
//! Invariants:
//! - Only issues that the log does not know are taken: what was downloaded is never replaced by what is older.
//! - An issue's revision is the time of its files, so that every later download counts as newer.
//! - Nothing is written but objects and events. A path of the source decides which issue a file is of, and nothing else.
//! - Memory is bounded, whatever the source says of its sizes.
//!
//! One file a step: `layout` knows what paths mean, `directory` and `archive` read a source, `pairs` puts the files of an
//! issue together, `reading` does that on a thread, `adopt` checks an issue and stores it, `take` does so with all,
//! `tally` says what came of it. `snapshot restore` uses the same.

pub(crate) mod adopt;
pub(crate) mod archive;
pub(crate) mod cli;
mod directory;
mod layout;
pub(crate) mod pairs;
pub(crate) mod reading;
pub(crate) mod take;
pub(crate) mod tally;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use archive::Damaged;
use cli::Import;
use reading::{Reading, Source};
use take::Work;
use tally::Tally;

pub(crate) async fn run(asked: &Import, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let repository = take::repository(deps)?;
    let (source, total) = source(&asked.path)?;
    let archive = take::open(&repository, deps).await?;
    let known = Arc::new(archive.known().await?);
    let reading = Reading::begin(source, asked.largest.bytes(), known);
    let work = if asked.dry_run { Work::Look } else { Work::Take };
    let (tally, end) = take::each(reading, work, total, &archive, progress, |_| {}).await?;
    report(asked, &tally, &end)
}

/// What is to be read, and how many issues that may be.
fn source(path: &Path) -> Result<(Source, Option<u64>), Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", path.display()));
    if !path.metadata().map_err(cannot)?.is_dir() {
        return Ok((Source::File(path.to_owned()), None));
    }
    let folders = directory::list(path).map_err(cannot)?;
    if folders.is_empty() {
        let failure = Failure::failed(format!("{} has no folder of an issue", path.display()));
        return Err(failure.with_fix("name the directory whose folders are numbers: data/current of the old system"));
    }
    let total = folders.numbers.len() as u64;
    Ok((Source::Directory(folders), Some(total)))
}

fn report(asked: &Import, tally: &Tally, end: &Result<(), Damaged>) -> Result<Report, Failure> {
    if let Err(damaged) = end
        && tally.seen() == 0
    {
        return Err(no_archive(&asked.path.display().to_string(), damaged));
    }
    let done = if asked.dry_run { "would be imported" } else { "imported" };
    let mut lines = tally.lines(done);
    if let Err(damaged) = end {
        lines.push(format!("  {damaged}: what comes after is missing"));
    }
    if tally.new > 0 && !asked.dry_run {
        lines.push(AFTERWARDS.to_owned());
    }
    let mut json = tally.json();
    json["dry_run"] = json!(asked.dry_run);
    json["damaged"] = json!(end.as_ref().err().map(ToString::to_string));
    let report = Report::new(lines.join("\n"), json);
    Ok(match tally.breakage() == 0 && end.is_ok() {
        true => report,
        false => report.that_differs(),
    })
}

/// Documents that were written before the log forgot their issues count as newer, and lie where no mark reaches.
pub(crate) const AFTERWARDS: &str =
    "  the indexer takes them from here; where Elasticsearch has had these issues before: queue-cli rebuild";

/// A file that is no archive at all.
pub(crate) fn no_archive(name: &str, damaged: &Damaged) -> Failure {
    let failure = Failure::failed(format!("{name}: {damaged}"));
    failure.with_fix(
        "an archive is a tar.gz file with <number>/issue.json and <number>/timeline.json; nothing was changed",
    )
}
