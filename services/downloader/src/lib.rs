//! Downloads issues from GitHub into the object store and logs what changed.
//!
//! Invariants:
//! - No event is published for a download that is not whole: a page that fails is a retry, never a shorter timeline.
//! - Every event follows the one that was the newest before GitHub was asked; a conflict starts the download again.
//! - Objects are stored before the event that names them, under keys that no other worker writes.
//! - Nothing is called deleted on one answer of GitHub's alone ([`deletion`] has the whole rule).
//! - An issue that was forgotten is not downloaded, whoever asks ([`forgotten`]).
//! - A request is acked after its event has its PubAck, and only by the consumer loop.
//!
//! What it is not: a judge of content. What is private, and which marks follow, is the archive library's.
//!
//! The steps, one a file: [`leader`] decides whether this process works, [`consume`] takes a request, [`download`] is
//! the story of one, told by [`known`], [`fetch`], [`store`], [`publish`] and [`deletion`]; [`queue`] looks at other requests of
//! the same issue, and [`failure`] says what a failed step leads to.
//!
//! Nobody asks for [`tasks`]: [`deliveries`], [`sweep`] and [`audit`] find what webhooks did not bring, [`backfill`] brings
//! everything, and [`collect`] removes what is old. [`gauges`] tell how fresh that makes the mirror.

mod audit;
mod backfill;
mod cause;
mod collect;
mod config;
mod consume;
mod cursor;
mod deletion;
mod deliveries;
mod deps;
mod download;
mod failure;
mod fetch;
mod forgotten;
mod gauges;
mod known;
mod leader;
mod memory;
mod publish;
mod queue;
mod quotas;
mod request;
mod spending;
mod store;
mod sweep;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use bugstream_kit::broker::Broker;
use bugstream_kit::deletions::Deletions;
use bugstream_kit::objects::Objects;
use bugstream_kit::service::{Context, listen, serve};
use bugstream_kit::validators::Validators;
use bugstream_kit::watermarks::Watermarks;

pub use config::{Config, Freshness};

use deps::{Buckets, Deps};

/// The first and the longest wait for a bucket that does not open.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Runs a downloader until a stop is asked for.
///
/// # Errors
/// If something is wrong that waiting cannot mend: the health address is taken, the object store or the client of
/// GitHub cannot be set up, the server's streams do not fit; or if a handler panicked.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let listener = listen(config.health_listen).await?;
    let serving = serve(listener, context.health.router(), &context.stop);
    tokio::try_join!(serving, Box::pin(work(config, &context)))?;
    Ok(())
}

async fn work(config: Config, context: &Context) -> anyhow::Result<()> {
    let objects = Objects::open(&config.object_store)?;
    objects.watch(context);
    let broker = match Broker::connect(&config.nats, context).await {
        Err(_) if context.stop.is_asked() => return Ok(()),
        connected => connected?,
    };
    let Some((buckets, leases)) = buckets(&broker, context).await else {
        return Ok(());
    };
    deletion::watch_fuse(&buckets.deletions, context);
    let deps = Arc::new(Deps::new(&config, &broker, objects, buckets, context)?);
    leader::lead(leases, context, |term| {
        consume::lanes(&broker, &config, Arc::clone(&deps), term)
    })
    .await?;
    broker.flush().await;
    Ok(())
}

/// Opens the key-value buckets, waiting while the server is between two leaders. `None` if a stop is asked for.
async fn buckets(broker: &Broker, context: &Context) -> Option<(Buckets, Store)> {
    let mut attempts = 0;
    loop {
        let opened = async {
            let buckets = Buckets {
                deletions: Deletions::open(broker).await?,
                validators: Validators::open(broker).await?,
                watermarks: Watermarks::open(broker).await?,
            };
            anyhow::Ok((buckets, leader::leases(broker).await?))
        };
        match opened.await {
            Ok(opened) => {
                context.health.up("buckets");
                return Some(opened);
            }
            Err(error) => context.health.down("buckets", error.to_string()),
        }
        let wait = context.chance.backoff(FIRST_WAIT, LONGEST_WAIT, attempts);
        if !context.stop.sleep(wait).await {
            return None;
        }
        attempts += 1;
    }
}
