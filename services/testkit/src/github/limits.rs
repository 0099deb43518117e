//! Rate limits by credential, and faults on command.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

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
    /// A 404 that is not meant: the issue is still there.
    NotFound,
    /// A 410 that says that issues are disabled.
    IssuesDisabled,
    /// Half of the body, then the connection is cut.
    Truncated,
    /// The right answer, so many milliseconds late.
    Slow(u64),
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

    fn meets(&self, route: Route, issue: Option<u64>) -> bool {
        self.route.is_none_or(|only| only == route) && self.issue.is_none_or(|only| Some(only) == issue)
    }
}

/// The faults that wait for somebody.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<FaultRule>);

impl Faults {
    /// The fault that meets this request, counted down.
    pub(super) fn take(&mut self, route: Route, issue: Option<u64>) -> Option<Fault> {
        let rule = self
            .0
            .iter_mut()
            .find(|rule| rule.times > 0 && rule.meets(route, issue))?;
        rule.times -= 1;
        let fault = rule.fault.clone();
        self.0.retain(|rule| rule.times > 0);
        Some(fault)
    }
}

/// The hourly quota of every credential.
#[derive(Debug)]
pub(super) struct Quotas {
    limit: u64,
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
            windows: HashMap::new(),
        }
    }

    /// Sets the limit, and forgets what was used.
    pub(super) fn set_limit(&mut self, limit: u64) {
        *self = Self::new(limit);
    }

    /// Leaves a credential `remaining` requests until `ends`.
    pub(super) fn leave(&mut self, credential: &str, remaining: u64, ends: OffsetDateTime) {
        let used = self.limit.saturating_sub(remaining);
        self.windows.insert(credential.to_owned(), Window { used, ends });
    }

    pub(super) fn look(&mut self, credential: &str, now: OffsetDateTime) -> Quota {
        let window = self.window(credential, now);
        let (used, resets) = (window.used, window.ends);
        Quota {
            limit: self.limit,
            used,
            resets,
        }
    }

    /// Takes one request off; false when none is left.
    pub(super) fn spend(&mut self, credential: &str, now: OffsetDateTime) -> bool {
        let limit = self.limit;
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
            ends: now + Duration::HOUR,
        };
        let window = self.windows.entry(credential.to_owned()).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        window
    }
}
