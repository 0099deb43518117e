//! Real servers, a GitHub that can be edited and made to fail, recorded payloads, and waiting with a deadline.
//!
//! For tests and the local stack only: nothing here is part of a service. Servers are the real ones, each test with its own
//! folders, names and ports, cleaned up on drop; only GitHub is simulated, since no test may need the real one.

pub mod github;
pub mod wait;
