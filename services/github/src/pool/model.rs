//! Random requests and answers, hour after hour: what the rules let through is held against what GitHub allows, as stated
//! here by itself, from the answers alone. Nothing is sent that should not be, and nothing waits that need not.

use std::collections::VecDeque;

use bugstream_kit::chance::Chance;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::Instant;

use super::*;
use crate::ledger::{Bounds, Ledger, Now, Priority};
use crate::limit::{Ask, Quota};

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const CONCURRENCY: u64 = 5;
/// In percent.
const RESERVE: u64 = 20;
const POINTS: usize = 900;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// GitHub's side of a credential.
#[derive(Debug, Default)]
struct Theirs {
    /// Told to wait until then, in words or by the last answer's "nothing is left".
    told: Duration,
    /// Used in the window that ends then.
    used: u64,
    ends: Duration,
    /// When each request of the last minute was sent.
    sent: VecDeque<Duration>,
    /// Whose answers are still to come: live or background.
    under_way: Vec<Priority>,
    /// Refused since then; `None`: accepted.
    refused: Option<Duration>,
    /// What the answers so far have said is left, and until when.
    said: Option<(u64, Duration)>,
}

impl Theirs {
    fn of_minute(&self, now: Duration) -> usize {
        self.sent.iter().filter(|sent| now < **sent + MINUTE).count()
    }

    /// Whether a request may be sent, as far as the answers so far tell.
    fn allows(&self, priority: Priority, limit: u64, now: Duration) -> bool {
        let share = |whole: u64| match priority {
            Priority::Live => whole,
            Priority::Background => whole - whole * RESERVE / 100,
        };
        let under_way = self.under_way.len() as u64;
        let background = self
            .under_way
            .iter()
            .filter(|one| **one == Priority::Background)
            .count() as u64;
        let places = under_way < CONCURRENCY && (priority == Priority::Live || background < share(CONCURRENCY));
        let kept = limit - share(limit);
        let left = match self.said {
            Some((left, ends)) if now < ends => left > kept && left.saturating_sub(under_way) > kept,
            _ => true,
        };
        let points = self.of_minute(now) < usize::try_from(share(POINTS as u64)).expect("small");
        let accepted = match self.refused {
            Some(since) => now >= since + Duration::from_secs(300) && under_way == 0,
            None => true,
        };
        now >= self.told && places && left && points && accepted
    }
}

struct World {
    /// Requests an hour.
    limit: u64,
    /// Whether time goes on slowly, so that the minute is what runs out.
    hurried: bool,
    chance: Chance,
    start: Instant,
    now: Duration,
    ours: Vec<Ledger>,
    theirs: Vec<Theirs>,
    sent: u64,
    waited: u64,
    /// How often a minute was full.
    paced: u64,
}

impl World {
    fn new(seed: u64, credentials: usize) -> Self {
        let hurried = seed.is_multiple_of(2);
        Self {
            limit: if hurried { 100_000 } else { 300 },
            hurried,
            chance: Chance::seeded(seed),
            start: Instant::now(),
            now: Duration::ZERO,
            ours: (0..credentials).map(|_| Ledger::default()).collect(),
            theirs: (0..credentials).map(|_| Theirs::default()).collect(),
            sent: 0,
            waited: 0,
            paced: 0,
        }
    }

    fn below(&self, n: u64) -> u64 {
        self.chance.bits() % n
    }

    fn clock(&self) -> Now {
        Now {
            time: START + self.now,
            instant: self.start + self.now,
        }
    }

    fn step(&mut self) {
        match self.below(20) {
            0 if self.hurried && self.below(50) > 0 => {}
            0 => self.now += Duration::from_millis(self.below(120_000)),
            1..=3 => self.now += Duration::from_millis(self.below(if self.hurried { 20 } else { 200 })),
            4..=9 => self.request(Priority::Live),
            10..=12 => self.request(Priority::Background),
            _ => self.answer(),
        }
    }

