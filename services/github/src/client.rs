//! Sends requests: with the credential that the `pool` chooses, to the API's own origin; the answer whole, sorted by
//! what it is.
//!
//! An answer that refuses a credential (a limit, a 401) is noted in that credential's `ledger`, and the request goes on
//! with another one. So no answer drops a request: it is answered, or the caller hears how long to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bugstream_kit::clock::Clock;
use bugstream_kit::validators::Validator;
use bugstream_telemetry::metrics;
use bugstream_telemetry::names::{self, Route};
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};
use url::Url;

use crate::app::{Installation, Place, Token};
use crate::body;
use crate::config::{Config, ConfigError};
use crate::credentials::{Auth, Credential, Pool, Registry};
use crate::error::Error;
use crate::ledger::{Bounds, Now, Priority, State};
use crate::limit::{self, Ask};
use crate::location::Location;
use crate::pool::{Choice, choose};
use crate::quota::QuotaState;

/// The version of the API whose answers this client reads.
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-github-api-version"),
    HeaderValue::from_static("2022-11-28"),
);

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");

/// Renames in a row that are followed.
const MOST_HOPS: usize = 3;

/// A client of one API with a pool of credentials. Clones share everything but the priority.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    priority: Priority,
    meter: Option<Meter>,
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

    fn note(&self, status: StatusCode) {
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
    http: reqwest::Client,
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
    method: Method,
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

    pub(crate) fn as_app(self) -> Self {
        Self { who: Who::App, ..self }
    }
}

/// A whole answer with a status that a request may want to tell apart: 2xx, 301, 304, 308, 404, 410.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    credential: String,
}

