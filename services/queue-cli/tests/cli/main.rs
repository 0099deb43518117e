//! The real program against a real NATS server and a GitHub that can be edited.

mod bad_input;
mod deletions;
mod github;
mod help;
mod operator;
mod queues;
mod verify;
