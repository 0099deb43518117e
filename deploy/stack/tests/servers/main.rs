//! The real servers are started, killed, restarted and stopped; no stand-ins. Run by `cargo stack test`, which has
//! filled the cache; alone, the first run downloads.

mod elasticsearch;
mod minio;
mod nats;

use std::path::{Path, PathBuf};

/// A folder that Elasticsearch's unprivileged user can reach, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let cache = bugstream_stack::provision::Cache::open().expect("a cache");
        let path = cache.root().join(format!("scratch-{name}-{}", std::process::id()));
        // Of a run that was killed, whose process had the number that this one has now.
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the scratch folder can be removed");
    }
}
