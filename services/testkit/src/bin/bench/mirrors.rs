//! `bench rebuild|memory|replay|latency`: a broker, an Elasticsearch, an object store, and the real programs.
//!
//! The servers come from the stack's cache, where `cargo stack bench` has put them; the programs lie beside this one.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::benches::{Latency, Memory, Rebuild, Replay};
use bugstream_stack::processors::Processors;
use bugstream_stack::provision::{self, Cache};
use bugstream_stack::server::{Elasticsearch, ElasticsearchOptions, Minio, MinioOptions, Nats, NatsOptions};
use bugstream_testkit::bench::corpus::Store;
use bugstream_testkit::bench::{latency, memory, rebuild, replay};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::minio::Bucket;
use bugstream_testkit::process::program;

/// Java heap of a bench's Elasticsearch.
const HEAP_MB: u32 = 1_024;

pub(crate) fn rebuild(arguments: &Rebuild) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let mut running = Running::start(folder.path(), arguments.s3, arguments.shared)?;
    let options = rebuild::Options {
        issues: arguments.issues.into(),
        rounds: arguments.rounds as usize,
        connections: arguments.bulks.connections.into(),
        bulk_bytes: arguments.bulks.bulk_bytes as usize,
    };
    crate::measure(rebuild::run(options, &running.servers, crate::say))?;
    running.stop();
    Ok(())
}

pub(crate) fn memory(arguments: &Memory) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    anyhow::ensure!(arguments.few < arguments.many, "--few must be less than --many");
    let mut running = Running::start(folder.path(), false, true)?;
    let options = memory::Options {
        few: arguments.few.into(),
        many: arguments.many.into(),
        connections: arguments.bulks.connections.into(),
        bulk_bytes: arguments.bulks.bulk_bytes as usize,
    };
    crate::measure(memory::run(options, &running.servers, crate::say))?;
    running.stop();
    Ok(())
}

pub(crate) fn replay(arguments: &Replay) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let mut nats = nats(folder.path())?;
    let options = replay::Options {
        issues: arguments.issues.into(),
        rounds: arguments.rounds as usize,
    };
    let servers = replay::Servers {
        nats_url: nats.url(),
        processes: vec![nats.pid()],
    };
    let ours = async |url: &str, events| ours(url, events, folder.path()).await;
    crate::measure(replay::run(options, &servers, ours, crate::say))?;
    nats.stop();
    Ok(())
}

/// The loop of the services, in a process as they have.
async fn ours(nats_url: &str, events: u64, folder: &Path) -> anyhow::Result<Duration> {
    let result = folder.join("replayed");
    let log = std::fs::File::create(folder.join("replay.log"))?;
    let mut command = tokio::process::Command::new(program("examples/replay"));
    command
        .env_clear()
        .env("NATS_URL", nats_url)
        .env("REPLAY_EVENTS", events.to_string())
        .env("REPLAY_RESULT", &result)
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    let status = command.status().await.context("cannot start the consumer loop")?;
    let log = || std::fs::read_to_string(folder.join("replay.log")).unwrap_or_default();
    anyhow::ensure!(status.success(), "the consumer loop failed: {}", log());
    let seconds = std::fs::read_to_string(result).context("it says how long it took")?;
    Ok(Duration::from_secs_f64(seconds.parse()?))
}

pub(crate) fn latency(arguments: &Latency) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let mut elastic = elasticsearch(folder.path())?;
    let options = latency::Options {
        at_rest: arguments.at_rest as usize,
        under_load: arguments.under_load as usize,
        per_second: arguments.per_second,
    };
    let url = elastic.url();
    crate::measure(async { latency::run(options, Elastic::at(&url), crate::say).await })?;
    elastic.stop();
    Ok(())
}

/// The servers of a bench; dropping it ends them.
struct Running {
    servers: rebuild::Servers,
    nats: Nats,
    elastic: Elasticsearch,
    minio: Option<Minio>,
}

impl Running {
    /// Unless they are shared, Elasticsearch gets half of the processors for itself, and this thread and what it starts
    /// later keep to the others.
    fn start(folder: &Path, s3: bool, shared: bool) -> anyhow::Result<Self> {
        let all = Processors::ours()?;
        let (elastics, others) = all.halves().filter(|_| !shared).unwrap_or((all, all));
        elastics.keep_to()?;
        let elastic = elasticsearch(folder)?;
        others.keep_to()?;
        let nats = nats(folder)?;
        let minio = if s3 { Some(minio(folder)?) } else { None };
        let mut processes = vec![nats.pid(), elastic.pid()?];
        processes.extend(minio.as_ref().map(Minio::pid));
        let servers = rebuild::Servers {
            nats_url: nats.url(),
            elastic: elastic.url(),
            prefix: "bench-".to_owned(),
            store: store(folder, minio.as_ref())?,
            folder: folder.to_owned(),
            processes,
            processors: rebuild::Processors {
                all: all.count(),
                elasticsearch: elastics.count(),
            },
        };
        Ok(Self {
            servers,
            nats,
            elastic,
            minio,
        })
    }

    fn stop(&mut self) {
        self.elastic.stop();
        self.nats.stop();
        if let Some(minio) = &mut self.minio {
            minio.stop();
        }
    }
}

pub(crate) fn nats(folder: &Path) -> anyhow::Result<Nats> {
    crate::say("starting servers");
    let program = provision::nats_server(&Cache::open()?)?;
    Nats::start(NatsOptions::new(program, folder.join("nats")))
}

/// In a folder of its own: its user must be able to reach it.
fn elasticsearch(folder: &Path) -> anyhow::Result<Elasticsearch> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let distribution = provision::elasticsearch(&Cache::open()?)?;
    Elasticsearch::start(ElasticsearchOptions {
        heap_mb: HEAP_MB,
        ..ElasticsearchOptions::new(distribution, folder.join("elasticsearch"))
    })
}

fn minio(folder: &Path) -> anyhow::Result<Minio> {
    let program = provision::minio(&Cache::open()?)?;
    Minio::start(MinioOptions::new(program, folder.join("minio")))
}

fn store(folder: &Path, minio: Option<&Minio>) -> anyhow::Result<Store> {
    let Some(minio) = minio else {
        return Ok(Store::Folder(folder.join("objects")));
    };
    minio.make_bucket("bench")?;
    Ok(Store::S3(Bucket {
        url: "s3://bench".to_owned(),
        endpoint: minio.url(),
        access_key_id: Minio::ACCESS_KEY_ID,
        secret_access_key: Minio::SECRET_ACCESS_KEY,
    }))
}
