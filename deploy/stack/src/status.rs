//! `cargo stack status`: which parts run and are ready, and how much is searchable.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bugstream_stack::server::answers;

use crate::search::count;
use crate::services::SERVICES;
use crate::stack::Stack;

/// Show which parts run and where; exits with 1 unless all are ready
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack status
  cargo stack status && echo all ready")]
pub(crate) struct Arguments {}

pub(crate) fn run() -> Result<ExitCode> {
    let stack = Stack::open()?;
    let parts: Vec<Part> = ["nats", "elasticsearch"]
        .into_iter()
        .chain(SERVICES)
        .map(|name| Part::of(name, &stack))
        .collect();
    let mut text: String = parts.iter().map(Part::line).collect();
    if let Ok(found) = stack.elastic_url().and_then(|url| count(&url)) {
        text.push_str(&format!("{found}\n"));
    }
    std::io::stdout().write_all(text.as_bytes()).context("cannot print")?;
    Ok(if parts.iter().all(|part| part.good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Part {
    name: &'static str,
    what: String,
    place: String,
    good: bool,
}

impl Part {
    fn of(name: &'static str, stack: &Stack) -> Self {
        if let Some(place) = brought_along(name, stack) {
            return Self {
                name,
                what: "yours".to_owned(),
                place,
                good: true,
            };
        }
        let place = stack.http(name).unwrap_or_default();
        let ready = || stack.ready_url(name).is_ok_and(|url| answers(&url));
        let (what, good) = match stack.state.alive(name) {
            None => ("stopped".to_owned(), false),
            Some(identity) if ready() => (format!("ready, pid {}", identity.pid), true),
            Some(identity) => (format!("not ready, pid {}", identity.pid), false),
        };
        Self {
            name,
            what,
            place,
            good,
        }
    }

    fn line(&self) -> String {
        format!("{:<18} {:<22} {}\n", self.name, self.what, self.place)
    }
}

/// The address of what the user runs in place of a part.
fn brought_along(name: &str, stack: &Stack) -> Option<String> {
    match name {
        "nats" => stack.given.nats.clone(),
        "elasticsearch" => stack.given.elasticsearch.clone(),
        "github-simulator" => stack.given.github_api.clone(),
        _ => None,
    }
}
