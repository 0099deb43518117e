//! Where snapshots lie: in the object store, or in any directory in the same way. Their content is `queue-cli`'s
//! business; here they are archives with a name.
//!
//! Invariants:
//! - A name stands for a whole archive. It is written elsewhere first (a multipart upload, a file of another name), and
//!   what is given up leaves nothing under its name.
//! - `latest` is the newest whole one once more: a copy that the server makes, a hard link in a directory. It changes in
//!   one step, after the other is there.
//! - Nothing is deleted whose name is not that of a snapshot.

use std::path::PathBuf;
use std::sync::Arc;

use bugstream_proto::RepoName;
use bugstream_proto::snapshot::{Audience, SnapshotName, Stamp, prefix};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use time::OffsetDateTime;

use crate::objects::{ObjectError, Objects};

/// Of what an archive is uploaded. S3 takes 10,000 parts, so 160 GB.
const PIECE: usize = 16 << 20;

/// Pieces on their way at once.
const PIECES: usize = 3;

/// What S3 copies in one step.
const COPIED_AT_ONCE: u64 = 5 << 30;

/// A folder of snapshots, and below it the folder of those for everybody.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Arc<dyn ObjectStore>,
    /// Where names begin, for the trusted.
    root: Path,
    /// The same as a directory of this machine, if it is one.
    directory: Option<PathBuf>,
}

/// A snapshot that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// For whom.
    pub audience: Audience,
    /// Its name.
    pub name: SnapshotName,
    /// In bytes.
    pub size: u64,
}

/// An archive in the making. What is neither finished nor given up may leave parts behind that nothing names.
#[derive(Debug)]
pub struct Upload(WriteMultipart);

impl Upload {
    /// Takes more bytes, as fast as the store does.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`]: the store is away or full. Then it is to be given up.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        self.0.wait_for_capacity(PIECES).await.map_err(away)?;
        self.0.put(bytes);
        Ok(())
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`]: there is nothing under that name.
    pub async fn finish(self) -> Result<(), ObjectError> {
        self.0.finish().await.map(|_| ()).map_err(away)
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`]: parts may be left.
    pub async fn give_up(self) -> Result<(), ObjectError> {
        self.0.abort().await.map_err(away)
    }
}

impl Snapshots {
    /// Those of a repository in the archive's own object store.
    #[must_use]
    pub fn of(objects: &Objects, repo: &RepoName) -> Self {
        let (store, root, directory) = objects.inner();
        let below = prefix(repo, Audience::Trusted);
        Self {
            root: Path::from_iter(root.parts().chain(Path::from(below.as_str()).parts())),
            directory: directory.map(|directory| directory.join(below)),
            store,
        }
    }

