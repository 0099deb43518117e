//! Sends requests with the credential that the `pool` chooses, when it may be asked.
//!
//! An answer that refuses a credential (a limit, a 401) is noted in that credential's `ledger`, and the request goes on
//! with another one. So no answer drops a request: it is answered, or the caller hears how long to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bugstream_kit::clock::Clock;
use bugstream_kit::validators::Validator;
use bugstream_telemetry::metrics;
use bugstream_telemetry::names::{self, Route};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use crate::config::{Config, ConfigError};
use crate::credentials::{Credential, Pool, Registry};
use crate::error::Error;
use crate::exchange::Answer;
use crate::ledger::{Bounds, Now, Priority, State};
use crate::pool::{Choice, choose};
use crate::quota::QuotaState;

/// Renames in a row that are followed.
const MOST_HOPS: usize = 3;

/// A client of one API with a pool of credentials. Clones share everything but the priority.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    priority: Priority,
    pub(crate) meter: Option<Meter>,
}

/// Counts what the requests of a client and its clones cost.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Requests that were answered and count against the hourly quota: all but those that heard "unchanged".
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, status: StatusCode) {
        self.0
            .fetch_add(u64::from(status != StatusCode::NOT_MODIFIED), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    pool: Pool,
}

/// What the clients of all repositories have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) http: reqwest::Client,
    /// With a path that ends in `/`.
    base: Url,
    bounds: Bounds,
    max_body: usize,
    clock: Clock,
    /// A request has ended: who waits for a place looks again.
    ended: Notify,
}

/// What to ask for, and whom to let ask.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) route: Route,
    pub(crate) url: Url,
    /// What is known already: the same again answers 304, if the same credential asks.
    pub(crate) known: Option<&'a Validator>,
    /// The credential that should ask if it can; [`Self::known`] goes before.
    pub(crate) prefer: Option<&'a str>,
    who: Who,
    pub(crate) method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Any of the pool.
    Any,
    /// This one of the pool.
    Only(usize),
    /// The App itself.
    App,
}

impl<'a> Request<'a> {
    pub(crate) fn get(route: Route, url: Url) -> Self {
        Self {
            route,
            url,
            known: None,
            prefer: None,
            who: Who::Any,
            method: Method::GET,
        }
    }

    pub(crate) fn known(self, known: Option<&'a Validator>) -> Self {
        Self { known, ..self }
    }

    pub(crate) fn prefer(self, prefer: Option<&'a str>) -> Self {
        Self { prefer, ..self }
    }

    pub(crate) fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    pub(crate) fn by_app(self) -> Self {
        Self { who: Who::App, ..self }
    }
}

/// A request's place with a credential, given back when it is dropped.
pub(crate) struct Permit<'a> {
    shared: &'a Shared,
    pub(crate) credential: &'a Credential,
    priority: Priority,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.credential.ledger().ended(self.priority);
        self.shared.ended.notify_waiters();
    }
}

impl Shared {
    pub(crate) fn new(config: &Config, clock: Clock) -> Result<Arc<Self>, ConfigError> {
        bugstream_kit::tls::install();
        let http = reqwest::Client::builder()
            .user_agent(&config.user_agent)
            .redirect(Policy::none())
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout);
        Ok(Arc::new(Self {
            bounds: config.bounds()?,
            http: http.build().map_err(ConfigError::Http)?,
            base: config.base()?,
            max_body: config.max_body,
            clock,
            ended: Notify::new(),
        }))
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub(crate) fn quotas(&self, credentials: &[Arc<Credential>]) -> Vec<QuotaState> {
        let now = self.clock.now();
        credentials.iter().map(|one| QuotaState::of(one, now)).collect()
    }
}

