//! How fresh the mirror is, as metrics: what `queue-cli status` shows, looked at now and then by whoever is active.

use std::time::Duration;

use async_nats::jetstream;
use bugstream_kit::service::Context;
use bugstream_kit::watermarks::{Audit, Deliveries, Record, Sweep};
use bugstream_proto::{RepoName, topology};
use bugstream_telemetry::{metrics, names};
use time::OffsetDateTime;

use crate::deps::Deps;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(15);

/// Looks until a stop, and once more then. What cannot be asked keeps its last value.
pub(crate) async fn watch(jetstream: &jetstream::Context, deps: &Deps, context: &Context) -> anyhow::Result<()> {
    while context.stop.sleep(EVERY).await {
        look(jetstream, deps).await;
    }
    look(jetstream, deps).await;
    Ok(())
}

async fn look(jetstream: &jetstream::Context, deps: &Deps) {
    streams(jetstream, deps.clock.now()).await;
    for repository in &deps.repositories.0 {
        layers(&repository.name, deps).await;
    }
    quotas(deps);
}

async fn streams(jetstream: &jetstream::Context, now: OffsetDateTime) {
    if let Ok(log) = jetstream.get_stream(topology::ISSUES).await
        && log.cached_info().state.messages > 0
    {
        metrics::set(
            names::MIRROR_NEWEST,
            seconds(log.cached_info().state.last_timestamp),
            &[],
        );
    }
    if let Ok(queue) = jetstream.get_stream(topology::DOWNLOADS).await {
        let state = &queue.cached_info().state;
        let oldest = if state.messages == 0 {
            now
        } else {
            state.first_timestamp
        };
        metrics::set(names::REQUESTS_OLDEST, seconds(oldest), &[]);
        metrics::set(names::REQUESTS_WAITING, approximate(state.messages), &[]);
    }
}

async fn layers(repository: &RepoName, deps: &Deps) {
    let label = [names::label::repository(repository.to_string())];
    if let Some(last) = record::<Sweep>(repository, deps).await.last_run {
        metrics::set(names::SWEEP_LAST, seconds(last), &label);
    }
    if let Some(last) = record::<Deliveries>(repository, deps).await.last_run {
        metrics::set(names::DELIVERIES_LAST, seconds(last), &label);
    }
    let audit = record::<Audit>(repository, deps).await;
    if audit.round > 0 {
        metrics::set(names::AUDIT_SHARE, audit.share(), &label);
    }
}

async fn record<R: Record>(repository: &RepoName, deps: &Deps) -> R {
    let read = deps.watermarks.read::<R>(repository).await;
    read.map(|marked| marked.record).unwrap_or_default()
}

fn quotas(deps: &Deps) {
    for quota in deps.clients.quotas() {
        if let Some(left) = quota.remaining {
            let label = names::label::credential(quota.label);
            metrics::set(names::GITHUB_LEFT, approximate(left), &[label]);
        }
    }
}

fn seconds(at: OffsetDateTime) -> f64 {
    approximate(u64::try_from(at.unix_timestamp()).unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "counts and times are far below 2^52")]
fn approximate(n: u64) -> f64 {
    n as f64
}
