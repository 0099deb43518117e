//! One request with one credential: sent to the API's own origin, its answer read whole and sorted by what it is.

use bugstream_kit::validators::Validator;
use bugstream_telemetry::metrics;
use bugstream_telemetry::names;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};
use url::Url;

use crate::body;
use crate::client::{Client, Request, points};
use crate::credentials::{Auth, Credential};
use crate::error::Error;
use crate::limit::{self, Ask};
use crate::location::Location;

/// The version of the API whose answers this client reads.
const API_VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-github-api-version"),
    HeaderValue::from_static("2022-11-28"),
);

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");

/// A whole answer with a status that a request may want to tell apart: 2xx, 301, 304, 308, 404, 410.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    credential: String,
}

impl Client {
    /// One request with one credential. A token that was refused before its time is renewed once.
    pub(crate) async fn exchange(&self, credential: &Credential, request: &Request<'_>) -> Result<Answer, Error> {
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
                    credential.ledger().spend(points(&request.method), Instant::now());
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
        let sent = self
            .shared()
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
            451 => Error::Forbidden {
                status: 451,
                why: "unavailable for legal reasons",
            },
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
        let now = self.shared().now();
        if let (Auth::App(app), Some(date)) = (&credential.auth, limit::date(headers)) {
            // A refusal is for [`Self::mends`] to judge, and a server in trouble need not be GitHub's.
            if status != StatusCode::UNAUTHORIZED && !status.is_server_error() {
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
        let again = !matches!(status.as_u16(), 401 | 403 | 500..) && ledger.accept();
        drop(ledger);
        if again {
            tracing::info!(credential = credential.label, "github accepts the credential again");
        }
        None
    }

    /// A 403 whose headers ask for nothing: its message may.
    fn forbidden(&self, credential: &Credential, headers: &HeaderMap, body: &[u8]) -> Error {
        let message = body::message(headers, body).unwrap_or_default();
        match limit::refusal(StatusCode::FORBIDDEN, headers, &message, self.shared().now()) {
            Some(ask) => self.close(credential, ask),
            None => Error::forbidden(headers, &message),
        }
    }

    fn close(&self, credential: &Credential, ask: Ask) -> Error {
        metrics::count(names::GITHUB_LIMITED, 1, &[ask.kind.into()]);
        let after = credential.ledger().close(ask, self.shared().now());
        tracing::warn!(
            credential = credential.label,
            kind = ask.kind.as_str(),
            wait_s = after.as_secs(),
            "github asks to wait"
        );
        Error::Limited { kind: ask.kind, after }
    }

    pub(crate) fn set_aside(&self, credential: &Credential, why: &str) -> Error {
        if credential.ledger().set_aside(why, self.shared().now()) {
            metrics::count(names::GITHUB_SET_ASIDE, 1, &[]);
            tracing::error!(
                credential = credential.label,
                why,
                "github does not accept a credential; it is set aside"
            );
        }
        Error::Unauthorized { why: why.to_owned() }
    }
}

/// An exchange without an answer.
enum Refused {
    /// 401, and when GitHub said so.
    Unauthorized {
        date: Option<OffsetDateTime>,
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

fn headers(credential: &Credential, request: &Request<'_>, bearer: Option<HeaderValue>) -> HeaderMap {
    let (version, value) = API_VERSION;
    let mut headers = HeaderMap::from_iter([(ACCEPT, MEDIA_TYPE), (version, value)]);
    headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer)));
    let known = request.known.filter(|_| request.is_known_to(credential));
    let etag = known.and_then(|known| HeaderValue::from_str(&known.etag).ok());
    headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
    headers
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
