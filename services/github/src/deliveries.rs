//! Webhooks and their deliveries, to repair those that failed: GitHub keeps them for some days and never repeats them.
//!
//! Not every credential may look: that is an answer here, not an error.

use bugstream_proto::RepoName;
use bugstream_telemetry::names::Route;
use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use url::Url;

use crate::body;
use crate::client::{Client, Request};
use crate::error::Error;
use crate::exchange::Answer;
use crate::link::Pages;
use crate::list::Cursor;

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Of a repository.
    Repository {
        /// The repository.
        repo: RepoName,
        /// The webhook's id.
        id: u64,
    },
    /// The App's own: deliveries of all its installations.
    App,
}

/// An answer that not every credential gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed<T> {
    /// Here it is.
    Yes(T),
    /// The credentials may not look, or there is nothing to look at: 403 or 404.
    No {
        /// 403 or 404; 0 for the App's webhook where there is no App.
        status: u16,
    },
}

/// A webhook of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookInfo {
    /// Its id.
    pub id: u64,
    /// Whether it is sent at all.
    pub active: bool,
    /// What it is sent for; `*` is everything.
    pub events: Vec<String>,
    /// Where it is sent, without what may be secret in it: password and query.
    pub url: Option<Url>,
}

/// One attempt to deliver an event, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivery {
    /// Of this attempt.
    pub id: u64,
    /// Of the event: what `X-GitHub-Delivery` carries, the same in every attempt.
    pub guid: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub delivered_at: OffsetDateTime,
    /// Whether someone asked for it again.
    #[serde(default)]
    pub redelivery: bool,
    /// What the receiver answered; 0 where it did not.
    pub status_code: u16,
    /// The kind of event.
    pub event: String,
    /// What happened, where the kind says so.
    pub action: Option<String>,
    /// The repository's id, where there is one.
    pub repository_id: Option<u64>,
}

impl Delivery {
    /// Whether the receiver took it.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

/// A part of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliveries {
    /// The newest first.
    pub deliveries: Vec<Delivery>,
    /// Older ones; `None` at the end of what GitHub keeps.
    pub next: Option<Cursor>,
}

/// What was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The event's id.
    pub guid: String,
    /// The kind of event.
    pub event: String,
    /// The payload: one JSON object, as GitHub has it now. `None` where GitHub does not keep it.
    pub payload: Option<Bytes>,
}

impl Client {
    /// Asks for the webhooks of a repository, the first hundred of which are all that GitHub allows.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hooks(&self, repository: &RepoName) -> Result<Allowed<Vec<HookInfo>>, Error> {
        let url = self.url(&format!("repos/{repository}/hooks?per_page=100"));
        let answer = self.ask_following(Request::get(Route::Hooks, url)).await;
        allowed(answer, |answer| {
            let hooks = body::objects(&answer.body)?.into_iter();
            hooks
                .map(|hook| body::object::<ReceivedHook>(hook.get().as_bytes()).map(Into::into))
                .collect()
        })
    }

    /// Asks for a part of a webhook's deliveries: the newest, or those from `cursor` on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn deliveries(&self, hook: &Hook, cursor: Option<&Cursor>) -> Result<Allowed<Deliveries>, Error> {
        let Some(base) = self.hook(hook) else {
            return Ok(Allowed::No { status: 0 });
        };
        let url = cursor.map_or_else(|| self.url(&format!("{base}?per_page=100")), Cursor::url);
        let answer = self.ask_following(by(hook, Request::get(Route::Deliveries, url))).await;
        allowed(answer, |answer| {
            let rows = body::objects(&answer.body)?.into_iter();
            let deliveries = rows
                .map(|row| body::object(row.get().as_bytes()))
                .collect::<Result<_, _>>()?;
            let next = Pages::new(self.base(), &answer.url).next(&answer.headers)?;
            let next = next.map(Cursor::new);
            Ok(Deliveries { deliveries, next })
        })
    }

    /// Asks for what an attempt delivered.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delivery(&self, hook: &Hook, id: u64) -> Result<Allowed<Delivered>, Error> {
        let Some(base) = self.hook(hook) else {
            return Ok(Allowed::No { status: 0 });
        };
        let url = self.url(&format!("{base}/{id}"));
        let answer = self.ask_following(by(hook, Request::get(Route::Deliveries, url))).await;
        allowed(answer, |answer| {
            let detail: Detail<'_> = body::object(&answer.body)?;
            let payload = detail.request.payload.filter(|payload| payload.get().starts_with('{'));
            Ok(Delivered {
                guid: detail.guid,
                event: detail.event,
                payload: payload.map(|payload| answer.body.slice_ref(payload.get().as_bytes())),
            })
        })
    }

    /// Where a webhook's deliveries are; `None` without an App.
    fn hook(&self, hook: &Hook) -> Option<String> {
        match hook {
            Hook::Repository { repo, id } => Some(format!("repos/{repo}/hooks/{id}/deliveries")),
            Hook::App => self.has_app().then(|| "app/hook/deliveries".to_owned()),
        }
    }
}

fn by<'a>(hook: &Hook, request: Request<'a>) -> Request<'a> {
    match hook {
        Hook::Repository { .. } => request,
        Hook::App => request.by_app(),
    }
}

fn allowed<T>(
    answer: Result<Answer, Error>,
    read: impl FnOnce(&Answer) -> Result<T, Error>,
) -> Result<Allowed<T>, Error> {
    match answer {
        Ok(answer) if answer.status == StatusCode::OK => read(&answer).map(Allowed::Yes),
        Ok(answer) => answer.message().map(|_| Allowed::No {
            status: answer.status.as_u16(),
        }),
        Err(Error::Forbidden { status, .. }) => Ok(Allowed::No { status }),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct ReceivedHook {
    id: u64,
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    config: HookConfig,
}

#[derive(Deserialize)]
struct HookConfig {
    url: Option<String>,
}

impl From<ReceivedHook> for HookInfo {
    fn from(received: ReceivedHook) -> Self {
        let ReceivedHook {
            id,
            active,
            events,
            config,
        } = received;
        Self {
            id,
            active,
            events,
            url: config.url.as_deref().and_then(harmless),
        }
    }
}

fn harmless(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    Some(url)
}

#[derive(Deserialize)]
struct Detail<'a> {
    guid: String,
    event: String,
    #[serde(borrow)]
    request: Sent<'a>,
}

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}
