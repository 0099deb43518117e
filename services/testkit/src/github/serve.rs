//! Answers requests as GitHub's REST API does: one decision under the lock, from what was asked to status, headers, body.
//!
//! Order, as observed: credentials (401), quota (403), the object (200, 301, 404, 410, 422), validators (304). A 304 to an
//! authorised request costs no quota. An `ETag` belongs to the credentials that fetched it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State as Shared};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::json;
use sha2::Digest as _;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::connection::Switch;
use super::limits::{Fault, Quota};
use super::page::{self, Query};
use super::requests::{Request, Route};
use super::state::{Entry, Issue, Repository};
use super::{Simulator, World, shapes};

/// A request, understood.
#[derive(Debug)]
struct Ask {
    route: Route,
    repository: Option<Key>,
    number: Option<u64>,
    query: Query,
    /// The token, empty for an anonymous request.
    credential: String,
    validator: Option<String>,
    /// Scheme, host and port under which the client knows the simulator.
    origin: String,
    path: String,
    target: String,
}

#[derive(Debug)]
enum Key {
    Name(String),
    Id(u64),
}

/// An answer on its way.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    flow: Flow,
}

/// How an answer reaches its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Whole,
    /// Not at all.
    None,
    /// Half of it.
    Half,
    /// Over so many milliseconds.
    Slow(u64),
}

/// The handler of everything outside `/_simulator`.
pub(super) async fn answer(
    Shared(sim): Shared<Simulator>,
    ConnectInfo(connection): ConnectInfo<Switch>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let ask = Ask::read(&method, &uri, &headers);
    let (reply, late) = decide(&ask, &mut sim.inner.world());
    if late > 0 {
        tokio::time::sleep(Duration::from_millis(late)).await;
    }
    note(&sim, &ask, reply.status);
    reply.respond(&connection)
}

/// The answer, and by how many milliseconds it is late.
fn decide(ask: &Ask, world: &mut World) -> (Reply, u64) {
    let now = world.now();
    if ask.route != Route::RateLimit && world.waits.bind(&ask.credential, now) {
        world.requests.came_while_told_to_wait();
    }
    let fault = world.fault(ask.route, ask.number);
    let late = if let Some(Fault::Slow(ms)) = fault { ms } else { 0 };
    (faulty(fault.as_ref(), ask, world), late)
}

fn note(sim: &Simulator, ask: &Ask, status: u16) {
    let mut world = sim.inner.world();
    let at = world.now();
    world.requests.note(Request {
        route: ask.route,
        issue: ask.number,
        target: ask.target.clone(),
        status,
        at,
    });
}

impl Ask {
    fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let (route, repository, number) = if method == Method::GET {
            route(uri.path())
        } else {
            (Route::Other, None, None)
        };
        Self {
            route,
            repository,
            number,
            query: Query::read(uri.query().unwrap_or_default()),
            credential: text(header::AUTHORIZATION)
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            validator: headers
                .get(header::IF_NONE_MATCH)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned),
            origin: format!("http://{}", text(header::HOST)),
            path: uri.path().to_owned(),
            target: uri.to_string(),
        }
    }
}

/// What a path names. Numbers that are none are nothing GitHub knows.
fn route(path: &str) -> (Route, Option<Key>, Option<u64>) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (key, rest) = match parts.as_slice() {
        ["repos", owner, name, rest @ ..] => (Some(Key::Name(format!("{owner}/{name}"))), rest),
        ["repositories", id, rest @ ..] => (id.parse().ok().map(Key::Id), rest),
        ["rate_limit"] => return (Route::RateLimit, None, None),
        _ => return (Route::Other, None, None),
    };
    match rest {
        [] => (Route::Repository, key, None),
        ["issues"] => (Route::List, key, None),
        ["issues", number] => (Route::Issue, key, number.parse().ok()),
        ["issues", number, "timeline"] => (Route::Timeline, key, number.parse().ok()),
        _ => (Route::Other, None, None),
    }
}

