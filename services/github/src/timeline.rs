//! A whole timeline: every page, or an error.
//!
//! - Page by page it is asked whether anything changed. What did not is taken from the bytes that the caller has; what
//!   did is joined with it. If nothing did, nothing is read.
//! - Pages are numbered, so a change during the walk moves elements across their borders: one can come twice, or never.
//!   Where there is a sign of that the walk begins again, now asking for changes of what it has just read.

use std::collections::HashSet;
use std::fmt;

use bugstream_kit::validators::KnownPage;
use bugstream_proto::IssueId;
use bugstream_telemetry::names::Route;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::body;
use crate::client::{Client, Request};
use crate::error::Error;
use crate::link::{self, Pages};

/// Elements of a full page.
const FULL: u32 = 100;

/// The first walk, and three that begin again.
const MOST_WALKS: usize = 4;

/// What GitHub says of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineAnswer {
    /// Every known page is as it was. Only where pages were known.
    Unchanged,
    /// All of it.
    Whole(RawTimeline),
}

/// A timeline, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTimeline {
    /// One JSON array; each element exactly as received.
    pub bytes: Bytes,
    /// Number of its elements.
    pub events: u32,
    /// The pages that it was made of, to ask for changes the next time.
    pub pages: Vec<KnownPage>,
}

/// Fetches the bytes of a stored timeline; `None` if they cannot be had, and then everything is asked for.
pub type Stored<'a> = dyn Fn() -> BoxFuture<'a, Option<Bytes>> + Send + Sync + 'a;

/// What the caller knows of a timeline. The default is nothing.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// The pages of the stored timeline, with their validators.
    pub pages: &'a [KnownPage],
    /// The stored timeline: one JSON array that has as many elements as these pages together. Called when some pages
    /// changed and others did not.
    pub stored: Option<&'a Stored<'a>>,
    /// The issue's number of comments ([`crate::comments`]), which the timeline must have as well.
    pub comments: Option<u64>,
    /// The credential that asked for the issue: the timeline's validators had better be the same one's.
    pub credential: Option<&'a str>,
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("pages", &self.pages)
            .field("comments", &self.comments)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

/// A page of a walk.
#[derive(Debug, Clone)]
struct Part {
    page: KnownPage,
    /// Its JSON; `None`: it is as stored.
    body: Option<Bytes>,
}

/// All pages, once.
#[derive(Debug, Default)]
struct Walk {
    parts: Vec<Part>,
    bytes: usize,
    /// The pages did not agree which one is the last.
    ends_differ: bool,
}

impl Client {
    /// Asks for every page of an issue's timeline and joins them.
    ///
    /// # Errors
    /// [`Error`] if any page fails; [`Error::Vanished`] if there is no timeline; [`Error::Unstable`] if it changes all
    /// the time.
    pub async fn timeline(&self, issue: &IssueId, known: &Known<'_>) -> Result<TimelineAnswer, Error> {
        let stored = known.pages.iter().cloned().map(|page| Part { page, body: None });
        let mut before: Vec<Part> = stored.collect();
        let mut same_as = None;
        for _ in 0..MOST_WALKS {
            let walk = self.walk(issue, &before, known.credential).await?;
            if walk.parts.len() == known.pages.len() && walk.parts.iter().all(|part| part.body.is_none()) {
                return Ok(TimelineAnswer::Unchanged);
            }
            let Some(parts) = filled(walk.parts, known).await else {
                before.clear();
                continue;
            };
            let whole = joined(&parts, self.max_body())?;
            if !(walk.ends_differ || has_changed_meanwhile(&parts, known.comments)?)
                || same_as.as_ref() == Some(&whole.bytes)
            {
                return Ok(TimelineAnswer::Whole(whole));
            }
            (before, same_as) = (parts, Some(whole.bytes));
        }
        Err(Error::Unstable)
    }

    /// As [`Self::timeline`], of which nothing is known.
    ///
    /// # Errors
    /// As [`Self::timeline`].
    pub async fn whole_timeline(&self, issue: &IssueId) -> Result<RawTimeline, Error> {
        match self.timeline(issue, &Known::default()).await? {
            TimelineAnswer::Whole(timeline) => Ok(timeline),
            TimelineAnswer::Unchanged => Err(Error::malformed("unchanged, though nothing was known")),
        }
    }

    async fn walk(&self, issue: &IssueId, before: &[Part], credential: Option<&str>) -> Result<Walk, Error> {
        let first = self.page_of(issue, 1);
        let mut pages = Pages::new(self.base(), &first);
        let mut walk = Walk::default();
        let mut credential = credential.map(str::to_owned);
        let (mut next, mut last) = (Some(first), None);
        while let Some(url) = next {
            let at = walk.parts.len();
            let known = before.get(at).and_then(|part| part.page.validator.as_ref());
            let request = Request::get(Route::Timeline, url)
                .known(known)
                .prefer(credential.as_deref());
            let answer = self.ask(request).await?;
            let said = link::last(&answer.headers)?;
            walk.ends_differ |= said.is_some() && last.is_some() && said != last;
            last = said.or(last);
            next = pages.next(&answer.headers)?;
            if answer.is_unchanged() {
                walk.add(before[at].clone(), self.max_body())?;
                if next.is_none() && goes_on(before, at) {
                    next = Some(pages.visit(self.page_of(issue, at + 2))?);
                }
            } else if answer.status == StatusCode::OK {
                walk.add(
                    Part::received(answer.validator(), answer.body.clone())?,
                    self.max_body(),
                )?;
            } else {
                let status = answer.status.as_u16();
                return Err(Error::Vanished { status });
            }
            credential = Some(answer.credential().to_owned());
        }
        Ok(walk)
    }

