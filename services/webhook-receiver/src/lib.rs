//! Receives GitHub's webhooks and turns each into scheduled requests to download the issues it concerns.
//!
//! The steps of a delivery, each in a file of its own: [`mod@serve`] reads the body within limits, [`verify`] checks its
//! signature, [`form`] unwraps it, [`bugstream_github::webhook`] decides whom it concerns, [`publish`] stores the requests and
//! waits for JetStream's word.
//!
//! Invariants:
//! - Nothing is parsed before its signature is verified, and a body never takes more memory than the limits of
//!   [`mod@serve`] allow. So a stranger can make it neither publish nor grow.
//! - 202 means stored by JetStream. Whatever happens, the answer comes within GitHub's ten seconds.
//! - What is genuine but of no concern here is a 204, so that nobody repairs it for ever.
//!
//! It is no filter of changes and keeps no state: a request only says "look at this issue", and the broker coalesces.

pub mod config;
pub mod form;
pub mod publish;
pub mod serve;
pub mod verify;

pub use config::Config;
pub use serve::{run, run_on};
