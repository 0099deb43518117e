//! Recorded truth: real webhook deliveries and timeline events from the packages that GitHub's SDK authors publish.
//!
//! `cargo stack test` fetches `@octokit/webhooks-examples`, `@octokit/fixtures` and `@octokit/openapi`; nothing of them is kept in this
//! repository. Issues and events are handed on as the bytes that were recorded.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::github::Simulator;

/// The variable that names the folder with `node_modules`.
pub const FOLDER: &str = "BUGSTREAM_TEST_FIXTURES";

/// GitHub itself, then its Enterprise Server versions: each a folder of recorded deliveries.
const SOURCES: &[&str] = &["api.github.com", "ghes-31", "ghes-32", "ghes-33", "ghes-34", "ghes-35"];

/// A recorded delivery about an issue.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where it was recorded: `api.github.com` or `ghes-…`.
    pub source: &'static str,
    /// `issues` or `issue_comment`.
    pub event: String,
    /// The payload's bytes.
    pub payload: String,
    /// The payload's `issue`, byte for byte.
    pub issue: String,
    /// The payload's `comment` as a `commented` timeline event, where it has one.
    pub commented: Option<String>,
    /// `owner/name`, as spelled there.
    pub repository: String,
    /// The repository's id.
    pub repository_id: u64,
    /// Whether the repository is private.
    pub private: bool,
    /// The issue's number.
    pub number: u64,
    /// What happened: `opened`, `deleted`, …
    pub action: String,
}

#[derive(Deserialize)]
struct Kind {
    name: String,
    examples: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    action: String,
    #[serde(borrow)]
    issue: &'a RawValue,
    comment: Option<Value>,
    repository: Value,
}

/// Every different recorded `issues` and `issue_comment` delivery, GitHub's own first.
///
/// # Panics
/// If the package is not there (`cargo stack test` fetches it) or has another shape.
#[must_use]
pub fn deliveries() -> Vec<Recorded> {
    let mut seen = HashSet::new();
    let all = SOURCES.iter().flat_map(|source| of_source(source));
    all.filter(|recorded| seen.insert(recorded.payload.clone())).collect()
}

fn of_source(source: &'static str) -> Vec<Recorded> {
    let kinds: Vec<Kind> = parse(&read(&format!("@octokit/webhooks-examples/{source}/index.json")));
    let wanted = kinds
        .iter()
        .filter(|kind| kind.name == "issues" || kind.name == "issue_comment");
    wanted
        .flat_map(|kind| {
            kind.examples
                .iter()
                .map(|example| recorded(source, &kind.name, example.get()))
        })
        .collect()
}

fn recorded(source: &'static str, event: &str, payload: &str) -> Recorded {
    let parts: Parts<'_> = parse(payload);
    let issue: Value = parse(parts.issue.get());
    Recorded {
        source,
        event: event.to_owned(),
        payload: payload.to_owned(),
        issue: parts.issue.get().to_owned(),
        commented: parts.comment.map(as_event),
        repository: parts.repository["full_name"]
            .as_str()
            .expect("a delivery names its repository")
            .to_owned(),
        repository_id: parts.repository["id"].as_u64().expect("a repository has an id"),
        private: parts.repository["private"] == true,
        number: issue["number"].as_u64().expect("an issue has a number"),
        action: parts.action,
    }
}

/// A comment as a timeline has it: with `event` and `actor`.
fn as_event(mut comment: Value) -> String {
    comment["event"] = "commented".into();
    comment["actor"] = comment["user"].clone();
    comment.to_string()
}

/// The timeline events in GitHub's API description: `locked`, `labeled`, `renamed`, `commented`.
///
/// # Panics
/// If the package is not there or has another shape.
#[must_use]
pub fn timeline_events() -> Vec<String> {
    let events = &api_description()["components"]["examples"]["timeline-issue-events"]["value"];
    let events = events.as_array().expect("the description has an example of a timeline");
    events.iter().map(Value::to_string).collect()
}

/// GitHub's published description of its REST API (OpenAPI), 12 MB read once.
///
/// # Panics
/// If the package is not there or is no JSON.
#[must_use]
pub fn api_description() -> &'static Value {
    static DESCRIPTION: LazyLock<Value> =
        LazyLock::new(|| parse(&read("@octokit/openapi/generated/api.github.com.json")));
    &DESCRIPTION
}

/// A recorded request to `api.github.com` and its answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Exchange {
    /// `get`, `patch`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers.
    pub headers: Map<String, Value>,
    /// The answer's body: an empty text for none.
    pub response: Value,
}

/// The exchanges of a scenario of `@octokit/fixtures`: `paginate-issues`, `rename-repository`, …
///
/// # Panics
/// If the package is not there or has another shape.
#[must_use]
pub fn exchanges(scenario: &str) -> Vec<Exchange> {
    parse(&read(&format!(
        "@octokit/fixtures/scenarios/api.github.com/{scenario}/normalized-fixture.json"
    )))
}

impl Recorded {
    /// The timeline that goes with it: the published events, and its own comment.
    #[must_use]
    pub fn timeline(&self) -> String {
        let events: Vec<String> = timeline_events().into_iter().chain(self.commented.clone()).collect();
        format!("[{}]", events.join(","))
    }

    /// Lets the simulator serve its repository, its issue byte for byte, and its timeline.
    ///
    /// # Errors
    /// If the simulator's state file can not be written.
    pub async fn serve(&self, simulator: &Simulator) -> anyhow::Result<()> {
        simulator
            .put_repository(&self.repository, self.repository_id, self.private)
            .await?;
        simulator
            .put_raw((self.repository.as_str(), self.number), &self.issue, &self.timeline())
            .await
    }
}

fn read(path: &str) -> String {
    let file = PathBuf::from(crate::provided(FOLDER)).join("node_modules").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text)
        .context("a recorded payload has another shape")
        .unwrap_or_else(|error| panic!("{error:#}"))
}
