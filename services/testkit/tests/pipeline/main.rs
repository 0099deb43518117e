//! The whole pipeline on real servers: what an operator and an analyst are promised.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod bad_input;
mod clock;
mod data;
mod documents;
mod door;
mod example;
mod journeys;
mod large;
mod recorded;
mod repair;
mod secrets;
mod secured;
mod stage;
mod trace;
