//! What was asked of the simulator: tests count downloads by it.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use time::OffsetDateTime;

/// How many single requests are remembered; the counts go on for ever.
const REMEMBERED: usize = 100_000;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `GET …/issues/{n}`
    Issue,
    /// `GET …/issues/{n}/timeline`, each page
    Timeline,
    /// `GET …/issues`, each page
    List,
    /// `GET /repos/{owner}/{repo}`, `GET /repositories/{id}`
    Repository,
    /// `GET /rate_limit`
    RateLimit,
    /// Anything else
    Other,
}

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// What it was for.
    pub route: Route,
    /// The issue, for [`Route::Issue`] and [`Route::Timeline`].
    pub issue: Option<u64>,
    /// Path and query as they came.
    pub target: String,
    /// The HTTP status that it got.
    pub status: u16,
    /// When it was answered, by the simulator's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// The requests so far.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    counts: BTreeMap<(Route, Option<u64>), u64>,
    latest: VecDeque<Request>,
    while_told_to_wait: u64,
}

impl Requests {
    pub(super) fn note(&mut self, request: Request) {
        *self.counts.entry((request.route, request.issue)).or_default() += 1;
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(request);
    }

    pub(super) fn came_while_told_to_wait(&mut self) {
        self.while_told_to_wait += 1;
    }

    /// How many came although a limit had told their credential to wait: until `x-ratelimit-reset`, for `retry-after`,
    /// or for a minute where a secondary limit says nothing. A client that obeys has none. What came within half a
    /// second of the limit's answer was under way and is not counted.
    #[must_use]
    pub fn while_told_to_wait(&self) -> u64 {
        self.while_told_to_wait
    }

    /// How many there were of that kind, for that issue.
    #[must_use]
    pub fn count(&self, route: Route, issue: u64) -> u64 {
        self.counts.get(&(route, Some(issue))).copied().unwrap_or(0)
    }

    /// How many there were of that kind, whatever the issue.
    #[must_use]
    pub fn of(&self, route: Route) -> u64 {
        self.counts
            .iter()
            .filter(|((of, _), _)| *of == route)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The latest ones (up to 100,000), oldest first.
    pub fn latest(&self) -> impl Iterator<Item = &Request> {
        self.latest.iter()
    }

    /// The counts as `GET /_simulator/requests` answers: `{"total", "while_told_to_wait", "routes": {route: n},
    /// "issues": {n: {route: n}}}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut routes: BTreeMap<Route, u64> = BTreeMap::new();
        let mut issues: BTreeMap<u64, BTreeMap<Route, u64>> = BTreeMap::new();
        for (&(route, issue), count) in &self.counts {
            *routes.entry(route).or_default() += count;
            if let Some(number) = issue {
                issues.entry(number).or_default().insert(route, *count);
            }
        }
        let waiting = self.while_told_to_wait;
        serde_json::json!({"total": self.total(), "while_told_to_wait": waiting, "routes": routes, "issues": issues})
    }
}
