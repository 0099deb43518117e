//! `snapshot prune`: removes what is old.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bugstream_kit::snapshots::{Snapshots, Stored};
use bugstream_proto::snapshot::{Audience, SnapshotName, Stamp};
use serde_json::json;
use time::OffsetDateTime;

use super::cli::Prune;
use super::list::stamps;
use super::{in_store, latest, open};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{Report, counted, size};

/// A file that was given up on is none that somebody writes.
const DAY: Duration = Duration::from_hours(24);

pub(super) async fn run(asked: &Prune, deps: &Deps) -> Result<Report, Failure> {
    let snapshots = open(asked.directory.as_deref(), deps)?;
    let list = snapshots.list().await.map_err(in_store)?;
    if let (true, Some(directory)) = (list.is_empty(), &asked.directory) {
        let problem = format!("{} has no snapshot in it: nothing was removed", directory.display());
        return Err(Failure::usage(
            problem,
            "name the directory that snapshot make --to was given",
        ));
    }
    let now = deps.context().clock.now();
    let before = now - time::Duration::days(asked.keep_days.into());
    let mut old = Vec::new();
    // All that is to be known first: where that fails, nothing is removed.
    for audience in Audience::ALL {
        let latest = latest(&snapshots, audience, &list).await?;
        old.extend(chosen(&list, audience, latest, before));
    }
    let places: Vec<String> = old.iter().map(|one| snapshots.place(one.audience, one.name)).collect();
    let abandoned = abandoned(&snapshots, now);
    if !asked.dry_run {
        for (audience, stamp) in old.iter().filter_map(named) {
            snapshots.delete(audience, stamp).await.map_err(in_store)?;
        }
        for path in &abandoned {
            std::fs::remove_file(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        }
    }
    Ok(report(asked, &old, places, &abandoned))
}

/// What is old and neither the newest nor `latest`.
fn chosen(list: &[Stored], audience: Audience, latest: Option<Stamp>, before: OffsetDateTime) -> Vec<Stored> {
    let newest = stamps(list, audience).map(|(stamp, _)| stamp).max();
    let old = |stamp: Stamp| stamp.at() < before && Some(stamp) != newest && Some(stamp) != latest;
    stamps(list, audience)
        .filter(|(stamp, _)| old(*stamp))
        .map(|(_, one)| *one)
        .collect()
}

fn named(stored: &Stored) -> Option<(Audience, Stamp)> {
    match stored.name {
        SnapshotName::At(stamp) => Some((stored.audience, stamp)),
        SnapshotName::Latest => None,
    }
}

/// Files in directories of this machine that a killed process left: `<name>.tar.gz#<number>`.
fn abandoned(snapshots: &Snapshots, now: OffsetDateTime) -> Vec<PathBuf> {
    let folders = Audience::ALL
        .into_iter()
        .filter_map(|audience| snapshots.local(audience));
    let files = folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    let files = files.map(|file| file.path());
    files.filter(|file| is_unfinished(file) && is_old(file, now)).collect()
}

fn is_unfinished(file: &Path) -> bool {
    let parts = file.file_name().and_then(|name| name.to_str()?.split_once('#'));
    parts.is_some_and(|(name, number)| SnapshotName::of_file(name).is_some() && number.parse::<u32>().is_ok())
}

fn is_old(file: &Path, now: OffsetDateTime) -> bool {
    let modified = file.symlink_metadata().and_then(|about| about.modified()).ok();
    let age = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    age.is_some_and(|since| now.unix_timestamp().unsigned_abs() > (since + DAY).as_secs())
}

fn report(asked: &Prune, old: &[Stored], places: Vec<String>, abandoned: &[PathBuf]) -> Report {
    let bytes: u64 = old.iter().map(|one| one.size).sum();
    let verb = if asked.dry_run { "would remove" } else { "removed" };
    let days = counted(asked.keep_days.into(), "day");
    let mut lines: Vec<String> = places.iter().map(|place| format!("{verb} {place}")).collect();
    let unfinished: Vec<String> = abandoned.iter().map(|path| path.display().to_string()).collect();
    lines.extend(
        unfinished
            .iter()
            .map(|path| format!("{verb} {path}, which was never finished")),
    );
    lines.push(if lines.is_empty() {
        format!("nothing to remove: those of {days} are kept, the newest and what latest is")
    } else {
        format!("{verb} {} of {}", counted(old.len() as u64, "snapshot"), size(bytes))
    });
    let json = json!({ "removed": places, "unfinished": unfinished, "bytes": bytes, "dry_run": asked.dry_run });
    Report::new(lines.join("\n"), json)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn stored(name: &str) -> Stored {
        Stored {
            audience: Audience::Trusted,
            name: name.parse().expect("a name"),
            size: 1,
        }
    }

    #[test]
    fn the_newest_and_latest_stay_however_old_they_are() {
        let list = ["latest", "20260101_0000", "20260102_0000", "20260103_0000"].map(stored);
        let gone = |latest: &str, before| {
            let latest = latest.parse().ok();
            let gone = chosen(&list, Audience::Trusted, latest, before);
            gone.iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
        };
        let later = datetime!(2026-11-21 12:00 UTC);
        assert_eq!(gone("20260102_0000", later), ["20260101_0000"]);
        assert_eq!(gone("20260103_0000", later), ["20260101_0000", "20260102_0000"]);
        assert_eq!(gone("", datetime!(2026-01-01 00:00 UTC)), Vec::<String>::new());
        assert!(chosen(&list, Audience::Public, None, later).is_empty());
    }

    #[test]
    fn only_what_a_snapshot_leaves_counts_as_unfinished() {
        for (name, want) in [
            ("20260101_0000.tar.gz#1", true),
            ("latest.tar.gz#0", true),
            ("20260101_0000.tar.gz", false),
            ("20260101_0000.tar.gz#x", false),
            ("other.tar.gz#1", false),
        ] {
            assert_eq!(is_unfinished(Path::new("/folder").join(name).as_path()), want, "{name}");
        }
    }
}
