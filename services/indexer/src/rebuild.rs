//! Fills a new generation of indices from the log while the live one serves, and lets it serve instead; or an old one
//! again.
//!
//! A rebuild is the indexer itself with another [`Target`] and a consumer of its own, which begins with the newest event of
//! every issue and then follows the log. Killed at any point, the same command goes on: what is filled, and how far, lies
//! in Elasticsearch and in that consumer.
//!
//! The hand-over, and why searches never go back in time or see what turned private ([`crate::plan`]'s model plays it):
//! 1. Live indexing is paused. Whatever it was given before has a place in the log not after the head that is read now.
//! 2. The new generation follows up to that head: it has everything that the live one shows, or newer.
//! 3. All aliases move in one change, if the pause still holds, else it all begins again. A late write of a live indexer
//!    then meets newer versions and stubs in the new generation, so nobody needs to wait for what is in flight.
//! 4. Live indexing goes on, and the rebuild follows once more up to a head read after the change.
//!
//! The pause ends by itself, should whoever asked for it die.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::Stream;
use bugstream_archive::names::{Kind, Names};
use bugstream_kit::broker::Broker;
use bugstream_kit::consume::{Options as Consuming, consume};
use bugstream_kit::objects::Objects;
use bugstream_kit::service::Context;
use bugstream_proto::Lane;
use bugstream_proto::topology::{self, ConsumerSpec, Start};
use tokio::time::Instant;

use crate::bulk::Bulker;
use crate::config::Config;
use crate::generations::{Generation, State};
use crate::index::{self, Indexer};
use crate::indices::{IndexError, Indices};
use crate::target::Target;

/// How long live indexing is paused at most.
const PAUSE: Duration = Duration::from_secs(60);
/// The aliases are moved only while the pause lasts at least this long: Elasticsearch may take its time.
const MARGIN: Duration = Duration::from_secs(35);
/// Between two looks at how far it got.
const LOOK: Duration = Duration::from_millis(100);
/// Hand-overs that are tried while events keep coming faster than they are written.
const HAND_OVERS: usize = 10;

/// What is to be rebuilt, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// One kind of documents; all without it.
    pub only: Option<Kind>,
    /// Let the generation serve although objects are lost.
    pub accept_holes: bool,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Events that are written, and those that are left.
    Replaying {
        /// Events since this process began.
        done: u64,
        /// Events that are left.
        left: u64,
    },
    /// Live indexing is paused until the new generation has caught up.
    HandingOver,
    /// The generation serves; what came meanwhile is looked at once more.
    Following,
}

/// What a rebuild came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The generation that serves.
    pub generation: u32,
    /// Issues whose objects are lost; empty unless they were accepted.
    pub holes: Vec<String>,
    /// How long live indexing was paused, in all.
    pub paused: Duration,
}

/// Why a generation does not serve.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Objects are lost.
    #[error("the objects of {} are lost ({}): they are downloaded again", count(.0), few(.0))]
    Holes(Vec<String>),
    /// Elasticsearch.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// NATS.
    #[error("NATS does not answer: {0}")]
    Broker(String),
    /// Live events come faster than they are written.
    #[error(
        "events come faster than Elasticsearch takes them: live indexing was paused {HAND_OVERS} times and the new generation never caught up"
    )]
    TooBusy,
    /// The server's clock and this one's differ by more than the pause.
    #[error("the pause was over at once: the clocks of this machine and of the NATS server differ by more than {} s", PAUSE.as_secs())]
    Clock,
    /// There is nothing to go back to.
    #[error("{0}")]
    NoWayBack(String),
    /// A stop was asked for.
    #[error("stopped before the end; the same command goes on from here")]
    Stopped,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn count(issues: &[String]) -> String {
    let plural = if issues.len() == 1 { "" } else { "s" };
    format!("{} issue{plural}", issues.len())
}

fn few(issues: &[String]) -> String {
    let shown = issues.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if issues.len() > 10 {
        format!("{shown}, …")
    } else {
        shown
    }
}

/// Fills a generation and lets it serve.
#[derive(Debug)]
pub struct Rebuilder {
    config: Config,
    broker: Broker,
    context: Context,
    indices: Arc<Indices>,
    names: Names,
    stream: Stream,
}

