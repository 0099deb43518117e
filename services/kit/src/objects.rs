//! The object store: raw JSON exactly as received, compressed or not, checked against its hash when read.

use std::sync::Arc;

use anyhow::Context as _;
use bugstream_proto::{IssueId, Nonce, ObjectKey, Part, v1};
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use crate::config;
use crate::service::Context;

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No object has this key.
    #[error("object {0} does not exist")]
    Missing(String),
    /// Its bytes are not those that the event describes.
    #[error("object {key} is damaged: {why}")]
    Damaged {
        /// Which object.
        key: String,
        /// What differs.
        why: &'static str,
    },
    /// The store is away, full, or refuses us.
    #[error("the object store does not answer: {0}")]
    Unavailable(String),
}

/// The archive's object store. Clones share it.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Path,
    compression: v1::Compression,
}

impl Objects {
    /// Opens the configured store and makes a local directory if it is missing.
    ///
    /// # Errors
    /// If the directory cannot be made or the credentials of S3 are incomplete.
    pub fn open(config: &config::ObjectStore) -> anyhow::Result<Self> {
        crate::tls::install();
        let compression = match config.compression {
            config::Compression::None => v1::Compression::None,
            config::Compression::Zstd => v1::Compression::Zstd,
        };
        let (store, root) = match config.url.to_file_path() {
            Ok(directory) if config.url.scheme() == "file" => (local(&directory)?, Path::default()),
            _ => s3(&config.url)?,
        };
        Ok(Self {
            store,
            root,
            compression,
        })
    }

    /// Adds the store to what `/readyz` asks.
    pub fn watch(&self, context: &Context) {
        let objects = self.clone();
        context.health.probe("object store", move || {
            let objects = objects.clone();
            async move { objects.answers().await.map_err(|error| error.to_string()) }
        });
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn answers(&self) -> Result<(), ObjectError> {
        match self.store.head(&self.root.clone().join("issues")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ObjectError::Unavailable(error.to_string())),
        }
    }

    /// Stores one part of an issue under a key of its own and describes it for the event.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn put(
        &self,
        issue: &IssueId,
        revision: u64,
        nonce: &Nonce,
        part: Part,
        raw: Bytes,
    ) -> Result<v1::StoredObject, ObjectError> {
        let compression = self.compression;
        let key = ObjectKey {
            issue: issue.clone(),
            revision,
            nonce: nonce.clone(),
            part,
            compression,
        }
        .to_string();
        let (size, sha256) = (raw.len() as u64, Sha256::digest(&raw).to_vec());
        let stored = if compression == v1::Compression::Zstd {
            compress(&raw)?
        } else {
            raw
        };
        self.store
            .put(&self.path(&key)?, stored.into())
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(v1::StoredObject {
            key,
            size,
            sha256,
            compression: compression.into(),
        })
    }

    /// The raw JSON of an object, checked against size and hash.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn get(&self, object: &v1::StoredObject) -> Result<Bytes, ObjectError> {
        let damaged = |why| ObjectError::Damaged {
            key: object.key.clone(),
            why,
        };
        let missing = || ObjectError::Missing(object.key.clone());
        let stored = match self.store.get(&self.path(&object.key)?).await {
            Ok(found) => found.bytes().await.map_err(|error| unavailable(&error))?,
            Err(object_store::Error::NotFound { .. }) => return Err(missing()),
            Err(error) => return Err(unavailable(&error)),
        };
        let raw = match object.compression() {
            v1::Compression::Zstd => {
                decompress(&stored, object.size).ok_or_else(|| damaged("it does not decompress"))?
            }
            _ => stored,
        };
        if raw.len() as u64 != object.size {
            return Err(damaged("its size differs from the event's"));
        }
        if Sha256::digest(&raw).as_slice() != object.sha256 {
            return Err(damaged("its hash differs from the event's"));
        }
        Ok(raw)
    }

    /// Whether an object exists.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn exists(&self, object: &v1::StoredObject) -> Result<bool, ObjectError> {
        match self.store.head(&self.path(&object.key)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Deletes objects by key. One that is gone already is fine.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn delete(&self, keys: &[String]) -> Result<(), ObjectError> {
        for key in keys {
            match self.store.delete(&self.path(key)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Ok(())
    }

    /// Deletes every object of an issue that was stored for a revision below `revision`; answers how many.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn purge_below(&self, issue: &IssueId, revision: u64) -> Result<usize, ObjectError> {
        let keys: Vec<String> = self
            .keys(issue)
            .await?
            .into_iter()
            .filter(|k| k.revision < revision)
            .map(|k| k.to_string())
            .collect();
        self.delete(&keys).await?;
        Ok(keys.len())
    }

    /// The keys of every object that lies there for an issue, newest or not.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn keys(&self, issue: &IssueId) -> Result<Vec<ObjectKey>, ObjectError> {
        let prefix = self.path(&ObjectKey::prefix(issue))?;
        let found: Vec<_> = self
            .store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|error| unavailable(&error))?;
        let below_root = |path: &Path| {
            path.prefix_match(&self.root)
                .map(|parts| Path::from_iter(parts).to_string())
        };
        Ok(found
            .iter()
            .filter_map(|meta| below_root(&meta.location)?.parse().ok())
            .collect())
    }

    fn path(&self, key: &str) -> Result<Path, ObjectError> {
        let key = Path::parse(key).map_err(|_| ObjectError::Missing(key.to_owned()))?;
        Ok(Path::from_iter(self.root.parts().chain(key.parts())))
    }
}

