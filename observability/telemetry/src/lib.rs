//! Telemetry of every service: start, flush, propagation through message headers, and every name.
//!
//! Why one crate: a trace is only whole when every service continues it in the same way, and a dashboard only
//! works when the names it asks for are the names that are sent.
//!
//! Invariants:
//! - A trace context is made and passed on whether or not this process exports anything, and however quiet its
//!   log is: the log filter never cuts a trace.
//! - Nothing here stops a service: a collector that is away costs a log line, and a flush ends within
//!   [`FLUSH_LIMIT`].
//! - What is private never enters: callers put ids into fields, never titles or bodies.
//!
//! What it is not: a place for decisions. It reads no environment and no file; the chassis does and passes
//! [`Options`].

mod format;
pub mod metrics;
pub mod names;
mod otlp;
pub mod propagation;
mod start;

pub use start::{DEFAULT_FILTER, FLUSH_LIMIT, Format, Options, Telemetry, UnknownFormat, start};
