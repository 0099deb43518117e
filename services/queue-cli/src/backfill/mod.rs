//! `backfill`: asks the downloader to mirror every issue of a repository, and follows how far it is.
//!
//! The work is a task of the active downloader and goes on without this program: what is here may be ended at any time,
//! and begun again to follow again. So nothing is lost when either of them is killed.
//!
//! One file a step: `begin` asks for one, or ends it; `follow` shows how far it is; `estimate` says what it would take.

mod begin;
mod estimate;
mod follow;

use bugstream_kit::broker::Broker;
use bugstream_kit::watermarks::{Backfill as Record, WatermarkError, Watermarks};
use bugstream_proto::RepoName;
use time::OffsetDateTime;

use crate::cli::Backfill;
use crate::credential;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::github::patiently;
use crate::progress::Progress;
use crate::report::{Report, time_of};
use crate::usage;
use estimate::Estimate;

pub(crate) async fn run(asked: &Backfill, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    check(asked, deps.context().clock.now())?;
    let repository = deps.repository()?;
    if asked.dry_run {
        return Ok(estimate(asked, &repository, deps, progress).await?.report());
    }
    let place = Place::open(repository, deps).await?;
    if asked.cancel {
        return begin::cancel(&place, deps).await;
    }
    let before = begin::begin(asked, &place, deps).await?;
    if asked.detach {
        return Ok(begin::report(&place.repository));
    }
    Box::pin(follow::follow(&place, before, deps, progress)).await
}

/// GitHub would answer an empty list, as if all were well.
fn check(asked: &Backfill, now: OffsetDateTime) -> Result<(), Failure> {
    match asked.since {
        Some(since) if since > now => Err(Failure::usage(
            format!("{} lies in the future", time_of(since)),
            usage::of("backfill", None),
        )),
        _ => Ok(()),
    }
}

async fn estimate(
    asked: &Backfill,
    repository: &RepoName,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Estimate, Failure> {
    let (client, chance) = (deps.github(repository)?, &deps.context().chance);
    let newest = patiently(repository, chance, progress, async || {
        client.newest_issue(repository).await
    })
    .await?;
    let ask = async || credential::of_client(&client, deps).await;
    Ok(Estimate {
        repository: repository.clone(),
        newest: newest.unwrap_or_default(),
        selected: asked.selects(),
        sample: estimate::sample(repository, deps).await,
        credentials: patiently(repository, chance, progress, ask).await?,
        reserve: deps.reserve_percent()?,
    })
}

/// Where a repository's backfill is told about and asked for.
struct Place {
    repository: RepoName,
    broker: Broker,
    marks: Watermarks,
}

impl Place {
    async fn open(repository: RepoName, deps: &Deps) -> Result<Self, Failure> {
        let broker = deps.broker().await?;
        let marks = Watermarks::open(&broker).await.map_err(failed)?;
        Ok(Self {
            repository,
            broker,
            marks,
        })
    }

    async fn record(&self) -> Result<Record, Failure> {
        let marked = self.marks.read(&self.repository).await;
        marked.map(|marked| marked.record).map_err(failed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: WatermarkError) -> Failure {
    Failure::failed(error.to_string())
}
