//! `rebuild`, `rollback` and `generations`: fill a new generation of indices, go back to an old one, remove what is old.
//!
//! The work is done by the indexer's own library, inside this program: no indexer has to run for it. Nothing is kept
//! here, so a command that ended in any way is given again and goes on.
//!
//! One file a step: `watch` shows how far it is and listens for Ctrl-C, `served` says what came of it, `list` and `prune`
//! are about the generations that there are. `past` makes one that shows a past time.

mod list;
mod past;
mod prune;
mod served;
mod watch;

use std::sync::Arc;

use bugstream_archive::names::Kind;
use bugstream_indexer::config::Config;
use bugstream_indexer::generations::{Generation, Purpose, State};
use bugstream_indexer::indices::{IndexError, Indices};
use bugstream_indexer::rebuild::{Options, RebuildError, Rebuilder};

use crate::cli::{Documents, Generations, Rebuild, Rollback};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;

pub(crate) async fn run(asked: Rebuild, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let indices = indices(deps)?;
    let rebuilder = rebuilder(deps).await?;
    if let Some(at) = asked.as_of {
        return past::run(at, asked, &rebuilder, deps, progress).await;
    }
    let before = live(&indices.generations().await.map_err(index_failed)?);
    let options = Options {
        only: asked.only.map(Kind::from),
        accept_holes: asked.accept_holes,
    };
    let work = async |tell: watch::Tell<'_>| rebuilder.rebuild(options, tell).await;
    let rebuilt = watch::watched(work, deps, progress).await?;
    let rebuilt = rebuilt.map_err(|error| failed(&error, &again(asked)))?;
    let generations = indices.generations().await.map_err(index_failed)?;
    Ok(served::report(&rebuilt, before, &generations))
}

pub(crate) async fn roll_back(asked: Rollback, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let indices = indices(deps)?;
    let rebuilder = rebuilder(deps).await?;
    let generations = indices.generations().await.map_err(index_failed)?;
    nothing_unfinished(&generations)?;
    // By its number, so that the same command means the same when it is given again.
    let number = asked.generation.or_else(|| kept(&generations).max());
    let work = async |tell: watch::Tell<'_>| rebuilder.roll_back(number, tell).await;
    let rebuilt = watch::watched(work, deps, progress).await?;
    let again = number.map_or_else(
        || "queue-cli rollback".to_owned(),
        |number| format!("queue-cli rollback {number}"),
    );
    let rebuilt = rebuilt.map_err(|error| failed(&error, &again))?;
    let before = live(&generations);
    let generations = indices.generations().await.map_err(index_failed)?;
    Ok(served::report(&rebuilt, before, &generations))
}

pub(crate) async fn generations(command: Generations, deps: &Deps) -> Result<Report, Failure> {
    let indices = indices(deps)?;
    let generations = indices.generations().await.map_err(index_failed)?;
    match command {
        Generations::List => Ok(list::report(&generations)),
        Generations::Prune(asked) => prune::prune(asked, deps, &generations).await,
    }
}

impl From<Documents> for Kind {
    fn from(documents: Documents) -> Self {
        match documents {
            Documents::Issues => Self::Issues,
            Documents::Timelines => Self::Timelines,
        }
    }
}

async fn rebuilder(deps: &Deps) -> Result<Rebuilder, Failure> {
    let config = Config::read(deps.settings())?;
    let rebuilder = Rebuilder::new(config, deps.broker().await?, deps.context().clone()).await;
    rebuilder.map_err(|error| Failure::failed(error.to_string()))
}

fn indices(deps: &Deps) -> Result<Arc<Indices>, Failure> {
    if deps.named()?.is_some() {
        let problem = "a generation has the documents of all repositories";
        return Err(Failure::usage(problem, "leave --repository out"));
    }
    let config = Config::read(deps.settings())?;
    let indices = bugstream_indexer::rebuild::indices(&config);
    Ok(indices.map_err(|error| Failure::failed(format!("{error:#}")))?.1)
}

/// The newest generation that serves.
fn live(generations: &[Generation]) -> Option<u32> {
    let live = generations.iter().filter(|one| one.live);
    live.map(|one| one.number).max()
}

