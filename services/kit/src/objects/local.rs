//! A store that is a local directory, where the object store's library is not enough: listings, which it leaves files out
//! of that a write left when it was cut short (they hold content too), and reading many small files.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::{ObjectError, Shelf, Stored};

/// Threads that read at the same time, at most.
const MOST_READERS: usize = 8;
/// Jobs that wait for each thread before one more is started: to wake it costs as much as some of them.
const WORTH_A_THREAD: usize = 4;

/// A few threads that read for everybody, and go on while anybody waits: to wake one up for each file, among hundreds
/// of them, would cost more than the reading. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    waiting: VecDeque<Job>,
    at_work: usize,
}

type Job = Box<dyn FnOnce() + Send>;

impl Readers {
    /// Does this work as soon as a thread has time for it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ObjectError> {
        let (reply, answer) = oneshot::channel();
        // Nobody may want the answer any more.
        let wants_help = self.push(Box::new(move || drop(reply.send(work()))));
        if wants_help {
            let readers = self.clone();
            tokio::task::spawn_blocking(move || readers.work());
        }
        let died = |_| ObjectError::Unavailable("a thread that reads files ended early".to_owned());
        answer.await.map_err(died)
    }

    /// Whether there should be one more thread.
    fn push(&self, job: Job) -> bool {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.waiting.push_back(job);
        let wants_help = line.at_work < MOST_READERS && line.waiting.len() > line.at_work * WORTH_A_THREAD;
        line.at_work += usize::from(wants_help);
        wants_help
    }

    fn next(&self) -> Option<Job> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let job = line.waiting.pop_front();
        line.at_work -= usize::from(job.is_none());
        job
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // Whoever waits for one that panicked gets an error.
            _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readers")
    }
}

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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ObjectError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn few_threads_do_all_that_is_asked_for_and_outlive_a_panic() {
        let readers = Readers::default();
        let asked = (0..1_000).map(|n| {
            readers.read(move || {
                assert_ne!(n % 100, 7, "on purpose");
                n
            })
        });
        let answers = futures_util::future::join_all(asked).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.ok(), (n % 100 != 7).then_some(n));
        }
        let line = || readers.0.lock().unwrap().waiting.len();
        assert_eq!(line(), 0);
        assert!(readers.read(|| ()).await.is_ok());
    }
}
