//! The events of an issue, and the content that they name.
//!
//! Nothing from before an issue was forgotten is ever seen here, whether or not it is removed already.

use bugstream_kit::config::ObjectStore;
use bugstream_kit::log::{Entry, Log};
use bugstream_kit::objects::{ObjectError, Objects};
use bugstream_proto::message::{Change, Downloaded};
use bugstream_proto::{Event, IssueId};
use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::time_of;

/// Numbers from here on are revisions: milliseconds since 1970.
const REVISIONS: u64 = 1_000_000_000;

/// What the log has of an issue, oldest first; never empty.
pub(crate) struct Past {
    issue: IssueId,
    entries: Vec<Entry>,
}

/// An event and its number, which is what people call it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered<'a> {
    pub(crate) number: usize,
    pub(crate) event: &'a Event,
}

/// The raw JSON that an event names.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) issue: Bytes,
    pub(crate) timeline: Bytes,
}

/// The same, parsed.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) issue: Value,
    pub(crate) timeline: Vec<Value>,
}

impl Past {
    /// Reads the log.
    ///
    /// # Errors
    /// [`Failure`] also for an issue that the log does not know.
    pub(crate) async fn read(number: u64, deps: &Deps) -> Result<Self, Failure> {
        let issue = deps.repository()?.issue(number);
        let issue = issue.map_err(|error| Failure::usage(error.to_string(), "write the issue's number"))?;
        let broker = deps.broker().await?;
        let log = Log::new(broker.jetstream.clone(), deps.context().clock.clone());
        let entries = log.history(&issue).await;
        let entries = entries.map_err(|error| Failure::failed(error.to_string()))?;
        if entries.is_empty() {
            let failure = Failure::failed(format!("the log does not know {issue}"));
            return Err(failure.with_fix(format!("queue-cli add download {number} fetches it, if GitHub has it")));
        }
        Ok(Self::of(issue, entries))
    }

    pub(super) fn of(issue: IssueId, mut entries: Vec<Entry>) -> Self {
        if let Some(forgotten) = entries.iter().rposition(is_forgotten) {
            entries.drain(..forgotten);
        }
        Self { issue, entries }
    }

    pub(crate) fn issue(&self) -> &IssueId {
        &self.issue
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// When it was forgotten, if that is its newest event.
    pub(crate) fn forgotten(&self) -> Option<&Event> {
        let newest = self.entries.last().filter(|entry| is_forgotten(entry))?;
        newest.event.as_ref().ok()
    }

    /// # Errors
    /// [`Failure`] for an issue that was forgotten.
    pub(crate) fn nothing_but_forgotten(&self) -> Result<(), Failure> {
        match self.forgotten() {
            None => Ok(()),
            Some(event) => Err(Failure::failed(format!(
                "{} was forgotten at {}: nothing of it is kept",
                self.issue,
                time_of(event.occurred_at)
            ))),
        }
    }

    /// Those that can be read.
    fn numbered(&self) -> impl DoubleEndedIterator<Item = Numbered<'_>> {
        self.entries.iter().enumerate().filter_map(|(before, entry)| {
            let event = entry.event.as_ref().ok()?;
            let number = before + 1;
            Some(Numbered { number, event })
        })
    }

    /// The event of that number or revision.
    ///
    /// # Errors
    /// [`Failure`], which says what there is.
    pub(crate) fn event(&self, which: u64) -> Result<Numbered<'_>, Failure> {
        let is_meant = |one: &Numbered<'_>| match which {
            REVISIONS.. => one.event.revision == which,
            _ => one.number as u64 == which,
        };
        self.numbered().find(is_meant).ok_or_else(|| {
            let (issue, number) = (&self.issue, self.issue.number());
            Failure::failed(format!("{issue} has no event {which} that can be read")).with_fix(format!(
                "queue-cli history {number} lists its events, 1 to {}",
                self.entries.len()
            ))
        })
    }

    /// What was true at that time; the newest event without one.
    ///
    /// # Errors
    /// [`Failure`] if the log knows nothing from before.
    pub(crate) fn at(&self, at: Option<OffsetDateTime>) -> Result<Numbered<'_>, Failure> {
        let newest_by_then = |one: &Numbered<'_>| at.is_none_or(|at| one.event.occurred_at <= at);
        self.numbered().rev().find(newest_by_then).ok_or_else(|| {
            let issue = &self.issue;
            match self.numbered().next() {
                None => Failure::failed(format!(
                    "no event of {issue} can be read: they are newer than this program"
                )),
                Some(first) => {
                    Failure::failed(format!("the log knows nothing of {issue} from that time")).with_fix(format!(
                        "its oldest event that is kept is of {}",
                        time_of(first.event.occurred_at)
                    ))
                }
            }
        })
    }

    /// The raw JSON of an event.
    ///
    /// # Errors
    /// [`Failure`] for an event that names none, and where it is not kept any more.
    pub(crate) async fn content(&self, of: Numbered<'_>, deps: &Deps) -> Result<Content, Failure> {
        let Change::Downloaded(downloaded) = &of.event.change else {
            return Err(Failure::failed(format!(
                "event {} of {} has no content: {}",
                of.number,
                self.issue,
                super::story::what(&of.event.change)
            )));
        };
        let store = ObjectStore::read(deps.settings())?;
        let objects = Objects::open(&store).map_err(|error| Failure::failed(format!("{error:#}")))?;
        let (issue, timeline) = self.read_both(downloaded, &objects).await;
        let unreadable = |error: ObjectError| self.unreadable(of, &error);
        Ok(Content {
            issue: issue.map_err(unreadable)?,
            timeline: timeline.map_err(unreadable)?,
        })
    }

    async fn read_both(
        &self,
        downloaded: &Downloaded,
        objects: &Objects,
    ) -> (Result<Bytes, ObjectError>, Result<Bytes, ObjectError>) {
        futures_util::future::join(objects.get(&downloaded.issue), objects.get(&downloaded.timeline)).await
    }

    fn unreadable(&self, of: Numbered<'_>, error: &ObjectError) -> Failure {
        let newest = self
            .numbered()
            .next_back()
            .is_some_and(|newest| newest.number == of.number);
        match error {
            ObjectError::Unavailable(_) => Failure::failed(error.to_string()),
            _ if newest => Failure::failed(error.to_string())
                .with_fix("queue-cli verify --repair has lost objects downloaded again"),
            ObjectError::Missing(_) => {
                let failure = Failure::failed(format!("the content of event {} is not kept any more", of.number));
                failure.with_fix(
                    "[retention] revisions_days says how long what was replaced is kept; a deletion removes it at once",
                )
            }
            ObjectError::Damaged { .. } => Failure::failed(error.to_string()),
        }
    }
}

impl Content {
    /// # Errors
    /// [`Failure`] for what is no issue or no timeline.
    pub(crate) fn parse(&self) -> Result<Parsed, Failure> {
        let wrong = |what| move |_| Failure::failed(format!("the stored {what} is not what GitHub sends"));
        Ok(Parsed {
            issue: serde_json::from_slice(&self.issue).map_err(wrong("issue"))?,
            timeline: serde_json::from_slice(&self.timeline).map_err(wrong("timeline"))?,
        })
    }
}

fn is_forgotten(entry: &Entry) -> bool {
    entry
        .event
        .as_ref()
        .is_ok_and(|event| event.change == Change::Forgotten)
}