    /// Those in a directory, which exists.
    ///
    /// # Errors
    /// There is no such directory, or it may not be read.
    pub fn directory(path: &std::path::Path) -> Result<Self, ObjectError> {
        let store = object_store::local::LocalFileSystem::new_with_prefix(path).map_err(away)?;
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
            root: Path::default(),
            directory: Some(path.to_owned()),
        })
    }

    /// What is there, in order of audience and name, `latest` first.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Stored>, ObjectError> {
        let mut found = Vec::new();
        for audience in Audience::ALL {
            let folder = self.folder(audience);
            let listed = self.store.list_with_delimiter(Some(&folder)).await.map_err(away)?;
            let known = listed.objects.iter().filter_map(|meta| {
                Some(Stored {
                    audience,
                    name: SnapshotName::of_file(meta.location.filename()?)?,
                    size: meta.size,
                })
            });
            found.extend(known);
        }
        found.sort();
        Ok(found)
    }

    /// The snapshots that may hold an issue whose first event was at `first`: those begun in that minute or later. What
    /// lies in other directories is not known.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn since(&self, first: OffsetDateTime) -> Result<Vec<Stored>, ObjectError> {
        let mut found = self.list().await?;
        let first = Stamp::of(first);
        let old = |name| matches!(name, SnapshotName::At(stamp) if stamp < first);
        found.retain(|stored| !old(stored.name));
        Ok(found)
    }

    /// Begins an archive.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn begin(&self, audience: Audience, stamp: Stamp) -> Result<Upload, ObjectError> {
        self.upload(&self.path(audience, SnapshotName::At(stamp))).await
    }

    /// Lets `latest` be that one.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`]; then `latest` is what it was.
    pub async fn point_latest(&self, audience: Audience, stamp: Stamp) -> Result<(), ObjectError> {
        let (from, to) = (
            self.path(audience, SnapshotName::At(stamp)),
            self.path(audience, SnapshotName::Latest),
        );
        let size = self.store.head(&from).await.map_err(away)?.size;
        if size <= COPIED_AT_ONCE || self.directory.is_some() {
            return self.store.copy(&from, &to).await.map_err(away);
        }
        self.carry(&from, &to).await
    }

    /// Copies through this process what the server copies in no single step.
    async fn carry(&self, from: &Path, to: &Path) -> Result<(), ObjectError> {
        let mut bytes = self.store.get(from).await.map_err(away)?.into_stream();
        let mut upload = self.upload(to).await?;
        loop {
            let written = match bytes.try_next().await {
                Ok(Some(piece)) => upload.write(piece).await,
                Ok(None) => return upload.finish().await,
                Err(error) => Err(away(error)),
            };
            if let Err(error) = written {
                // The first error says why.
                let _ = upload.give_up().await;
                return Err(error);
            }
        }
    }

    /// The first bytes of an archive, which say which one it is; fewer if there are fewer.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn head(&self, audience: Audience, name: SnapshotName, length: u64) -> Result<Bytes, ObjectError> {
        let path = self.path(audience, name);
        let found = self.store.get_range(&path, 0..length).await;
        found.map_err(|error| missing(error, &path))
    }

    /// An archive's bytes.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn read(
        &self,
        audience: Audience,
        name: SnapshotName,
    ) -> Result<BoxStream<'static, Result<Bytes, ObjectError>>, ObjectError> {
        let path = self.path(audience, name);
        let found = self.store.get(&path).await.map_err(|error| missing(error, &path))?;
        Ok(found.into_stream().map_err(away).boxed())
    }

    /// Deletes one.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn delete(&self, audience: Audience, stamp: Stamp) -> Result<(), ObjectError> {
        let path = self.path(audience, SnapshotName::At(stamp));
        self.store.delete(&path).await.map_err(|error| missing(error, &path))
    }

    /// Where a person finds one: its path, or its key in a bucket.
    #[must_use]
    pub fn place(&self, audience: Audience, name: SnapshotName) -> String {
        match self.local(audience) {
            Some(directory) => directory.join(name.file()).display().to_string(),
            None => self.path(audience, name).to_string(),
        }
    }

    /// The folder of an audience, if it is a directory of this machine.
    #[must_use]
    pub fn local(&self, audience: Audience) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?;
        Some(directory.join(audience.folder()))
    }

    async fn upload(&self, path: &Path) -> Result<Upload, ObjectError> {
        let upload = self.store.put_multipart(path).await.map_err(away)?;
        Ok(Upload(WriteMultipart::new_with_chunk_size(upload, PIECE)))
    }

    fn folder(&self, audience: Audience) -> Path {
        let below = Path::from(audience.folder());
        Path::from_iter(self.root.parts().chain(below.parts()))
    }

    fn path(&self, audience: Audience, name: SnapshotName) -> Path {
        self.folder(audience).join(name.file())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn away(error: object_store::Error) -> ObjectError {
    ObjectError::Unavailable(error.to_string())
}

fn missing(error: object_store::Error, path: &Path) -> ObjectError {
    match error {
        object_store::Error::NotFound { .. } => ObjectError::Missing(path.to_string()),
        error => away(error),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const FIRST: OffsetDateTime = datetime!(2026-11-20 10:00 UTC);

    async fn with_two(dir: &std::path::Path) -> Snapshots {
        let snapshots = Snapshots::directory(dir).expect("it exists");
        for (audience, minutes) in [(Audience::Trusted, 0), (Audience::Public, 5)] {
            let stamp = Stamp::of(FIRST + time::Duration::minutes(minutes));
            let mut upload = snapshots.begin(audience, stamp).await.expect("there is room");
            upload
                .write(Bytes::from(stamp.to_string()))
                .await
                .expect("there is room");
            upload.finish().await.expect("there is room");
            snapshots.point_latest(audience, stamp).await.expect("it is there");
        }
        snapshots
    }

    async fn names(snapshots: &Snapshots) -> Vec<String> {
        let list = snapshots.list().await.expect("it answers");
        list.iter()
            .map(|one| format!("{}{}", one.audience.folder(), one.name))
            .collect()
    }

    #[tokio::test]
    async fn what_is_whole_is_listed_and_latest_is_the_same_once_more() {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshots = with_two(dir.path()).await;
        std::fs::write(dir.path().join("20261120.tar.gz"), "not ours").expect("written");
        let mut given_up = snapshots
            .begin(Audience::Trusted, Stamp::of(FIRST))
            .await
            .expect("room");
        given_up.write(Bytes::from_static(b"half")).await.expect("room");
        given_up.give_up().await.expect("it is there");
        assert_eq!(
            names(&snapshots).await,
            ["latest", "20261120_1000", "public/latest", "public/20261120_1005"]
        );
        let read = snapshots
            .read(Audience::Trusted, SnapshotName::Latest)
            .await
            .expect("there");
        let bytes: Vec<Bytes> = read.try_collect().await.expect("whole");
        assert_eq!(bytes.concat(), b"20261120_1000");
        let files = std::fs::read_dir(dir.path()).expect("a folder").count();
        assert_eq!(files, 4, "two snapshots, what is not ours, and the public folder");
    }

    #[tokio::test]
    async fn what_may_hold_an_issue_was_begun_after_its_first_event() {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshots = with_two(dir.path()).await;
        let since = async |at| snapshots.since(at).await.expect("it answers").len();
        assert_eq!(since(FIRST + time::Duration::seconds(59)).await, 4);
        assert_eq!(since(FIRST + time::Duration::minutes(1)).await, 3, "latest may be any");
    }

    #[tokio::test]
    async fn what_is_too_large_to_be_copied_is_carried() {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshots = with_two(dir.path()).await;
        let path = |name| snapshots.path(Audience::Trusted, name);
        let from = path(SnapshotName::At(Stamp::of(FIRST)));
        snapshots.carry(&from, &path(SnapshotName::Latest)).await.expect("room");
        let head = snapshots
            .head(Audience::Trusted, SnapshotName::Latest, 8)
            .await
            .expect("there");
        assert_eq!(head, Bytes::from_static(b"20261120"));
    }
}
