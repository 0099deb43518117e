//! Compares one issue: its newest event with its objects, these with its visible documents and with GitHub.

use bugstream_kit::config::Repository;
use bugstream_kit::log::{LogError, Logged};
use bugstream_kit::objects::ObjectError;
use bugstream_proto::{Change, Downloaded, Event, IssueId, v1};
use serde_json::Value;

use super::Mirror;
use super::elastic::Found;
use super::expected::{Document, Expected, whole};
use super::findings::{Difference, Fix, Kind};
use super::place::{self, Side, Slot};
use super::wall::Wall;
use crate::failure::Failure;

/// How often an issue is looked at that changes meanwhile.
const LOOKS: usize = 5;

/// What was found of one issue.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) documents: u64,
    pub(super) differences: Vec<Difference>,
}

/// The stored JSON of an issue.
pub(super) struct Stored {
    pub(super) issue: Value,
    pub(super) timeline: Vec<Value>,
}

/// What the log says of an issue.
pub(super) enum Newest {
    Unknown,
    Event(Box<Logged>),
    Unreadable { sequence: u64, why: String },
}

impl Newest {
    fn sequence(&self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Event(logged) => logged.sequence,
            Self::Unreadable { sequence, .. } => *sequence,
        }
    }
}

impl Mirror {
    pub(super) async fn newest(&self, issue: &IssueId) -> Result<Newest, Failure> {
        match self.log.newest(issue).await {
            Ok(None) => Ok(Newest::Unknown),
            Ok(Some(logged)) => Ok(Newest::Event(Box::new(logged))),
            Err(LogError::Unreadable { sequence, why, .. }) => Ok(Newest::Unreadable {
                sequence,
                why: why.to_string(),
            }),
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }

    /// Looks again where the log went on meanwhile: event, objects and documents are read one after the other.
    pub(super) async fn check(&self, issue: &IssueId, repository: &Repository) -> Result<Checked, Failure> {
        let mut newest = self.newest(issue).await?;
        let mut looks = 1;
        loop {
            let checked = self.look(issue, &newest, repository).await?;
            if checked.differences.is_empty() || looks == LOOKS {
                return Ok(checked);
            }
            let now = self.newest(issue).await?;
            if now.sequence() == newest.sequence() {
                return Ok(checked);
            }
            (newest, looks) = (now, looks + 1);
        }
    }

    async fn look(&self, issue: &IssueId, newest: &Newest, repository: &Repository) -> Result<Checked, Failure> {
        match newest {
            Newest::Unknown => Ok(Checked::default()),
            Newest::Unreadable { sequence, why } => {
                let what = format!("sequence {sequence} of the log");
                let difference = Difference::new(Kind::UnreadableEvent, issue, what, why, Fix::Nothing);
                Ok(Checked {
                    documents: 0,
                    differences: vec![difference],
                })
            }
            Newest::Event(logged) => match &logged.event.change {
                Change::Deleted(_) => self.deleted(&logged.event, repository).await,
                Change::Forgotten => self.forgotten(&logged.event, repository).await,
                Change::Downloaded(downloaded) => self.downloaded(&logged.event, downloaded, repository).await,
            },
        }
    }

    /// Nothing of a deleted issue may be left.
    async fn deleted(&self, event: &Event, repository: &Repository) -> Result<Checked, Failure> {
        let mut checked = self
            .gone(event, "the log says that the issue is deleted", repository)
            .await?;
        if let Some(github) = &self.github {
            checked.differences.extend(github.of_deleted(&event.issue).await?);
        }
        Ok(checked)
    }

    /// Nor of a forgotten one, and GitHub need not say the same.
    async fn forgotten(&self, event: &Event, repository: &Repository) -> Result<Checked, Failure> {
        let why = "the log says that the issue is forgotten";
        self.gone(event, why, repository).await
    }

    async fn gone(&self, event: &Event, why: &'static str, repository: &Repository) -> Result<Checked, Failure> {
        let mut comparison = Comparison::new(event, None, Wall(repository));
        self.documents(&mut comparison).await?;
        let mut checked = comparison.end();
        let keys = self
            .objects
            .keys(&event.issue)
            .await
            .map_err(|error| store_away(&error))?;
        for key in keys.into_iter().filter(|key| key.revision < event.revision) {
            let fix = Fix::Purge(event.revision);
            let difference = Difference::new(Kind::LeftoverObject, &event.issue, key.to_string(), why, fix);
            checked.differences.push(difference);
        }
        Ok(checked)
    }

    async fn downloaded(
        &self,
        event: &Event,
        downloaded: &Downloaded,
        repository: &Repository,
    ) -> Result<Checked, Failure> {
        let stored = match self.stored(event, downloaded).await? {
            Ok(stored) => stored,
            // What the documents should be cannot be told; fetching the issue again writes all of them.
            Err(differences) => {
                return Ok(Checked {
                    documents: 0,
                    differences,
                });
            }
        };
        let wall = Wall(repository);
        let expected = Expected::of(event, &stored.issue, &stored.timeline, &wall);
        let mut comparison = Comparison::new(event, Some(&expected), wall);
        self.documents(&mut comparison).await?;
        let mut checked = comparison.end();
        if let Some(github) = &self.github {
            checked
                .differences
                .extend(github.of_stored(&event.issue, &stored).await?);
        }
        Ok(checked)
    }

    async fn documents(&self, comparison: &mut Comparison<'_>) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page = self.elastic.of_issue(&comparison.event.issue, after).await?;
            page.found.into_iter().for_each(|found| comparison.take(found));
            if page.next.is_none() {
                return Ok(());
            }
            after = page.next;
        }
    }