fn faulty(fault: Option<&Fault>, ask: &Ask, world: &mut World) -> Reply {
    let Some(fault) = fault else {
        return within_quota(ask, world);
    };
    match *fault {
        Fault::Status(status) => Reply::error(status, "Server Error"),
        Fault::SecondaryLimit { status, retry_after_s } => secondary(ask, world, status, retry_after_s),
        Fault::PrimaryLimit { resets_in_s } => {
            let ends = world.now() + Duration::from_secs(resets_in_s);
            world.quotas.leave(&ask.credential, 0, ends);
            within_quota(ask, world)
        }
        Fault::NotFound => counted(Reply::error(404, "Not Found"), ask, world),
        Fault::IssuesDisabled => counted(Reply::error(410, DISABLED), ask, world),
        Fault::Html => Reply::page("text/html; charset=utf-8"),
        Fault::HtmlAsJson => Reply::page("application/json; charset=utf-8"),
        _ => within_quota(ask, world).spoiled(fault, ask),
    }
}

/// An answer of the API, which costs a request like any other.
fn counted(reply: Reply, ask: &Ask, world: &mut World) -> Reply {
    let now = world.now();
    world.quotas.spend(&ask.credential, now);
    reply.with_quota(world.quotas.look(&ask.credential, now))
}

fn secondary(ask: &Ask, world: &mut World, status: u16, retry_after_s: Option<u64>) -> Reply {
    let (now, wait) = (world.now(), retry_after_s.unwrap_or(UNSAID_S));
    world.waits.tell(&ask.credential, now, now + Duration::from_secs(wait));
    let reply = Reply::error(
        status,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    );
    match retry_after_s {
        Some(seconds) => reply.with("retry-after", seconds.to_string()),
        None => reply,
    }
}

fn within_quota(ask: &Ask, world: &mut World) -> Reply {
    let now = world.now();
    if !ask.credential.is_empty() && !world.tokens.is_empty() && !world.tokens.contains(&ask.credential) {
        return Reply::error(401, "Bad credentials");
    }
    let free = ask.route == Route::RateLimit;
    if !free && !world.quotas.spend(&ask.credential, now) {
        return exhausted(ask, world);
    }
    let reply = if free {
        rate_limit(world.quotas.look(&ask.credential, now))
    } else {
        object(ask, world)
    };
    let reply = reply.validated(ask);
    if reply.status == 304 && !ask.credential.is_empty() {
        world.quotas.give_back(&ask.credential, now);
    }
    reply.with_quota(world.quotas.look(&ask.credential, now))
}

fn exhausted(ask: &Ask, world: &mut World) -> Reply {
    let (now, who) = (world.now(), shapes::id_of(&ask.credential));
    let quota = world.quotas.look(&ask.credential, now);
    world.waits.tell(&ask.credential, now, quota.resets);
    Reply::error(403, &format!("API rate limit exceeded for user ID {who}.")).with_quota(quota)
}

fn rate_limit(quota: Quota) -> Reply {
    let core = json!({
        "limit": quota.limit, "used": quota.used, "remaining": quota.remaining(), "reset": quota.resets.unix_timestamp(),
    });
    Reply::json(json!({"resources": {"core": core, "search": core}, "rate": core}).to_string())
}

fn object(ask: &Ask, world: &World) -> Reply {
    let (found, moved) = match &ask.repository {
        Some(Key::Id(id)) => (world.state.repositories.get(id), false),
        Some(Key::Name(name)) => {
            let found = world.state.by_name(name);
            (
                found,
                found.is_some_and(|r| !r.about.full_name.eq_ignore_ascii_case(name)),
            )
        }
        None => (None, false),
    };
    let Some(repository) = found.filter(|r| may_see(r, ask, world)) else {
        return Reply::error(404, "Not Found");
    };
    if moved {
        let rest: String = ask
            .path
            .trim_start_matches('/')
            .split('/')
            .skip(3)
            .map(|part| format!("/{part}"))
            .collect();
        return ask.moved(&format!("/repositories/{}{rest}", repository.about.id));
    }
    match ask.route {
        Route::Repository => repository_reply(repository),
        Route::Issue | Route::Timeline | Route::List if !repository.about.has_issues => Reply::error(410, DISABLED),
        Route::List => list(ask, repository),
        Route::Issue | Route::Timeline => one(ask, repository),
        Route::RateLimit | Route::Other => Reply::error(404, "Not Found"),
    }
}

