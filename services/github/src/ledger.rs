//! What is known of one credential, and whether a request may be sent with it now. Pure: no clock, no waiting.
//!
//! GitHub counts by credential: requests an hour, requests at once, points a minute, and secondary limits that only its
//! answers tell of. Nothing here opens earlier than an answer said.

use std::collections::VecDeque;
use std::time::Duration;

use bugstream_telemetry::names::Limit;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::limit::{Ask, LONGEST_WAIT, Quota};

/// The least wait after a secondary limit that names none; GitHub asks for "at least one minute", then exponentially more.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Beyond the longest wait already.
const MOST_DOUBLINGS: u32 = 10;

/// "No more than 900 points per minute are allowed for REST API endpoints" (docs.github.com).
pub(crate) const POINTS: u32 = 900;

const MINUTE: Duration = Duration::from_secs(60);

/// How long a credential that was not accepted is left alone.
const ASIDE: Duration = Duration::from_secs(5 * 60);

/// Two answers of one window can name resets that differ by the rounding of their times.
const SAME_WINDOW: time::Duration = time::Duration::seconds(60);

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// A webhook, a person: takes what is there.
    #[default]
    Live,
    /// A backfill, a sweep, an audit: leaves a share of every bound to live work.
    Background,
}

/// The bounds of every credential.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Requests under way at once.
    pub(crate) concurrency: u64,
    /// Points a minute, if they are counted.
    pub(crate) points: Option<u32>,
    /// The share in percent that is kept for live work.
    pub(crate) reserve: u8,
}

impl Bounds {
    /// What of a bound this priority may use.
    fn share(self, whole: u64, priority: Priority) -> u64 {
        match priority {
            Priority::Live => whole,
            Priority::Background => whole - self.kept(whole),
        }
    }

    fn kept(self, whole: u64) -> u64 {
        whole * u64::from(self.reserve) / 100
    }
}

/// When it is: by the calendar for what GitHub says, by the stopwatch for what is paced here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) time: OffsetDateTime,
    pub(crate) instant: Instant,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It may. `left` requests are left in the hour as far as is known.
    Open { left: u64 },
    /// Not before one that is under way has ended.
    Busy,
    /// Not before the minute has room again.
    Paced(Duration),
    /// Not before a limit is over.
    Closed(Limit, Duration),
    /// Not accepted by GitHub; tried again after a while.
    SetAside,
}

/// The account of one credential.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    closed: Option<(OffsetDateTime, Limit)>,
    /// Secondary limits since the last success, each after the wait of the one before.
    strikes: u32,
    quota: Option<Quota>,
    /// When each point of the last minute was spent.
    points: VecDeque<Instant>,
    live: u64,
    background: u64,
    aside: Option<Aside>,
}

/// Why a credential is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) why: String,
    until: OffsetDateTime,
}

impl Ledger {
    /// Whether a request of this priority may be sent now.
    pub(crate) fn state(&self, priority: Priority, bounds: Bounds, now: Now) -> State {
        if let Some((kind, left)) = self.closed(now.time) {
            return State::Closed(kind, left);
        }
        if let Some(aside) = &self.aside {
            // When the time is over, one request finds out.
            if now.time < aside.until || self.under_way() > 0 {
                return State::SetAside;
            }
        }
        match self.left(priority, bounds, now.time) {
            State::Open { .. } if !self.has_place(priority, bounds) => State::Busy,
            State::Open { left } => match self.pace(priority, bounds, now.instant) {
                None => State::Open { left },
                Some(wait) => State::Paced(wait),
            },
            other => other,
        }
    }

    /// What the hour's quota says. Requests under way are counted as if each will cost one.
    fn left(&self, priority: Priority, bounds: Bounds, now: OffsetDateTime) -> State {
        // A window lasts an hour: one that ends later says that the clock stepped back.
        let in_window = |quota: &Quota| now < quota.reset && wait(quota.reset, now) <= LONGEST_WAIT;
        let Some(quota) = self.quota.filter(in_window) else {
            return State::Open {
                left: self.quota.map_or(u64::MAX, |quota| quota.limit),
            };
        };
        let (kept, kind) = match priority {
            Priority::Background => (bounds.kept(quota.limit), Limit::Reserve),
            Priority::Live => (0, Limit::Primary),
        };
        if quota.remaining <= kept {
            let kind = if quota.remaining == 0 { Limit::Primary } else { kind };
            return State::Closed(kind, wait(quota.reset, now));
        }
        match quota.remaining.saturating_sub(self.under_way()) {
            left if left > kept => State::Open { left },
            _ => State::Busy,
        }
    }

    fn under_way(&self) -> u64 {
        self.live + self.background
    }

