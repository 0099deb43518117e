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
const POINTS: u32 = 900;

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
        let Some(quota) = self.quota.filter(|quota| now < quota.reset) else {
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
            return State::Closed(kind, wait(quota.reset, now).min(LONGEST_WAIT));
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
        let most = usize::try_from(bounds.share(POINTS.into(), priority)).expect("at most 900");
        // From here to the end there are as many points as a minute may have.
        let first = *self.points.get(self.points.len().checked_sub(most)?)?;
        (now < first + MINUTE).then(|| first + MINUTE - now)
    }

    /// What is left of the wait that an answer asked for, if there is one.
    pub(crate) fn closed(&self, now: OffsetDateTime) -> Option<(Limit, Duration)> {
        let (until, kind) = self.closed?;
        (now < until).then(|| (kind, wait(until, now)))
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
        let open = self.closed.is_none_or(|(until, _)| until <= now);
        // Answers that were under way together are one strike.
        self.strikes += u32::from(open && ask.kind == Limit::Secondary);
        let doublings = self.strikes.saturating_sub(1).min(MOST_DOUBLINGS);
        let wait = ask.wait.unwrap_or(FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
        let until = now + wait;
        if self.closed.is_none_or(|(earlier, _)| earlier < until) {
            self.closed = Some((until, ask.kind));
        }
        wait
    }

    /// An answer that asked for nothing: the next secondary limit begins with the first wait again.
    pub(crate) fn succeeded(&mut self, now: OffsetDateTime) {
        if self.closed.is_none_or(|(until, _)| until <= now) {
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
        self.closed.map(|(until, _)| until).filter(|until| now < *until)
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