fn may_see(repository: &Repository, ask: &Ask, world: &World) -> bool {
    !repository.about.private || world.tokens.is_empty() || world.tokens.contains(&ask.credential)
}

fn one(ask: &Ask, repository: &Repository) -> Reply {
    match ask.number.and_then(|number| repository.issues.get(&number)) {
        Some(Entry::Live(issue)) if ask.route == Route::Issue => issue_reply(issue),
        Some(Entry::Live(issue)) => timeline(ask, repository, issue),
        Some(Entry::Deleted) => Reply::error(410, "This issue was deleted"),
        Some(Entry::Moved(id, number)) => {
            let rest = if ask.route == Route::Timeline { "/timeline" } else { "" };
            ask.moved(&format!("/repositories/{id}/issues/{number}{rest}"))
        }
        Some(Entry::Hidden) | None => Reply::error(404, "Not Found"),
    }
}

fn repository_reply(repository: &Repository) -> Reply {
    let about = shapes::full_repository(&repository.about);
    let updated = about["updated_at"].as_str().unwrap_or_default();
    Reply::json(about.to_string()).modified(updated)
}

fn issue_reply(issue: &Issue) -> Reply {
    Reply::json(issue.json.get().to_owned()).modified(&issue.row.updated_at)
}

fn timeline(ask: &Ask, repository: &Repository, issue: &Issue) -> Reply {
    let (size, page) = page::asked(&ask.query);
    let events: Vec<&str> = issue
        .timeline
        .iter()
        .skip((page - 1) * size)
        .take(size)
        .map(|event| event.get())
        .collect();
    let base = format!(
        "{}/repositories/{}/issues/{}/timeline",
        ask.origin,
        repository.about.id,
        ask.number.unwrap_or(0)
    );
    let links = page::numbered_links(&base, &ask.query, page, issue.timeline.len().div_ceil(size));
    Reply::json(format!("[{}]", events.join(","))).with_links(links)
}

/// A row of a list and its place in it.
type Placed<'a> = ((String, u64), &'a Issue);

fn list(ask: &Ask, repository: &Repository) -> Reply {
    let (size, page) = page::asked(&ask.query);
    let cursor = |key: &str| ask.query.get(key).and_then(|text| page::read_cursor(text));
    let (after, before) = (cursor("after"), cursor("before"));
    if after.is_none() && before.is_none() && page * size > page::MAX_ROWS {
        return Reply::error(
            422,
            "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination (after/before)",
        );
    }
    let rows = match sorted(ask, repository) {
        Ok(rows) => rows,
        Err(reply) => return reply,
    };
    let place = |cursor: &(String, u64)| rows.partition_point(|(at, _)| before_in_order(ask, at, cursor));
    let (from, to) = match (&after, &before) {
        (Some(cursor), _) => {
            let from = place(cursor) + usize::from(rows.iter().any(|(at, _)| at == cursor));
            (from, from + size)
        }
        (None, Some(cursor)) => (place(cursor).saturating_sub(size), place(cursor)),
        (None, None) => ((page - 1) * size, page * size),
    };
    let (from, to) = (from.min(rows.len()), to.min(rows.len()));
    let shown = &rows[from..to];
    let text = |row: Option<&Placed<'_>>| row.map(|((key, number), _)| page::cursor(key, *number));
    let next = text(shown.last().filter(|_| to < rows.len()));
    let prev = text(shown.first().filter(|_| from > 0));
    let base = format!("{}/repositories/{}/issues", ask.origin, repository.about.id);
    let links = page::cursor_links(&base, &ask.query, page, next.as_deref(), prev.as_deref());
    let bodies: Vec<String> = shown.iter().map(|(_, issue)| row_json(issue)).collect();
    Reply::json(format!("[{}]", bodies.join(","))).with_links(links)
}

