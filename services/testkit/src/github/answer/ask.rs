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
    pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let (repository, subject) = if method == Method::GET {
            understood(uri.path())
        } else {
            (None, Subject::Nothing)
        };
        let credential = text(header::AUTHORIZATION).rsplit(' ').next();
        let validator = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
        Self {
            subject,
            repository,
            query: Query::read(uri.query().unwrap_or_default()),
            credential: credential.unwrap_or_default().to_owned(),
            validator: validator.map(str::to_owned),
            origin: format!("http://{}", text(header::HOST)),
            path: uri.path().to_owned(),
            target: uri.to_string(),
        }
    }

    /// The page that a numbered walk asks for.
    pub(super) fn page(&self) -> usize {
        crate::github::page::asked(&self.query).1
    }
}

/// What a path names. Numbers that are none are nothing GitHub knows.
fn understood(path: &str) -> (Option<Key>, Subject) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["repos", owner, name, rest @ ..] => (Some(Key::Name(format!("{owner}/{name}"))), of_repository(rest)),
        ["repositories", id, rest @ ..] => (id.parse().ok().map(Key::Id), of_repository(rest)),
        ["rate_limit"] => (None, Subject::RateLimit),
        _ => (None, Subject::Nothing),
    }
}

fn of_repository(rest: &[&str]) -> Subject {
    match rest {
        [] => Subject::Repository,
        ["issues"] => Subject::List,
        ["issues", number] => Subject::Issue(number.parse().ok()),
        ["issues", number, "timeline"] => Subject::Timeline(number.parse().ok()),
        _ => Subject::Nothing,
    }
}
