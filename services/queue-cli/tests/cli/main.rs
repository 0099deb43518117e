//! The real program against a real NATS server and a GitHub that can be edited.

mod backfill;
mod bad_input;
mod completion;
mod dead_letters;
mod deletions;
mod forget;
mod github;
mod help;
mod history;
mod import;
mod mirror;
mod old_system;
mod old_tool;
mod operations;
mod operator;
mod queues;
mod rebuild;
mod snapshot;
mod status;
mod verify;
