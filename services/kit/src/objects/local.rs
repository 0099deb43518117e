//! Listings of a store that is a local directory, with what a listing of the object store's library leaves out: files that
//! a write left when it was cut short. They hold content too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{ObjectError, Shelf, Stored};

/// Whether a key is that of a write under way, or of one that was cut short: `issue.json#1`.
pub(super) fn is_cut_short(key: &str) -> bool {
    let ending = key.rsplit_once('#').map(|(_, ending)| ending);
    ending.is_some_and(|ending| !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) async fn remove(directory: &Path, keys: Vec<&String>) -> Result<(), ObjectError> {
    for key in keys {
        match tokio::fs::remove_file(directory.join(key)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(away(&error)),
            _ => {}
        }
    }
    Ok(())
}

/// Every file below a prefix, in order of key.
pub(super) async fn files(directory: &Path, prefix: String) -> Result<Vec<Stored>, ObjectError> {
    let directory = directory.to_owned();
    blocking(move || walk(&directory, &prefix)).await
}

pub(super) async fn shelves(
    directory: &Path,
    prefix: String,
    after: Option<String>,
    most: usize,
) -> Result<Vec<Shelf>, ObjectError> {
    let directory = directory.to_owned();
    blocking(move || {
        let mut names = names(&directory.join(&prefix))?;
        names.retain(|name| after.as_ref().is_none_or(|after| name > after));
        let shelf = |name: String| {
            let files = walk(&directory, &format!("{prefix}/{name}"))?;
            Ok(Shelf { name, files })
        };
        names.into_iter().take(most).map(shelf).collect()
    })
    .await
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ObjectError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| ObjectError::Unavailable(error.to_string()))?;
    done.map_err(|error| away(&error))
}

/// The names in a folder, sorted; none in one that is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Follows no links: what they lead to is not the store's.
fn walk(directory: &Path, key: &str) -> io::Result<Vec<Stored>> {
    let (mut found, mut left) = (Vec::new(), vec![key.to_owned()]);
    while let Some(key) = left.pop() {
        let path: PathBuf = directory.join(&key);
        match fs::symlink_metadata(&path) {
            // Deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(metadata) if metadata.is_dir() => {
                left.extend(names(&path)?.iter().map(|name| format!("{key}/{name}")));
            }
            Ok(metadata) => found.push(Stored {
                key,
                bytes: metadata.len(),
                modified: OffsetDateTime::from(metadata.modified()?),
            }),
        }
    }
    found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn away(error: &io::Error) -> ObjectError {
    ObjectError::Unavailable(error.to_string())
}
