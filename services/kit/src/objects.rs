//! The object store: raw JSON exactly as received, compressed or not, checked against its hash when read.
//!
//! A store that is away must never look like one that lost something: what is missing is purged from searches or
//! becomes a dead letter, what is away only waits. S3 answers 404 for a missing bucket as it does for a missing object,
//! and a directory that is not mounted has no files, so "not found" is believed only when the store itself answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bugstream_proto::{IssueId, Nonce, ObjectKey, Part, RepoName, v1};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

mod local;

use crate::config;
use crate::secret::Secret;
use crate::service::Context;

/// A file of the store, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key, of whatever shape. A local directory also shows what a write that was cut short left: the key with `#`
    /// and a number behind it.
    pub key: String,
    /// As stored, so after compression.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: OffsetDateTime,
}

/// The files below one folder of a repository, which is called as its issue's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// The folder's name; of no number, if someone else put it there.
    pub name: String,
    /// Everything in it, in order of key.
    pub files: Vec<Stored>,
}

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
    /// Where the keys begin in a bucket.
    root: Path,
    /// The local directory, if that is what the store is.
    directory: Option<PathBuf>,
    readers: local::Readers,
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
        let directory = config.url.to_file_path().ok().filter(|_| config.url.scheme() == "file");
        let (store, root) = match &directory {
            Some(directory) => (local_store(directory)?, Path::default()),
            None => s3(config)?,
        };
        Ok(Self {
            store,
            root,
            directory,
            readers: local::Readers::default(),
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
        if let Some(directory) = &self.directory {
            let opened = tokio::fs::read_dir(directory).await;
            let away = |error| ObjectError::Unavailable(format!("{}: {error}", directory.display()));
            return opened.map(|_| ()).map_err(away);
        }
        let top = self.store.list_with_delimiter(Some(&self.root)).await;
        top.map(|_| ()).map_err(|error| unavailable(&error))
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
        let [raw] = self.get_all([object]).await?;
        Ok(raw)
    }

    /// The raw JSON of several objects: at once from a bucket, and from a directory in one go, since each change of
    /// threads costs as much as reading a small file.
    ///
    /// # Errors
    /// [`ObjectError`], of the first that has one.
    pub async fn get_all<const N: usize>(&self, objects: [&v1::StoredObject; N]) -> Result<[Bytes; N], ObjectError> {
        let read = match &self.directory {
            Some(directory) => self.read_files(directory, objects).await?,
            None => join_all(objects.map(|object| self.fetch(object))).await,
        };
        let mut all = [const { Bytes::new() }; N];
        for (raw, read) in all.iter_mut().zip(read) {
            *raw = match read {
                Err(ObjectError::Missing(key)) => {
                    self.answers().await?;
                    return Err(ObjectError::Missing(key));
                }
                read => read?,
            };
        }
        Ok(all)
    }

    async fn read_files<const N: usize>(
        &self,
        directory: &std::path::Path,
        objects: [&v1::StoredObject; N],
    ) -> Result<Vec<Result<Bytes, ObjectError>>, ObjectError> {
        let mut files = Vec::with_capacity(N);
        for object in objects {
            let path = self.path(&object.key)?;
            files.push((directory.join(path.as_ref()), object.clone()));
        }
        let read = |(path, object): (PathBuf, v1::StoredObject)| match std::fs::read(path) {
            Ok(stored) => checked(&object, stored.into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ObjectError::Missing(object.key)),
            Err(error) => Err(ObjectError::Unavailable(error.to_string())),
        };
        self.readers.read(move || files.into_iter().map(read).collect()).await
    }

    async fn fetch(&self, object: &v1::StoredObject) -> Result<Bytes, ObjectError> {
        let found = match self.store.get(&self.path(&object.key)?).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Err(ObjectError::Missing(object.key.clone())),
            Err(error) => Err(error),
        };
        checked(object, found.map_err(|error| unavailable(&error))?)
    }

    /// Whether an object exists.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn exists(&self, object: &v1::StoredObject) -> Result<bool, ObjectError> {
        match self.store.head(&self.path(&object.key)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => self.answers().await.map(|()| false),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Deletes objects by key. One that is gone already is fine.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn delete(&self, keys: &[String]) -> Result<(), ObjectError> {
        let is_file = |key: &&String| self.directory.is_some() && local::is_cut_short(key);
        let (files, keys): (Vec<_>, Vec<_>) = keys.iter().partition(is_file);
        if let Some(directory) = &self.directory {
            local::remove(directory, files).await?;
        }
        // Each once: MinIO answers a key that is named twice with one that has no name.
        let paths: BTreeSet<_> = keys.iter().map(|key| self.path(key)).collect::<Result<_, _>>()?;
        let mut deleted = self.store.delete_stream(stream::iter(paths).map(Ok).boxed());
        while let Some(one) = deleted.next().await {
            match one {
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => self.answers().await?,
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
        if found.is_empty() {
            self.answers().await?;
        }
        let below_root = |path: &Path| {
            path.prefix_match(&self.root)
                .map(|parts| Path::from_iter(parts).to_string())
        };
        Ok(found
            .iter()
            .filter_map(|meta| below_root(&meta.location)?.parse().ok())
            .collect())
    }

    /// The store, where its keys begin, and its directory if it is one: for what else lies there.
    pub(crate) fn inner(&self) -> (Arc<dyn ObjectStore>, Path, Option<PathBuf>) {
        (Arc::clone(&self.store), self.root.clone(), self.directory.clone())
    }

    /// Deletes whatever lies below an issue's prefix, objects or not; answers how many files it found.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn purge_all(&self, issue: &IssueId) -> Result<usize, ObjectError> {
        let files = self.files(issue).await?;
        let keys: Vec<String> = files.into_iter().map(|file| file.key).collect();
        self.delete(&keys).await?;
        Ok(keys.len())
    }

    /// Whatever lies below an issue's prefix, objects or not.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn files(&self, issue: &IssueId) -> Result<Vec<Stored>, ObjectError> {
        self.answers().await?;
        let prefix = ObjectKey::prefix(issue);
        if let Some(directory) = &self.directory {
            return local::files(directory, prefix).await;
        }
        let listed = self.store.list(Some(&self.path(&prefix)?));
        let listed: Vec<ObjectMeta> = listed.try_collect().await.map_err(|error| unavailable(&error))?;
        Ok(listed.iter().filter_map(|meta| self.stored(meta)).collect())
    }

    /// What lies below `issues/<owner>/<repo>/`, folder by folder in the order of their names as texts: at most `most`
    /// folders, those whose names come after `after`.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`].
    pub async fn shelves(&self, repo: &RepoName, after: Option<&str>, most: usize) -> Result<Vec<Shelf>, ObjectError> {
        self.answers().await?;
        let prefix = format!("issues/{repo}");
        match &self.directory {
            Some(directory) => local::shelves(directory, prefix, after.map(str::to_owned), most).await,
            None => self.listed_shelves(&prefix, after, most).await,
        }
    }

    /// A bucket lists in the order of keys, and begins where it is told to.
    async fn listed_shelves(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Vec<Shelf>, ObjectError> {
        let below = self.path(prefix)?;
        let mut listed = match after {
            // Behind every key of that folder: what our keys are made of comes before a tilde.
            Some(after) => {
                let offset = self.path(&format!("{prefix}/{after}/~"))?;
                self.store.list_with_offset(Some(&below), &offset)
            }
            None => self.store.list(Some(&below)),
        };
        let mut shelves: Vec<Shelf> = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(|error| unavailable(&error))? {
            let Some(file) = self.stored(&meta) else { continue };
            let name = file.key[prefix.len() + 1..].split('/').next().unwrap_or_default();
            if shelves.last().is_none_or(|shelf| shelf.name != name) {
                if shelves.len() == most {
                    break;
                }
                let (name, files) = (name.to_owned(), Vec::new());
                shelves.push(Shelf { name, files });
            }
            if let Some(shelf) = shelves.last_mut() {
                shelf.files.push(file);
            }
        }
        Ok(shelves)
    }

    fn stored(&self, meta: &ObjectMeta) -> Option<Stored> {
        let key = Path::from_iter(meta.location.prefix_match(&self.root)?).to_string();
        let modified = i128::from(meta.last_modified.timestamp_millis()) * 1_000_000;
        Some(Stored {
            key,
            bytes: meta.size,
            modified: OffsetDateTime::from_unix_timestamp_nanos(modified).ok()?,
        })
    }

    fn path(&self, key: &str) -> Result<Path, ObjectError> {
        let key = Path::parse(key).map_err(|_| ObjectError::Missing(key.to_owned()))?;
        Ok(Path::from_iter(self.root.parts().chain(key.parts())))
    }
}

fn local_store(directory: &std::path::Path) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let name = || format!("object store directory {} (OBJECT_STORE_URL)", directory.display());
    std::fs::create_dir_all(directory).with_context(name)?;
    // An event is published only after its objects are on disk, so a put answers after fsync; a directory that was
    // emptied is removed.
    let store = object_store::local::LocalFileSystem::new_with_prefix(directory).with_context(name)?;
    Ok(Arc::new(store.with_automatic_cleanup(true).with_fsync(true)))
}