/// A request's place with a credential, given back when it is dropped.
struct Permit<'a> {
    shared: &'a Shared,
    credential: &'a Credential,
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

    pub(crate) fn now(&self) -> time::OffsetDateTime {
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
    async fn permit<'a>(
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
                    let Some(permit) = self.take(&candidates[at]) else {
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
    fn take<'a>(&'a self, credential: &'a Credential) -> Option<Permit<'a>> {
        let shared = &self.inner.shared;
        let (priority, now) = (self.priority, self.now());
        let mut ledger = credential.ledger();
        let State::Open { .. } = ledger.state(priority, shared.bounds, now) else {
            return None;
        };
        ledger.began(priority);
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

    /// One request with one credential. A token that was refused before its time is renewed once.
    async fn exchange(&self, credential: &Credential, request: &Request<'_>) -> Result<Answer, Error> {
        let mut renewed = false;
        loop {
            let bearer = self.bearer(credential).await?;
            let span = tracing::info_span!(
                names::span::GITHUB,
                otel.kind = "client",
                method = request.method.as_str(),
                route = request.route.as_str(),
                credential = credential.label,
                status = field::Empty
            );
            let refused = bearer.clone();
            let exchanged = self.send(credential, request, bearer).instrument(span).await;
            match exchanged {
                Err(Refused::Unauthorized { date }) if !renewed && self.mends(credential, refused, date).await => {
                    renewed = true;
                }
                Err(Refused::Unauthorized { .. }) => return Err(self.set_aside(credential, "not accepted (401)")),
                Err(Refused::Other(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    async fn send(
        &self,
        credential: &Credential,
        request: &Request<'_>,
        bearer: Option<HeaderValue>,
    ) -> Result<Answer, Refused> {
        let begin = Instant::now();
        credential.ledger().spend(points(&request.method), begin);
        let sent = self
            .inner
            .shared
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(headers(credential, request, bearer))
            .send();
        let response = sent.await;
        let status = response.as_ref().ok().map(|response| response.status().as_u16());
        Span::current().record("status", status.unwrap_or_default());
        let route = request.route.into();
        metrics::count(names::GITHUB_REQUESTS, 1, &[route, names::label::status(status)]);
        let answer = self
            .sort(
                credential,
                request,
                response.map_err(|error| Refused::Other(error.into()))?,
            )
            .await;
        metrics::observe(
            names::GITHUB_DURATION,
            begin.elapsed().as_secs_f64(),
            &[request.route.into()],
        );
        answer
    }

    /// Reads an answer and tells limits and failures from what a request can use.
    async fn sort(
        &self,
        credential: &Credential,
        request: &Request<'_>,
        response: Response,
    ) -> Result<Answer, Refused> {
        let (status, headers) = (response.status(), response.headers().clone());
        self.meter.iter().for_each(|meter| meter.note(status));
        let refused = self.note(credential, status, &headers);
        if status.is_server_error() {
            let status = status.as_u16();
            return Err(Error::Server { status }.into());
        }
        let body = match (refused, status.as_u16()) {
            (Some(limited), _) => return Err(limited.into()),
            (None, 401) => {
                let date = limit::date(&headers);
                return Err(Refused::Unauthorized { date });
            }
            (None, _) => body::read(response, self.max_body()).await,
        };
        let answer = |body| Answer {
            url: request.url.clone(),
            status,
            headers: headers.clone(),
            body,
            credential: credential.label.clone(),
        };
        let error = match status.as_u16() {
            403 => self.forbidden(credential, &headers, &body.unwrap_or_default()),
            451 => Error::Forbidden { status: 451 },
            301 | 308 => return Ok(answer(Bytes::new())),
            304 if request.is_known_to(credential) => return Ok(answer(Bytes::new())),
            200 | 201 | 404 | 410 if body::is_json(&headers) => return Ok(answer(body?)),
            200 | 201 | 404 | 410 => Error::malformed("the answer does not say that it is JSON"),
            status => Error::Unexpected { status },
        };
        Err(error.into())
    }

    /// Notes what the headers say; an error if the answer is a refusal because of that.
    fn note(&self, credential: &Credential, status: StatusCode, headers: &HeaderMap) -> Option<Error> {
        let now = self.inner.shared.clock.now();
        if let (Auth::App(app), Some(date)) = (&credential.auth, limit::date(headers)) {
            // A refusal is for [`Self::mends`] to judge.
            if status != StatusCode::UNAUTHORIZED {
                app.learn(date, now);
            }
        }
        if let Some(quota) = limit::quota(headers, now) {
            credential.ledger().learn(quota, now);
        }
        if let Some(ask) = limit::refusal(status, headers, "", now) {
            return Some(self.close(credential, ask));
        }
        let mut ledger = credential.ledger();
        match limit::exhausted(headers, now) {
            Some(ask) => drop(ledger.close(ask, now)),
            None if status.is_success() || status == StatusCode::NOT_MODIFIED => ledger.succeeded(now),
            None => {}
        }
        let accepted = status.is_success() && ledger.accept();
        drop(ledger);
        if accepted {
            tracing::info!(credential = credential.label, "github accepts the credential again");
        }
        None
    }

    /// A 403 whose headers ask for nothing: its message may.
    fn forbidden(&self, credential: &Credential, headers: &HeaderMap, body: &[u8]) -> Error {
        let message = body::message(headers, body).unwrap_or_default();
        match limit::refusal(StatusCode::FORBIDDEN, headers, &message, self.inner.shared.clock.now()) {
            Some(ask) => self.close(credential, ask),
            None => Error::Forbidden { status: 403 },
        }
    }

    fn close(&self, credential: &Credential, ask: Ask) -> Error {
        metrics::count(names::GITHUB_LIMITED, 1, &[ask.kind.into()]);
        let after = credential.ledger().close(ask, self.inner.shared.clock.now());
        tracing::warn!(
            credential = credential.label,
            kind = ask.kind.as_str(),
            wait_s = after.as_secs(),
            "github asks to wait"
        );
        Error::Limited { kind: ask.kind, after }
    }

    fn set_aside(&self, credential: &Credential, why: &str) -> Error {
        if credential.ledger().set_aside(why, self.inner.shared.clock.now()) {
            metrics::count(names::GITHUB_SET_ASIDE, 1, &[]);
            tracing::error!(
                credential = credential.label,
                why,
                "github does not accept a credential; it is set aside"
            );
        }
        Error::Unauthorized { why: why.to_owned() }
    }

    async fn bearer(&self, credential: &Credential) -> Result<Option<HeaderValue>, Error> {
        match &credential.auth {
            Auth::Nobody => Ok(None),
            Auth::Token(bearer) => Ok(Some(bearer.clone())),
            Auth::App(app) => Ok(Some(app.bearer(self.inner.shared.clock.now()))),
            Auth::Installation(installation) => self.installed(credential, installation).await.map(Some),
        }
    }

    /// An installation's token. What keeps it from having one closes it, or sets it aside.
    async fn installed(&self, credential: &Credential, installation: &Installation) -> Result<HeaderValue, Error> {
        let now = self.inner.shared.clock.now();
        // Boxed: asking for a token is asking, too.
        let renew = async || Box::pin(self.renew(installation)).await;
        let error = match installation.bearer(now, renew).await {
            Ok(bearer) => return Ok(bearer),
            Err(error) => error,
        };
        match &error {
            Error::Limited { kind, after } => drop(credential.ledger().close(
                Ask {
                    kind: *kind,
                    wait: Some(*after),
                },
                now,
            )),
            Error::Unauthorized { why } => drop(self.set_aside(credential, why)),
            _ => {}
        }
        Err(error)
    }

    async fn renew(&self, installation: &Installation) -> Result<Token, Error> {
        let no = |why: &str| Err(Error::Unauthorized { why: why.to_owned() });
        let asker = self.live();
        let id = match &installation.place {
            Place::Id(id) => *id,
            Place::Of(repository) => {
                let url = self.url(&format!("repos/{repository}/installation"));
                let answer = asker.ask_app(&installation.app, Method::GET, url).await;
                match answer {
                    Ok(answer) if answer.status == StatusCode::OK => body::object::<Id>(&answer.body)?.id,
                    Ok(_) => return no("the App is not installed on the repository"),
                    Err(error) => return Err(error),
                }
            }
        };
        let url = self.url(&format!("app/installations/{id}/access_tokens"));
        match asker.ask_app(&installation.app, Method::POST, url).await {
            Ok(answer) if answer.status.is_success() => Token::of(
                &answer.body,
                limit::date(&answer.headers),
                self.inner.shared.clock.now(),
            ),
            Ok(_) => no("the App has no such installation"),
            Err(Error::Forbidden { .. }) => no("the App's installation is suspended"),
            Err(error) => Err(error),
        }
    }

    /// A request of the App itself, for a token.
    async fn ask_app(&self, app: &Arc<Credential>, method: Method, url: Url) -> Result<Answer, Error> {
        let request = Request {
            method,
            ..Request::get(Route::Installation, url)
        };
        let app = std::slice::from_ref(app);
        let permit = self.permit(app, &request).await?;
        self.exchange(permit.credential, &request).await
    }

    /// Whether a refused credential may be accepted if it is made anew: a token that was revoked, a JWT with a wrong date.
    async fn mends(
        &self,
        credential: &Credential,
        refused: Option<HeaderValue>,
        date: Option<time::OffsetDateTime>,
    ) -> bool {
        match (&credential.auth, refused, date) {
            (Auth::Installation(installation), Some(refused), _) => {
                installation.forget(&refused).await;
                true
            }
            (Auth::App(app), _, Some(date)) => app.learn(date, self.inner.shared.clock.now()),
            _ => false,
        }
    }
}

#[derive(serde::Deserialize)]
struct Id {
    id: u64,
}

/// An exchange without an answer.
enum Refused {
    /// 401, and when GitHub said so.
    Unauthorized {
        date: Option<time::OffsetDateTime>,
    },
    Other(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Request<'_> {
    fn is_known_to(&self, credential: &Credential) -> bool {
        self.known.is_some_and(|known| known.credential == credential.label)
    }
}

/// As GitHub counts them.
fn points(method: &Method) -> usize {
    if *method == Method::GET { 1 } else { 5 }
}

fn headers(credential: &Credential, request: &Request<'_>, bearer: Option<HeaderValue>) -> HeaderMap {
    let (version, value) = API_VERSION;
    let mut headers = HeaderMap::from_iter([(ACCEPT, MEDIA_TYPE), (version, value)]);
    headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer)));
    let known = request.known.filter(|_| request.is_known_to(credential));
    let etag = known.and_then(|known| HeaderValue::from_str(&known.etag).ok());
    headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
    headers
}

/// Whether another credential may see more.
fn hides(answer: &Result<Answer, Error>) -> bool {
    match answer {
        Ok(answer) => answer.status == StatusCode::NOT_FOUND,
        Err(error) => matches!(error, Error::Forbidden { status: 403 }),
    }
}

impl Answer {
    /// Where a permanent redirect leads; `None` for every other answer.
    pub(crate) fn moved(&self) -> Result<Option<Location>, Error> {
        match self.status.as_u16() {
            301 | 308 => Location::of(&self.headers, &self.url).map(Some),
            _ => Ok(None),
        }
    }

    /// GitHub's message in a 404 or 410. What has none is no answer of GitHub's, and no evidence of anything.
    pub(crate) fn message(&self) -> Result<String, Error> {
        body::message(&self.headers, &self.body).ok_or_else(|| Error::malformed("a failure without a message"))
    }

    /// Whether it is what was known.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.status == StatusCode::NOT_MODIFIED
    }

    /// With which a later request can ask whether this is still so.
    pub(crate) fn validator(&self) -> Option<Validator> {
        let etag = self.headers.get(ETAG)?.to_str().ok()?.to_owned();
        let credential = self.credential.clone();
        Some(Validator { credential, etag })
    }

    /// The id of the credential that asked.
    pub(crate) fn credential(&self) -> &str {
        &self.credential
    }
}
