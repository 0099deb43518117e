//! `snapshot make`: every issue as its newest event says, in order of number, into one archive.
//!
//! Objects are read several at once, ahead of the one thread that compresses. What is read ahead has its share of the
//! memory from before it is read until it is written, and shares are given in the order in which issues are written: so
//! none waits for one behind it.

use std::time::Instant;

use bugstream_archive::merged::{self, Rendering};
use bugstream_kit::log::Logged;
use bugstream_kit::objects::ObjectError;
use bugstream_kit::requests::Requests;
use bugstream_kit::snapshots::{Snapshots, Upload};
use bugstream_proto::snapshot::{Audience, SnapshotName, Stamp};
use bugstream_proto::{Change, Downloaded, IssueId, v1};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use super::budget::{Budget, Share};
use super::cli::Make;
use super::write::{self, Entry};
use super::{in_store, pace};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::import::adopt::Archive;
use crate::import::take;
use crate::progress::Progress;
use crate::report::{Report, counted, size, thousands};

/// Issues that are read at once.
const AT_ONCE: usize = 32;

/// Newest events of an issue that are tried: each may give way to another while its objects are read.
const TURNS: usize = 4;

/// Holes that are named.
const NAMED: usize = 5;

pub(super) async fn run(asked: &Make, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let repository = take::repository(deps)?;
    if let Some(directory) = &asked.to {
        let made = std::fs::create_dir_all(directory);
        made.map_err(|error| Failure::failed(format!("{} cannot be made: {error}", directory.display())))?;
    }
    let archive = take::open(&repository, deps).await?;
    let requests = Requests::new(deps.broker().await?.jetstream);
    let known = archive.log.known(&repository.name).await;
    let known = known.map_err(|error| Failure::failed(error.to_string()))?;
    if known.is_empty() {
        let problem = format!(
            "the log knows no issue of {}: there is nothing to keep",
            repository.name
        );
        return Err(Failure::failed(problem));
    }
    let snapshots = match &asked.to {
        None => Snapshots::of(&archive.objects, &repository.name),
        Some(directory) => super::directory(directory)?,
    };
    let audience = if asked.public {
        Audience::Public
    } else {
        Audience::Trusted
    };
    let making = Making {
        archive,
        requests,
        audience,
        accept_holes: asked.accept_holes,
    };
    let stamp = Stamp::of(deps.context().clock.now());
    let upload = snapshots.begin(audience, stamp).await.map_err(in_store)?;
    let made = making.write(known, stamp, upload, progress).await?;
    snapshots.point_latest(audience, stamp).await.map_err(in_store)?;
    let list = snapshots.list().await.map_err(in_store)?;
    let name = SnapshotName::At(stamp);
    let stored = list.iter().find(|one| (one.audience, one.name) == (audience, name));
    let bytes = stored.map_or(0, |stored| stored.size);
    let place = snapshots.place(audience, name);
    Ok(report(&made, stamp, audience, bytes, &place))
}

/// What a snapshot is made from.
struct Making {
    archive: Archive,
    requests: Requests,
    audience: Audience,
    accept_holes: bool,
}

/// What it has.
#[derive(Debug, Default)]
struct Made {
    issues: u64,
    /// Private ones that are left out.
    left_out: u64,
    /// Issues whose objects are lost.
    holes: Vec<IssueId>,
}

/// What is there of an issue.
enum Read {
    Entry(Entry),
    /// Deleted or forgotten.
    Nothing,
    Private,
    Hole(IssueId),
}