    fn has_place(&self, priority: Priority, bounds: Bounds) -> bool {
        let share = bounds.share(bounds.concurrency, Priority::Background).max(1);
        let room = priority == Priority::Live || self.background < share;
        room && self.under_way() < bounds.concurrency
    }

    /// How long until the last minute has room for one more point.
    fn pace(&self, priority: Priority, bounds: Bounds, now: Instant) -> Option<Duration> {
        let most = bounds.share(bounds.points?.into(), priority);
        let most = usize::try_from(most).expect("a share of what fitted into 32 bits");
        // From here to the end there are as many points as a minute may have.
        let first = *self.points.get(self.points.len().checked_sub(most)?)?;
        (now < first + MINUTE).then(|| first + MINUTE - now)
    }

    /// What is left of the wait that an answer asked for, if there is one.
    pub(crate) fn closed(&self, now: OffsetDateTime) -> Option<(Limit, Duration)> {
        let (until, kind) = self.closed?;
        let left = wait(until, now);
        // Nothing closes for longer: where it says so, the clock stepped back.
        (now < until && left <= LONGEST_WAIT).then_some((kind, left))
    }

    /// A request is under way. Call it only where [`Self::state`] is open.
    pub(crate) fn began(&mut self, priority: Priority, points: usize, now: Instant) {
        *self.count(priority) += 1;
        self.spend(points, now);
    }

    /// It has ended, with an answer or without.
    pub(crate) fn ended(&mut self, priority: Priority) {
        *self.count(priority) -= 1;
    }

    fn count(&mut self, priority: Priority) -> &mut u64 {
        match priority {
            Priority::Live => &mut self.live,
            Priority::Background => &mut self.background,
        }
    }

    /// Something is sent: a GET costs one point, what changes something five.
    pub(crate) fn spend(&mut self, points: usize, now: Instant) {
        while self.points.front().is_some_and(|spent| *spent + MINUTE <= now) {
            self.points.pop_front();
        }
        self.points.extend(std::iter::repeat_n(now, points));
    }

    /// What an answer said of the hour. Answers come in any order; within a window the least is right.
    pub(crate) fn learn(&mut self, said: Quota, now: OffsetDateTime) {
        if said.reset <= now {
            return;
        }
        let same = |known: &Quota| (known.reset - said.reset).abs() < SAME_WINDOW && known.limit == said.limit;
        self.quota = match self.quota.filter(same) {
            Some(known) => Some(Quota {
                remaining: known.remaining.min(said.remaining),
                ..known
            }),
            None => Some(said),
        };
    }

    /// Closes for as long as an answer asked, and says for how long that is.
    pub(crate) fn close(&mut self, ask: Ask, now: OffsetDateTime) -> Duration {
        let open = self.closed(now).is_none();
        // Answers that were under way together are one strike.
        self.strikes += u32::from(open && ask.kind == Limit::Secondary);
        let doublings = self.strikes.saturating_sub(1).min(MOST_DOUBLINGS);
        let wait = ask.wait.unwrap_or(FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
        let until = now + wait;
        if open || self.closed.is_none_or(|(earlier, _)| earlier < until) {
            self.closed = Some((until, ask.kind));
        }
        wait
    }

    /// An answer that asked for nothing: the next secondary limit begins with the first wait again.
    pub(crate) fn succeeded(&mut self, now: OffsetDateTime) {
        if self.closed(now).is_none() {
            (self.closed, self.strikes) = (None, 0);
        }
    }

    /// GitHub accepts the credential. True if it was set aside before.
    pub(crate) fn accept(&mut self) -> bool {
        self.aside.take().is_some()
    }

    /// GitHub does not accept the credential. True if that is news.
    pub(crate) fn set_aside(&mut self, why: &str, now: OffsetDateTime) -> bool {
        let (why, until) = (why.to_owned(), now + ASIDE);
        self.aside.replace(Aside { why, until }).is_none()
    }

    pub(crate) fn aside(&self) -> Option<&Aside> {
        self.aside.as_ref()
    }

    pub(crate) fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// Until when a limit closes it.
    pub(crate) fn closed_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.closed(now).and(self.closed).map(|(until, _)| until)
    }
}

fn wait(until: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(until - now).unwrap_or_default()
}

/// What a process before this one knew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) quota: Option<Quota>,
    pub(crate) closed_until: Option<OffsetDateTime>,
}

