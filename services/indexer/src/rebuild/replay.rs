//! The consumer of a rebuild, the indexer that works it inside this process, and how far they are.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer;
use bugstream_kit::broker::Broker;
use bugstream_kit::consume::{Options as Consuming, consume};
use bugstream_kit::objects::Objects;
use bugstream_kit::service::Context;
use bugstream_proto::Lane;
use bugstream_proto::reconcile::reconcile_consumer;
use bugstream_proto::topology::{self, ConsumerSpec, Start};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::turn::Turn;
use super::{Progress, RebuildError, Rebuilder, away};
use crate::bulk::Bulker;
use crate::index::Indexer;
use crate::past::Past;
use crate::target::Target;

/// Between two looks at how far it got.
const LOOK: Duration = Duration::from_millis(100);
/// The same when little is left, so that nobody waits for the next look.
const LAST_LOOKS: Duration = Duration::from_millis(10);
/// That is little: as much as is under way at once.
const LITTLE: u64 = 1_000;

/// What is replayed, and where to.
#[derive(Debug, Clone)]
pub(super) struct Replay {
    pub(super) spec: ConsumerSpec,
    pub(super) target: Target,
    /// A past time whose state is wanted, instead of the newest.
    pub(super) as_of: Option<OffsetDateTime>,
}

impl Rebuilder {
    /// The consumer that an earlier rebuild left.
    pub(super) async fn left_over(&self) -> Result<Option<ConsumerSpec>, RebuildError> {
        let name = topology::rebuild(Start::All).name;
        let Ok(info) = self.stream.consumer_info(name).await else {
            return Ok(None);
        };
        let start = match info.config.deliver_policy {
            consumer::DeliverPolicy::ByStartSequence { start_sequence } => Start::At(start_sequence),
            consumer::DeliverPolicy::All => Start::All,
            _ => Start::NewestOfEach,
        };
        Ok(Some(topology::rebuild(start)))
    }

    /// Goes on with the consumer that is left over if it fills this generation; else it must begin anew, or documents
    /// that it gave to another would be missing here.
    pub(super) async fn go_on_or_anew(&self, turn: &mut Turn, number: u32, anew: bool) -> Result<(), RebuildError> {
        if anew || turn.fills() != Some(number) {
            self.drop_consumer().await?;
        }
        turn.note(Some(number)).await
    }

    /// Deletes the consumer, if one is there.
    pub(super) async fn drop_consumer(&self) -> Result<(), RebuildError> {
        match self.left_over().await? {
            Some(spec) => self.stream.delete_consumer(spec.name).await.map(drop).map_err(away),
            None => Ok(()),
        }
    }

    /// Does `work` while an indexer replays. Deletes the consumer when the work succeeded.
    pub(super) async fn replaying<T>(
        &self,
        replay: Replay,
        turn: &mut Turn,
        work: impl AsyncFnOnce(&Turn) -> Result<T, RebuildError>,
    ) -> Result<T, RebuildError> {
        // Made before the work looks at it.
        reconcile_consumer(&self.broker.jetstream, &replay.spec)
            .await
            .map_err(away)?;
        let context = Context {
            stop: self.context.stop.child(),
            ..self.context.clone()
        };
        let mut indexing = Box::pin(self.index(replay, &context));
        let worked = tokio::select! {
            worked = work(turn) => worked,
            ended = &mut indexing => return Err(ended.err().map_or(RebuildError::Stopped, RebuildError::Other)),
        };
        if worked.is_ok() {
            // What is under way came after everything that had to be written: that is left to the live indexer, and no pull
            // is waited for.
            drop(indexing);
            self.drop_consumer().await?;
            turn.note(None).await?;
        } else {
            context.stop.soft();
            indexing.await?;
        }
        worked
    }

    async fn index(&self, replay: Replay, context: &Context) -> anyhow::Result<()> {
        let objects = Objects::open(&self.config.object_store)?;
        let transport = bugstream_kit::elastic::transport(&self.config.elasticsearch)?;
        let bulk = self.config.indexer.bulk();
        let (bulker, senders) = Bulker::new(transport, Arc::clone(&self.indices), bulk, context.chance.clone());
        let indices = Arc::clone(&self.indices);
        let repositories = &self.config.repositories;
        let indexer = Indexer::new(
            &self.broker,
            objects,
            bulker,
            replay.target,
            indices,
            repositories,
            context,
        );
        let options = Consuming::new(replay.spec, self.config.indexer.slots, Lane::Index);
        let consumed = self.consume(&self.broker, options, indexer, replay.as_of, context);
        tokio::select! {
            consumed = consumed => consumed,
            sent = senders.run() => sent,
        }
    }

    async fn consume(
        &self,
        broker: &Broker,
        options: Consuming,
        indexer: Indexer,
        as_of: Option<OffsetDateTime>,
        context: &Context,
    ) -> anyhow::Result<()> {
        match as_of {
            None => consume(broker, options, Arc::new(indexer), context).await,
            Some(at) => {
                let past = Past::new(indexer, self.stream.clone(), at);
                consume(broker, options, Arc::new(past), context).await
            }
        }
    }

    /// Waits until nothing of the log is left to be written to this generation. While the last of it is, the rest
    /// becomes searchable.
    pub(super) async fn catch_up(&self, generation: u32, tell: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        let mut most = 0;
        self.wait_until(|info| info.num_pending == 0, &mut most, tell).await?;
        let written = self.wait_until(|info| left(info) == 0, &mut most, tell);
        let refreshed = async { Ok(self.indices.refresh(generation).await?) };
        tokio::try_join!(written, refreshed).map(drop)
    }

    async fn wait_until(
        &self,
        is_reached: impl Fn(&consumer::Info) -> bool,
        most: &mut u64,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), RebuildError> {
        loop {
            let info = self.info(topology::rebuild(Start::All).name).await?;
            let left = left(&info);
            *most = left.max(*most);
            tell(Progress::Replaying {
                done: *most - left,
                left,
            });
            if is_reached(&info) {
                return Ok(());
            }
            self.rest(if left > LITTLE { LOOK } else { LAST_LOOKS }).await?;
        }
    }

    /// Whether every event up to `head` is written.
    async fn has_passed(&self, head: u64) -> Result<bool, RebuildError> {
        let info = self.info(topology::rebuild(Start::All).name).await?;
        let nothing_left = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok(nothing_left || info.ack_floor.stream_sequence >= head)
    }

    pub(super) async fn head(&self) -> Result<u64, RebuildError> {
        Ok(self.stream.get_info().await.map_err(away)?.state.last_sequence)
    }

    pub(super) async fn info(&self, name: &str) -> Result<consumer::Info, RebuildError> {
        self.stream.consumer_info(name).await.map_err(away)
    }

    /// Waits until `head` is written; `false` if that lasts beyond `until`.
    pub(super) async fn follow_to(&self, head: u64, until: Option<Instant>) -> Result<bool, RebuildError> {
        while !self.has_passed(head).await? {
            if until.is_some_and(|until| Instant::now() > until) {
                return Ok(false);
            }
            self.rest(LAST_LOOKS).await?;
        }
        Ok(true)
    }

    async fn rest(&self, time: Duration) -> Result<(), RebuildError> {
        if self.context.stop.sleep(time).await {
            Ok(())
        } else {
            Err(RebuildError::Stopped)
        }
    }
}

/// Events that are not written yet.
fn left(info: &consumer::Info) -> u64 {
    info.num_pending + info.num_ack_pending as u64
}
