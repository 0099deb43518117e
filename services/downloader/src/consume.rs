//! Takes requests from both lanes and hands each to [`download`], after checking that it is one.

use std::sync::Arc;

use bugstream_github::Priority;
use bugstream_kit::broker::Broker;
use bugstream_kit::consume::{Handler, Lease, Options, Outcome, Received, consume};
use bugstream_kit::dead_letter::Kind;
use bugstream_kit::service::Context;
use bugstream_proto::topology::{DOWNLOADER_BACKFILL, DOWNLOADER_LIVE, DOWNLOADER_TASKS};
use bugstream_proto::{IssueId, Lane, Verb, v1};
use bugstream_telemetry::{names, propagation};
use tracing::{Instrument, Span};

use crate::Config;
use crate::cause::coalesce;
use crate::deps::Deps;
use crate::download::download;
use crate::failure::Failure;
use crate::fetch::Source;
use crate::gauges;
use crate::request::{Request, Waiting};
use crate::tasks;

/// Works both lanes until a stop. Each has slots of its own, so that a backfill never takes a live request's place.
pub(crate) async fn lanes(broker: &Broker, config: &Config, deps: Arc<Deps>, context: Context) -> anyhow::Result<()> {
    if !deps.quotas.restore(&deps.clients, &context).await {
        return Ok(());
    }
    let handler = Arc::new(Downloader(Arc::clone(&deps)));
    let live = Options::new(DOWNLOADER_LIVE, config.slots, Lane::Download);
    let backfill = Options::new(DOWNLOADER_BACKFILL, config.backfill_slots, Lane::Backfill);
    let worked = tokio::try_join!(
        consume(broker, live, Arc::clone(&handler), &context),
        consume(broker, backfill, handler, &context),
        deps.quotas.watch(&deps.clients, &context),
        tasks::work(broker, config, Arc::clone(&deps), &context),
        gauges::watch(&broker.jetstream, &deps, &context),
    );
    // Whatever stopped a lane is now the business of whoever leads next.
    for spec in [DOWNLOADER_LIVE, DOWNLOADER_BACKFILL, DOWNLOADER_TASKS] {
        context.health.up(spec.name);
    }
    deps.doubts.drop_all();
    worked.map(drop)
}

struct Downloader(Arc<Deps>);

impl Handler for Downloader {
    async fn handle(&self, message: &Received, lease: &Lease) -> Outcome {
        let issue = message.issue();
        let span = tracing::info_span!(names::span::DOWNLOAD, %issue, attempts = message.attempts);
        let work = async {
            match self.work(message, lease).await {
                Ok(outcome) => outcome,
                Err(failure) => failure.outcome(issue, &self.0).await,
            }
        };
        Box::pin(work).instrument(span).await
    }
}

impl Downloader {
    async fn work(&self, message: &Received, lease: &Lease) -> Result<Outcome, Failure> {
        let (issue, deps) = (message.issue(), &*self.0);
        let Some(repository) = deps.repositories.of(issue) else {
            return Ok(Outcome::reject(Kind::Subject, self.not_configured(issue)));
        };
        let now = deps.clock.now();
        let asked = match v1::DownloadRequested::read(issue, &message.payload, now) {
            Ok(asked) => asked,
            Err(error) => return Ok(Outcome::reject(Kind::Payload, error.to_string())),
        };
        let deadline = deps.queue.deadline(issue, now).await?;
        if let Some(deadline) = &deadline {
            propagation::link(&Span::current(), &deadline.headers);
        }
        let request = Request {
            issue,
            repository,
            cause: coalesce(asked.cause_or(now), deadline.as_ref().and_then(|d| d.cause.as_ref())),
            client: deps.client(issue.repo(), priority_of(message)),
            message: Some(Waiting {
                sequence: message.sequence,
                headers: message.headers.as_ref(),
            }),
            lease: Some(lease),
        };
        let outcome = download(&request, Source::Ask, deps).await?;
        // A failed download keeps the deadline, and with it the news of the first request.
        if let (Outcome::Done, Some(deadline)) = (&outcome, &deadline)
            && let Err(error) = deps.queue.meet(issue, deadline).await
        {
            tracing::warn!(%issue, %error, "the deadline stays, and downloads once more when it is over");
        }
        Ok(outcome)
    }

    fn not_configured(&self, issue: &IssueId) -> String {
        let known: Vec<String> = self.0.repositories.0.iter().map(|r| r.name.to_string()).collect();
        format!("{} is not configured; known: {}", issue.repo(), known.join(", "))
    }
}

/// What waits for quota must not use up what live work needs.
fn priority_of(message: &Received) -> Priority {
    match message.subject.verb {
        Verb::Backfill => Priority::Background,
        _ => Priority::Live,
    }
}