impl Ledger {
    /// Takes over what was known. What is known here already is newer, and a limit that is over is over.
    pub(crate) fn restore(&mut self, kept: Kept, now: OffsetDateTime) {
        if let Some(quota) = kept.quota {
            self.learn(quota, now);
        }
        let known = self.closed_until(now);
        if let Some(until) = kept.closed_until.filter(|until| now < *until && known < Some(*until)) {
            let empty = self.quota.is_some_and(|quota| quota.remaining == 0);
            let kind = if empty { Limit::Primary } else { Limit::Secondary };
            self.closed = Some((until.min(now + LONGEST_WAIT), kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
    const BOUNDS: Bounds = Bounds {
        concurrency: 10,
        points: Some(POINTS),
        reserve: 20,
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn secondary(wait: Option<u64>) -> Ask {
        let wait = wait.map(seconds);
        let kind = Limit::Secondary;
        Ask { kind, wait }
    }

    fn quota(remaining: u64, resets_in: u64) -> Quota {
        Quota {
            limit: 1_000,
            remaining,
            reset: START + seconds(resets_in),
        }
    }

    /// So long after the start.
    fn at(start: Instant, after: Duration) -> Now {
        Now {
            time: START + after,
            instant: start + after,
        }
    }

    fn state(ledger: &Ledger, priority: Priority) -> State {
        ledger.state(priority, BOUNDS, at(Instant::now(), Duration::ZERO))
    }

    #[test]
    fn a_clock_that_steps_back_a_day_leaves_nothing_closed_for_a_day() {
        let mut ledger = Ledger::default();
        let tomorrow = START + seconds(24 * 60 * 60);
        ledger.close(secondary(Some(60)), tomorrow);
        ledger.learn(quota(0, 24 * 60 * 60 + 60), tomorrow);
        let now = Instant::now();
        let state = |time| ledger.state(Priority::Live, BOUNDS, Now { time, instant: now });
        assert!(matches!(state(tomorrow), State::Closed(..)));
        assert!(matches!(state(START), State::Open { .. }));
        assert_eq!(ledger.closed_until(START), None);
        ledger.close(secondary(Some(30)), START);
        assert_eq!(ledger.closed_until(START), Some(START + seconds(30)));
    }

    #[test]
    fn it_is_closed_until_the_latest_of_all_waits() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.closed(START), None);
        ledger.close(
            Ask {
                kind: Limit::Primary,
                wait: Some(seconds(100)),
            },
            START,
        );
        ledger.close(secondary(Some(5)), START);
        assert_eq!(ledger.closed(START + seconds(99)), Some((Limit::Primary, seconds(1))));
        assert_eq!(ledger.closed(START + seconds(100)), None);
    }

    #[test]
    fn secondary_limits_without_a_time_double_until_a_success() {
        let mut ledger = Ledger::default();
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = ledger.close(secondary(None), now);
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3840, 3900]);
        ledger.succeeded(now);
        assert_eq!(ledger.close(secondary(None), now), seconds(60));
    }

    #[test]
    fn answers_that_were_under_way_together_are_one_strike() {
        let mut ledger = Ledger::default();
        for _ in 0..20 {
            ledger.close(secondary(None), START);
        }
        ledger.succeeded(START + seconds(1));
        assert_eq!(
            ledger.closed(START + seconds(59)),
            Some((Limit::Secondary, seconds(1))),
            "a late success opens nothing"
        );
        assert_eq!(ledger.close(secondary(None), START + seconds(60)), seconds(120));
    }

    #[test]
    fn what_the_hour_has_left_is_live_works_first() {
        use Priority::{Background, Live};
        let reserve = |n| State::Closed(Limit::Reserve, seconds(n));
        let table = [
            (quota(1_000, 60), 0, Live, State::Open { left: 1_000 }),
            (quota(1_000, 60), 0, Background, State::Open { left: 1_000 }),
            (quota(205, 60), 4, Background, State::Open { left: 201 }),
            (quota(205, 60), 5, Background, State::Busy),
            (quota(201, 60), 0, Background, State::Open { left: 201 }),
            (quota(200, 60), 0, Background, reserve(60)),
            (quota(200, 60), 0, Live, State::Open { left: 200 }),
            (quota(3, 60), 2, Live, State::Open { left: 1 }),
            (quota(3, 60), 3, Live, State::Busy),
            (quota(0, 60), 0, Live, State::Closed(Limit::Primary, seconds(60))),
            (quota(0, 60), 0, Background, State::Closed(Limit::Primary, seconds(60))),
            (quota(0, 3_900), 0, Live, State::Closed(Limit::Primary, seconds(3_900))),
            // No window is so long. The answer that said so closed for as long as it may.
            (quota(0, 99_999), 0, Live, State::Open { left: 1_000 }),
        ];
        for (quota, under_way, priority, want) in table {
            let mut ledger = Ledger::default();
            ledger.learn(quota, START);
            (0..under_way).for_each(|_| ledger.began(Live, 1, Instant::now()));
            assert_eq!(state(&ledger, priority), want, "{quota:?} {under_way} {priority:?}");
        }
    }

    #[test]
    fn a_window_that_is_over_leaves_everything() {
        let mut ledger = Ledger::default();
        assert_eq!(state(&ledger, Priority::Live), State::Open { left: u64::MAX });
        ledger.learn(quota(0, 60), START);
        let later = ledger.state(Priority::Background, BOUNDS, at(Instant::now(), seconds(60)));
        assert_eq!(later, State::Open { left: 1_000 });
    }

    #[test]
    fn answers_come_in_any_order_and_the_least_of_a_window_is_right() {
        let learnt = |answers: &[(u64, u64)]| {
            let mut ledger = Ledger::default();
            answers
                .iter()
                .for_each(|(left, reset)| ledger.learn(quota(*left, *reset), START));
            ledger.quota().map(|quota| quota.remaining)
        };
        assert_eq!(learnt(&[(500, 600), (499, 601), (501, 599)]), Some(499));
        assert_eq!(learnt(&[(500, 600), (990, 3_600)]), Some(990), "a new window");
        assert_eq!(learnt(&[(500, 600), (990, 0)]), Some(500), "one that is over");
    }

    #[test]
    fn background_work_leaves_places_and_points() {
        use Priority::{Background, Live};
        let (start, mut ledger) = (Instant::now(), Ledger::default());
        let state = |ledger: &Ledger, priority, after| ledger.state(priority, BOUNDS, at(start, after));
        (0..8).for_each(|_| ledger.began(Background, 1, start));
        assert_eq!(state(&ledger, Background, Duration::ZERO), State::Busy);
        (0..2).for_each(|_| ledger.began(Live, 1, start));
        assert_eq!(state(&ledger, Live, Duration::ZERO), State::Busy);
        (0..8).for_each(|_| ledger.ended(Background));
        (0..2).for_each(|_| ledger.ended(Live));
        ledger.spend(710, start + seconds(10));
        let left = State::Open { left: u64::MAX };
        assert_eq!(state(&ledger, Background, seconds(20)), State::Paced(seconds(40)));
        assert_eq!(state(&ledger, Live, seconds(20)), left);
        ledger.spend(180, start + seconds(20));
        assert_eq!(state(&ledger, Live, seconds(20)), State::Paced(seconds(40)));
        assert_eq!(state(&ledger, Live, seconds(60)), left, "ten left the minute");
        assert_eq!(state(&ledger, Background, seconds(60)), State::Paced(seconds(10)));
        assert_eq!(state(&ledger, Background, seconds(70)), left);
    }

    #[test]
    fn one_request_finds_out_whether_a_credential_is_accepted_again() {
        let (start, mut ledger) = (Instant::now(), Ledger::default());
        assert!(ledger.set_aside("401", START), "news");
        assert!(!ledger.set_aside("401", START), "no news");
        let state = |ledger: &Ledger, after| ledger.state(Priority::Live, BOUNDS, at(start, seconds(after)));
        assert_eq!(state(&ledger, 299), State::SetAside);
        assert!(matches!(state(&ledger, 300), State::Open { .. }));
        ledger.began(Priority::Live, 1, start);
        assert_eq!(state(&ledger, 300), State::SetAside, "one is enough");
        ledger.ended(Priority::Live);
        assert!(!ledger.set_aside("401", START + seconds(300)), "no news");
        assert_eq!(state(&ledger, 599), State::SetAside);
        assert!(ledger.accept() && !ledger.accept());
        assert!(matches!(state(&ledger, 599), State::Open { .. }));
    }

    #[test]
    fn what_another_process_knew_is_obeyed_and_no_longer_than_that() {
        let kept = |left, closed| Kept {
            quota: Some(quota(left, 600)),
            closed_until: Some(START + seconds(closed)),
        };
        let restored = |kept| {
            let mut ledger = Ledger::default();
            ledger.restore(kept, START);
            state(&ledger, Priority::Background)
        };
        assert_eq!(restored(kept(900, 30)), State::Closed(Limit::Secondary, seconds(30)));
        assert_eq!(restored(kept(0, 30)), State::Closed(Limit::Primary, seconds(30)));
        assert_eq!(restored(kept(100, 0)), State::Closed(Limit::Reserve, seconds(600)));
        assert_eq!(restored(kept(900, 0)), State::Open { left: 900 });
        let longest = restored(kept(900, 999_999));
        assert_eq!(longest, State::Closed(Limit::Secondary, seconds(3_900)));
        let mut ledger = Ledger::default();
        ledger.close(secondary(Some(100)), START);
        ledger.restore(kept(900, 30), START);
        assert_eq!(
            ledger.closed(START),
            Some((Limit::Secondary, seconds(100))),
            "what is known here stays"
        );
    }
}
