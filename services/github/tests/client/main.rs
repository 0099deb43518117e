//! The client against a GitHub that can be edited and made to fail, and against sockets that answer anything at all.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod app;
mod conditional;
mod deliveries;
mod limits;
mod lists;
mod pool;
mod secrets;
mod simulator;
mod socket;

use std::time::Duration;

use bugstream_github::{Client, Config, Error, IssueAnswer, Raw};
use bugstream_kit::clock::Clock;
use bugstream_kit::config::Credentials;
use bugstream_kit::secret::Secret;
use bugstream_proto::{IssueId, RepoName};
use bugstream_testkit::github::{Options, Simulator};
use time::macros::datetime;

const TOKEN: &str = "ghp_secret0123456789";

fn config(url: &str) -> Config {
    Config {
        credentials: tokens([TOKEN]),
        // A machine that stands still for seconds is no silent GitHub.
        timeout: Duration::from_secs(60),
        ..Config::new(url.parse().unwrap())
    }
}

fn tokens<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Credentials {
    Credentials {
        tokens: tokens.into_iter().map(Secret::new).collect(),
        app: None,
    }
}

fn clock() -> Clock {
    Clock::manual(datetime!(2026-01-01 00:00 UTC))
}

fn client(url: &str) -> Client {
    Client::new(config(url), clock()).unwrap()
}

async fn simulator() -> Simulator {
    Simulator::start(Options {
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    })
    .await
    .unwrap()
}

async fn with_tokens<const N: usize>(tokens: [&str; N]) -> Simulator {
    let tokens = tokens.map(str::to_owned).to_vec();
    let options = Options {
        tokens,
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

/// The issue is there.
async fn found(client: &Client, issue: &IssueId) -> Raw {
    match client.issue(issue, None).await.unwrap() {
        IssueAnswer::Found(raw) => raw,
        other => panic!("{issue} is {other:?}"),
    }
}

fn repository(simulator: &Simulator) -> RepoName {
    simulator.repository().parse().unwrap()
}

fn issue(simulator: &Simulator, number: u64) -> IssueId {
    repository(simulator).issue(number).unwrap()
}

/// Everything an operator could see of an error.
fn printed(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("{error} {error:?} {source:?}")
}
