//! GitHub's REST API as the downloader needs it: whole answers, raw bytes, limits obeyed.
//!
//! Why not an existing client: they parse into types of their own (the archive keeps bytes as received), follow
//! redirects (which would hide a transfer), and treat limits as errors to retry.
//!
//! Invariants:
//! - An answer is whole or an error: a page that is missing, cut, no JSON or from elsewhere never makes a shorter timeline.
//! - After an answer that asked to wait, nothing is sent until the wait is over ([`Error::Limited`] comes at once).
//! - The token goes to the API's own origin only; redirects are never followed by themselves.
//! - Errors, logs and traces carry neither the token nor content.
//!
//! What it is not: a decision. Whether a 404 is a deletion, and when to try again, is the downloader's.
//!
//! The steps, one a file: `client` sends one request through the `gate` with `credentials`, reads the `body`, and sorts
//! errors out by `limit`; `issue`, `timeline` (with `link`), `repository` and `list` are the requests.

mod body;
mod client;
mod credentials;
mod error;
mod gate;
mod issue;
mod limit;
mod link;
mod list;
mod location;
mod repository;
mod timeline;
pub mod webhook;

pub use bugstream_telemetry::names::Limit;
pub use client::{Client, Config, ConfigError};
pub use error::Error;
pub use issue::{IssueAnswer, MovedAnswer, MovedIssue, Raw};
pub use list::{Cursor, Page};
pub use location::Location;
pub use repository::{RepoAnswer, Repository};
pub use timeline::RawTimeline;
