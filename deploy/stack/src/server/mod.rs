//! Starting and stopping the real servers on loopback.
//!
//! Each server is a value that owns its process and its folder's configuration: dropping it kills the process (the
//! folder stays), [`Running::detach`] lets it live on. A test may `kill9` a server and `restart` it on the same port and
//! data, as a machine that lost power for a moment would.
//!
//! Waiting always has a deadline, and an error carries the end of the server's log.

mod elasticsearch;
mod minio;
mod nats;
mod running;

pub use elasticsearch::{ADMIN, Elasticsearch, ElasticsearchOptions, Security};
pub use minio::{Minio, MinioOptions};
pub use nats::{Nats, NatsOptions};
pub use running::{Options, Running};

use std::time::Duration;

/// How long a server may take to get ready; a busy machine with two cores needs most of it at times.
const START: Duration = Duration::from_secs(180);

/// How long a polite stop may take before the process is killed.
const STOP: Duration = Duration::from_secs(30);

/// Whether a GET of this address answers 200 within two seconds.
#[must_use]
pub fn answers(url: &str) -> bool {
    agent(Duration::from_secs(2)).get(url).call().is_ok()
}

/// An HTTP client for loopback whose whole exchange must end in time.
#[must_use]
pub fn agent(patience: Duration) -> ureq::Agent {
    // The stack only talks to loopback and to servers that the user named: a proxy would be in the way.
    ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .proxy(None)
        .build()
        .into()
}
