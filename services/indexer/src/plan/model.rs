//! The indexing protocol against a small Elasticsearch, in random schedules: the production rules for marks and plans,
//! with everything that may go wrong around them.
//!
//! A schedule interleaves, from a seed: downloads that shorten a timeline, delete an issue or move it across the privacy
//! wall; up to three workers; redelivery while the first worker still runs; crashes whose requests land late or never;
//! restarts of Elasticsearch, which forget tombstones; documents deleted by hand and then reindexed; rules of privacy
//! that change; a clock that stands still.
//!
//! Invariants: when all is quiet, exactly the newest event's documents are visible, each on its side, at its revision;
//! and whenever an issue document becomes visible at a revision, every timeline slot of that event is at least as new.
//!
//! Every rule of the protocol is left out in turn ([`Rules`]), and a recorded seed shows what then goes wrong. The lease
//! is no such rule: with all the others in force, requests of a worker that lost its message do no harm. It exists for
//! the rebuild, which must know when the last request of anyone is over.

use bugstream_archive::{Classified, Marks, Side};

use super::{Content, Slot, Write, issue_writes, timeline_writes};

/// Which rules hold. All of them in production.
#[derive(Debug, Clone, Copy)]
struct Rules {
    versions: bool,
    stubs: bool,
    marks_of_the_past: bool,
    marks_across_the_wall: bool,
    marks_cover_new_rules: bool,
    raised_revision: bool,
    issue_last: bool,
    ack_when_durable: bool,
    lease: bool,
}

const ALL: Rules = Rules {
    versions: true,
    stubs: true,
    marks_of_the_past: true,
    marks_across_the_wall: true,
    marks_cover_new_rules: true,
    raised_revision: true,
    issue_last: true,
    ack_when_durable: true,
    lease: true,
};

/// SplitMix64: recorded seeds must mean the same schedule whatever version a crate has.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn percent(&mut self, p: u64) -> bool {
        self.next() % 100 < p
    }
}

/// How private a document is; `Later` turns private when the rules change.
#[derive(Clone, Copy)]
enum Secrecy {
    Open,
    Later,
    Secret,
}

impl Secrecy {
    fn roll(dice: &mut Dice, secret_percent: u64) -> Self {
        match dice.next() % 100 {
            p if p < secret_percent => Secrecy::Secret,
            p if p < secret_percent + 10 => Secrecy::Later,
            _ => Secrecy::Open,
        }
    }

    fn side(self, rules_changed: bool) -> Side {
        match self {
            Secrecy::Open => Side::Public,
            Secrecy::Later if !rules_changed => Side::Public,
            Secrecy::Later | Secrecy::Secret => Side::Private,
        }
    }
}

/// What GitHub had: `None` for a deleted issue.
#[derive(Clone)]
struct Raw(Option<(Secrecy, Vec<Secrecy>)>);

impl Raw {
    fn roll(dice: &mut Dice) -> Self {
        let issue = Secrecy::roll(dice, 30);
        Raw(Some((
            issue,
            (0..dice.below(4)).map(|_| Secrecy::roll(dice, 15)).collect(),
        )))
    }

    /// Fail closed, as the archive does: every event of a private issue is private.
    fn placed(&self, rules_changed: bool) -> Option<Classified> {
        let (issue, timeline) = self.0.as_ref()?;
        let issue = issue.side(rules_changed);
        let event = |s: &Secrecy| {
            if issue == Side::Private {
                issue
            } else {
                s.side(rules_changed)
            }
        };
        Some(Classified::of_sides(issue, timeline.iter().map(event).collect()))
    }
}

#[derive(Clone)]
struct Event {
    revision: u64,
    raw: Raw,
    marks: Marks,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Absent,
    Live,
    Stub,
    Tombstone,
}

const SLOTS: usize = 5;
type Documents = [[(u64, State); SLOTS]; 2];

fn index(slot: Slot) -> usize {
    match slot {
        Slot::Issue => SLOTS - 1,
        Slot::Position(position) => position as usize,
    }
}

/// Elasticsearch, as far as the protocol relies on it.
struct Elastic {
    documents: Documents,
}

impl Elastic {
    fn apply(&mut self, write: Write, revision: u64, rules: Rules) {
        let document = &mut self.documents[write.side as usize][index(write.slot)];
        if rules.versions && revision < document.0 {
            return;
        }
        let state = match write.content {
            Content::Document => State::Live,
            Content::Stub if rules.stubs => State::Stub,
            Content::Stub => State::Tombstone,
        };
        *document = (revision, state);
    }