impl Making {
    /// Writes the archive and gives it its name, or leaves nothing.
    async fn write(
        &self,
        known: Vec<IssueId>,
        stamp: Stamp,
        mut upload: Upload,
        progress: &mut Progress<'_>,
    ) -> Result<Made, Failure> {
        let (entries, received) = mpsc::channel(4);
        let (out, pieces) = write::pieces();
        let mut writer = JoinSet::new();
        writer.spawn_blocking(move || write::archive(stamp, received, out));
        let (read, taken) = tokio::join!(self.read(known, entries, progress), carry(pieces, &mut upload));
        let written = match writer.join_next().await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(Failure::failed(format!("the archive cannot be written: {error}"))),
            _ => Err(Failure::failed("the archive cannot be written")),
        };
        // In the order in which one is the cause of the next.
        let whole = taken.and(read).and_then(|made| self.without_holes(made));
        let whole = whole.and_then(|made| written.map(|()| made));
        match whole {
            Ok(made) => upload.finish().await.map_err(in_store).map(|()| made),
            Err(failure) => {
                // Why there is none was said already.
                let _ = upload.give_up().await;
                Err(failure)
            }
        }
    }

    fn without_holes(&self, made: Made) -> Result<Made, Failure> {
        if made.holes.is_empty() || self.accept_holes {
            return Ok(made);
        }
        let problem = format!(
            "the objects of {} are lost ({}): they are downloaded again, and there is no snapshot",
            counted(made.holes.len() as u64, "issue"),
            named(&made.holes)
        );
        Err(Failure::failed(problem).with_fix(
            "make it once they are there: queue-cli length download says how many are not; with --accept-holes it is made \
             without them",
        ))
    }

    async fn read(
        &self,
        known: Vec<IssueId>,
        entries: Sender<Entry>,
        progress: &mut Progress<'_>,
    ) -> Result<Made, Failure> {
        let (total, begin, budget) = (known.len() as u64, Instant::now(), Budget::default());
        let newest = stream::iter(known)
            .map(async |issue| (self.newest(&issue).await, issue))
            .buffered(AT_ONCE);
        let shared = newest.then(async |(newest, issue)| {
            let share = budget.share(newest.as_ref().map_or(0, bytes)).await;
            (newest, issue, share)
        });
        let read = shared.map(async |(newest, issue, share)| self.one(issue, newest?, share).await);
        let mut read = std::pin::pin!(read.buffered(AT_ONCE));
        let (mut made, mut done) = (Made::default(), 0);
        while let Some(one) = read.next().await {
            match one? {
                Read::Nothing => {}
                Read::Private => made.left_out += 1,
                Read::Hole(issue) => made.holes.push(issue),
                Read::Entry(entry) => {
                    made.issues += 1;
                    if entries.send(entry).await.is_err() {
                        return Ok(made);
                    }
                }
            }
            done += 1;
            progress.tell(&pace::line(done, Some(total), "written", begin.elapsed()));
        }
        Ok(made)
    }

    async fn newest(&self, issue: &IssueId) -> Result<Option<Logged>, Failure> {
        let newest = self.archive.log.newest(issue).await;
        newest.map_err(|error| Failure::failed(error.to_string()))
    }

    async fn one(&self, issue: IssueId, mut newest: Option<Logged>, share: Share) -> Result<Read, Failure> {
        let mut error = None;
        for _ in 0..TURNS {
            let Some(logged) = &newest else {
                return Ok(Read::Nothing);
            };
            let Change::Downloaded(objects) = &logged.event.change else {
                return Ok(Read::Nothing);
            };
            match self.rendered(objects).await {
                Ok(Some([rendered, timeline])) => {
                    return Ok(Read::Entry(Entry {
                        number: issue.number(),
                        modified_ms: logged.event.revision,
                        issue: rendered,
                        timeline,
                        share,
                    }));
                }
                Ok(None) => return Ok(Read::Private),
                Err(ObjectError::Unavailable(why)) => return Err(in_store(ObjectError::Unavailable(why))),
                Err(lost) => error = Some(lost),
            }
            // Its objects may have gone because another took its place.
            let again = self.newest(&issue).await?;
            if again.as_ref().map(|again| again.sequence) == newest.as_ref().map(|newest| newest.sequence) {
                break;
            }
            newest = again;
        }
        self.hole(issue, newest.as_ref(), error).await
    }

    /// Nothing is asked for twice: where a repair did not help, another does not.
    async fn hole(&self, issue: IssueId, newest: Option<&Logged>, error: Option<ObjectError>) -> Result<Read, Failure> {
        let repaired = newest.is_some_and(|newest| newest.event.cause.reason() == v1::Reason::Repair);
        if !repaired {
            let cause = v1::Cause::new(v1::Reason::Repair, self.archive.clock.now());
            let asked = self.requests.backfill(&issue, cause).await;
            asked.map_err(|error| Failure::failed(error.to_string()))?;
        }
        let error = error.map(|error| error.to_string());
        tracing::warn!(%issue, error, "an object is lost");
        Ok(Read::Hole(issue))
    }

    /// Both files; `None` for an issue that is left out.
    async fn rendered(&self, objects: &Downloaded) -> Result<Option<[Bytes; 2]>, ObjectError> {
        let store = &self.archive.objects;
        let [issue, timeline] = store.get_all([&objects.issue, &objects.timeline]).await?;
        let (rules, audience, key) = (self.archive.rules.clone(), self.audience, objects.issue.key.clone());
        let rendered = tokio::task::spawn_blocking(move || {
            let rendering = match audience {
                Audience::Trusted => merged::trusted(&issue, &timeline, &rules).map(Some),
                Audience::Public => merged::public(&issue, &timeline, &rules),
            };
            rendering.map(|rendering| rendering.map(|rendering| files(rendering, &issue, &timeline)))
        });
        let rendered = rendered
            .await
            .map_err(|error| ObjectError::Unavailable(error.to_string()))?;
        rendered.map_err(|_| ObjectError::Damaged {
            key,
            why: "it is no issue with timeline",
        })
    }
}

