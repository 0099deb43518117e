//! Telemetry as a service has it: a real subscriber, a real exporter, a collector that speaks HTTP.
//!
//! Subscriber, tracer and meter are global to a process, and tests share one. So each test runs its body in a
//! process of its own: see [`alone`].

mod alone;
mod collector;
mod export;
mod log;
mod propagation;

use bugstream_telemetry::{Format, Options};

/// A service under test.
fn options() -> Options {
    Options {
        service: "telemetry-test",
        version: "1.2.3",
        format: Format::Text,
        filter: None,
        otlp_endpoint: None,
    }
}