    /// An operator's delete-by-query: the version after the one that was there.
    fn delete_by_hand(&mut self, dice: &mut Dice) -> bool {
        let mut live: Vec<&mut (u64, State)> = self
            .documents
            .iter_mut()
            .flatten()
            .filter(|(_, state)| *state == State::Live)
            .collect();
        if live.is_empty() {
            return false;
        }
        let chosen = dice.below(live.len());
        *live[chosen] = (live[chosen].0 + 1, State::Tombstone);
        true
    }

    fn restart(&mut self) {
        for document in self
            .documents
            .iter_mut()
            .flatten()
            .filter(|(_, state)| *state == State::Tombstone)
        {
            *document = (0, State::Absent);
        }
    }

    fn visible(&self) -> [[u64; SLOTS]; 2] {
        self.documents
            .map(|side| side.map(|(revision, state)| if state == State::Live { revision } else { 0 }))
    }
}

fn expected(event: &Event, rules_changed: bool) -> [[u64; SLOTS]; 2] {
    let mut want = [[0; SLOTS]; 2];
    let Some(placed) = event.raw.placed(rules_changed) else {
        return want;
    };
    for (position, side) in placed.timeline().iter().enumerate() {
        want[*side as usize][position] = event.revision;
    }
    want[placed.issue() as usize][index(Slot::Issue)] = event.revision;
    want
}

fn grow(past: Marks, placed: Option<&Classified>) -> Marks {
    placed.map_or(past, |placed| past.grow(placed))
}

#[derive(Clone, Copy, PartialEq)]
enum Message {
    Pending,
    Held,
    Acked,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Start,
    Timeline,
    Issue,
}

struct Worker {
    id: u32,
    event: usize,
    phase: Phase,
    placed: Option<Classified>,
    open: usize,
    lease_over: bool,
}

#[derive(Clone, Copy)]
struct Request {
    worker: u32,
    revision: u64,
    write: Write,
}

#[derive(Clone, Copy)]
enum Act {
    Publish,
    Deliver,
    Step,
    Redeliver,
    Crash,
    Apply,
    Restart,
    DeleteByHand,
    ChangeRules,
    Reindex,
}