    /// Reads both objects, which the store checks against size and hash, or says what is wrong with them.
    async fn stored(&self, event: &Event, downloaded: &Downloaded) -> Result<Result<Stored, Vec<Difference>>, Failure> {
        let issue = self.object(event, &downloaded.issue).await?;
        let timeline = self.object(event, &downloaded.timeline).await?;
        let (issue, timeline) = match (issue, timeline) {
            (Ok(issue), Ok(timeline)) => (issue, timeline),
            (issue, timeline) => return Ok(Err(issue.err().into_iter().chain(timeline.err()).collect())),
        };
        let damaged = |object: &v1::StoredObject, why: &str| {
            let fix = Fix::Download(v1::Reason::Repair);
            Ok(Err(vec![Difference::new(
                Kind::DamagedObject,
                &event.issue,
                object.key.clone(),
                why,
                fix,
            )]))
        };
        let Value::Array(timeline) = timeline else {
            return damaged(&downloaded.timeline, "it is no array");
        };
        if !issue.is_object() {
            return damaged(&downloaded.issue, "it is no object");
        }
        if timeline.len() != downloaded.timeline_events as usize {
            return damaged(
                &downloaded.timeline,
                "it has another number of events than the log says",
            );
        }
        Ok(Ok(Stored { issue, timeline }))
    }

    async fn object(&self, event: &Event, object: &v1::StoredObject) -> Result<Result<Value, Difference>, Failure> {
        let wrong = |kind, why: &str| {
            let fix = Fix::Download(v1::Reason::Repair);
            Ok(Err(Difference::new(kind, &event.issue, object.key.clone(), why, fix)))
        };
        match self.objects.get(object).await {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(value) => Ok(Ok(value)),
                Err(_) => wrong(Kind::DamagedObject, "it is not JSON"),
            },
            Err(ObjectError::Missing(_)) => wrong(Kind::MissingObject, "no object has this key"),
            Err(ObjectError::Damaged { why, .. }) => wrong(Kind::DamagedObject, why),
            Err(error) => Err(store_away(&error)),
        }
    }
}

pub(super) fn store_away(error: &ObjectError) -> Failure {
    Failure::failed(error.to_string())
}

/// The documents of one issue as they come in, against what is expected; nothing is, of a deleted issue.
struct Comparison<'a> {
    event: &'a Event,
    expected: Option<&'a Expected>,
    wall: Wall<'a>,
    issue_seen: bool,
    seen: Vec<bool>,
    checked: Checked,
}

impl<'a> Comparison<'a> {
    fn new(event: &'a Event, expected: Option<&'a Expected>, wall: Wall<'a>) -> Self {
        Self {
            event,
            expected,
            wall,
            issue_seen: false,
            seen: vec![false; expected.map_or(0, |expected| expected.timeline.len())],
            checked: Checked::default(),
        }
    }

