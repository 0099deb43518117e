//! Rate limits by credential, and faults on command.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::Simulator;
use super::requests::Route;

/// What can go wrong with an answer, as GitHub (or the way to it) makes it go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// This status with a short body: 500, 502, 503, …
    Status(u16),
    /// A secondary limit: 403 or 429, with `retry-after` in seconds or without.
    SecondaryLimit {
        /// 403 or 429; GitHub uses both.
        status: u16,
        /// The header's value; GitHub leaves it out at times.
        retry_after_s: Option<u64>,
    },
    /// The primary limit is used up, until so many seconds later.
    PrimaryLimit {
        /// What `x-ratelimit-reset` says, from now on.
        resets_in_s: u64,
    },
    /// A 404 that is not meant: the issue is still there.
    NotFound,
    /// A 410 that says that issues are disabled.
    IssuesDisabled,
    /// The connection is closed without a byte of an answer.
    NoAnswer,
    /// Half of the body (of an answer without one: half of its head), then the connection is closed.
    Truncated,
    /// Half of the body as if it were the whole: nothing but the JSON tells.
    HalfBody,
    /// The right answer, so many milliseconds late.
    Slow(u64),
    /// The right answer at once, its body in pieces over so many milliseconds.
    SlowBody(u64),
    /// A page for people in place of the answer, with status 200.
    Html,
    /// The same, called JSON.
    HtmlAsJson,
    /// The right body, called HTML.
    WrongType,
    /// A list without rows and without further pages. (Other answers stay as they are: nothing could tell an empty
    /// timeline from a true one.)
    EmptyList,
    /// In place of the answer a JSON array of texts of so many bytes, sent without being held.
    Huge(u64),
    /// The right answer with a byte in it that no UTF-8 has.
    InvalidUtf8,
    /// A `Link` whose next page is the first one again.
    LinkLoop,
    /// A `Link` whose next page is on this host (`https://elsewhere.example`).
    LinkTo(String),
}

impl Fault {
    /// What it counts as: its name in `POST /_simulator/faults`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::SecondaryLimit { .. } => "secondary_limit",
            Self::PrimaryLimit { .. } => "primary_limit",
            Self::NotFound => "not_found",
            Self::IssuesDisabled => "issues_disabled",
            Self::NoAnswer => "no_answer",
            Self::Truncated => "truncated",
            Self::HalfBody => "half_body",
            Self::Slow(_) => "slow",
            Self::SlowBody(_) => "slow_body",
            Self::Html => "html",
            Self::HtmlAsJson => "html_as_json",
            Self::WrongType => "wrong_type",
            Self::EmptyList => "empty_list",
            Self::Huge(_) => "huge",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LinkLoop => "link_loop",
            Self::LinkTo(_) => "link_to",
        }
    }
}

/// A fault and whom it meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// To how many answers, counted down.
    #[serde(default = "once")]
    pub times: u64,
    /// Only to this kind of request.
    #[serde(default)]
    pub route: Option<Route>,
    /// Only to requests for this issue.
    #[serde(default)]
    pub issue: Option<u64>,
    /// Only to requests for this page of something.
    #[serde(default)]
    pub page: Option<usize>,
}

fn once() -> u64 {
    1
}

impl FaultRule {
    /// For the next `times` answers, whatever they are.
    #[must_use]
    pub fn next(times: u64, fault: Fault) -> Self {
        Self {
            fault,
            times,
            route: None,
            issue: None,
            page: None,
        }
    }

    /// Only for requests for this issue.
    #[must_use]
    pub fn issue(self, number: u64) -> Self {
        Self {
            issue: Some(number),
            ..self
        }
    }

    /// Only for this kind of request.
    #[must_use]
    pub fn route(self, route: Route) -> Self {
        Self {
            route: Some(route),
            ..self
        }
    }

    /// Only for requests for this page of a walk by `page`.
    #[must_use]
    pub fn page(self, page: usize) -> Self {
        Self {
            page: Some(page),
            ..self
        }
    }

    fn meets(&self, route: Route, issue: Option<u64>, page: usize) -> bool {
        self.route.is_none_or(|only| only == route)
            && self.issue.is_none_or(|only| Some(only) == issue)
            && self.page.is_none_or(|only| only == page)
    }
}

/// The faults that wait for somebody.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<FaultRule>);

