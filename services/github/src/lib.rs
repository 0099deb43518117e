//! GitHub's REST API as the downloader needs it: whole answers, raw bytes, limits obeyed.
//!
//! Why not an existing client: they parse into types of their own (the archive keeps bytes as received), follow
//! redirects (which would hide a transfer), and treat limits as errors to retry.
//!
//! Invariants:
//! - An answer is whole or an error: a page that is missing, cut, no JSON or from elsewhere never makes a shorter timeline.
//! - After an answer that asked to wait, nothing is sent with that credential until the wait is over. While none may be
//!   used, [`Error::Limited`] comes at once. No answer drops a request: another credential asks, or the caller hears when.
//! - Background work leaves a share of every bound to live work ([`Priority`]).
//! - "Not there" counts only when every credential says so.
//! - Credentials go to the API's own origin only; redirects are never followed by themselves.
//! - Errors, logs and traces carry neither credentials nor content.
//!
//! What it is not: a decision. Whether a 404 is a deletion, and when to try again, is the downloader's.
//!
//! The steps, one a file: `client` asks, with the one of its `credentials` that the `pool` chooses by their `ledger`s;
//! `authorise` has what it sends to prove itself (an `app` signs and renews), `exchange` sends one request, reads the
//! `body` and sorts errors out by `limit`. `issue`, `timeline` (with `link`), `repository`, `list` and `deliveries` are the
//! requests. `clients` is one client a repository, `quota` what one process tells the next. `webhook` reads what GitHub
//! sends by itself.

mod app;
mod authorise;
mod body;
mod client;
mod clients;
mod config;
mod credentials;
mod deliveries;
mod error;
mod exchange;
mod issue;
mod ledger;
mod limit;
mod link;
mod list;
mod location;
mod pool;
mod quota;
mod repository;
mod timeline;
pub mod webhook;

pub use bugstream_kit::validators::{KnownPage, Validator};
pub use bugstream_telemetry::names::Limit;
pub use client::{Client, Meter};
pub use clients::Clients;
pub use config::{Config, ConfigError};
pub use credentials::KeyError;
pub use deliveries::{Allowed, Delivered, Deliveries, Delivery, Hook, HookInfo};
pub use error::Error;
pub use issue::{IssueAnswer, MovedAnswer, MovedIssue, Raw, comments};
pub use ledger::Priority;
pub use list::{Cursor, IssueState, ListAnswer, Page, Row, Rows};
pub use location::Location;
pub use quota::QuotaState;
pub use repository::{RepoAnswer, Repository};
pub use timeline::{Known, RawTimeline, Stored, TimelineAnswer};
