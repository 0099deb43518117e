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
//!
//! The story is here; its steps are `turn` (one rebuild at a time), `replay` (the consumer, and how far it is),
//! `hand_over`, and `way_back` (which generation a roll-back leads to).

mod hand_over;
mod replay;
mod turn;
mod way_back;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use bugstream_archive::names::{Kind, Names};
use bugstream_kit::broker::Broker;
use bugstream_kit::service::Context;
use bugstream_proto::Event;
use bugstream_proto::topology::{self, Start};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::Config;
use crate::generations::{Generation, Purpose, State, ToFill};
use crate::index;
use crate::indices::{IndexError, Indices};
use crate::target::Target;
use hand_over::{HAND_OVERS, PAUSE};
use replay::Replay;
use turn::Turn;
use way_back::way_back;

/// What is to be rebuilt, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// One kind of documents; all without it.
    pub only: Option<Kind>,
    /// Let the generation serve although objects are lost.
    pub accept_holes: bool,
}

/// What came of a rebuild as of a past time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its generation, which never serves.
    pub generation: u32,
    /// By which it is read, the alias of issues first.
    pub aliases: Vec<String>,
    /// Issues that the log knows now, and of which it has no event from before then.
    pub without: u64,
    /// Issues whose objects are no longer kept; empty unless that was accepted.
    pub holes: Vec<String>,
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
    /// Objects of old revisions are no longer kept.
    #[error("the objects of {} as of then are no longer kept ({})", count(.0), few(.0))]
    NoLongerKept(Vec<String>),
    /// There is no state of that time.
    #[error("{0}")]
    NoPast(String),
    /// Somebody else is at work.
    #[error("another rebuild or roll-back is at work: wait for its end, or end it with Ctrl-C where it runs")]
    Another,
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
        let mut turn = Turn::take(&self.broker).await?;
        let rebuilt = self.fill_and_serve(options, &mut turn, tell).await;
        turn.release().await;
        rebuilt
    }

    async fn fill_and_serve(
        &self,
        options: Options,
        turn: &mut Turn,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Rebuilt, RebuildError> {
        let purpose = Purpose {
            only: options.only,
            as_of: None,
        };
        self.finish_what_serves(turn, tell).await?;
        let generation = self.begin(purpose, turn).await?.number;
        let target = Target::filled(self.names.clone(), generation, options.only);
        let work = async |turn: &Turn| {
            self.catch_up(generation, tell).await?;
            let holes = self.holes(generation).await?;
            if !holes.is_empty() && !options.accept_holes {
                return Err(RebuildError::Holes(holes));
            }
            self.indices.make_ready(generation).await?;
            // What is under way now is before the head that the hand-over follows to.
            target.will_be_read();
            let paused = self.hand_over(generation, turn, tell).await?;
            Ok(Rebuilt {
                generation,
                holes,
                paused,
            })
        };
        let replay = Replay {
            spec: topology::rebuild(Start::NewestOfEach),
            target: target.clone(),
            as_of: None,
        };
        self.replaying(replay, turn, work).await
    }

    /// Fills a generation of its own with what was true at a past time, for those who may see private documents. What
    /// serves is not touched, and nothing is paused.
    ///
    /// # Errors
    /// [`RebuildError`]; calling again continues.
    pub async fn as_of(
        &self,
        at: OffsetDateTime,
        accept_holes: bool,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Shown, RebuildError> {
        // An alias names a second.
        let at = at.replace_nanosecond(0).unwrap_or(at);
        self.is_past(at).await?;
        let mut turn = Turn::take(&self.broker).await?;
        let shown = self.fill_and_show(at, accept_holes, &mut turn, tell).await;
        turn.release().await;
        shown
    }

    async fn fill_and_show(
        &self,
        at: OffsetDateTime,
        accept_holes: bool,
        turn: &mut Turn,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Shown, RebuildError> {
        self.finish_what_serves(turn, tell).await?;
        let purpose = Purpose {
            only: None,
            as_of: Some(at),
        };
        if let Some(number) = self.shows_already(at).await? {
            return self.shown(number, at).await;
        }
        let generation = self.begin(purpose, turn).await?.number;
        let work = async |_: &Turn| {
            self.catch_up(generation, tell).await?;
            let holes = self.holes(generation).await?;
            if !holes.is_empty() && !accept_holes {
                return Err(RebuildError::NoLongerKept(holes));
            }
            self.indices.make_ready(generation).await?;
            self.indices.show_past(generation).await?;
            self.shown(generation, at).await
        };
        let replay = Replay {
            spec: topology::rebuild(Start::All),
            target: Target::past(self.names.clone(), generation, None),
            as_of: Some(at),
        };
        self.replaying(replay, turn, work).await
    }

    async fn is_past(&self, at: OffsetDateTime) -> Result<(), RebuildError> {
        let no = |why| Err(RebuildError::NoPast(why));
        if at > self.context.clock.now() {
            return no(format!("{} lies in the future", said(at)));
        }
        let log = self.stream.get_info().await.map_err(away)?.state;
        if log.messages == 0 {
            return no("the log has no event yet".to_owned());
        }
        let first = self.stream.get_raw_message(log.first_sequence).await.map_err(away)?;
        let event = first.subject.parse::<bugstream_proto::Subject>().ok();
        let event = event.and_then(|subject| Event::decode(&subject.issue, &first.payload).ok());
        // What was imported happened before it came into the log.
        let begin = event.map_or(first.time, |event| event.occurred_at.min(first.time));
        if at < begin {
            return no(format!("the log begins at {}: it has nothing from before", said(begin)));
        }
        Ok(())
    }

    async fn shows_already(&self, at: OffsetDateTime) -> Result<Option<u32>, RebuildError> {
        let generations = self.indices.generations().await?;
        let of_then = |one: &&Generation| one.purpose.as_of == Some(at) && one.state == State::Complete;
        Ok(generations.iter().find(of_then).map(|one| one.number))
    }

    async fn shown(&self, generation: u32, at: OffsetDateTime) -> Result<Shown, RebuildError> {
        let known = self.stream.get_info().await.map_err(away)?.state.subjects_count;
        let looked_at = self.indices.issues_of(generation).await?;
        Ok(Shown {
            generation,
            aliases: Kind::ALL.map(|kind| self.names.past_alias(kind, at)).to_vec(),
            without: known.saturating_sub(looked_at),
            holes: self.holes(generation).await?,
        })
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
        let mut turn = Turn::take(&self.broker).await?;
        let rebuilt = self.follow_and_serve(number, &mut turn, tell).await;
        turn.release().await;
        rebuilt
    }

    async fn follow_and_serve(
        &self,
        number: Option<u32>,
        turn: &mut Turn,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Rebuilt, RebuildError> {
        self.finish_what_serves(turn, tell).await?;
        let (generation, followed_to) = way_back(&self.indices.generations().await?, number)?;
        self.go_on_or_anew(turn, generation, false).await?;
        let work = async |turn: &Turn| {
            self.catch_up(generation, tell).await?;
            self.indices.refresh(generation).await?;
            let paused = self.hand_over(generation, turn, tell).await?;
            Ok(Rebuilt {
                generation,
                holes: Vec::new(),
                paused,
            })
        };
        let replay = Replay {
            spec: topology::rebuild(Start::At(followed_to + 1)),
            target: Target::generation(self.names.clone(), generation, None),
            as_of: None,
        };
        self.replaying(replay, turn, work).await
    }

    /// Deletes generations that do not serve, and what is left of a rebuild that filled one of them.
    ///
    /// # Errors
    /// [`RebuildError::Another`] while a rebuild or a roll-back is at work; [`IndexError::Serves`].
    pub async fn prune(&self, numbers: &[u32]) -> Result<(), RebuildError> {
        let mut turn = Turn::take(&self.broker).await?;
        let pruned = self.prune_all(numbers, &mut turn).await;
        turn.release().await;
        pruned
    }

    async fn prune_all(&self, numbers: &[u32], turn: &mut Turn) -> Result<(), RebuildError> {
        for number in numbers {
            self.indices.drop_generation(*number).await?;
            if turn.fills() == Some(*number) {
                self.drop_consumer().await?;
                turn.note(None).await?;
            }
        }
        Ok(())
    }

    /// A rebuild that was killed after the aliases had moved still has its consumer, and perhaps the pause: what came
    /// meanwhile is looked at once more before anything else begins. It goes to whatever serves: what was rebuilt may be one kind only.
    async fn finish_what_serves(&self, turn: &mut Turn, tell: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        let generations = self.indices.generations().await?;
        let of_it = || generations.iter().filter(|one| Some(one.number) == turn.fills());
        let serves = of_it().count() > 0 && of_it().all(|one| one.live);
        let Some(spec) = self.left_over().await?.filter(|_| serves) else {
            return Ok(());
        };
        self.resume().await?;
        let replay = Replay {
            spec,
            target: Target::live(self.names.clone()),
            as_of: None,
        };
        let following = async |_: &Turn| self.follow_to_the_head(tell).await;
        self.replaying(replay, turn, following).await
    }

    /// Makes what is missing of the generation that is to be filled, and sees to it that its consumer has not given
    /// anything to another.
    async fn begin(&self, purpose: Purpose, turn: &mut Turn) -> Result<ToFill, RebuildError> {
        let to_fill = self.indices.to_fill(purpose).await?;
        self.go_on_or_anew(turn, to_fill.number, to_fill.is_new).await?;
        self.indices.begin(to_fill).await?;
        tracing::info!(generation = to_fill.number, anew = to_fill.is_new, "rebuilding");
        Ok(to_fill)
    }

    async fn holes(&self, generation: u32) -> Result<Vec<String>, RebuildError> {
        self.indices.refresh(generation).await?;
        Ok(self.indices.holes(generation).await?)
    }
}

/// The part is away.
fn away(error: impl std::fmt::Display) -> RebuildError {
    RebuildError::Broker(error.to_string())
}

fn said(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
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
