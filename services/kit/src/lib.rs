//! The chassis of every service: configuration, start and stop, health, the consumer loop, the log.
//!
//! A service is a `main` of a few lines ([`service::main`]) over its library's `run(config, context)`. What two services
//! need lies here; what they must agree on by wire lies in `bugstream_proto`.

pub mod broker;
pub mod chance;
pub mod clock;
pub mod config;
pub mod consume;
pub mod dead_letter;
pub mod deletions;
pub mod elastic;
pub mod health;
pub mod log;
pub mod objects;
pub mod publish;
pub mod requests;
pub mod retention;
pub mod runtime;
pub mod secret;
pub mod service;
pub mod snapshots;
pub mod tasks;
pub mod tls;
pub mod validators;
pub mod watermarks;