fn local(directory: &std::path::Path) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let name = || format!("object store directory {} (OBJECT_STORE_URL)", directory.display());
    std::fs::create_dir_all(directory).with_context(name)?;
    // An event is published only after its objects are on disk, so a put answers after fsync; a directory that was
    // emptied is removed.
    let store = object_store::local::LocalFileSystem::new_with_prefix(directory).with_context(name)?;
    Ok(Arc::new(store.with_automatic_cleanup(true).with_fsync(true)))
}

fn s3(url: &url::Url) -> anyhow::Result<(Arc<dyn ObjectStore>, Path)> {
    let store = object_store::aws::AmazonS3Builder::from_env()
        .with_url(url.as_str())
        .with_allow_http(true);
    let store = store
        .build()
        .context("object store (OBJECT_STORE_URL; AWS_ENDPOINT, AWS_ACCESS_KEY_ID, …)")?;
    Ok((
        Arc::new(store),
        Path::from_url_path(url.path()).context("the path of OBJECT_STORE_URL")?,
    ))
}

fn compress(raw: &[u8]) -> Result<Bytes, ObjectError> {
    zstd::bulk::compress(raw, 3)
        .map(Bytes::from)
        .map_err(|error| ObjectError::Unavailable(error.to_string()))
}

/// Bounded by the size that the event says, so that a crafted object cannot fill the memory.
fn decompress(stored: &[u8], size: u64) -> Option<Bytes> {
    zstd::bulk::decompress(stored, usize::try_from(size).ok()?)
        .ok()
        .map(Bytes::from)
}

fn unavailable(error: &object_store::Error) -> ObjectError {
    ObjectError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use bugstream_proto::RepoName;

    use super::*;

    fn store(compression: config::Compression) -> (tempfile::TempDir, Objects) {
        let dir = tempfile::tempdir().unwrap();
        let url = url::Url::from_directory_path(dir.path().join("deep/er")).unwrap();
        let objects = Objects::open(&config::ObjectStore { url, compression }).unwrap();
        (dir, objects)
    }

    #[tokio::test]
    async fn what_is_stored_comes_back_byte_for_byte_and_checked() {
        for compression in [config::Compression::None, config::Compression::Zstd] {
            let (_dir, objects) = store(compression);
            let issue = RepoName::new("a", "b.c").unwrap().issue(7).unwrap();
            let raw = Bytes::from_static("{\"title\":\"ü\",\n \"n\":1e400}".as_bytes());
            let stored = objects
                .put(&issue, 5, &Nonce::from_bits(1), Part::Issue, raw.clone())
                .await
                .unwrap();
            assert_eq!(objects.get(&stored).await.unwrap(), raw);
            assert!(objects.exists(&stored).await.unwrap());
            let lying = v1::StoredObject {
                sha256: vec![0; 32],
                ..stored.clone()
            };
            assert!(matches!(objects.get(&lying).await, Err(ObjectError::Damaged { .. })));
            let short = v1::StoredObject {
                size: 3,
                ..stored.clone()
            };
            assert!(matches!(objects.get(&short).await, Err(ObjectError::Damaged { .. })));
        }
    }

    #[tokio::test]
    async fn purging_leaves_what_is_newer() {
        let (_dir, objects) = store(config::Compression::None);
        let issue = RepoName::new("a", "b").unwrap().issue(7).unwrap();
        let mut stored = Vec::new();
        for revision in [1, 2, 3] {
            let raw = Bytes::from_static(b"[]");
            stored.push(
                objects
                    .put(&issue, revision, &Nonce::from_bits(1), Part::Timeline, raw)
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(objects.purge_below(&issue, 3).await.unwrap(), 2);
        assert!(matches!(objects.get(&stored[0]).await, Err(ObjectError::Missing(_))));
        assert_eq!(objects.keys(&issue).await.unwrap().len(), 1);
        objects
            .delete(&[stored[0].key.clone(), stored[2].key.clone()])
            .await
            .unwrap();
        assert!(objects.keys(&issue).await.unwrap().is_empty());
        objects.answers().await.unwrap();
    }
}