impl Client {
    /// Builds a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`]; [`ConfigError::Installation`] for an App without `installation_id`: [`crate::Clients`] looks it up.
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        let shared = Shared::new(&config, clock)?;
        let pool = Registry::default().pool(&config.credentials, None)?;
        Ok(Self::of(shared, pool))
    }

    pub(crate) fn of(shared: Arc<Shared>, pool: Pool) -> Self {
        Self {
            inner: Arc::new(Inner { shared, pool }),
            priority: Priority::Live,
            meter: None,
        }
    }

    /// The same for work that someone waits for. What a new client is.
    #[must_use]
    pub fn live(&self) -> Self {
        self.with(Priority::Live)
    }

    /// The same for work that can wait: it leaves a share of every bound to live work.
    #[must_use]
    pub fn background(&self) -> Self {
        self.with(Priority::Background)
    }

    /// The same with another priority.
    #[must_use]
    pub fn with(&self, priority: Priority) -> Self {
        Self {
            priority,
            ..self.clone()
        }
    }

    /// The same, counting what its requests cost from now on.
    #[must_use]
    pub fn metered(&self) -> (Self, Meter) {
        let meter = Meter::default();
        let client = Self {
            meter: Some(meter.clone()),
            ..self.clone()
        };
        (client, meter)
    }

    /// How long the client will refuse to send because of a limit, if it does now.
    #[must_use]
    pub fn limited(&self) -> Option<Error> {
        match choose(&self.states(&self.inner.pool.credentials), None) {
            Choice::Limited(kind, after) => Some(Error::Limited { kind, after }),
            _ => None,
        }
    }

    /// What is known of each credential, for a status and for the process that takes over.
    #[must_use]
    pub fn quotas(&self) -> Vec<QuotaState> {
        self.inner.shared.quotas(&self.inner.pool.credentials)
    }

    /// Takes over what another process knew. What is known here already stays.
    pub fn restore(&self, states: &[QuotaState]) {
        let now = self.inner.shared.clock.now();
        states
            .iter()
            .for_each(|state| state.restore(&self.inner.pool.credentials, now));
    }

    /// Asks GitHub what each credential has left, which costs nothing.
    ///
    /// # Errors
    /// [`Error`]. A server without limits answers none.
    pub async fn ask_quotas(&self) -> Result<Vec<QuotaState>, Error> {
        for at in 0..self.inner.pool.credentials.len() {
            let request = Request {
                who: Who::Only(at),
                ..Request::get(Route::RateLimit, self.url("rate_limit"))
            };
            self.ask(request).await?;
        }
        Ok(self.quotas())
    }

    /// Whether there is an App, whose own webhook may be asked about.
    #[must_use]
    pub fn has_app(&self) -> bool {
        self.inner.pool.app.is_some()
    }

    pub(crate) fn base(&self) -> &Url {
        &self.inner.shared.base
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    pub(crate) fn max_body(&self) -> usize {
        self.inner.shared.max_body
    }

    /// An address below the base. `path` is made of checked names and numbers.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.base()
            .join(path)
            .expect("names and numbers make a valid relative address")
    }

    /// Sends a request with whichever credential can, until one of them has an answer.
    ///
    /// "Not there" and "forbidden" count when every credential says so: one that may see less must not make an issue
    /// look deleted.
    pub(crate) async fn ask(&self, request: Request<'_>) -> Result<Answer, Error> {
        if request.url.origin() != self.base().origin() {
            return Err(Error::malformed("an address at another origin"));
        }
        let mut candidates = self.candidates(request.who);
        let mut seen_by_none = None;
        while !candidates.is_empty() {
            let permit = match self.permit(&candidates, &request).await {
                Err(Error::Unauthorized { .. }) if seen_by_none.is_some() => break,
                permit => permit?,
            };
            let answer = self.exchange(permit.credential, &request).await;
            let asked = permit.credential.label.clone();
            drop(permit);
            match answer {
                Err(Error::Limited { .. } | Error::Unauthorized { .. }) => {}
                answer if hides(&answer) => {
                    candidates.retain(|one| one.label != asked);
                    seen_by_none.get_or_insert(answer);
                }
                answer => return answer,
            }
        }
        seen_by_none.unwrap_or_else(|| Err(self.unauthorized(&self.candidates(request.who))))
    }

    /// Sends one request, and goes on where permanent redirects of the same origin lead.
    pub(crate) async fn ask_following(&self, request: Request<'_>) -> Result<Answer, Error> {
        let mut answer = self.ask(request.clone()).await?;
        for _ in 0..MOST_HOPS {
            let Some(location) = answer.moved()? else {
                return Ok(answer);
            };
            let url = location.url().clone();
            answer = self.ask(Request { url, ..request.clone() }).await?;
        }
        match answer.moved()? {
            None => Ok(answer),
            Some(_) => Err(Error::malformed("redirects that do not end")),
        }
    }

    fn candidates(&self, who: Who) -> Vec<Arc<Credential>> {
        let Pool { credentials, app } = &self.inner.pool;
        match who {
            Who::Any => credentials.clone(),
            Who::Only(at) => vec![Arc::clone(&credentials[at])],
            Who::App => app.iter().cloned().collect(),
        }
    }

    fn now(&self) -> Now {
        Now {
            time: self.inner.shared.clock.now(),
            instant: Instant::now(),
        }
    }

    fn states(&self, candidates: &[Arc<Credential>]) -> Vec<State> {
        let (bounds, now) = (self.inner.shared.bounds, self.now());
        let state = |one: &Arc<Credential>| one.ledger().state(self.priority, bounds, now);
        candidates.iter().map(state).collect()
    }

    /// Waits for a place with one of these credentials. Dropping the future ends the wait.
    pub(crate) async fn permit<'a>(
        &'a self,
        candidates: &'a [Arc<Credential>],
        request: &Request<'_>,
    ) -> Result<Permit<'a>, Error> {
        let preferred = request.known.map(|known| known.credential.as_str()).or(request.prefer);
        let preferred = candidates.iter().position(|one| Some(one.label.as_str()) == preferred);
        let began = Instant::now();
        let mut waited = false;
        loop {
            let mut ended = std::pin::pin!(self.inner.shared.ended.notified());
            ended.as_mut().enable();
            match choose(&self.states(candidates), preferred) {
                Choice::Take(at) => {
                    let Some(permit) = self.take(&candidates[at], points(&request.method)) else {
                        continue;
                    };
                    if waited {
                        metrics::observe(
                            names::GITHUB_WAITED,
                            began.elapsed().as_secs_f64(),
                            &[request.route.into()],
                        );
                    }
                    return Ok(permit);
                }
                Choice::Wait(most) => {
                    if let Some(wait) = most.filter(|_| !waited) {
                        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                        tracing::info!(wait_ms, "the points of this minute are used up");
                    }
                    waited = true;
                    match most {
                        None => ended.await,
                        Some(most) => drop(tokio::time::timeout(most, ended).await),
                    }
                }
                Choice::Limited(kind, after) => return Err(Error::Limited { kind, after }),
                Choice::Refused => return Err(self.unauthorized(candidates)),
            }
        }
    }

    /// The place, unless another request took it in between.
    fn take<'a>(&'a self, credential: &'a Credential, points: usize) -> Option<Permit<'a>> {
        let shared = &self.inner.shared;
        let (priority, now) = (self.priority, self.now());
        let mut ledger = credential.ledger();
        let State::Open { .. } = ledger.state(priority, shared.bounds, now) else {
            return None;
        };
        ledger.began(priority, points, now.instant);
        Some(Permit {
            shared,
            credential,
            priority,
        })
    }

    fn unauthorized(&self, candidates: &[Arc<Credential>]) -> Error {
        let of = |one: &Arc<Credential>| Some(format!("{}: {}", one.label, one.ledger().aside()?.why));
        let each: Vec<_> = candidates.iter().filter_map(of).collect();
        Error::Unauthorized { why: each.join("; ") }
    }
}

