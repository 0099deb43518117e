//! Random histories with downloads under way and collectors that are killed anywhere, in any order of their steps: what
//! the log names is there at every moment, and a quiet collection at the end leaves nothing that is old.

use std::collections::BTreeMap;
use std::time::Duration;

use bugstream_proto::{Change, Downloaded, Event, IssueId, Nonce, ObjectKey, Part, RepoName, v1};
use time::OffsetDateTime;
use time::macros::datetime;

use super::{DAY, Garbage, Rules, garbage};
use crate::chance::Chance;
use crate::log::Entry;
use crate::objects::Stored;

const RULES: Rules = Rules {
    revisions: Some(Duration::from_secs(30 * 24 * 60 * 60)),
    orphans: DAY,
};

/// One issue, its log and its files.
struct World {
    issue: IssueId,
    now: OffsetDateTime,
    log: Vec<Entry>,
    sequence: u64,
    files: BTreeMap<String, Stored>,
    downloads: Vec<Download>,
    collectors: Vec<Collector>,
    chance: Chance,
}

/// A download under way, from when it read the newest event.
struct Download {
    begun: OffsetDateTime,
    follows: u64,
    event: Event,
    /// Objects that it has yet to store.
    left: Vec<String>,
}

/// A collector under way.
enum Collector {
    Listed(Vec<Stored>),
    Decided(Garbage),
    Dropped(Vec<String>),
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            issue: RepoName::new("a", "b").unwrap().issue(7).unwrap(),
            now: datetime!(2026-11-21 12:00 UTC),
            log: Vec::new(),
            sequence: 0,
            files: BTreeMap::new(),
            downloads: Vec::new(),
            collectors: Vec::new(),
            chance: Chance::seeded(seed),
        }
    }

    fn draw(&self, below: u64) -> u64 {
        self.chance.bits() % below
    }

    fn newest(&self) -> Option<&Event> {
        self.log.last().and_then(|entry| entry.event.as_ref().ok())
    }

    fn head(&self) -> u64 {
        self.log.last().map_or(0, |entry| entry.sequence)
    }

    fn revision(&self) -> u64 {
        let now = u64::try_from(self.now.unix_timestamp_nanos() / 1_000_000).unwrap();
        now.max(self.newest().map_or(0, |newest| newest.revision) + 1)
    }

    fn event(&self, change: Change) -> Event {
        Event {
            issue: self.issue.clone(),
            revision: self.revision(),
            occurred_at: self.now,
            marks: v1::Marks::default(),
            cause: v1::Cause::default(),
            change,
        }
    }

    fn append(&mut self, event: Event) {
        self.sequence += 1;
        self.log.push(Entry {
            sequence: self.sequence,
            stored_at: self.now,
            headers: async_nats::HeaderMap::new(),
            event: Ok(event),
        });
    }

    fn object(&self, part: Part, nonce: &Nonce) -> v1::StoredObject {
        let key = ObjectKey {
            issue: self.issue.clone(),
            revision: self.revision(),
            nonce: nonce.clone(),
            part,
            compression: v1::Compression::None,
        };
        v1::StoredObject {
            key: key.to_string(),
            sha256: vec![0; 32],
            compression: v1::Compression::None.into(),
            size: 1,
        }
    }

    /// Either part may be what the newest event names; a repair stores both anew.
    fn begin_download(&mut self) {
        let nonce = self.chance.nonce();
        let known = match self.newest().map(|newest| &newest.change) {
            Some(Change::Forgotten) => return,
            Some(Change::Downloaded(known)) if self.draw(4) > 0 => Some(known.clone()),
            _ => None,
        };
        let (mut issue, mut timeline) = (self.object(Part::Issue, &nonce), self.object(Part::Timeline, &nonce));
        let mut left = vec![issue.key.clone(), timeline.key.clone()];
        if let Some(known) = known {
            let kept = self.draw(3);
            left.retain(|key| (*key != issue.key || kept != 0) && (*key != timeline.key || kept != 1));
            issue = if kept == 0 { known.issue } else { issue };
            timeline = if kept == 1 { known.timeline } else { timeline };
        }
        let event = self.event(Change::Downloaded(Downloaded {
            issue,
            timeline,
            timeline_events: 1,
        }));
        let (begun, follows) = (self.now, self.head());
        self.downloads.push(Download {
            begun,
            follows,
            event,
            left,
        });
    }

    /// A download stores its next object, or publishes; one that took too long gives up, as a lease makes it.
    fn go_on_download(&mut self) {
        if self.downloads.is_empty() {
            return;
        }
        let which = usize::try_from(self.draw(self.downloads.len() as u64)).unwrap();
        let mut download = self.downloads.swap_remove(which);
        if self.now - download.begun > Duration::from_secs(60 * 60) {
            return;
        }
        if let Some(key) = download.left.pop() {
            let (bytes, modified) = (1, self.now);
            let file = Stored { key, bytes, modified };
            self.files.insert(file.key.clone(), file);
            self.downloads.push(download);
        } else if self.head() == download.follows {
            self.append(download.event);
        }
        // Who lost the race deletes its objects, unless it is killed: here it always is.
    }

    /// The tombstone first; its purge may not come.
    fn gone(&mut self, change: Change) {
        if self.newest().is_none_or(|newest| newest.objects().is_empty()) {
            return;
        }
        let event = self.event(change);
        let revision = event.revision;
        self.append(event);
        if self.draw(2) == 0 {
            let below = |key: &String| key.parse::<ObjectKey>().unwrap().revision < revision;
            self.files.retain(|key, _| !below(key));
        }
    }

    fn step_collector(&mut self, mut collector: Collector) -> Option<Collector> {
        loop {
            collector = match collector {
                Collector::Listed(files) => {
                    Collector::Decided(garbage(&self.issue, &files, &self.log, RULES, self.now))
                }
                Collector::Decided(garbage) => {
                    if let Some(sequence) = garbage.drop_before {
                        self.log.retain(|entry| entry.sequence >= sequence);
                    }
                    let files = garbage.revisions.into_iter().chain(garbage.orphans);
                    Collector::Dropped(files.map(|file| file.key).collect())
                }
                Collector::Dropped(mut keys) => {
                    let key = keys.pop()?;
                    self.files.remove(&key);
                    Collector::Dropped(keys)
                }
            };
            if self.draw(2) == 0 {
                return Some(collector);
            }
        }
    }

    /// A collector begins, goes on, or is killed where it stands.
    fn collect(&mut self) {
        match (self.collectors.pop(), self.draw(4)) {
            (None, _) => self
                .collectors
                .push(Collector::Listed(self.files.values().cloned().collect())),
            (Some(_), 0) => {}
            (Some(collector), _) => {
                let next = self.step_collector(collector);
                self.collectors.extend(next);
            }
        }
    }

    fn step(&mut self) {
        match self.draw(20) {
            0..=3 => self.begin_download(),
            4..=11 => self.go_on_download(),
            12 => self.gone(Change::Deleted(v1::IssueDeleted::default())),
            13 if self.draw(4) == 0 => self.gone(Change::Forgotten),
            14..=17 => self.collect(),
            18 => self.now += Duration::from_secs(self.draw(50 * 60)),
            _ => self.now += DAY * u32::try_from(self.draw(12)).unwrap(),
        }
    }

    /// Everything that the log names since the issue was last gone.
    fn named(&self) -> Vec<&str> {
        let events: Vec<&Event> = self.log.iter().flat_map(|entry| &entry.event).collect();
        let from = events.iter().rposition(|event| event.objects().is_empty()).unwrap_or(0);
        let objects = events[from..].iter().flat_map(|event| event.objects());
        objects.map(|object| object.key.as_str()).collect()
    }

    fn check(&self, what: &str) {
        for key in self.named() {
            assert!(self.files.contains_key(key), "{what}: {key} is named and gone");
        }
    }

    /// A collection that nothing disturbs leaves nothing that is older than the rules say.
    fn settle(&mut self, what: &str) {
        self.downloads.clear();
        self.now += DAY * 2;
        let files: Vec<Stored> = self.files.values().cloned().collect();
        let found = garbage(&self.issue, &files, &self.log, RULES, self.now);
        let known = self.head();
        let mut collector = Some(Collector::Decided(found));
        while let Some(running) = collector.take() {
            collector = self.step_collector(running);
        }
        self.check(what);
        assert_eq!(self.head(), known, "{what}: the newest event stays");
        let named = self.named();
        assert!(
            self.files.keys().all(|key| named.contains(&key.as_str())),
            "{what}: an orphan stays"
        );
        let bound = RULES.revisions.unwrap();
        let old = self.log.iter().skip(1).filter(|next| self.now - next.stored_at > bound);
        assert_eq!(old.count(), 0, "{what}: an old event stays");
    }
}

#[test]
fn whatever_happens_what_the_log_names_is_there_and_what_is_old_goes() {
    let mut collected = 0;
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        for step in 0..150 {
            world.step();
            world.check(&format!("seed {seed}, step {step}"));
        }
        let before = world.files.len();
        world.settle(&format!("seed {seed}"));
        collected += before - world.files.len();
    }
    assert!(
        collected > 1_000,
        "the histories leave something to collect: {collected}"
    );
}
