//! Follows the log into Elasticsearch: for every issue exactly the documents of its newest event, each on its side of
//! the privacy wall.
//!
//! The steps, one a file: [`index`] takes an event and decides, `document` renders what [`plan`] says is to be written,
//! [`bulk`] sends it and [`indices`] makes what it is written to. [`republish`] answers index requests, `refused` is about
//! documents that Elasticsearch does not take, `hole` about objects that are lost, `past` writes what was true at another
//! time. Everything in Elasticsearch can be thrown away and rebuilt ([`rebuild`], [`generations`]); the log and the raw
//! JSON are the truth.

mod answer;
pub mod bulk;
pub mod config;
mod document;
pub mod elastic;
pub mod generations;
mod hole;
pub mod index;
pub mod indices;
mod past;
pub mod plan;
pub mod rebuild;
mod refused;
pub mod republish;
pub mod target;

use std::sync::Arc;
use std::time::Duration;

use bugstream_kit::broker::Broker;
use bugstream_kit::consume::{Options, consume};
use bugstream_kit::objects::Objects;
use bugstream_kit::service::{self, Context, Service};
use bugstream_proto::{Lane, topology};

use crate::bulk::{Bulker, Senders};
use crate::config::Config;
use crate::indices::Indices;
use crate::target::Target;

/// Index requests under way at once: each is a read and a publish.
const REQUEST_SLOTS: usize = 64;

/// What the service is called and reads.
pub const SERVICE: Service = Service {
    name: "indexer",
    about: "Follows the log into Elasticsearch",
    version: env!("CARGO_PKG_VERSION"),
    sections: &["nats", "object_store", "elasticsearch", "github", "indexer"],
    examples: "Examples:\n  indexer --config bugstream.toml\n  \
               NATS_URL=nats://127.0.0.1:4222 ELASTIC_NODE=http://127.0.0.1:9200 OBJECT_STORE_URL=./objects \
               GITHUB_ORG=webcompat GITHUB_REPO_PUBLIC=web-bugs indexer",
};

/// Runs until a stop is asked for.
///
/// # Errors
/// What waiting cannot mend: an address that is taken, a server too old.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let listener = service::listen(config.indexer.health_listen).await?;
    let health = service::serve(listener, context.health.router(), &context.stop);
    let work = part(context.clone(), Box::pin(work(config, &context)));
    let (served, worked) = tokio::join!(health, work);
    worked.and(served)
}

async fn work(config: Config, context: &Context) -> anyhow::Result<()> {
    let broker = Broker::connect(&config.nats, context).await?;
    let objects = Objects::open(&config.object_store)?;
    objects.watch(context);
    let transport = bugstream_kit::elastic::transport(&config.elasticsearch)?;
    bugstream_kit::elastic::watch(&transport, context);
    let (names, indices) = rebuild::indices(&config)?;
    if !prepare(&indices, context).await {
        return Ok(());
    }
    let (bulker, senders) = Bulker::new(
        transport,
        Arc::clone(&indices),
        config.indexer.bulk(),
        context.chance.clone(),
    );
    let target = Target::live(names);
    let indexer = index::Indexer::new(&broker, objects, bulker, target, indices, &config.repositories, context);
    follow(&broker, indexer, senders, config.indexer.slots, context).await
}

/// Works both consumers and the bulk connections until a stop is asked for or one of them fails. When both consumers
/// have ended nobody waits for a bulk any more, so what is still under way is dropped.
async fn follow(
    broker: &Broker,
    indexer: index::Indexer,
    senders: Senders,
    slots: usize,
    context: &Context,
) -> anyhow::Result<()> {
    let republisher = republish::Republisher {
        log: indexer.log.clone(),
        clock: context.clock.clone(),
        chance: context.chance.clone(),
    };
    let _senders_go_on = indexer.bulker.clone();
    let events = Options::new(topology::INDEXER, slots, Lane::Index);
    let requests = Options::new(topology::INDEXER_REQUESTS, REQUEST_SLOTS, Lane::Index);
    let follow = part(
        context.clone(),
        Box::pin(consume(broker, events, Arc::new(indexer), context)),
    );
    let answer = part(
        context.clone(),
        Box::pin(consume(broker, requests, Arc::new(republisher), context)),
    );
    let consumers = async { tokio::join!(follow, answer) };
    tokio::select! {
        (followed, answered) = consumers => followed.and(answered),
        sent = senders.run() => sent,
    }
}

/// A part of the service: when it ends, by an error too, the whole stops.
async fn part(context: Context, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let ended = work.await;
    context.stop.soft();
    ended
}

/// Makes the indices, waiting with back-off while that is not possible; `false` if a stop was asked for meanwhile. Even
/// an index in the way is waited for: readiness names it, and once someone moved it the service goes on by itself.
async fn prepare(indices: &Indices, context: &Context) -> bool {
    let mut attempts = 0;
    while let Err(error) = indices.ensure().await {
        context.health.down("indices", error.to_string());
        let wait = context
            .chance
            .backoff(Duration::from_millis(500), Duration::from_secs(15), attempts);
        attempts += 1;
        if !context.stop.sleep(wait).await {
            return false;
        }
    }
    context.health.up("indices");
    for due in indices.outdated().await.unwrap_or_default() {
        tracing::warn!(
            kind = due.kind.as_str(),
            generation = due.number,
            mapping = due.mapping_is_current,
            privacy = due.privacy_is_current,
            "mapping or rules of privacy are not this version's: a rebuild is due (queue-cli rebuild)"
        );
    }
    true
}