fn files(rendering: Rendering<'_>, issue: &Bytes, timeline: &Bytes) -> [Bytes; 2] {
    let owned = |file: std::borrow::Cow<'_, [u8]>, raw: &Bytes| match file {
        std::borrow::Cow::Borrowed(_) => raw.clone(),
        std::borrow::Cow::Owned(file) => file.into(),
    };
    [owned(rendering.issue, issue), owned(rendering.timeline, timeline)]
}

fn bytes(newest: &Option<Logged>) -> u64 {
    let objects = newest.iter().flat_map(|newest| newest.event.objects());
    objects.map(|object| object.size).sum()
}

async fn carry(mut pieces: Receiver<Bytes>, upload: &mut Upload) -> Result<(), Failure> {
    while let Some(piece) = pieces.recv().await {
        upload.write(piece).await.map_err(in_store)?;
    }
    Ok(())
}

fn named(holes: &[IssueId]) -> String {
    let mut names: Vec<String> = holes.iter().take(NAMED).map(ToString::to_string).collect();
    if holes.len() > NAMED {
        names.push("…".to_owned());
    }
    names.join(", ")
}

fn report(made: &Made, stamp: Stamp, audience: Audience, bytes: u64, place: &str) -> Report {
    let mut line = format!("{stamp}: {}, {}", counted(made.issues, "issue"), size(bytes));
    if audience == Audience::Public {
        line += &format!("; {} private left out", thousands(made.left_out));
    }
    let mut lines = vec![line, format!("  {place}, and latest.tar.gz beside it")];
    if !made.holes.is_empty() {
        let holes = counted(made.holes.len() as u64, "issue");
        lines.push(format!(
            "  without {holes} whose objects are lost: {}",
            named(&made.holes)
        ));
    }
    let holes: Vec<String> = made.holes.iter().map(ToString::to_string).collect();
    let json = json!({
        "snapshot": stamp.to_string(),
        "public": audience == Audience::Public,
        "issues": made.issues,
        "left_out": made.left_out,
        "holes": holes,
        "bytes": bytes,
        "place": place,
    });
    Report::new(lines.join("\n"), json)
}