impl Rebuilder {
    /// Over a connected broker.
    ///
    /// # Errors
    /// Elasticsearch or the log cannot be reached.
    pub async fn new(config: Config, broker: Broker, context: Context) -> Result<Self, RebuildError> {
        let (names, indices) = indices(&config)?;
        let stream = broker.jetstream.get_stream(topology::ISSUES).await;
        Ok(Self {
            stream: stream.map_err(|error| RebuildError::Broker(error.to_string()))?,
            config,
            broker,
            context,
            indices,
            names,
        })
    }

    /// Rebuilds: a generation that an earlier call left unfinished, or a new one.
    ///
    /// # Errors
    /// [`RebuildError`]; the live generation serves on, and calling again continues.
    pub async fn rebuild(&self, options: Options, tell: &(dyn Fn(Progress) + Sync)) -> Result<Rebuilt, RebuildError> {
        self.finish_what_serves(tell).await?;
        let generation = self.indices.begin(options.only).await?;
        tracing::info!(generation, "rebuilding");
        let filling = async {
            self.catch_up(tell).await?;
            let holes = self.holes(generation, options).await?;
            self.indices.make_ready(generation).await?;
            let paused = self.hand_over(generation, tell).await?;
            Ok(Rebuilt {
                generation,
                holes,
                paused,
            })
        };
        self.filling(generation, options.only, Start::NewestOfEach, filling)
            .await
    }

