//! One request: through the gate, with credentials, to the API's own origin; its answer whole, sorted by what it is.

use std::sync::Arc;
use std::time::Duration;

use bugstream_kit::clock::Clock;
use bugstream_kit::secret::Secret;
use bugstream_telemetry::metrics;
use bugstream_telemetry::names::{self, Route};
use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};
use url::Url;

use crate::body;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::gate::Gate;
use crate::limit::{self, Ask};
use crate::location::Location;

/// The version of the API whose answers this client reads.
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-github-api-version"),
    HeaderValue::from_static("2022-11-28"),
);

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");

/// Renames in a row that are followed.
const MOST_HOPS: usize = 3;

/// How to reach GitHub.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API's base: `https://api.github.com`, or `https://host/api/v3` of a GitHub Enterprise Server.
    pub api_url: Url,
    /// A personal access token; without one GitHub allows 60 requests an hour.
    pub token: Option<Secret>,
    /// GitHub refuses requests without one.
    pub user_agent: String,
    /// For the connection alone.
    pub connect_timeout: Duration,
    /// For one request as a whole.
    pub timeout: Duration,
    /// The largest answer, in bytes, after decompression; a whole timeline counts as one.
    pub max_body: usize,
    /// Requests under way at once, 1 to 100 (GitHub's own limit).
    pub concurrency: usize,
}

impl Config {
    /// Without a token, with moderate limits.
    #[must_use]
    pub fn new(api_url: Url) -> Self {
        Self {
            api_url,
            token: None,
            user_agent: concat!("bugstream/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            max_body: 100 << 20,
            concurrency: 20,
        }
    }
}

/// What the configuration file and the environment say.
impl TryFrom<&bugstream_kit::config::Github> for Config {
    type Error = ConfigError;

    fn try_from(section: &bugstream_kit::config::Github) -> Result<Self, ConfigError> {
        let api_url = Url::parse(&section.api_url).map_err(|_| ConfigError::Url)?;
        Ok(Self {
            token: section.token.clone(),
            timeout: Duration::from_secs(section.timeout_s),
            concurrency: section.concurrency,
            ..Self::new(api_url)
        })
    }
}

/// A configuration that makes no client. The token is not in it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not http or https, or with credentials or a query in it.
    #[error("the API's address must be http(s)://host[/path], without credentials and query")]
    Url,
    /// A character that no header can carry.
    #[error("the token has characters that no token has")]
    Token,
    /// Not 1 to 100.
    #[error("{0} requests at once are not between 1 and 100")]
    Concurrency(usize),
    /// The user agent is no header, or TLS cannot be set up.
    #[error("the HTTP client cannot be built")]
    Http(#[source] reqwest::Error),
}

/// A client of one API with one set of credentials. Clones share its gate and its connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    /// With a path that ends in `/`.
    base: Url,
    credentials: Credentials,
    gate: Gate,
    slots: Semaphore,
    max_body: usize,
    clock: Clock,
}

