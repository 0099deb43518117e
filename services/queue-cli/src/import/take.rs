//! Takes the issues of a source into the archive, several at once.

use std::collections::HashSet;
use std::time::Instant;

use bugstream_kit::config::{ObjectStore, Repository};
use bugstream_kit::log::Log;
use bugstream_kit::objects::Objects;
use bugstream_proto::IssueId;
use futures_util::{StreamExt as _, stream};

use super::adopt::{Adopted, Archive, Checked, check};
use super::archive::Damaged;
use super::pairs::{Broken, Found};
use super::reading::{Piece, Reading};
use super::tally::Tally;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::snapshot::pace;

/// Issues on their way into the archive at once.
const AT_ONCE: usize = 32;

/// The configured repository that is meant.
///
/// # Errors
/// [`Failure`] if it is not configured: what is private in it is not known.
pub(crate) fn repository(deps: &Deps) -> Result<Repository, Failure> {
    let name = deps.repository()?;
    let found = deps.configured()?.into_iter().find(|one| one.name == name);
    found.ok_or_else(|| Failure::usage(format!("{name} is not a configured repository"), "configure it"))
}

/// Opens the archive of a repository.
///
/// # Errors
/// [`Failure`] for a configuration that cannot be used, or a server that is away.
pub(crate) async fn open(repository: &Repository, deps: &Deps) -> Result<Archive, Failure> {
    let store = ObjectStore::read(deps.settings())?;
    let objects = Objects::open(&store).map_err(|error| Failure::failed(format!("{error:#}")))?;
    let context = deps.context();
    let log = Log::new(deps.broker().await?.jetstream, context.clock.clone());
    let answers = objects.answers().await;
    answers.map_err(|error| Failure::failed(error.to_string()))?;
    let (chance, clock) = (context.chance.clone(), context.clock.clone());
    Ok(Archive::new(log, objects, chance, clock, repository))
}

impl Archive {
    /// The numbers of every issue that the log knows.
    ///
    /// # Errors
    /// [`Failure`] if JetStream is away.
    pub(crate) async fn known(&self) -> Result<HashSet<u64>, Failure> {
        let known = self.log.known(&self.rules.repository).await;
        let known = known.map_err(|error| Failure::failed(error.to_string()))?;
        Ok(known.iter().map(IssueId::number).collect())
    }
}

/// What is done with a whole issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is checked.
    Look,
    /// It is checked and taken.
    Take,
}

/// An issue that was taken, or may be.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) issue: IssueId,
    pub(crate) revision: u64,
    private: bool,
}

enum Outcome {
    New(Taken),
    Known(u64),
    Broken(Broken),
}

/// Works on everything that a source has, and shows each issue that was taken, or may be, to `look`.
///
/// # Errors
/// [`Failure`] if a server is away. The second part says whether the source was read to its end.
pub(crate) async fn each(
    mut reading: Reading,
    work: Work,
    total: Option<u64>,
    archive: &Archive,
    progress: &mut Progress<'_>,
    mut look: impl FnMut(&Taken),
) -> Result<(Tally, Result<(), Damaged>), Failure> {
    let (mut tally, begin) = (Tally::default(), Instant::now());
    let verb = match work {
        Work::Look => "looked at",
        Work::Take => "taken",
    };
    {
        let pieces = stream::unfold(&mut reading, async |reading| Some((reading.next().await?, reading)));
        let outcomes = pieces.map(|piece| one(piece, work, archive)).buffer_unordered(AT_ONCE);
        let mut outcomes = std::pin::pin!(outcomes);
        while let Some(outcome) = outcomes.next().await {
            match outcome? {
                Outcome::New(taken) => {
                    look(&taken);
                    tally.new += 1;
                    tally.private += u64::from(taken.private);
                }
                Outcome::Known(number) => drop(tally.known.insert(number)),
                Outcome::Broken(broken) => tally.broken(broken),
            }
            progress.tell(&pace::line(tally.seen(), total, verb, begin.elapsed()));
        }
    }
    Ok((tally, reading.end().await))
}

async fn one(piece: Piece, work: Work, archive: &Archive) -> Result<Outcome, Failure> {
    let (found, _share) = match piece {
        Piece::Whole(found, share) => (found, share),
        Piece::Known(number) => return Ok(Outcome::Known(number)),
        Piece::Broken(broken) => return Ok(Outcome::Broken(broken)),
    };
    let number = found.number;
    let checked = match checked(found, archive).await? {
        Ok(checked) => checked,
        Err(why) => return Ok(Outcome::Broken(Broken::issue(number, why))),
    };
    let taken = Taken {
        issue: checked.issue.clone(),
        revision: checked.revision,
        private: checked.private,
    };
    Ok(match work {
        Work::Look => Outcome::New(taken),
        Work::Take => match archive.adopt(checked).await? {
            Adopted::New => Outcome::New(taken),
            Adopted::Known => Outcome::Known(number),
        },
    })
}

/// On another thread: JSON may be long.
async fn checked(found: Found, archive: &Archive) -> Result<Result<Checked, String>, Failure> {
    let (rules, now) = (archive.rules.clone(), archive.clock.now());
    let checked = tokio::task::spawn_blocking(move || check(found, &rules, now)).await;
    checked.map_err(|error| Failure::failed(error.to_string()))
}
