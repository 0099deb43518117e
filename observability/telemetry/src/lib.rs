//! Telemetry: start, flush, propagation through message headers, and every metric name