/// A whole answer with a status that a request may want to tell apart: 2xx, 301, 308, 404, 410.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// Builds a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        bugstream_kit::tls::install();
        if !(1..=100).contains(&config.concurrency) {
            return Err(ConfigError::Concurrency(config.concurrency));
        }
        let http = reqwest::Client::builder()
            .user_agent(&config.user_agent)
            .redirect(Policy::none())
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self(Arc::new(Inner {
            http,
            base: base(config.api_url)?,
            credentials: Credentials::new(config.token.as_ref()).ok_or(ConfigError::Token)?,
            gate: Gate::default(),
            slots: Semaphore::new(config.concurrency),
            max_body: config.max_body,
            clock,
        })))
    }

    /// How long the client will refuse to send because of a limit, if it does now.
    #[must_use]
    pub fn limited(&self) -> Option<Error> {
        let (kind, after) = self.0.gate.closed(self.0.clock.now())?;
        Some(Error::Limited { kind, after })
    }

    pub(crate) fn base(&self) -> &Url {
        &self.0.base
    }

    pub(crate) fn max_body(&self) -> usize {
        self.0.max_body
    }

    /// An address below the base. `path` is made of checked names and numbers.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.0
            .base
            .join(path)
            .expect("names and numbers make a valid relative address")
    }

    /// Sends one request.
    pub(crate) async fn get(&self, route: Route, url: Url) -> Result<Answer, Error> {
        let span = tracing::info_span!(
            names::span::GITHUB,
            otel.kind = "client",
            method = "GET",
            route = route.as_str(),
            status = field::Empty
        );
        self.exchange(route, url).instrument(span).await
    }

    /// Sends one request, and goes on where permanent redirects of the same origin lead.
    pub(crate) async fn get_following(&self, route: Route, url: Url) -> Result<Answer, Error> {
        let mut answer = self.get(route, url).await?;
        for _ in 0..MOST_HOPS {
            let Some(location) = answer.moved()? else {
                return Ok(answer);
            };
            answer = self.get(route, location.url().clone()).await?;
        }
        match answer.moved()? {
            None => Ok(answer),
            Some(_) => Err(Error::malformed("redirects that do not end")),
        }
    }

    async fn exchange(&self, route: Route, url: Url) -> Result<Answer, Error> {
        if url.origin() != self.0.base.origin() {
            return Err(Error::malformed("an address at another origin"));
        }
        let _slot = self.0.slots.acquire().await.expect("the semaphore is never closed");
        if let Some(limited) = self.limited() {
            return Err(limited);
        }
        let begin = Instant::now();
        let response = self.send(url.clone()).await;
        let status = response.as_ref().ok().map(|response| response.status().as_u16());
        Span::current().record("status", status.unwrap_or_default());
        metrics::count(names::GITHUB_REQUESTS, 1, &[route.into(), names::label::status(status)]);
        let answer = self.sort(url, response?).await;
        metrics::observe(names::GITHUB_DURATION, begin.elapsed().as_secs_f64(), &[route.into()]);
        answer
    }

    async fn send(&self, url: Url) -> Result<Response, Error> {
        let (version, value) = API_VERSION;
        let mut headers = HeaderMap::from_iter([(ACCEPT, MEDIA_TYPE), (version, value)]);
        self.0.credentials.authorise(&mut headers);
        Ok(self.0.http.get(url).headers(headers).send().await?)
    }

    /// Reads an answer and tells limits and failures from what a request can use.
    async fn sort(&self, url: Url, response: Response) -> Result<Answer, Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        let refused = self.note_limits(status, &headers);
        if status.is_server_error() {
            return Err(Error::Server {
                status: status.as_u16(),
            });
        }
        let body = match (refused, status.as_u16()) {
            (Some(limited), _) => return Err(limited),
            (None, 401) => return Err(Error::Unauthorized),
            (None, _) => body::read(response, self.0.max_body).await,
        };
        match status.as_u16() {
            403 => Err(self.forbidden(&headers, &body.unwrap_or_default())),
            451 => Err(Error::Forbidden { status: 451 }),
            301 | 308 => Ok(Answer {
                url,
                status,
                headers,
                body: Bytes::new(),
            }),
            200 | 404 | 410 if body::is_json(&headers) => Ok(Answer {
                url,
                status,
                headers,
                body: body?,
            }),
            200 | 404 | 410 => Err(Error::malformed("the answer does not say that it is JSON")),
            status => Err(Error::Unexpected { status }),
        }
    }

    /// Tells the gate what the headers say; an error if the answer is a refusal because of that.
    fn note_limits(&self, status: StatusCode, headers: &HeaderMap) -> Option<Error> {
        let now = self.0.clock.now();
        if let Some(ask) = limit::refusal(status, headers, "", now) {
            return Some(self.close(ask));
        }
        match limit::exhausted(headers, now) {
            Some(ask) => drop(self.0.gate.close(ask, now)),
            None if status.is_success() => self.0.gate.succeeded(now),
            None => {}
        }
        None
    }

    /// A 403 whose headers ask for nothing: its message may.
    fn forbidden(&self, headers: &HeaderMap, body: &[u8]) -> Error {
        let message = body::message(headers, body).unwrap_or_default();
        match limit::refusal(StatusCode::FORBIDDEN, headers, &message, self.0.clock.now()) {
            Some(ask) => self.close(ask),
            None => Error::Forbidden { status: 403 },
        }
    }

    fn close(&self, ask: Ask) -> Error {
        metrics::count(names::GITHUB_LIMITED, 1, &[ask.kind.into()]);
        let after = self.0.gate.close(ask, self.0.clock.now());
        tracing::warn!(
            kind = ask.kind.as_str(),
            wait_s = after.as_secs(),
            "github asks to wait"
        );
        Error::Limited { kind: ask.kind, after }
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
}

/// Paths are joined to the base, so it must end in a slash.
fn base(mut url: Url) -> Result<Url, ConfigError> {
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err(ConfigError::Url);
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}
