//! `forget`: removes everything about an issue, for a legal request. What remains says only that it was forgotten.
//!
//! Invariants:
//! - The log says so first: from then on no download is begun or comes to an end, and an indexer that is late writes
//!   nothing that a newer stub would not replace. What follows only removes.
//! - Every step may be done again, so a command that ended early in any way is given again and goes on.
//! - It is over when all was looked for once more and nothing was found.
//!
//! No indexer has to run: the documents are made stubs by this program, with the version that any indexer would use.
//!
//! One file a step: `log` says it, `requests` removes what waits or was put aside, `documents` is about Elasticsearch,
//! `report` tells what went and what holds the issue besides.

pub(crate) mod cli;
mod documents;
mod log;
mod report;
mod requests;

use bugstream_kit::broker::Broker;
use bugstream_kit::config::ObjectStore;
use bugstream_kit::deletions::Deletions;
use bugstream_kit::log::{Entry, Log};
use bugstream_kit::objects::Objects;
use bugstream_kit::snapshots::Snapshots;
use bugstream_kit::validators::Validators;
use bugstream_proto::snapshot::{SnapshotName, Stamp};
use bugstream_proto::{Event, IssueId};
use time::OffsetDateTime;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use cli::Forget;
use documents::Documents;
use report::{Elsewhere, Removed};

pub(crate) async fn run(asked: &Forget, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let issue = issue(asked.number, deps)?;
    let broker = deps.broker().await?;
    let log = Log::new(broker.jetstream.clone(), deps.context().clock.clone());
    if asked.allow {
        let allowed = log::allow(&issue, &log, &broker, deps).await?;
        return Ok(report::allowed(&issue, allowed));
    }
    let place = Place {
        documents: Documents::open(deps)?,
        objects: objects(deps)?,
        issue,
        broker,
        log,
    };
    let history = place.log.history(&place.issue).await.map_err(failed)?;
    if asked.dry_run {
        let (found, elsewhere) = place.look(&history, progress).await?;
        return Ok(report::would(&place.issue, &found, &elsewhere));
    }
    let (removed, elsewhere) = place.forget(&history, deps, progress).await?;
    Ok(report::forgotten(&place.issue, &removed, &elsewhere))
}

fn issue(number: u64, deps: &Deps) -> Result<IssueId, Failure> {
    let issue = deps.repository()?.issue(number);
    issue.map_err(|error| Failure::usage(error.to_string(), "write the issue's number"))
}

fn objects(deps: &Deps) -> Result<Objects, Failure> {
    let store = ObjectStore::read(deps.settings())?;
    Objects::open(&store).map_err(|error| Failure::failed(format!("{error:#}")))
}

/// The issue, and everything that may hold something of it.
struct Place {
    issue: IssueId,
    broker: Broker,
    log: Log,
    objects: Objects,
    documents: Documents,
}

impl Place {
    /// What there is of it. Changes nothing.
    async fn look(&self, history: &[Entry], progress: &mut Progress<'_>) -> Result<(Removed, Elsewhere), Failure> {
        log::newest(&self.issue, history)?;
        let files = self.objects.files(&self.issue).await.map_err(failed)?;
        let found = Removed {
            events: history.len() as u64,
            objects: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            requests: requests::count(&self.issue, &self.broker).await?,
            letters: requests::letters(&self.issue, &self.broker, false, progress).await?,
            documents: self.documents.count(&self.issue).await?,
        };
        Ok((found, self.elsewhere(history).await?))
    }