fn s3(config: &config::ObjectStore) -> anyhow::Result<(Arc<dyn ObjectStore>, Path)> {
    let s3 = &config.s3;
    let mut builder = AmazonS3Builder::from_env()
        .with_url(config.url.as_str())
        .with_retry(retry());
    for (key, value) in [
        (AmazonS3ConfigKey::Endpoint, s3.endpoint.as_deref()),
        (AmazonS3ConfigKey::Region, s3.region.as_deref()),
        (AmazonS3ConfigKey::AccessKeyId, s3.access_key_id.as_deref()),
        (
            AmazonS3ConfigKey::SecretAccessKey,
            s3.secret_access_key.as_ref().map(Secret::expose),
        ),
        (
            AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout),
            Some(CONNECT),
        ),
        (AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), Some(REQUEST)),
    ] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    if endpoint(&builder).is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let store = builder
        .build()
        .context("object store (OBJECT_STORE_URL; AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …)")?;
    let root = Path::from_url_path(config.url.path()).context("the path of OBJECT_STORE_URL")?;
    Ok((Arc::new(store), root))
}

fn endpoint(builder: &AmazonS3Builder) -> Option<String> {
    let of = |key| builder.get_config_value(&key);
    of(AmazonS3ConfigKey::S3Endpoint).or_else(|| of(AmazonS3ConfigKey::Endpoint))
}

/// How long a connection may take.
const CONNECT: &str = "3s";

/// How long one request may take with its body: 100 MB at 3.3 MB/s.
const REQUEST: &str = "30s";

/// Over a hiccup, no longer: the consumer loop is the one that waits for what is away, and it must know.
fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: 4,
        retry_timeout: Duration::from_secs(6),
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.,
        },
    }
}

/// What was stored, decompressed, if it is what the event says.
fn checked(object: &v1::StoredObject, stored: Bytes) -> Result<Bytes, ObjectError> {
    let damaged = |why| ObjectError::Damaged {
        key: object.key.clone(),
        why,
    };
    let raw = match object.compression() {
        v1::Compression::Zstd => decompress(&stored, object.size).ok_or_else(|| damaged("it does not decompress"))?,
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
