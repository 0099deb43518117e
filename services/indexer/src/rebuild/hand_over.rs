//! Lets a generation serve that has caught up: pause, follow to the head, move all aliases, go on.

use std::time::Duration;

use bugstream_proto::topology;
use tokio::time::Instant;

use super::turn::Turn;
use super::{Progress, RebuildError, Rebuilder, away};

/// How long live indexing is paused at most.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
/// The aliases are moved only while the pause lasts at least this long: Elasticsearch may take its time.
const MARGIN: Duration = Duration::from_secs(35);
/// Hand-overs that are tried while events keep coming faster than they are written.
pub(super) const HAND_OVERS: usize = 10;

impl Rebuilder {
    /// Lets the generation serve; answers how long live indexing was paused for it.
    pub(super) async fn hand_over(
        &self,
        generation: u32,
        turn: &Turn,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Duration, RebuildError> {
        tell(Progress::HandingOver);
        let begin = Instant::now();
        for _ in 0..HAND_OVERS {
            let swapped = self.try_to_swap(generation, turn).await;
            self.resume().await?;
            if swapped? {
                let paused = begin.elapsed();
                let noted = async { Ok(self.indices.note_complete(generation).await?) };
                tokio::try_join!(noted, self.follow_to_the_head(tell))?;
                return Ok(paused);
            }
        }
        Err(RebuildError::TooBusy)
    }

    /// Pauses live indexing, catches up and moves the aliases; `false` if the pause was too short for that.
    async fn try_to_swap(&self, generation: u32, turn: &Turn) -> Result<bool, RebuildError> {
        let until = self.pause().await?;
        let followed_to = self.info(topology::INDEXER.name).await?.ack_floor.stream_sequence;
        let head = self.head().await?;
        if !self.follow_to(head, Some(until - MARGIN)).await? {
            return Ok(false);
        }
        self.indices.refresh(generation).await?;
        turn.still_holds().await?;
        if Instant::now() + MARGIN > until || !self.info(topology::INDEXER.name).await?.paused {
            return Ok(false);
        }
        self.indices.swap(generation, followed_to).await?;
        Ok(true)
    }

    async fn pause(&self) -> Result<Instant, RebuildError> {
        let asked = Instant::now();
        let until = self.context.clock.now() + PAUSE;
        let paused = self.stream.pause_consumer(topology::INDEXER.name, until).await;
        let paused = paused.map_err(away)?;
        let left = paused.pause_remaining.unwrap_or_default();
        if !paused.paused || left < MARGIN {
            return Err(RebuildError::Clock);
        }
        Ok(asked + left)
    }

    /// Lets live indexing go on. Only who has the turn pauses it.
    pub(super) async fn resume(&self) -> Result<(), RebuildError> {
        let resumed = self.stream.resume_consumer(topology::INDEXER.name).await;
        resumed.map(drop).map_err(away)
    }

    /// A pause that ended before its time would have let events pass by: they are looked at once more.
    pub(super) async fn follow_to_the_head(&self, tell: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        tell(Progress::Following);
        let head = self.head().await?;
        self.follow_to(head, None).await.map(drop)
    }
}
