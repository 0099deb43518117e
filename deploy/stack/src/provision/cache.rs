//! The folder that keeps what was downloaded.
//!
//! Invariant: a folder with its final name is complete. It got that name by a rename, after its contents were counted;
//! the count is compared at every use, so that a damaged folder is filled again instead of failing obscurely.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;

/// The file inside a complete folder that says how much it should contain.
const RECEIPT: &str = ".complete";

/// Where downloads are kept. See [`Cache::open`] for the place.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache: `BUGSTREAM_CACHE`, else `/var/cache/bugstream` as root, else `$XDG_CACHE_HOME/bugstream`, else
    /// `~/.cache/bugstream`.
    ///
    /// # Errors
    /// It cannot be created, or (as root) Elasticsearch's unprivileged user could not reach it.
    pub fn open() -> Result<Self> {
        Self::at(&default_root()?)
    }

    /// Opens the cache in a given folder.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn at(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot create the cache {}", root.display()))?;
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot open the cache {}", root.display()))?;
        if is_root() && !reachable_by_others(&root) {
            bail!(
                "the cache {} is closed to other users, and Elasticsearch refuses to run as root\n  \
                 set BUGSTREAM_CACHE to a folder that everyone may enter, /var/cache/bugstream for example",
                root.display()
            );
        }
        Ok(Self { root })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a thing, if it is complete.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.root.join(name);
        let receipt = fs::read_to_string(path.join(RECEIPT)).ok()?;
        (count(&path).ok()?.receipt() == receipt).then_some(path)
    }

    /// The folder of a thing; `fill` puts it into an empty folder first if it is not there yet.
    pub(super) fn obtain(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(path) = self.find(name) {
            return Ok(path);
        }
        let _lock = self.lock(name)?;
        // Another run may have finished it while this one waited.
        if let Some(path) = self.find(name) {
            return Ok(path);
        }
        let (partial, path) = (self.root.join(format!("{name}.partial")), self.root.join(name));
        remove(&partial)?;
        remove(&path)?;
        fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        fill(&partial)?;
        let receipt = count(&partial).context("cannot count what was downloaded")?.receipt();
        fs::write(partial.join(RECEIPT), receipt).context("cannot write the receipt")?;
        fs::rename(&partial, &path).with_context(|| format!("cannot rename {}", partial.display()))?;
        Ok(path)
    }

    /// Holds off other runs until the returned file is closed (also by the death of this process).
    fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).context("cannot lock the cache")?;
        Ok(file)
    }
}

fn default_root() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BUGSTREAM_CACHE").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    if is_root() {
        return Ok("/var/cache/bugstream".into());
    }
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("bugstream"))
        .context("no home folder for the cache: set BUGSTREAM_CACHE")
}

/// Whether this process may do what root may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether users other than the owner can enter every folder down to this path.
pub(crate) fn reachable_by_others(path: &Path) -> bool {
    path.ancestors().all(enterable)
}

/// Whether users other than the owner can enter this folder (or run this program).
pub(crate) fn enterable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    files: u64,
    bytes: u64,
}

impl Count {
    fn receipt(&self) -> String {
        format!("{} files, {} bytes\n", self.files, self.bytes)
    }
}

/// Counts the files below a folder, its receipt aside.
fn count(folder: &Path) -> std::io::Result<Count> {
    let mut total = Count::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            let inner = count(&entry.path())?;
            total.files += inner.files;
            total.bytes += inner.bytes;
        } else if entry.file_name() != RECEIPT {
            total.files += 1;
            total.bytes += meta.len();
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(Cache);

    impl Drop for Scratch {
        fn drop(&mut self) {
            remove(self.0.root()).expect("the scratch cache can be removed");
        }
    }

    fn scratch(name: &str) -> Scratch {
        let root = std::env::temp_dir().join(format!("bugstream-cache-{name}-{}", std::process::id()));
        // Of a run that was killed, whose process had the number that this one has now.
        remove(&root).expect("what is left of it can be removed");
        Scratch(Cache::at(&root).expect("a cache in the temporary folder"))
    }

    fn fill(folder: &Path) -> Result<()> {
        fs::create_dir(folder.join("inner"))?;
        Ok(fs::write(folder.join("inner/file"), "content")?)
    }

    #[test]
    fn a_thing_is_filled_once() {
        let cache = scratch("once");
        let first = cache.0.obtain("thing", fill).expect("filled");
        let second = cache.0.obtain("thing", |_| bail!("filled twice")).expect("found");
        assert_eq!(first, second);
    }

    #[test]
    fn a_failed_download_leaves_nothing_that_counts() {
        let cache = scratch("failed");
        let half = |folder: &Path| {
            fill(folder)?;
            bail!("the line went dead")
        };
        cache.0.obtain("thing", half).expect_err("fails");
        assert_eq!(cache.0.find("thing"), None);
        cache
            .0
            .obtain("thing", fill)
            .expect("the rest of the failed one is no obstacle");
    }

    #[test]
    fn a_damaged_thing_is_filled_again() {
        let cache = scratch("damaged");
        let path = cache.0.obtain("thing", fill).expect("filled");
        fs::write(path.join("inner/file"), "cont").expect("truncated");
        assert_eq!(cache.0.find("thing"), None);
        cache.0.obtain("thing", fill).expect("repaired");
        assert_eq!(fs::read_to_string(path.join("inner/file")).expect("there"), "content");
    }

    #[test]
    fn two_runs_at_once_download_once() {
        let cache = scratch("race");
        let fills = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let counted = |folder: &Path| {
                        fills.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        fill(folder)
                    };
                    cache.0.obtain("thing", counted).expect("filled or found")
                });
            }
        });
        assert_eq!(fills.into_inner(), 1);
    }
}