impl Faults {
    /// The fault that meets this request, counted down.
    pub(super) fn take(&mut self, route: Route, issue: Option<u64>, page: usize) -> Option<Fault> {
        let rule = self
            .0
            .iter_mut()
            .find(|rule| rule.times > 0 && rule.meets(route, issue, page))?;
        rule.times -= 1;
        let fault = rule.fault.clone();
        self.0.retain(|rule| rule.times > 0);
        Some(fault)
    }
}

/// Requests that were under way when a limit was announced can not have obeyed it. So long they may be, unless said
/// otherwise.
const UNDER_WAY: Duration = Duration::milliseconds(500);

/// Who was told to wait, and until when: by credential.
#[derive(Debug)]
pub(super) struct Waits {
    told: HashMap<String, Wait>,
    under_way: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            told: HashMap::new(),
            under_way: UNDER_WAY,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    told: OffsetDateTime,
    until: OffsetDateTime,
}

impl Waits {
    /// Notes that an answer says "wait until then". Who is waiting already has been told when he first was.
    pub(super) fn tell(&mut self, credential: &str, now: OffsetDateTime, until: OffsetDateTime) {
        let wait = self
            .told
            .entry(credential.to_owned())
            .or_insert(Wait { told: now, until });
        if wait.until <= now {
            wait.told = now;
        }
        wait.until = wait.until.max(until);
    }

    /// Whether this credential knows that it has to wait.
    pub(super) fn bind(&self, credential: &str, now: OffsetDateTime) -> bool {
        self.told
            .get(credential)
            .is_some_and(|wait| wait.told + self.under_way <= now && now < wait.until)
    }
}

impl Simulator {
    /// How long requests may be under way, so that [`Requests::while_told_to_wait`](super::Requests::while_told_to_wait)
    /// does not count them: half a second at first, which is little where the client is kept from running at times.
    pub fn let_requests_take(&self, at_most: std::time::Duration) {
        self.inner.world().waits.under_way = Duration::try_from(at_most).unwrap_or(Duration::MAX);
    }
}

/// The next whole second: `x-ratelimit-reset` has no others.
pub(super) fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    let part = i64::from(at.nanosecond());
    if part == 0 {
        at
    } else {
        at + Duration::nanoseconds(1_000_000_000 - part)
    }
}

/// The hourly quota of every credential.
#[derive(Debug)]
pub(super) struct Quotas {
    limit: u64,
    /// Limits of those that have one of their own.
    own: HashMap<String, u64>,
    windows: HashMap<String, Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    used: u64,
    ends: OffsetDateTime,
}

/// What a credential has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) resets: OffsetDateTime,
}

impl Quota {
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Quotas {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            own: HashMap::new(),
            windows: HashMap::new(),
        }
    }

    /// Sets the limit of one credential.
    pub(super) fn limit_one(&mut self, credential: &str, limit: u64) {
        self.own.insert(credential.to_owned(), limit);
    }

    fn limit(&self, credential: &str) -> u64 {
        self.own.get(credential).copied().unwrap_or(self.limit)
    }

    /// Sets the limit of every credential, and forgets what was used.
    pub(super) fn set_limit(&mut self, limit: u64) {
        *self = Self::new(limit);
    }

    /// Leaves a credential `remaining` requests until `ends`.
    pub(super) fn leave(&mut self, credential: &str, remaining: u64, ends: OffsetDateTime) {
        let (used, ends) = (self.limit(credential).saturating_sub(remaining), whole_second(ends));
        self.windows.insert(credential.to_owned(), Window { used, ends });
    }

    pub(super) fn look(&mut self, credential: &str, now: OffsetDateTime) -> Quota {
        let window = self.window(credential, now);
        let (used, resets) = (window.used, window.ends);
        Quota {
            limit: self.limit(credential),
            used,
            resets,
        }
    }

    /// Takes one request off; false when none is left.
    pub(super) fn spend(&mut self, credential: &str, now: OffsetDateTime) -> bool {
        let limit = self.limit(credential);
        let window = self.window(credential, now);
        let left = window.used < limit;
        window.used += u64::from(left);
        left
    }

    /// Gives one back: a 304 to an authorised request costs nothing.
    pub(super) fn give_back(&mut self, credential: &str, now: OffsetDateTime) {
        let window = self.window(credential, now);
        window.used = window.used.saturating_sub(1);
    }

    fn window(&mut self, credential: &str, now: OffsetDateTime) -> &mut Window {
        let fresh = Window {
            used: 0,
            ends: whole_second(now + Duration::HOUR),
        };
        let window = self.windows.entry(credential.to_owned()).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        window
    }
}