struct World {
    rules: Rules,
    dice: Dice,
    now: u64,
    log: Vec<Event>,
    messages: Vec<Message>,
    elastic: Elastic,
    flight: Vec<Request>,
    workers: Vec<Worker>,
    next_worker: u32,
    planned: usize,
    rules_changed: bool,
    reindex_due: bool,
    disturbances: usize,
    torn: bool,
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        let mut dice = Dice(seed);
        let planned = 2 + dice.below(3);
        Self {
            rules,
            dice,
            now: 0,
            log: Vec::new(),
            messages: Vec::new(),
            elastic: Elastic {
                documents: [[(0, State::Absent); SLOTS]; 2],
            },
            flight: Vec::new(),
            workers: Vec::new(),
            next_worker: 0,
            planned,
            rules_changed: false,
            reindex_due: false,
            disturbances: 2,
            torn: false,
        }
    }

    /// Runs until all is quiet; what went wrong, if anything did.
    fn run(mut self) -> Result<(), &'static str> {
        let mut acts = Vec::new();
        loop {
            acts.clear();
            self.possible(&mut acts);
            if acts.is_empty() || self.quiet() {
                break;
            }
            let act = acts[self.dice.below(acts.len())];
            self.act(act);
        }
        let newest = self.log.last().expect("at least two downloads are planned");
        if self.elastic.visible() != expected(newest, self.rules_changed) {
            Err("wrong final state")
        } else if self.torn {
            Err("an issue was visible before its timeline")
        } else {
            Ok(())
        }
    }

    fn quiet(&self) -> bool {
        self.planned == 0
            && !self.reindex_due
            && self.workers.is_empty()
            && self.flight.is_empty()
            && !self.messages.contains(&Message::Pending)
    }

    fn possible(&mut self, acts: &mut Vec<Act>) {
        let mut offer = |act, weight, when: bool| acts.extend(std::iter::repeat_n(act, if when { weight } else { 0 }));
        let running = !self.workers.is_empty();
        let disturb = !self.log.is_empty() && self.disturbances > 0;
        offer(Act::Publish, 1, self.planned > 0);
        offer(
            Act::Deliver,
            2,
            self.workers.len() < 3 && self.messages.contains(&Message::Pending),
        );
        offer(Act::Step, 4, running);
        offer(Act::Redeliver, 1, running);
        offer(Act::Crash, 1, running && self.dice.percent(30));
        offer(Act::Apply, 6, !self.flight.is_empty());
        offer(Act::Restart, 1, !self.log.is_empty() && self.dice.percent(5));
        offer(Act::DeleteByHand, 1, disturb && self.dice.percent(10));
        offer(
            Act::ChangeRules,
            1,
            disturb && !self.rules_changed && self.dice.percent(5),
        );
        offer(Act::Reindex, 1, self.reindex_due);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Publish => self.publish(),
            Act::Deliver => self.deliver(),
            Act::Step => self.step(),
            Act::Redeliver => self.redeliver(),
            Act::Crash => self.crash(),
            Act::Apply => self.apply(),
            Act::Restart => self.elastic.restart(),
            Act::DeleteByHand => {
                if self.elastic.delete_by_hand(&mut self.dice) {
                    self.reindex_due = true;
                    self.disturbances -= 1;
                }
            }
            Act::ChangeRules => {
                self.rules_changed = true;
                self.reindex_due = true;
                self.disturbances -= 1;
            }
            Act::Reindex => {
                self.publish_again();
                self.reindex_due = false;
            }
        }
    }

    /// The revision of the next event, as the log computes it; the clock may have stood still.
    fn next_revision(&mut self) -> u64 {
        self.now += if self.dice.percent(30) { 0 } else { 10 };
        self.log
            .last()
            .map_or(self.now, |newest| self.now.max(newest.revision + 1))
            .max(1)
    }

    fn append(&mut self, event: Event) {
        self.log.push(event);
        self.messages.push(Message::Pending);
    }

    fn publish(&mut self) {
        let delete = !self.log.is_empty() && self.dice.percent(25);
        let raw = if delete { Raw(None) } else { Raw::roll(&mut self.dice) };
        let revision = self.next_revision();
        let marks = self.marks(raw.placed(self.rules_changed).as_ref());
        self.append(Event { revision, raw, marks });
        self.planned -= 1;
    }

    fn marks(&self, placed: Option<&Classified>) -> Marks {
        let past = match self.log.last() {
            None => Marks::default(),
            Some(newest) if self.rules.marks_of_the_past => newest.marks,
            Some(newest) => grow(Marks::default(), newest.raw.placed(self.rules_changed).as_ref()),
        };
        grow(past, placed)
    }

    /// An index request, or an event whose marks do not cover what it places now.
    fn publish_again(&mut self) {
        let raised = self.next_revision();
        let newest = self.log.last().expect("only after the first download").clone();
        let revision = if self.rules.raised_revision {
            raised
        } else {
            newest.revision
        };
        let covering = if self.rules.marks_cover_new_rules {
            self.marks(newest.raw.placed(self.rules_changed).as_ref())
        } else {
            newest.marks
        };
        self.append(Event {
            revision,
            marks: covering,
            ..newest
        });
    }

    fn deliver(&mut self) {
        let pending: Vec<usize> = (0..self.messages.len())
            .filter(|event| self.messages[*event] == Message::Pending)
            .collect();
        let event = pending[self.dice.below(pending.len())];
        self.messages[event] = Message::Held;
        self.next_worker += 1;
        let placed = self.log[event].raw.placed(self.rules_changed);
        let (id, phase) = (self.next_worker, Phase::Start);
        self.workers.push(Worker {
            id,
            event,
            phase,
            placed,
            open: 0,
            lease_over: false,
        });
    }

    /// The ack wait ran out while the worker is still there.
    fn redeliver(&mut self) {
        let chosen = self.dice.below(self.workers.len());
        let worker = &mut self.workers[chosen];
        if self.messages[worker.event] == Message::Held && self.dice.percent(30) {
            self.messages[worker.event] = Message::Pending;
            worker.lease_over = true;
        }
    }

    /// A worker dies; each of its requests may still land, or not.
    fn crash(&mut self) {
        let dead = self.workers.swap_remove(self.dice.below(self.workers.len()));
        if self.messages[dead.event] == Message::Held {
            self.messages[dead.event] = Message::Pending;
        }
        let dice = &mut self.dice;
        self.flight
            .retain(|request| request.worker != dead.id || dice.percent(50));
    }

    fn apply(&mut self) {
        let request = self.flight.swap_remove(self.dice.below(self.flight.len()));
        self.elastic.apply(request.write, request.revision, self.rules);
        self.torn |= self.is_torn(&request);
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == request.worker) {
            worker.open -= 1;
        }
    }

    /// Whether this request made an issue document visible although a slot of its timeline is older.
    fn is_torn(&self, request: &Request) -> bool {
        let documents = &self.elastic.documents;
        let Some(event) = self.log.iter().rev().find(|event| event.revision == request.revision) else {
            return false;
        };
        let was_issue = request.write.slot == Slot::Issue && request.write.content == Content::Document;
        let visible = documents[request.write.side as usize][index(Slot::Issue)] == (request.revision, State::Live);
        let older = |side: Side| {
            (0..event.marks.of(side).timeline).any(|p| {
                let (revision, state) = documents[side as usize][p as usize];
                revision < request.revision && state == State::Live
            })
        };
        was_issue && visible && Side::ALL.into_iter().any(older)
    }

    fn step(&mut self) {
        let chosen = self.dice.below(self.workers.len());
        let waits = self.rules.ack_when_durable || self.workers[chosen].phase != Phase::Issue;
        if self.workers[chosen].open > 0 && waits {
            return;
        }
        match self.workers[chosen].phase {
            Phase::Start => self.start(chosen),
            Phase::Timeline if self.rules.lease && self.workers[chosen].lease_over => {
                self.workers.swap_remove(chosen);
            }
            Phase::Timeline => self.second_phase(chosen),
            Phase::Issue => self.ack(chosen),
        }
    }

    fn start(&mut self, chosen: usize) {
        let worker = &self.workers[chosen];
        if worker.event + 1 < self.log.len() {
            return self.ack(chosen);
        }
        let marks = self.log[worker.event].marks;
        let covers = worker.placed.as_ref().is_none_or(|placed| marks.covers(placed));
        if !covers && self.rules.marks_cover_new_rules {
            self.publish_again();
            return self.ack(chosen);
        }
        self.first_phase(chosen);
        if !self.rules.issue_last {
            self.second_phase(chosen);
        }
    }

    fn first_phase(&mut self, chosen: usize) {
        let worker = &self.workers[chosen];
        let writes = timeline_writes(self.log[worker.event].marks, worker.placed.as_ref()).collect();
        self.send(chosen, writes, Phase::Timeline);
    }

    fn second_phase(&mut self, chosen: usize) {
        let worker = &self.workers[chosen];
        let writes = issue_writes(self.log[worker.event].marks, worker.placed.as_ref());
        self.send(chosen, writes, Phase::Issue);
    }

    fn send(&mut self, chosen: usize, mut writes: Vec<Write>, phase: Phase) {
        let worker = &mut self.workers[chosen];
        let own = worker.placed.as_ref().map_or(Side::Public, Classified::issue);
        writes.retain(|w| self.rules.marks_across_the_wall || w.side == own || w.content == Content::Document);
        worker.phase = phase;
        worker.open += writes.len();
        let (id, revision) = (worker.id, self.log[worker.event].revision);
        self.flight.extend(writes.into_iter().map(|write| Request {
            worker: id,
            revision,
            write,
        }));
    }

    /// With requests still open, the process may die right after the ack: each of them lands, or not.
    fn ack(&mut self, chosen: usize) {
        let worker = self.workers.swap_remove(chosen);
        self.messages[worker.event] = Message::Acked;
        if worker.open > 0 {
            let dice = &mut self.dice;
            self.flight
                .retain(|request| request.worker != worker.id || dice.percent(50));
        }
    }
}