    fn request(&mut self, priority: Priority) {
        let now = self.clock();
        let bounds = Bounds {
            concurrency: CONCURRENCY,
            points: Some(crate::ledger::POINTS),
            reserve: 20,
        };
        let states: Vec<_> = self.ours.iter().map(|one| one.state(priority, bounds, now)).collect();
        let preferred = usize::try_from(self.below(4)).ok().filter(|at| *at < states.len());
        let allowed: Vec<_> = self
            .theirs
            .iter()
            .map(|one| one.allows(priority, self.limit, self.now))
            .collect();
        match choose(&states, preferred) {
            Choice::Take(at) => {
                assert!(allowed[at], "{priority:?} at {:?}: {:?}", self.now, self.theirs[at]);
                assert!(preferred.is_none_or(|one| one == at || !allowed[one]));
                self.ours[at].began(priority, 1, now.instant);
                let (sent, now) = (&mut self.theirs[at].sent, self.now);
                sent.retain(|sent| now < *sent + MINUTE);
                sent.push_back(now);
                self.paced += u64::from(sent.len() == POINTS);
                self.theirs[at].under_way.push(priority);
                self.sent += 1;
            }
            other => {
                assert!(!allowed.contains(&true), "{other:?} without need: {:?}", self.theirs);
                self.waited += 1;
            }
        }
    }

    /// One of the answers that are still to come.
    fn answer(&mut self) {
        let at = usize::try_from(self.below(self.theirs.len() as u64)).expect("small");
        if self.theirs[at].under_way.is_empty() {
            return;
        }
        let now = self.clock().time;
        let priority = {
            let which = self.below(self.theirs[at].under_way.len() as u64);
            self.theirs[at]
                .under_way
                .swap_remove(usize::try_from(which).expect("small"))
        };
        self.ours[at].ended(priority);
        match self.below(if self.hurried { 3_000 } else { 60 }) {
            0 => self.tell(at, Some(Duration::from_secs(1 + self.below(300)))),
            1 => self.tell(at, None),
            2 => {
                self.ours[at].set_aside("401", now);
                self.theirs[at].refused = Some(self.now);
            }
            3 => {}
            _ => self.succeed(at),
        }
    }

    fn tell(&mut self, at: usize, wait: Option<Duration>) {
        let kind = Limit::Secondary;
        let now = self.clock().time;
        let said = self.ours[at].close(Ask { kind, wait }, now);
        assert!(said >= wait.unwrap_or(MINUTE), "at least what was asked for");
        self.theirs[at].told = self.theirs[at].told.max(self.now + said);
    }

    fn succeed(&mut self, at: usize) {
        let free = self.below(3) == 0;
        let theirs = &mut self.theirs[at];
        if theirs.ends <= self.now {
            (theirs.used, theirs.ends) = (0, self.now + HOUR);
        }
        theirs.used += u64::from(!free);
        theirs.refused = None;
        let left = self.limit.saturating_sub(theirs.used);
        theirs.said = Some((left, theirs.ends));
        let (ends, now) = (theirs.ends, START + self.now);
        let quota = Quota {
            limit: self.limit,
            remaining: left,
            reset: START + ends,
        };
        let ledger = &mut self.ours[at];
        ledger.learn(quota, now);
        ledger.accept();
        if left == 0 {
            let (kind, wait) = (Limit::Primary, Some(ends - self.now));
            ledger.close(Ask { kind, wait }, now);
            self.theirs[at].told = self.theirs[at].told.max(ends);
        } else {
            ledger.succeeded(now);
        }
    }
}

#[test]
fn nothing_is_sent_that_should_not_be_and_nothing_waits_that_need_not() {
    let (mut sent, mut waited, mut paced) = (0, 0, 0);
    for seed in 0..24 {
        let mut world = World::new(seed, 1 + usize::try_from(seed % 3).expect("small"));
        for _ in 0..6_000 {
            world.step();
        }
        sent += world.sent;
        waited += world.waited;
        paced += world.paced;
    }
    assert!(
        sent > 20_000 && waited > 20_000 && paced > 0,
        "{sent} sent, {waited} waited, {paced} full minutes"
    );
}
