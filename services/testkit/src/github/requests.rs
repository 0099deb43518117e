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
    /// `GET …/hooks`
    Hooks,
    /// `GET …/hooks/{id}/deliveries` and `GET /app/hook/deliveries`, each page
    Deliveries,
    /// One of them
    Delivery,
    /// `GET /app`, `GET /app/installations[/{id}]`, `GET …/installation`
    App,
    /// `POST /app/installations/{id}/access_tokens`
    AccessToken,
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
    /// The token that asked; empty for none; `installation-<id>` and `app-<id>` for a GitHub App.
    #[serde(skip)]
    pub credential: String,
    /// The HTTP status that it got.
    pub status: u16,
    /// What it took of the primary quota: 1, or 0 where GitHub takes nothing (304, limits, errors of servers).
    pub cost: u64,
    /// When it was answered, by the simulator's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Requests that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    credential: String,
    route: Route,
    status: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    requests: u64,
    spent: u64,
}

/// The requests so far.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    counts: BTreeMap<(Route, Option<u64>), u64>,
    tallies: BTreeMap<Kind, Tally>,
    latest: VecDeque<Request>,
    while_told_to_wait: u64,
}

impl Requests {
    pub(super) fn note(&mut self, request: Request) {
        *self.counts.entry((request.route, request.issue)).or_default() += 1;
        let kind = Kind {
            credential: request.credential.clone(),
            route: request.route,
            status: request.status,
        };
        let tally = self.tallies.entry(kind).or_default();
        tally.requests += 1;
        tally.spent += request.cost;
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
    /// second of the limit's answer (or as [`Simulator::let_requests_take`](super::Simulator::let_requests_take) says) was
    /// under way and is not counted.
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

    fn sum(&self, which: impl Fn(&Kind) -> bool, what: impl Fn(&Tally) -> u64) -> u64 {
        let chosen = self.tallies.iter().filter(|(kind, _)| which(kind));
        chosen.map(|(_, tally)| what(tally)).sum()
    }

    /// How many were answered with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.sum(|kind| kind.status == status, |tally| tally.requests)
    }

    /// How many of that kind were answered with this status.
    #[must_use]
    pub fn of_status(&self, route: Route, status: u16) -> u64 {
        self.sum(
            |kind| kind.route == route && kind.status == status,
            |tally| tally.requests,
        )
    }

    /// How many came with this token (empty: with none).
    #[must_use]
    pub fn by(&self, credential: &str) -> u64 {
        self.sum(|kind| kind.credential == credential, |tally| tally.requests)
    }

    /// What all of them took of primary quotas.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.sum(|_| true, |tally| tally.spent)
    }

    /// What they took of the primary quota of this token.
    #[must_use]
    pub fn spent_by(&self, credential: &str) -> u64 {
        self.sum(|kind| kind.credential == credential, |tally| tally.spent)
    }

    /// The latest ones (up to 100,000), oldest first.
    pub fn latest(&self) -> impl Iterator<Item = &Request> {
        self.latest.iter()
    }

    /// The counts as `GET /_simulator/requests` answers: `{"total", "spent", "while_told_to_wait", "routes": {route: n},
    /// "statuses": {status: n}, "issues": {n: {route: n}}}`.
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
        let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
        for (kind, tally) in &self.tallies {
            *statuses.entry(kind.status).or_default() += tally.requests;
        }
        serde_json::json!({
            "total": self.total(), "spent": self.spent(), "while_told_to_wait": self.while_told_to_wait,
            "routes": routes, "statuses": statuses, "issues": issues,
        })
    }
}