/// Numbers of generations that could serve and do not, in their order. One may occur for each kind.
fn kept(generations: &[Generation]) -> impl Iterator<Item = u32> {
    let could_serve = |one: &&Generation| one.state == State::Complete && one.purpose.as_of.is_none();
    let kept = generations.iter().filter(|one| !one.live).filter(could_serve);
    kept.map(|one| one.number)
}

/// A roll-back needs the consumer that an unfinished rebuild has.
fn nothing_unfinished(generations: &[Generation]) -> Result<(), Failure> {
    let Some(one) = generations.iter().find(|one| one.state == State::Building) else {
        return Ok(());
    };
    let number = one.number;
    let failure = Failure::failed(format!("a rebuild is unfinished: it fills generation {number}"));
    Err(failure.with_fix(format!(
        "{} finishes it, queue-cli generations prune {number} gives it up",
        one.purpose
    )))
}

/// The command that goes on with it.
fn again(asked: Rebuild) -> String {
    let purpose = Purpose {
        only: asked.only.map(Kind::from),
        as_of: asked.as_of,
    };
    let mut words = vec![purpose.to_string()];
    words.extend(asked.accept_holes.then(|| "--accept-holes".to_owned()));
    words.join(" ")
}

fn failed(error: &RebuildError, again: &str) -> Failure {
    let fix = match error {
        RebuildError::Holes(_) => format!(
            "{again} goes on once they are there: queue-cli length download says how many are not; with --accept-holes it \
             serves without them until then"
        ),
        RebuildError::NoLongerKept(_) => format!(
            "{again} --accept-holes leaves them out; [retention] revisions_days says for how long old revisions are kept"
        ),
        // They say what to do.
        RebuildError::NoWayBack(_)
        | RebuildError::NoPast(_)
        | RebuildError::Another
        | RebuildError::Index(IndexError::Unfinished { .. } | IndexError::Serves(_) | IndexError::NoGeneration(_)) => {
            return Failure::failed(error.to_string());
        }
        _ => format!("searches are answered as before; {again} goes on from here"),
    };
    let problem = match error {
        RebuildError::Stopped => "stopped before the end".to_owned(),
        RebuildError::Other(error) => format!("{error:#}"),
        error => error.to_string(),
    };
    Failure::failed(problem).with_fix(fix)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn index_failed(error: IndexError) -> Failure {
    Failure::failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_early_says_how_it_goes_on() {
        let asked = Rebuild {
            only: Some(Documents::Timelines),
            ..Rebuild::default()
        };
        let unfinished = IndexError::Unfinished {
            number: 4,
            purpose: Purpose {
                only: None,
                as_of: Some(time::macros::datetime!(2026-01-31 12:00 UTC)),
            },
        };
        let said = [
            RebuildError::Stopped,
            RebuildError::Holes(vec!["a/b#7".to_owned(), "a/b#9".to_owned()]),
            RebuildError::TooBusy,
            RebuildError::NoWayBack("there is no way".to_owned()),
            RebuildError::Another,
            RebuildError::NoLongerKept(vec!["a/b#7".to_owned()]),
            unfinished.into(),
        ]
        .map(|error| failed(&error, &again(asked)).to_string());
        insta::assert_snapshot!(said.join("\n"), @r#"
        error: stopped before the end
          searches are answered as before; queue-cli rebuild --only timelines goes on from here
        error: the objects of 2 issues are lost (a/b#7, a/b#9): they are downloaded again
          queue-cli rebuild --only timelines goes on once they are there: queue-cli length download says how many are not; with --accept-holes it serves without them until then
        error: events come faster than Elasticsearch takes them: live indexing was paused 10 times and the new generation never caught up
          searches are answered as before; queue-cli rebuild --only timelines goes on from here
        error: there is no way
        error: another rebuild or roll-back is at work: wait for its end, or end it with Ctrl-C where it runs
        error: the objects of 1 issue as of then are no longer kept (a/b#7)
          queue-cli rebuild --only timelines --accept-holes leaves them out; [retention] revisions_days says for how long old revisions are kept
        error: generation 4 is unfinished: queue-cli rebuild --as-of 2026-01-31T12:00:00Z goes on with it, queue-cli generations prune 4 gives it up
        "#);
    }
}