    /// Lets an older generation serve again, after it caught up. The newest complete one without `number`.
    ///
    /// # Errors
    /// [`RebuildError`]; also if its documents were placed by other rules of privacy.
    pub async fn roll_back(
        &self,
        number: Option<u32>,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Rebuilt, RebuildError> {
        self.finish_what_serves(tell).await?;
        let (generation, followed_to) = way_back(&self.indices.generations().await?, number)?;
        let filling = async {
            self.catch_up(tell).await?;
            self.indices.refresh(generation).await?;
            let paused = self.hand_over(generation, tell).await?;
            Ok(Rebuilt {
                generation,
                holes: Vec::new(),
                paused,
            })
        };
        let start = Start::At(followed_to + 1);
        self.filling(generation, None, start, filling).await
    }

    /// A rebuild that was killed after the aliases had moved still has its consumer: what came meanwhile is looked at
    /// once more before anything else begins.
    async fn finish_what_serves(&self, tell: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        let generations = self.indices.generations().await?;
        let unfinished = generations.iter().any(|one| one.state == State::Building);
        let Some(spec) = self.left_over().await?.filter(|_| !unfinished) else {
            return Ok(());
        };
        let live = generations
            .iter()
            .filter(|one| one.live)
            .map(|one| one.number)
            .max()
            .unwrap_or(1);
        let following = async {
            self.follow_to_the_head(tell).await?;
            Ok(())
        };
        self.filling_with(spec, live, None, following).await
    }

    async fn left_over(&self) -> Result<Option<ConsumerSpec>, RebuildError> {
        let name = topology::rebuild(Start::All).name;
        let Ok(info) = self.stream.consumer_info(name).await else {
            return Ok(None);
        };
        let start = match info.config.deliver_policy {
            consumer::DeliverPolicy::ByStartSequence { start_sequence } => Start::At(start_sequence),
            _ => Start::NewestOfEach,
        };
        Ok(Some(topology::rebuild(start)))
    }

    async fn filling<T>(
        &self,
        generation: u32,
        only: Option<Kind>,
        start: Start,
        work: impl Future<Output = Result<T, RebuildError>>,
    ) -> Result<T, RebuildError> {
        self.filling_with(topology::rebuild(start), generation, only, work)
            .await
    }

    /// Does `work` while an indexer fills the generation. Deletes the consumer when the work succeeded.
    async fn filling_with<T>(
        &self,
        spec: ConsumerSpec,
        generation: u32,
        only: Option<Kind>,
        work: impl Future<Output = Result<T, RebuildError>>,
    ) -> Result<T, RebuildError> {
        // Made before the work looks at it.
        let made = bugstream_proto::reconcile::reconcile_consumer(&self.broker.jetstream, &spec).await;
        made.map_err(|error| RebuildError::Broker(error.to_string()))?;
        let context = Context {
            stop: self.context.stop.child(),
            ..self.context.clone()
        };
        let mut indexing = Box::pin(self.index(spec, generation, only, &context));
        let worked = tokio::select! {
            worked = work => worked,
            ended = &mut indexing => return Err(ended.err().map_or(RebuildError::Stopped, RebuildError::Other)),
        };
        context.stop.soft();
        indexing.await?;
        if worked.is_ok() {
            let deleted = self.stream.delete_consumer(spec.name).await;
            deleted.map_err(|error| RebuildError::Broker(error.to_string()))?;
        }
        worked
    }

    async fn index(
        &self,
        spec: ConsumerSpec,
        generation: u32,
        only: Option<Kind>,
        context: &Context,
    ) -> anyhow::Result<()> {
        let objects = Objects::open(&self.config.object_store)?;
        let transport = bugstream_kit::elastic::transport(&self.config.elasticsearch)?;
        let bulk = self.config.indexer.bulk();
        let (bulker, senders) = Bulker::new(transport, Arc::clone(&self.indices), bulk, context.chance.clone());
        let target = Target::generation(self.names.clone(), generation, only);
        let indices = Arc::clone(&self.indices);
        let repositories = &self.config.repositories;
        let indexer = Indexer::new(&self.broker, objects, bulker, target, indices, repositories, context);
        let options = Consuming::new(spec, self.config.indexer.slots, Lane::Index);
        tokio::select! {
            consumed = consume(&self.broker, options, Arc::new(indexer), context) => consumed,
            sent = senders.run() => sent,
        }
    }

    /// Waits until nothing of the log is left to be written.
    async fn catch_up(&self, tell: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        let begin = self.left().await?;
        let mut most = begin;
        loop {
            let left = self.left().await?;
            most = most.max(left);
            tell(Progress::Replaying {
                done: most - left,
                left,
            });
            if left == 0 {
                return Ok(());
            }
            self.look_later().await?;
        }
    }

    async fn left(&self) -> Result<u64, RebuildError> {
        let info = self.info(topology::rebuild(Start::All).name).await?;
        Ok(info.num_pending + info.num_ack_pending as u64)
    }

    async fn holes(&self, generation: u32, options: Options) -> Result<Vec<String>, RebuildError> {
        self.indices.refresh(generation).await?;
        let holes = self.indices.holes(generation).await?;
        if holes.is_empty() || options.accept_holes {
            Ok(holes)
        } else {
            Err(RebuildError::Holes(holes))
        }
    }

    /// Lets the generation serve; answers how long live indexing was paused for it.
    async fn hand_over(&self, generation: u32, tell: &(dyn Fn(Progress) + Sync)) -> Result<Duration, RebuildError> {
        tell(Progress::HandingOver);
        let begin = Instant::now();
        for _ in 0..HAND_OVERS {
            let swapped = self.try_to_swap(generation).await;
            self.resume().await?;
            if swapped? {
                let paused = begin.elapsed();
                self.follow_to_the_head(tell).await?;
                return Ok(paused);
            }
        }
        Err(RebuildError::TooBusy)
    }

    /// Pauses live indexing, catches up and moves the aliases; `false` if the pause was too short for that.
    async fn try_to_swap(&self, generation: u32) -> Result<bool, RebuildError> {
        let until = self.pause().await?;
        let followed_to = self.info(topology::INDEXER.name).await?.ack_floor.stream_sequence;
        let head = self.head().await?;
        while !self.has_passed(head).await? {
            if Instant::now() + MARGIN > until {
                return Ok(false);
            }
            self.look_later().await?;
        }
        self.indices.refresh(generation).await?;
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
        let paused = paused.map_err(|error| RebuildError::Broker(error.to_string()))?;
        let left = paused.pause_remaining.unwrap_or_default();
        if !paused.paused || left < MARGIN {
            return Err(RebuildError::Clock);
        }
        Ok(asked + left)
    }

    async fn resume(&self) -> Result<(), RebuildError> {
        let resumed = self.stream.resume_consumer(topology::INDEXER.name).await;
        resumed
            .map(drop)
            .map_err(|error| RebuildError::Broker(error.to_string()))
    }

    /// A pause that ended before its time would have let events pass by: they are looked at once more.
    async fn follow_to_the_head(&self, tell: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        tell(Progress::Following);
        let head = self.head().await?;
        while !self.has_passed(head).await? {
            self.look_later().await?;
        }
        Ok(())
    }

    /// Whether every event up to `head` is written to the new generation.
    async fn has_passed(&self, head: u64) -> Result<bool, RebuildError> {
        let info = self.info(topology::rebuild(Start::All).name).await?;
        let nothing_left = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok(nothing_left || info.ack_floor.stream_sequence >= head)
    }

    async fn head(&self) -> Result<u64, RebuildError> {
        let info = self.stream.get_info().await;
        Ok(info
            .map_err(|error| RebuildError::Broker(error.to_string()))?
            .state
            .last_sequence)
    }

    async fn info(&self, name: &str) -> Result<consumer::Info, RebuildError> {
        let info = self.stream.consumer_info(name).await;
        info.map_err(|error| RebuildError::Broker(error.to_string()))
    }

    async fn look_later(&self) -> Result<(), RebuildError> {
        if self.context.stop.sleep(LOOK).await {
            Ok(())
        } else {
            Err(RebuildError::Stopped)
        }
    }
}

/// The indices that a configuration names; nothing is sent yet.
///
/// # Errors
/// The connection cannot be set up.
pub fn indices(config: &Config) -> anyhow::Result<(Names, Arc<Indices>)> {
    let transport = bugstream_kit::elastic::transport(&config.elasticsearch)?;
    let names = Names::new(&config.elasticsearch.prefix)?;
    let privacy = index::fingerprint(&config.repositories);
    let indices = Indices::new(transport, names.clone(), config.indexer.replicas, privacy);
    Ok((names, Arc::new(indices)))
}

/// The generation to go back to, and how far it followed the log.
fn way_back(generations: &[Generation], number: Option<u32>) -> Result<(u32, u64), RebuildError> {
    let no = |why: String| Err(RebuildError::NoWayBack(why));
    let old = generations
        .iter()
        .filter(|one| !one.live && one.state == State::Complete);
    let chosen = old
        .filter(|one| number.is_none_or(|number| number == one.number))
        .max_by_key(|one| one.number);
    let Some(chosen) = chosen else {
        let which = number.map_or_else(
            || "older generation".to_owned(),
            |number| format!("generation {number}"),
        );
        return no(format!(
            "there is no complete {which} that does not serve already: see queue-cli generations list"
        ));
    };
    let number = chosen.number;
    // Of a rebuild of one kind the other kind serves on, in the older generation.
    let all = || generations.iter().filter(|one| one.number == number && !one.live);
    if all().any(|one| !one.privacy_is_current) {
        return no(format!(
            "generation {number} was filled under other rules of privacy and may show what is private now: rebuild instead"
        ));
    }
    let followed = all().map(|one| one.followed_to).min().flatten();
    followed.map_or_else(
        || {
            no(format!(
                "generation {number} does not say how far it followed the log: rebuild instead"
            ))
        },
        |followed| Ok((number, followed)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u32, live: bool, followed_to: Option<u64>) -> Generation {
        Generation {
            kind: Kind::Issues,
            number,
            live,
            state: State::Complete,
            mapping_is_current: true,
            privacy_is_current: true,
            followed_to,
            documents: 0,
            bytes: 0,
        }
    }

    #[test]
    fn the_way_back_leads_to_the_newest_complete_generation_of_the_same_rules() {
        let old = generation(2, false, Some(40));
        let live = generation(3, true, None);
        let found =
            |generations: &[Generation], number| way_back(generations, number).map_err(|error| error.to_string());
        assert_eq!(
            found(&[generation(1, false, Some(9)), old.clone(), live.clone()], None),
            Ok((2, 40))
        );
        assert_eq!(
            found(&[generation(1, false, Some(9)), old.clone(), live.clone()], Some(1)),
            Ok((1, 9))
        );
        let building = Generation {
            state: State::Building,
            ..generation(4, false, None)
        };
        assert_eq!(found(&[old.clone(), live.clone(), building], None), Ok((2, 40)));
        let other_rules = Generation {
            privacy_is_current: false,
            ..old
        };
        assert!(
            found(&[other_rules, live.clone()], None)
                .unwrap_err()
                .contains("rules of privacy")
        );
        assert!(
            found(std::slice::from_ref(&live), None)
                .unwrap_err()
                .contains("no complete")
        );
        let timelines = Generation {
            kind: Kind::Timelines,
            ..generation(2, true, None)
        };
        assert_eq!(
            found(&[generation(2, false, Some(40)), timelines, live.clone()], None),
            Ok((2, 40)),
            "only issues were rebuilt: the timelines serve on"
        );
        assert!(found(&[live], Some(3)).unwrap_err().contains("generation 3"));
        assert!(
            found(&[generation(1, false, None)], None)
                .unwrap_err()
                .contains("how far")
        );
    }
}
