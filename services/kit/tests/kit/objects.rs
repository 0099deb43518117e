//! What every object store promises, over a local directory and over S3 alike, and what happens when one is away.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bugstream_kit::config::{self, Compression};
use bugstream_kit::objects::{ObjectError, Objects};
use bugstream_kit::secret::Secret;
use bugstream_kit::service::Context;
use bugstream_proto::{Nonce, Part, v1};
use bugstream_testkit::minio::{Bucket, Minio};
use bugstream_testkit::wait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::harness::{SOON, issue};

/// Within this a request says that the store is away: it refuses at once, and a few tries over a hiccup take seconds, on a
/// slow machine some more. The library's own patience would be three minutes.
const BOUNDED: Duration = Duration::from_secs(60);

/// Within this `/readyz` answers, whatever the store does: after two seconds, where nothing stands still. A store that
/// never answers must not keep it waiting.
const READY: Duration = Duration::from_secs(30);

/// A store that is empty at first.
pub(crate) struct Place {
    section: config::ObjectStore,
    _kept: Kept,
}

#[expect(dead_code, reason = "what is kept is dropped at the end of its test")]
enum Kept {
    Directory(tempfile::TempDir),
    Server(Minio),
}

impl Place {
    pub(crate) fn directory() -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        Self {
            section: section_of_directory(directory.path().join("deep/er")),
            _kept: Kept::Directory(directory),
        }
    }

    pub(crate) async fn s3() -> Self {
        let minio = Minio::shared().await;
        Self {
            section: section_of_bucket(&minio.bucket()),
            _kept: Kept::Server(minio),
        }
    }

    /// Of one that is a directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.section.url.to_file_path().expect("a directory")
    }

    pub(crate) fn plain(&self) -> Objects {
        self.objects(Compression::None)
    }

    fn objects(&self, compression: Compression) -> Objects {
        open(config::ObjectStore {
            compression,
            ..self.section.clone()
        })
    }

    /// The same store, below a prefix.
    pub(crate) fn below(&self, prefix: &str) -> Objects {
        let mut section = self.section.clone();
        section
            .url
            .path_segments_mut()
            .expect("a URL with a path")
            .pop_if_empty()
            .extend(prefix.split('/'));
        open(section)
    }
}

fn section_of_directory(directory: PathBuf) -> config::ObjectStore {
    config::ObjectStore {
        url: url::Url::from_directory_path(directory).expect("an absolute path"),
        compression: Compression::None,
        s3: config::S3::default(),
    }
}