/// The first seed of a range whose schedule goes wrong, and how.
fn first_failure(rules: Rules, seeds: std::ops::Range<u64>) -> Option<(u64, &'static str)> {
    seeds
        .into_iter()
        .find_map(|seed| World::new(seed, rules).run().err().map(|wrong| (seed, wrong)))
}

#[test]
fn with_every_rule_no_schedule_goes_wrong() {
    assert_eq!(first_failure(ALL, 0..60_000), None);
}

#[test]
fn requests_of_a_worker_without_a_lease_do_no_harm() {
    assert_eq!(first_failure(Rules { lease: false, ..ALL }, 0..20_000), None);
}

#[test]
fn every_rule_left_out_is_caught_by_a_recorded_seed() {
    let (state, torn) = ("wrong final state", "an issue was visible before its timeline");
    type LeaveOut = fn(&mut Rules);
    let table: [(u64, &str, LeaveOut); 8] = [
        (4, state, |rules| rules.versions = false),
        (1676, state, |rules| rules.stubs = false),
        (4, state, |rules| rules.marks_of_the_past = false),
        (0, state, |rules| rules.marks_across_the_wall = false),
        (83, state, |rules| rules.marks_cover_new_rules = false),
        (1, state, |rules| rules.raised_revision = false),
        (0, torn, |rules| rules.issue_last = false),
        (8, state, |rules| rules.ack_when_durable = false),
    ];
    for (seed, wrong, leave_out) in table {
        let mut rules = ALL;
        leave_out(&mut rules);
        assert_eq!(World::new(seed, rules).run(), Err(wrong), "seed {seed} with {rules:?}");
        assert_eq!(World::new(seed, ALL).run(), Ok(()), "seed {seed} with every rule");
    }
}