    fn take(&mut self, found: Found) {
        self.checked.documents += 1;
        let slot = match place::of_id(found.kind, &found.id) {
            Some((issue, slot)) if issue == self.event.issue => slot,
            _ => {
                return self.add(
                    Kind::StrayDocument,
                    &found,
                    "its id is none of this issue's",
                    Fix::Remove(found.handle.clone()),
                );
            }
        };
        let fix = self.fix(&found, slot);
        let leak = (found.side == Side::Public)
            .then(|| self.wall.leak(&whole(&found.source)))
            .flatten();
        let Some(expected) = self.expected_at(slot) else {
            return self.add(Kind::ExtraDocument, &found, self.why_extra(), fix);
        };
        if expected.side == found.side {
            self.mark(slot);
        }
        if let Some(path) = leak {
            self.add(
                Kind::LeakedDocument,
                &found,
                &format!("names the private partner at {path}"),
                fix,
            );
        } else if let Some((kind, why)) = judge(expected, &found, self.event.revision) {
            self.add(kind, &found, &why, fix);
        }
    }

    /// What was expected and is not there.
    fn end(mut self) -> Checked {
        if let Some(expected) = self.expected {
            let issue = (!self.issue_seen).then_some((Slot::Issue, expected.issue.side));
            let positions = self.seen.iter().zip(&expected.timeline).enumerate();
            let unseen = positions.filter(|(_, (seen, _))| !**seen);
            let events = unseen.map(|(position, (_, document))| (Slot::Position(position), document.side));
            for (slot, side) in issue.into_iter().chain(events) {
                let why = format!("is not visible on the {} side", side.as_str());
                let id = place::id(&self.event.issue, slot);
                let difference = Difference::new(Kind::MissingDocument, &self.event.issue, id, why, Fix::Index);
                self.checked.differences.push(difference);
            }
        }
        self.checked
    }

    fn add(&mut self, kind: Kind, found: &Found, why: &str, fix: Fix) {
        let difference = Difference::new(kind, &self.event.issue, found.id.clone(), why, fix);
        self.checked.differences.push(difference);
    }

    fn expected_at(&self, slot: Slot) -> Option<&'a Document> {
        let expected = self.expected?;
        match slot {
            Slot::Issue => Some(&expected.issue),
            Slot::Position(position) => expected.timeline.get(position),
        }
    }

    fn mark(&mut self, slot: Slot) {
        match slot {
            Slot::Issue => self.issue_seen = true,
            Slot::Position(position) => self.seen[position] = true,
        }
    }

    fn why_extra(&self) -> &'static str {
        if self.expected.is_some() {
            "lies past the timeline's end"
        } else {
            "the log says that the issue is deleted"
        }
    }

    /// Indexing again overwrites what lies below the event's marks, and knows of nothing else.
    fn fix(&self, found: &Found, slot: Slot) -> Fix {
        if place::is_covered(&self.event.marks, found.side, slot) {
            Fix::Index
        } else {
            Fix::Remove(found.handle.clone())
        }
    }
}

/// What is wrong with a document that has a place.
fn judge(expected: &Document, found: &Found, revision: u64) -> Option<(Kind, String)> {
    let additions = &found.source["bugstream"];
    let found_revision = additions["revision"].as_u64().unwrap_or(0);
    match (expected.side, found.side) {
        (Side::Private, Side::Public) => {
            return Some((Kind::LeakedDocument, "is private and lies on the public side".into()));
        }
        (Side::Public, Side::Private) => {
            return Some((Kind::MisplacedDocument, "is public and lies on the private side".into()));
        }
        _ => {}
    }
    if found_revision < revision {
        return Some((
            Kind::StaleDocument,
            format!("is of revision {found_revision}, not {revision}"),
        ));
    }
    if additions.get("error").is_some() && additions.get("unindexed").is_none() {
        return Some((
            Kind::RefusedDocument,
            "Elasticsearch refused it: see the dead letters".into(),
        ));
    }
    let path = expected.difference(&found.source)?;
    Some((Kind::WrongDocument, format!("differs at {path}")))
}