fn section_of_bucket(bucket: &Bucket) -> config::ObjectStore {
    config::ObjectStore {
        url: bucket.url.parse().expect("a URL"),
        compression: Compression::None,
        s3: config::S3 {
            endpoint: Some(bucket.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some(bucket.access_key_id.to_owned()),
            secret_access_key: Some(Secret::new(bucket.secret_access_key)),
        },
    }
}

fn open(section: config::ObjectStore) -> Objects {
    Objects::open(&section).expect("it opens")
}

async fn put(objects: &Objects, number: u64, revision: u64, raw: &'static [u8]) -> v1::StoredObject {
    let nonce = Nonce::from_bits(1);
    let raw = Bytes::from_static(raw);
    let stored = objects.put(&issue(number), revision, &nonce, Part::Issue, raw).await;
    stored.expect("stored")
}

fn is_missing<T>(answer: &Result<T, ObjectError>) -> bool {
    matches!(answer, Err(ObjectError::Missing(_)))
}

fn is_damaged<T>(answer: &Result<T, ObjectError>) -> bool {
    matches!(answer, Err(ObjectError::Damaged { .. }))
}

fn is_away<T>(answer: &Result<T, ObjectError>) -> bool {
    matches!(answer, Err(ObjectError::Unavailable(_)))
}

async fn what_is_stored_comes_back_byte_for_byte(place: Place) {
    let big: Bytes = (0..6_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let raws = [
        Bytes::from_static("{\"title\":\"ü\",\r\n \"n\":1e400}".as_bytes()),
        Bytes::from_static(b"\xff\x00 no text at all"),
        Bytes::new(),
        big,
    ];
    let both = [Compression::None, Compression::Zstd].map(|compression| place.objects(compression));
    for (writing, reading) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (bits, raw) in raws.iter().enumerate() {
            let nonce = Nonce::from_bits(bits as u64);
            let stored = both[writing]
                .put(&issue(7), 5, &nonce, Part::Timeline, raw.clone())
                .await
                .expect("stored");
            assert_eq!(stored.size, raw.len() as u64);
            assert_eq!(stored.key.ends_with(".zst"), writing == 1, "{}", stored.key);
            assert!(
                both[reading].get(&stored).await.expect("it is there") == raw,
                "{}",
                stored.key
            );
            assert!(both[reading].exists(&stored).await.expect("an answer"));
        }
    }
}

async fn what_is_not_what_its_event_says_is_damaged(place: Place) {
    for compression in [Compression::None, Compression::Zstd] {
        let objects = place.objects(compression);
        let stored = put(&objects, 7, 5, b"[1,2,3]").await;
        let longer = v1::StoredObject {
            size: 8,
            ..stored.clone()
        };
        assert!(is_damaged(&objects.get(&longer).await));
        let shorter = v1::StoredObject {
            size: 3,
            ..stored.clone()
        };
        assert!(is_damaged(&objects.get(&shorter).await));
        let other = v1::StoredObject {
            sha256: vec![0; 32],
            ..stored.clone()
        };
        assert!(is_damaged(&objects.get(&other).await));
        put(&objects, 7, 5, b"[1,2,4]").await;
        assert!(is_damaged(&objects.get(&stored).await), "its bytes changed");
        assert!(objects.exists(&stored).await.expect("an answer"));
    }
    let plain = put(&place.objects(Compression::None), 7, 6, b"[]").await;
    let mistaken = v1::StoredObject {
        compression: v1::Compression::Zstd.into(),
        ..plain
    };
    assert!(is_damaged(&place.objects(Compression::None).get(&mistaken).await));
}

async fn what_is_missing_is_missing_and_no_error_to_delete(place: Place) {
    let objects = place.objects(Compression::None);
    objects.answers().await.expect("an empty store answers");
    let stored = put(&objects, 7, 5, b"[]").await;
    let kept = put(&objects, 7, 6, b"[]").await;
    objects
        .delete(std::slice::from_ref(&stored.key))
        .await
        .expect("deleted");
    assert!(is_missing(&objects.get(&stored).await));
    assert!(!objects.exists(&stored).await.expect("an answer"));
    objects
        .delete(&[stored.key.clone(), kept.key.clone(), stored.key.clone()])
        .await
        .expect("one that is gone stops nothing");
    assert!(is_missing(&objects.get(&kept).await));
    assert!(objects.keys(&issue(7)).await.expect("an answer").is_empty());
    assert_eq!(objects.purge_below(&issue(7), u64::MAX).await.expect("an answer"), 0);
    objects.answers().await.expect("an emptied store answers");
    put(&objects, 7, 7, b"[]").await;
}

async fn purging_leaves_what_is_newer_and_what_is_others(place: Place) {
    let objects = place.objects(Compression::None);
    let mut stored = Vec::new();
    for revision in [1, 2, 3] {
        stored.push(put(&objects, 7, revision, b"[]").await);
    }
    // Its key begins with the same letters.
    let neighbour = put(&objects, 70, 1, b"[]").await;
    assert_eq!(objects.purge_below(&issue(7), 3).await.expect("purged"), 2);
    assert!(is_missing(&objects.get(&stored[0]).await));
    let left = objects.keys(&issue(7)).await.expect("an answer");
    assert_eq!(
        left.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [stored[2].key.clone()]
    );
    objects.get(&neighbour).await.expect("the neighbour's is there");
}

/// S3 lists and deletes a thousand keys at a time.
async fn thousands_of_revisions_are_listed_and_purged(place: Place) {
    let objects = place.objects(Compression::None);
    let count = 1_003;
    let nonce = Nonce::from_bits(1);
    let (id, raw) = (issue(7), Bytes::from_static(b"[]"));
    let puts = (1..=count).map(|revision| objects.put(&id, revision, &nonce, Part::Issue, raw.clone()));
    let stored: Vec<_> = stream::iter(puts).buffered(16).try_collect().await.expect("stored");
    assert_eq!(objects.keys(&id).await.expect("an answer").len(), stored.len());
    assert_eq!(objects.purge_below(&id, count).await.expect("purged"), stored.len() - 1);
    assert_eq!(objects.keys(&id).await.expect("an answer").len(), 1);
}

async fn prefixes_are_stores_of_their_own(place: Place) {
    let (one, other) = (place.below("one/ü r"), place.below("one/ü r2"));
    let stored = put(&one, 7, 1, b"[1]").await;
    assert!(is_missing(&other.get(&stored).await));
    assert!(is_missing(&place.objects(Compression::None).get(&stored).await));
    assert_eq!(other.purge_below(&issue(7), u64::MAX).await.expect("an answer"), 0);
    let theirs = put(&other, 7, 1, b"[2]").await;
    assert_eq!(one.keys(&issue(7)).await.expect("an answer").len(), 1);
    assert_eq!(one.purge_below(&issue(7), u64::MAX).await.expect("purged"), 1);
    assert_eq!(other.get(&theirs).await.expect("still there"), "[2]");
}

macro_rules! over_both {
    ($($promise:ident),* $(,)?) => {
        mod directory {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Place::directory()).await; })*
        }
        mod s3 {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Place::s3().await).await; })*
        }
    };
}