/// A list's row is the issue without `closed_by`.
fn row_json(issue: &Issue) -> String {
    let mut row = issue.draft().issue;
    row.remove("closed_by");
    serde_json::Value::Object(row).to_string()
}

fn before_in_order(ask: &Ask, a: &(String, u64), b: &(String, u64)) -> bool {
    if ask.query.get("direction").is_some_and(|d| d == "asc") {
        a < b
    } else {
        a > b
    }
}

fn sorted<'a>(ask: &Ask, repository: &'a Repository) -> Result<Vec<Placed<'a>>, Reply> {
    let param = |key: &str, default: &'static str| ask.query.get(key).map_or(default, String::as_str).to_owned();
    let (state, sort) = (param("state", "open"), param("sort", "created"));
    if !["open", "closed", "all"].contains(&state.as_str())
        || !["created", "updated", "comments"].contains(&sort.as_str())
    {
        return Err(Reply::error(422, "Validation Failed"));
    }
    let since = since(ask)?;
    let labels: Vec<String> = ask
        .query
        .get("labels")
        .into_iter()
        .flat_map(|l| l.split(','))
        .map(str::to_lowercase)
        .collect();
    let live = repository.issues.iter().filter_map(|(number, entry)| match entry {
        Entry::Live(issue) => Some((*number, issue)),
        _ => None,
    });
    let wanted = |issue: &Issue| {
        (state == "all" || (state == "open") == issue.row.open)
            && since.as_ref().is_none_or(|since| issue.row.updated_at >= *since)
            && labels.iter().all(|label| issue.row.labels.contains(label))
    };
    let key = |issue: &Issue| match sort.as_str() {
        "updated" => issue.row.updated_at.clone(),
        "comments" => format!("{:08}", issue.row.comments),
        _ => issue.row.created_at.clone(),
    };
    let mut rows: Vec<Placed<'a>> = live
        .filter(|(_, issue)| wanted(issue))
        .map(|(n, issue)| ((key(issue), n), issue))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    if ask.query.get("direction").is_none_or(|d| d != "asc") {
        rows.reverse();
    }
    Ok(rows)
}

/// `since` in the form of `updated_at`. The epoch itself finds nothing on GitHub, a malformed time is a 422.
fn since(ask: &Ask) -> Result<Option<String>, Reply> {
    let Some(text) = ask.query.get("since") else {
        return Ok(None);
    };
    let date = if text.contains('T') {
        text.clone()
    } else {
        format!("{text}T00:00:00Z")
    };
    let at = OffsetDateTime::parse(&date, &Rfc3339).map_err(|_| Reply::error(422, "Validation Failed"))?;
    if at.unix_timestamp() <= 0 {
        return Ok(Some("9999".to_owned()));
    }
    Ok(Some(super::seed::stamp(at.to_offset(time::UtcOffset::UTC))))
}

impl Ask {
    fn moved(&self, to: &str) -> Reply {
        let query = self
            .target
            .split_once('?')
            .map(|(_, query)| format!("?{query}"))
            .unwrap_or_default();
        let url = format!("{}{to}{query}", self.origin);
        let body = json!({"message": "Moved Permanently", "url": url, "documentation_url": DOCUMENTATION});
        Reply {
            status: 301,
            ..Reply::json(body.to_string())
        }
        .with("location", url)
    }
}

/// GitHub's words for a repository without issues.
const DISABLED: &str = "Issues are disabled for this repo";

