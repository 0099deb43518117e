//! An answer on its way: status, headers, body, and how the body reaches its reader, whole or not.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::{StatusCode, header};
use serde_json::json;
use sha2::Digest as _;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::ask::Ask;
use crate::github::connection::Switch;
use crate::github::limits::{Fault, Quota};
use crate::github::page;
use crate::github::requests::Route;

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) flow: Flow,
    /// What it took of the primary quota.
    pub(super) cost: u64,
}

/// How an answer reaches its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Whole,
    /// Not at all.
    None,
    /// Half of it.
    Half,
    /// Over so many milliseconds.
    Slow(u64),
    /// In place of the body: a list of texts of so many bytes.
    Huge(u64),
}

impl Reply {
    pub(super) fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: vec![],
            body: body.into(),
            flow: Flow::Whole,
            cost: 0,
        }
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        let mut body = json!({"message": message, "documentation_url": DOCUMENTATION});
        // As published: a validation error alone does not repeat its status.
        if status != 422 {
            body["status"] = json!(status.to_string());
        }
        Self {
            status,
            ..Self::json(body.to_string())
        }
    }

    pub(super) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    /// What was asked for is there, below `to`.
    pub(super) fn moved(ask: &Ask, to: &str) -> Self {
        let query = ask.target.split_once('?').map(|(_, query)| format!("?{query}"));
        let url = format!("{}{to}{}", ask.origin, query.unwrap_or_default());
        let body = json!({"message": "Moved Permanently", "url": url, "documentation_url": DOCUMENTATION});
        Self {
            status: 301,
            ..Self::json(body.to_string())
        }
        .with("location", url)
    }

    /// What a load balancer shows to people when something is wrong.
    pub(super) fn page(content_type: &str) -> Self {
        let body = "<!DOCTYPE html>\n<html><head><title>Unicorn!</title></head><body><p>We had issues producing the response to your request.</p></body></html>";
        Self::json(body).with("content-type", content_type.to_owned())
    }

    /// An Enterprise Server says which one it is.
    pub(super) fn of_enterprise(self) -> Self {
        self.with("x-github-enterprise-version", "3.19.1".to_owned())
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn without(mut self, names: &[&str]) -> Self {
        self.headers.retain(|(name, _)| !names.contains(name));
        self
    }

    /// `Last-Modified`, where the time is one.
    pub(super) fn modified(self, at: &str) -> Self {
        match OffsetDateTime::parse(at, &Rfc3339) {
            Ok(at) => self.with("last-modified", http_date(at)),
            Err(_) => self,
        }
    }

    /// Says what time it is for GitHub.
    pub(super) fn dated(self, now: OffsetDateTime) -> Self {
        self.with("date", http_date(now))
    }

    pub(super) fn with_links(self, links: Option<String>) -> Self {
        match links {
            Some(links) => self.with("link", links),
            None => self,
        }
    }

    pub(super) fn with_quota(self, quota: Quota) -> Self {
        self.with("x-ratelimit-limit", quota.limit.to_string())
            .with("x-ratelimit-remaining", quota.remaining().to_string())
            .with("x-ratelimit-used", quota.used.to_string())
            .with("x-ratelimit-reset", quota.resets.unix_timestamp().to_string())
            .with("x-ratelimit-resource", "core".to_owned())
    }

    /// Adds the entity tag of a 200, and makes it a 304 where the client has it already. The tag belongs to the credentials
    /// and to the body: a `Link` that changed does not change it.
    pub(super) fn validated(self, ask: &Ask, links_on_304: bool) -> Self {
        if self.status != 200 || ask.subject.route() == Route::RateLimit {
            return self;
        }
        let digest = sha2::Sha256::new_with_prefix(&ask.credential)
            .chain_update("\n")
            .chain_update(&self.body)
            .finalize();
        let hash = hex::encode(digest);
        let known = ask.validator.as_ref().is_some_and(|given| given.contains(&hash));
        let cache = if ask.credential.is_empty() { "public" } else { "private" };
        let reply = self
            .with("etag", format!("W/\"{hash}\""))
            .with("cache-control", format!("{cache}, max-age=60, s-maxage=60"));
        if known { reply.unchanged(links_on_304) } else { reply }
    }

    fn unchanged(self, links: bool) -> Self {
        let reply = Self {
            status: 304,
            body: Bytes::new(),
            ..self
        };
        if links { reply } else { reply.without(&["link"]) }
    }

    /// The right answer, not as it should be.
    pub(super) fn spoiled(mut self, fault: &Fault, ask: &Ask) -> Self {
        match fault {
            Fault::NoAnswer => self.flow = Flow::None,
            Fault::Truncated => self.flow = Flow::Half,
            Fault::SlowBody(ms) => self.flow = Flow::Slow(*ms),
            Fault::Huge(bytes) => self.flow = Flow::Huge(*bytes),
            Fault::HalfBody => self.body = self.body.slice(..self.body.len() / 2),
            Fault::InvalidUtf8 => self.body = not_utf8(&self.body),
            Fault::WrongType => return self.with("content-type", "text/html; charset=utf-8".to_owned()),
            Fault::EmptyList if ask.subject.route() == Route::List && self.status == 200 => {
                self.body = Bytes::from_static(b"[]");
                return self.without(&["link", "etag"]);
            }
            Fault::LinkLoop => return self.led_to(ask.query.at_page(1).at(&format!("{}{}", ask.origin, ask.path))),
            Fault::LinkTo(origin) => {
                let next = ask.query.at_page(ask.page() + 1).at(&format!("{origin}{}", ask.path));
                return self.led_to(next);
            }
            _ => {}
        }
        self
    }

    /// Says that the next page is there.
    fn led_to(self, address: String) -> Self {
        let link = page::next_link(&address);
        self.without(&["link"]).with("link", link)
    }

    pub(super) fn respond(self, connection: &Switch) -> Response {
        let length = self.body.len();
        let body = match self.flow {
            Flow::None => {
                connection.cut_after(0);
                Body::empty()
            }
            Flow::Half if self.body.is_empty() => {
                connection.cut_after(HALF_A_HEAD);
                Body::empty()
            }
            Flow::Half => cut(self.body),
            Flow::Slow(ms) => slowly(self.body, Duration::from_millis(ms)),
            Flow::Huge(bytes) => huge(bytes),
            Flow::Whole => Body::from(self.body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if matches!(self.flow, Flow::Slow(_)) {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        for (name, value) in common_headers().into_iter().chain(self.headers) {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        if self.status == 304 {
            headers.remove(header::CONTENT_TYPE);
        }
        response
    }
}

/// A time as HTTP writes it.
fn http_date(at: OffsetDateTime) -> String {
    let date = at.to_offset(time::UtcOffset::UTC).format(&Rfc2822);
    date.unwrap_or_default().replace("+0000", "GMT")
}

/// Bytes of a head, which has more than 300.
const HALF_A_HEAD: usize = 150;

/// What a page from elsewhere may read.
const EXPOSED: &str = "ETag, Link, Location, Retry-After, X-GitHub-OTP, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Used, X-RateLimit-Resource, X-RateLimit-Reset, X-OAuth-Scopes, X-Accepted-OAuth-Scopes, X-Poll-Interval, X-GitHub-Media-Type, X-GitHub-SSO, X-GitHub-Request-Id, Deprecation, Sunset";

fn common_headers() -> Vec<(&'static str, String)> {
    vec![
        ("content-type", "application/json; charset=utf-8".to_owned()),
        ("content-security-policy", "default-src 'none'".to_owned()),
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-expose-headers", EXPOSED.to_owned()),
        (
            "referrer-policy",
            "origin-when-cross-origin, strict-origin-when-cross-origin".to_owned(),
        ),
        (
            "strict-transport-security",
            "max-age=31536000; includeSubdomains; preload".to_owned(),
        ),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-frame-options", "deny".to_owned()),
        ("x-xss-protection", "0".to_owned()),
        ("server", "github.com".to_owned()),
        ("vary", "Accept, Authorization, Cookie, X-GitHub-OTP".to_owned()),
        ("x-github-api-version-selected", "2022-11-28".to_owned()),
        ("x-github-media-type", "github.v3; format=json".to_owned()),
        ("x-github-request-id", crate::nonce()[..20].to_uppercase()),
    ]
}

/// The same JSON, but for a byte in its first text that no UTF-8 has.
fn not_utf8(body: &Bytes) -> Bytes {
    let text = body.iter().position(|byte| *byte == b'"').map_or(0, |quote| quote + 1);
    [&body[..text], &[0xff], &body[text..]].concat().into()
}

/// Half a body, then an error that closes the connection.
fn cut(mut half: Bytes) -> Body {
    half.truncate(half.len() / 2);
    // Pending for a moment: what there is goes out before the connection breaks.
    let broken = async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut on command"))
    };
    Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(broken)))
}

/// A body in pieces, the last of them when the time is over.
fn slowly(body: Bytes, over: Duration) -> Body {
    const PIECES: usize = 5;
    let size = body.len().div_ceil(PIECES).max(1);
    let pieces = (0..body.len().div_ceil(size)).map(move |i| body.slice(i * size..((i + 1) * size).min(body.len())));
    let pieces = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(over / u32::try_from(PIECES).unwrap_or(1)).await;
        Ok::<_, std::io::Error>(piece)
    });
    Body::from_stream(pieces)
}

/// A JSON array of no less than so many bytes, of which one piece is held at a time.
fn huge(bytes: u64) -> Body {
    const PIECE: usize = 64 * 1024;
    let piece = Bytes::from(format!("\"{}\",\n", "x".repeat(PIECE)));
    let pieces = bytes.div_ceil(piece.len() as u64);
    let middle = (0..pieces).map(move |_| piece.clone());
    let all = std::iter::once(Bytes::from_static(b"["))
        .chain(middle)
        .chain([Bytes::from_static(b"\"\"]")]);
    Body::from_stream(stream::iter(all.map(Ok::<_, std::io::Error>)))
}