/// As GitHub counts them.
pub(crate) fn points(method: &Method) -> usize {
    if *method == Method::GET { 1 } else { 5 }
}

/// Whether another credential may see more.
fn hides(answer: &Result<Answer, Error>) -> bool {
    match answer {
        Ok(answer) => answer.status == StatusCode::NOT_FOUND,
        Err(error) => matches!(error, Error::Forbidden { status: 403, .. }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    fn client() -> Client {
        let config = Config::new("http://127.0.0.1:9".parse().unwrap());
        Client::new(config, Clock::manual(datetime!(2026-01-01 00:00 UTC))).unwrap()
    }

    /// Waits for a place.
    async fn place(client: &Client) -> Result<(), Error> {
        let candidates = client.candidates(Who::Any);
        let request = Request::get(Route::Issue, client.url("x"));
        client.permit(&candidates, &request).await.map(drop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_minute_is_waited_for_and_the_wait_can_be_ended() {
        let client = client();
        let soon = Duration::from_millis(300);
        let ledger = || client.inner.pool.credentials[0].ledger();
        ledger().spend(900, Instant::now() + soon - Duration::from_secs(60));
        let began = Instant::now();
        let cut = tokio::time::timeout(soon / 3, place(&client)).await;
        assert!(cut.is_err(), "ended from outside");
        place(&client).await.unwrap();
        assert!(began.elapsed() >= soon, "{:?}", began.elapsed());
        place(&client).await.unwrap();
    }

    #[tokio::test]
    async fn a_wait_for_a_place_ends_when_a_limit_closes_it() {
        let client = client();
        let candidates = client.candidates(Who::Any);
        let request = Request::get(Route::Issue, client.url("x"));
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(client.permit(&candidates, &request).await.unwrap());
        }
        let waiting = place(&client);
        let close = async {
            let kind = bugstream_telemetry::names::Limit::Secondary;
            let ask = crate::limit::Ask { kind, wait: None };
            candidates[0].ledger().close(ask, client.now().time);
            drop(held);
        };
        let (waited, ()) = tokio::join!(waiting, close);
        assert!(matches!(waited, Err(Error::Limited { .. })), "{waited:?}");
    }
}