/// How long a client has to wait where a secondary limit does not say: "at least one minute", GitHub's documentation says.
const UNSAID_S: u64 = 60;

const DOCUMENTATION: &str = "https://docs.github.com/rest";

impl Reply {
    fn json(body: String) -> Self {
        Self {
            status: 200,
            headers: vec![],
            body,
            flow: Flow::Whole,
        }
    }

    fn error(status: u16, message: &str) -> Self {
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

    /// What a load balancer shows to people when something is wrong.
    fn page(content_type: &str) -> Self {
        let body = "<!DOCTYPE html>\n<html><head><title>Unicorn!</title></head><body><p>We had issues producing the response to your request.</p></body></html>";
        Self::json(body.to_owned()).with("content-type", content_type.to_owned())
    }

    /// The right answer, not as it should be.
    fn spoiled(mut self, fault: &Fault, ask: &Ask) -> Self {
        match *fault {
            Fault::NoAnswer => self.flow = Flow::None,
            Fault::Truncated => self.flow = Flow::Half,
            Fault::SlowBody(ms) => self.flow = Flow::Slow(ms),
            Fault::HalfBody => self.body = half(&self.body).to_owned(),
            Fault::WrongType => return self.with("content-type", "text/html; charset=utf-8".to_owned()),
            Fault::EmptyList if ask.route == Route::List && self.status == 200 => {
                self.body = "[]".to_owned();
                self.headers.retain(|(name, _)| *name != "link" && *name != "etag");
            }
            _ => {}
        }
        self
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// `Last-Modified`, where the time is one.
    fn modified(self, at: &str) -> Self {
        let date = OffsetDateTime::parse(at, &Rfc3339)
            .ok()
            .and_then(|at| at.format(&Rfc2822).ok());
        match date {
            Some(date) => self.with("last-modified", date.replace("+0000", "GMT")),
            None => self,
        }
    }

    fn with_links(self, links: Option<String>) -> Self {
        match links {
            Some(links) => self.with("link", links),
            None => self,
        }
    }

    fn with_quota(self, quota: Quota) -> Self {
        self.with("x-ratelimit-limit", quota.limit.to_string())
            .with("x-ratelimit-remaining", quota.remaining().to_string())
            .with("x-ratelimit-used", quota.used.to_string())
            .with("x-ratelimit-reset", quota.resets.unix_timestamp().to_string())
            .with("x-ratelimit-resource", "core".to_owned())
    }

    /// Adds the entity tag of a 200, and makes it a 304 where the client has it already.
    fn validated(self, ask: &Ask) -> Self {
        if self.status != 200 || ask.route == Route::RateLimit {
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
        if known {
            Self {
                status: 304,
                body: String::new(),
                ..reply
            }
        } else {
            reply
        }
    }

    fn respond(self, connection: &Switch) -> Response {
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
        response
    }
}

/// Bytes of a head, which has more than 300.
const HALF_A_HEAD: usize = 150;

/// The first half of a text.
fn half(text: &str) -> &str {
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at));
    &text[..middle.unwrap_or(0)]
}

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

/// Half a body, then an error that closes the connection.
fn cut(body: String) -> Body {
    let mut half = Bytes::from(body);
    half.truncate(half.len() / 2);
    // Pending for a moment: what there is goes out before the connection breaks.
    let broken = async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut on command"))
    };
    Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(broken)))
}

/// A body in pieces, the last of them when the time is over.
fn slowly(body: String, over: Duration) -> Body {
    const PIECES: usize = 5;
    let body = Bytes::from(body);
    let size = body.len().div_ceil(PIECES).max(1);
    let pieces = (0..body.len().div_ceil(size)).map(move |i| body.slice(i * size..((i + 1) * size).min(body.len())));
    let pieces = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(over / u32::try_from(PIECES).unwrap_or(1)).await;
        Ok::<_, std::io::Error>(piece)
    });
    Body::from_stream(pieces)
}
