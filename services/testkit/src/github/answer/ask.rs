//! What a request asks for: the thing, by whom, which page of it.

use http::{HeaderMap, Method, Uri, header};

use crate::github::page::Query;
use crate::github::requests::Route;

/// A request, understood.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) subject: Subject,
    pub(super) repository: Option<Key>,
    pub(super) query: Query,
    /// The token, empty for an anonymous request.
    pub(super) credential: String,
    /// Whose quota it is.
    pub(super) holder: String,
    pub(super) validator: Option<String>,
    /// The address of the API as the client knows it: scheme, host, port and base path.
    pub(super) origin: String,
    /// Below the base path.
    pub(super) path: String,
    pub(super) target: String,
}

/// How a repository is named.
#[derive(Debug)]
pub(super) enum Key {
    Name(String),
    Id(u64),
}

/// What is asked for; the number of an issue is none where the path has no number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Nothing,
    RateLimit,
    Repository,
    List,
    Issue(Option<u64>),
    Timeline(Option<u64>),
    Hooks,
    /// Of this hook of a repository; without a number the App's.
    Deliveries(Option<u64>),
    /// Hook and delivery.
    Delivery(Option<u64>, Option<u64>),
    App,
    Installations,
    Installation(Option<u64>),
    RepositoryInstallation,
    AccessToken(Option<u64>),
}

impl Subject {
    pub(super) fn route(self) -> Route {
        match self {
            Self::Nothing => Route::Other,
            Self::RateLimit => Route::RateLimit,
            Self::Repository => Route::Repository,
            Self::List => Route::List,
            Self::Issue(_) => Route::Issue,
            Self::Timeline(_) => Route::Timeline,
            Self::Hooks => Route::Hooks,
            Self::Deliveries(_) => Route::Deliveries,
            Self::Delivery(..) => Route::Delivery,
            Self::App | Self::Installations | Self::Installation(_) | Self::RepositoryInstallation => Route::App,
            Self::AccessToken(_) => Route::AccessToken,
        }
    }

    /// The issue that it is about.
    pub(super) fn issue(self) -> Option<u64> {
        match self {
            Self::Issue(number) | Self::Timeline(number) => number,
            _ => None,
        }
    }
}

impl Ask {
    /// `base` is the path below which the API lies.
    pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap, base: &str) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let path = uri.path().strip_prefix(base).unwrap_or_default();
        let (repository, subject) = understood(method, path);
        let credential = text(header::AUTHORIZATION).rsplit(' ').next().unwrap_or_default();
        let validator = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
        Self {
            subject,
            repository,
            query: Query::read(uri.query().unwrap_or_default()),
            credential: credential.to_owned(),
            holder: credential.to_owned(),
            validator: validator.map(str::to_owned),
            origin: format!("http://{}{base}", text(header::HOST)),
            path: path.to_owned(),
            target: uri.to_string(),
        }
    }

    /// The page that a numbered walk asks for.
    pub(super) fn page(&self) -> usize {
        crate::github::page::asked(&self.query).1
    }
}

/// What a path names. Numbers that are none are nothing GitHub knows.
fn understood(method: &Method, path: &str) -> (Option<Key>, Subject) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["repos", owner, name, rest @ ..]) => (Some(Key::Name(format!("{owner}/{name}"))), of_repository(rest)),
        ("GET", ["repositories", id, rest @ ..]) => (id.parse().ok().map(Key::Id), of_repository(rest)),
        ("GET", ["rate_limit"]) => (None, Subject::RateLimit),
        ("GET", ["app", rest @ ..]) => (None, of_app(rest)),
        ("POST", ["app", "installations", id, "access_tokens"]) => (None, Subject::AccessToken(id.parse().ok())),
        _ => (None, Subject::Nothing),
    }
}

fn of_app(rest: &[&str]) -> Subject {
    match rest {
        [] => Subject::App,
        ["installations"] => Subject::Installations,
        ["installations", id] => Subject::Installation(id.parse().ok()),
        ["hook", "deliveries"] => Subject::Deliveries(None),
        ["hook", "deliveries", id] => Subject::Delivery(None, id.parse().ok()),
        _ => Subject::Nothing,
    }
}

fn of_repository(rest: &[&str]) -> Subject {
    match rest {
        [] => Subject::Repository,
        ["issues"] => Subject::List,
        ["issues", number] => Subject::Issue(number.parse().ok()),
        ["issues", number, "timeline"] => Subject::Timeline(number.parse().ok()),
        ["installation"] => Subject::RepositoryInstallation,
        ["hooks"] => Subject::Hooks,
        ["hooks", hook, "deliveries"] => hook
            .parse()
            .map_or(Subject::Nothing, |hook| Subject::Deliveries(Some(hook))),
        ["hooks", hook, "deliveries", id] => {
            let of = |hook| Subject::Delivery(Some(hook), id.parse().ok());
            hook.parse().map_or(Subject::Nothing, of)
        }
        _ => Subject::Nothing,
    }
}