    fn page_of(&self, issue: &IssueId, page: usize) -> Url {
        let path = format!(
            "repos/{}/issues/{}/timeline?per_page={FULL}",
            issue.repo(),
            issue.number()
        );
        match page {
            1 => self.url(&path),
            page => self.url(&format!("{path}&page={page}")),
        }
    }
}

/// Whether there may be a page behind an unchanged one, whose answer need not say so. What is new lands behind a full
/// page without changing it; and where an inner page was not full, GitHub leaves elements out and any page may be.
fn goes_on(before: &[Part], at: usize) -> bool {
    let events = |part: &Part| part.page.events;
    match before.get(at).map(events) {
        Some(_) if at + 1 < before.len() => true,
        Some(0) | None => false,
        Some(count) => count >= FULL || before[..at].iter().map(events).any(|count| count < FULL),
    }
}

impl Part {
    fn received(validator: Option<bugstream_kit::validators::Validator>, body: Bytes) -> Result<Self, Error> {
        let events = u32::try_from(body::objects(&body)?.len()).expect("a body's length is bounded");
        let page = KnownPage { validator, events };
        Ok(Self { page, body: Some(body) })
    }
}

impl Walk {
    fn add(&mut self, part: Part, limit: usize) -> Result<(), Error> {
        self.bytes += part.body.as_ref().map_or(0, Bytes::len);
        if self.bytes > limit {
            return Err(Error::TooLarge { limit });
        }
        self.parts.push(part);
        Ok(())
    }
}

/// The parts with the bytes of those that are as stored; `None` if these cannot be had.
async fn filled(parts: Vec<Part>, known: &Known<'_>) -> Option<Vec<Part>> {
    if parts.iter().all(|part| part.body.is_some()) {
        return Some(parts);
    }
    let stored = known.stored?().await?;
    let elements = body::objects(&stored).ok()?;
    let counts = known.pages.iter().map(|page| page.events as usize);
    if counts.clone().sum::<usize>() != elements.len() {
        return None;
    }
    let ends: Vec<usize> = counts
        .scan(0, |end, count| {
            *end += count;
            Some(*end)
        })
        .collect();
    let slice = |at: usize, part: &Part| elements.get(ends[at] - part.page.events as usize..ends[at]);
    let filled = parts.into_iter().enumerate().map(|(at, part)| match part.body {
        Some(_) => Some(part),
        None => Some(Part {
            body: Some(array(slice(at, &part)?)),
            ..part
        }),
    });
    filled.collect()
}

fn array(elements: &[&RawValue]) -> Bytes {
    let mut array = Joined::default();
    elements.iter().for_each(|element| array.push(element.get()));
    array.finish()
}

/// What of an element tells it from others, as its JSON has it.
#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    node_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    sha: Option<&'a RawValue>,
}

/// Signs that the timeline changed while its pages were read: an element on two of them, or other comments than the issue
/// has. One page is always of one moment.
fn has_changed_meanwhile(parts: &[Part], comments: Option<u64>) -> Result<bool, Error> {
    if parts.len() < 2 {
        return Ok(false);
    }
    let (mut seen, mut commented) = (HashSet::new(), 0);
    for part in parts {
        let elements = body::objects(part.body.as_deref().unwrap_or_default())?;
        let mut here = Vec::new();
        for element in elements {
            let element: Element<'_> = body::object(element.get().as_bytes())?;
            let text = |value: Option<&'_ RawValue>| value.map(|value| value.get().to_owned());
            let event = text(element.event);
            commented += u64::from(event.as_deref() == Some("\"commented\""));
            let id = text(element.node_id).or(text(element.id)).or(text(element.sha));
            here.extend(id.map(|id| (event, id)));
        }
        if here.iter().any(|one| seen.contains(one)) {
            return Ok(true);
        }
        seen.extend(here);
    }
    Ok(comments.is_some_and(|comments| comments != commented))
}

fn joined(parts: &[Part], limit: usize) -> Result<RawTimeline, Error> {
    let mut whole = Joined::default();
    for part in parts {
        for element in body::objects(part.body.as_deref().unwrap_or_default())? {
            if whole.bytes.len() + element.get().len() + 2 > limit {
                return Err(Error::TooLarge { limit });
            }
            whole.push(element.get());
        }
    }
    Ok(RawTimeline {
        events: whole.events,
        bytes: whole.finish(),
        pages: parts.iter().map(|part| part.page.clone()).collect(),
    })
}

#[derive(Debug, Default)]
struct Joined {
    bytes: BytesMut,
    events: u32,
}

impl Joined {
    fn push(&mut self, element: &str) {
        self.bytes.put_u8(if self.events == 0 { b'[' } else { b',' });
        self.bytes.put_slice(element.as_bytes());
        self.events += 1;
    }

    fn finish(mut self) -> Bytes {
        self.bytes.put_slice(if self.events == 0 { b"[]" } else { b"]" });
        self.bytes.freeze()
    }
}