over_both! {
    what_is_stored_comes_back_byte_for_byte,
    what_is_not_what_its_event_says_is_damaged,
    what_is_missing_is_missing_and_no_error_to_delete,
    purging_leaves_what_is_newer_and_what_is_others,
    thousands_of_revisions_are_listed_and_purged,
    prefixes_are_stores_of_their_own,
}

/// Every request says that the store is away, in time; none says that something is missing or was done.
async fn expect_away(objects: &Objects, stored: &v1::StoredObject) {
    let since = Instant::now();
    let (number, nonce) = (issue(7), Nonce::from_bits(2));
    let (get, exists, answers, keys, purged, deleted, put) = futures_util::join!(
        objects.get(stored),
        objects.exists(stored),
        objects.answers(),
        objects.keys(&number),
        objects.purge_below(&number, u64::MAX),
        objects.delete(std::slice::from_ref(&stored.key)),
        objects.put(&number, 9, &nonce, Part::Issue, Bytes::from_static(b"[]")),
    );
    assert!(is_away(&get), "{get:?}");
    assert!(is_away(&exists), "{exists:?}");
    assert!(is_away(&answers), "{answers:?}");
    assert!(is_away(&keys), "{keys:?}");
    assert!(is_away(&purged), "{purged:?}");
    assert!(is_away(&deleted), "{deleted:?}");
    assert!(is_away(&put), "{put:?}");
    assert!(since.elapsed() < BOUNDED, "{:?}", since.elapsed());
}

/// What `/readyz` says of the store, in time.
async fn readiness(context: &Context) -> Option<String> {
    let away = tokio::time::timeout(READY, context.health.away()).await;
    away.expect("readiness is told in time").remove("object store")
}

/// Waits until the store shows as there. One look is not enough: a probe gives a store that stands still two seconds.
async fn ready(context: &Context) {
    wait::until_true("the store is there", SOON, || async {
        readiness(context).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_killed_s3_is_away_within_seconds_and_back_by_itself() {
    let minio = Minio::start().await;
    let objects = open(section_of_bucket(&minio.bucket()));
    let context = Context::new("test-service");
    objects.watch(&context);
    let stored = put(&objects, 7, 5, b"[]").await;
    ready(&context).await;
    minio.kill9();
    assert!(readiness(&context).await.is_some());
    expect_away(&objects, &stored).await;
    minio.restart().await;
    assert_eq!(
        objects.get(&stored).await.expect("what was acknowledged is there"),
        "[]"
    );
    put(&objects, 7, 6, b"[]").await;
    ready(&context).await;
}

#[tokio::test]
async fn an_s3_that_accepts_and_says_nothing_is_not_ready() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let objects = open(section_of_bucket(&Bucket {
        url: "s3://bucket".to_owned(),
        endpoint: format!("http://{}", silent.local_addr().expect("bound")),
        access_key_id: "id",
        secret_access_key: "key",
    }));
    let context = Context::new("test-service");
    objects.watch(&context);
    assert!(readiness(&context).await.is_some());
}

/// S3's answer to a misspelt bucket is the same 404 as to a missing object.
#[tokio::test]
async fn a_bucket_that_does_not_exist_is_away_and_has_lost_nothing() {
    let minio = Minio::shared().await;
    let stored = put(&open(section_of_bucket(&minio.bucket())), 7, 5, b"[]").await;
    expect_away(&open(section_of_bucket(&minio.named("misspelt"))), &stored).await;
}

#[tokio::test]
async fn a_key_that_was_revoked_is_away_and_never_shown() {
    let minio = Minio::shared().await;
    let bucket = minio.bucket();
    let stored = put(&open(section_of_bucket(&bucket)), 7, 5, b"[]").await;
    let revoked = open(section_of_bucket(&Bucket {
        secret_access_key: "a-revoked-key",
        ..bucket
    }));
    expect_away(&revoked, &stored).await;
    let why = revoked.answers().await.expect_err("refused").to_string();
    assert!(!why.contains("a-revoked-key"), "{why}");
}

#[tokio::test]
async fn a_directory_that_is_not_mounted_is_away_and_has_lost_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, aside) = (folder.path().join("objects"), folder.path().join("aside"));
    let objects = open(section_of_directory(path.clone()));
    let stored = put(&objects, 7, 5, b"[]").await;
    std::fs::rename(&path, &aside).expect("moved aside");
    for missing in [objects.answers().await.err(), objects.get(&stored).await.err()] {
        assert!(matches!(missing, Some(ObjectError::Unavailable(_))), "{missing:?}");
    }
    std::fs::write(&path, "in its place").expect("written");
    expect_away(&objects, &stored).await;
    std::fs::remove_file(&path).expect("removed");
    std::fs::rename(&aside, &path).expect("moved back");
    assert_eq!(objects.get(&stored).await.expect("it is there again"), "[]");
}