    async fn forget(
        &self,
        history: &[Entry],
        deps: &Deps,
        progress: &mut Progress<'_>,
    ) -> Result<(Removed, Elsewhere), Failure> {
        // Before an indexer hears of it; who cannot be asked must not keep the log from saying it.
        let documents = self.documents.count(&self.issue).await;
        let forgotten = log::say(&self.issue, &self.log, deps).await?;
        progress.show("the log says that it is forgotten");
        let mut removed = Removed {
            requests: requests::purge(&self.issue, &self.broker).await?,
            events: self
                .log
                .drop_before(&self.issue, forgotten.sequence)
                .await
                .map_err(failed)?,
            documents: documents?,
            ..Removed::default()
        };
        for _ in 0..2 {
            let (objects, bytes) = self.purge_objects().await?;
            removed.objects += objects;
            removed.bytes += bytes;
            progress.tell("removing its documents");
            self.documents.bury(&forgotten.event, deps).await?;
        }
        self.forget_records().await?;
        removed.letters = requests::letters(&self.issue, &self.broker, true, progress).await?;
        self.check(&forgotten.event).await?;
        let mut elsewhere = self.elsewhere(history).await?;
        elsewhere.merging = Some(self.documents.ask_for_a_merge().await);
        Ok((removed, elsewhere))
    }

    /// A download that was under way may store something until it finds that it lost.
    async fn purge_objects(&self) -> Result<(u64, u64), Failure> {
        let files = self.objects.files(&self.issue).await.map_err(failed)?;
        self.objects.purge_all(&self.issue).await.map_err(failed)?;
        Ok((files.len() as u64, files.iter().map(|file| file.bytes).sum()))
    }

    async fn forget_records(&self) -> Result<(), Failure> {
        let validators = Validators::open(&self.broker).await.map_err(failed)?;
        validators.forget(&self.issue).await.map_err(failed)?;
        let deletions = Deletions::open(&self.broker).await.map_err(failed)?;
        deletions.clear(&self.issue).await.map_err(failed)
    }

    /// Looks whether anything is left.
    async fn check(&self, forgotten: &Event) -> Result<(), Failure> {
        let history = self.log.history(&self.issue).await.map_err(failed)?;
        let objects = self.objects.files(&self.issue).await.map_err(failed)?.len();
        let documents = self.documents.count(&self.issue).await?;
        let is_over = history.iter().all(|entry| is_of(entry, forgotten)) && objects == 0 && documents == 0;
        if is_over {
            return Ok(());
        }
        let found = format!("{} events, {objects} objects and {documents} documents", history.len());
        let fix = "give the same command again; documents that stay are found by queue-cli verify --repair";
        Err(Failure::failed(format!("there is still something of {}: {found}", self.issue)).with_fix(fix))
    }

    /// What holds something of it that this command does not remove.
    async fn elsewhere(&self, history: &[Entry]) -> Result<Elsewhere, Failure> {
        let snapshots = Snapshots::of(&self.objects, self.issue.repo());
        let first = history
            .first()
            .map_or(OffsetDateTime::UNIX_EPOCH, |first| first.stored_at);
        let forgotten = history
            .iter()
            .find(|entry| is_forgotten(entry))
            .map(|entry| entry.stored_at);
        let snapshots = match forgotten {
            // Which of them had it, the log does not know any more.
            Some(_) if history.len() == 1 => snapshots.list().await,
            _ => snapshots.since(first).await,
        };
        let before = |name: &SnapshotName| match (name, forgotten) {
            (SnapshotName::At(stamp), Some(at)) => *stamp <= Stamp::of(at),
            _ => true,
        };
        let mut names: Vec<SnapshotName> = snapshots.map_err(failed)?.iter().map(|one| one.name).collect();
        names.retain(before);
        names.dedup();
        Ok(Elsewhere {
            snapshots: names.iter().map(ToString::to_string).collect(),
            naming: self.documents.naming(&self.issue).await?,
            merging: None,
        })
    }
}

/// Whether an event only says that the issue is forgotten: an indexer may have said it once more.
fn is_of(entry: &Entry, forgotten: &Event) -> bool {
    is_forgotten(entry)
        && entry
            .event
            .as_ref()
            .is_ok_and(|event| event.revision >= forgotten.revision)
}

fn is_forgotten(entry: &Entry) -> bool {
    let event = entry.event.as_ref();
    event.is_ok_and(|event| event.change == bugstream_proto::Change::Forgotten)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: impl ToString) -> Failure {
    Failure::failed(error.to_string()).with_fix("give the same command again when that is mended: it goes on")
}
