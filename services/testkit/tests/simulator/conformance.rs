//! The simulator's answers against GitHub's published schemas, by a validator that is not the project's own.
//!
//! The schemas are closed (see [`schemas`]): a property too many is a mismatch like one too few.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bugstream_archive::{Archived, Rules, Stamp};
use bugstream_testkit::fixtures::api_description;
use bugstream_testkit::github::{Change, Fault, FaultRule, Options, Simulator};
use bugstream_testkit::schemas::{self, EVENTS, Fill, Instance};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use time::macros::datetime;

use super::{Answer, Client, simulator};

/// A validator of each schema that an answer can have.
static VALIDATORS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let whole = [
        "issue",
        "full-repository",
        "basic-error",
        "validation-error",
        "rate-limit-overview",
        "hook",
        "hook-delivery-item",
        "hook-delivery",
        "integration",
        "installation",
        "installation-token",
    ];
    let names: BTreeSet<&str> = EVENTS.iter().map(|(_, schema)| *schema).chain(whole).collect();
    names.into_iter().map(|name| (name, validator(name))).collect()
});

pub(super) fn validator(name: &str) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schemas::json_schema(name))
        .unwrap()
}

/// What does not fit; empty where all does.
fn mismatches(schema: &str, value: &Value) -> Vec<String> {
    mismatches_of(&VALIDATORS[schema], schema, value)
}

pub(super) fn mismatches_of(validator: &Validator, schema: &str, value: &Value) -> Vec<String> {
    validator
        .iter_errors(value)
        .map(|error| {
            format!(
                "{schema} at {:?}: {}",
                error.instance_path().to_string(),
                error.masked()
            )
        })
        .collect()
}

pub(super) fn fits(schema: &str, value: &Value) {
    let wrong = mismatches(schema, value);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn event_fits(event: &Value) {
    let name = event["event"].as_str().unwrap();
    fits(
        schemas::of_event(name).unwrap_or_else(|| panic!("no schema for {name}")),
        event,
    );
}

/// An answer by its status and by what it was asked for.
fn answer_fits(path: &str, answer: &Answer) {
    let body = answer.json();
    let rest = path.split('?').next().unwrap();
    let rows = || body.as_array().unwrap().iter();
    match answer.status {
        200 if rest.ends_with("/timeline") => rows().for_each(event_fits),
        200 if rest.ends_with("/issues") => rows().for_each(|row| fits("issue", row)),
        200 if rest.ends_with("/rate_limit") => fits("rate-limit-overview", &body),
        200 if rest.contains("/issues/") => fits("issue", &body),
        200 => fits("full-repository", &body),
        304 => assert_eq!(answer.text, ""),
        422 => fits("validation-error", &body),
        _ => {
            fits("basic-error", &body);
            assert!(body["message"].is_string(), "an error says what it is");
        }
    }
    let kind = answer.header("content-type");
    assert!(
        answer.status == 304 || kind == "application/json; charset=utf-8",
        "{path}: {kind}"
    );
}

impl Client {
    /// The answer, which fits.
    async fn checked(&self, path: &str) -> Answer {
        let answer = self.get(path).await;
        answer_fits(path, &answer);
        answer
    }

    /// All pages, which fit.
    async fn checked_walk(&self, path: &str) -> Vec<Value> {
        let (mut rows, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let answer = self.checked(&path).await;
            rows.extend(answer.json().as_array().unwrap().clone());
            next = answer.link("next");
        }
        rows
    }

    /// Issue and timeline, which fit; the timeline's events.
    async fn checked_issue(&self, repository: &str, number: u64) -> Vec<Value> {
        let base = format!("/repos/{repository}/issues/{number}");
        self.checked(&base).await;
        self.checked_walk(&format!("{base}/timeline?per_page=100")).await
    }
}

#[test]
fn the_table_has_every_published_event_and_no_other() {
    let union = schemas::published("timeline-issue-events")["anyOf"].as_array().unwrap();
    let published: BTreeSet<&str> = union
        .iter()
        .map(|member| member["$ref"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let ours: BTreeSet<&str> = EVENTS.iter().map(|(_, schema)| *schema).collect();
    assert_eq!(ours, published);
    let names: BTreeSet<&str> = EVENTS.iter().map(|(event, _)| *event).collect();
    assert_eq!(names.len(), EVENTS.len(), "an event has one schema");
    let example = &api_description()["components"]["examples"]["timeline-issue-events"]["value"];
    for event in example.as_array().unwrap() {
        assert!(names.contains(event["event"].as_str().unwrap()));
    }
}

#[test]
fn every_instance_is_valid_and_every_spoiled_one_is_not() {
    for Instance {
        schema, value, fill, ..
    } in schemas::instances()
    {
        fits(schema, &value);
        let object = value.as_object().unwrap();
        let required = schemas::published(schema)["required"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for key in required.iter().filter_map(Value::as_str) {
            let without: Map<String, Value> = object.clone().into_iter().filter(|(name, _)| name != key).collect();
            assert!(
                !mismatches(schema, &without.into()).is_empty(),
                "{schema} {fill:?} without {key}"
            );
        }
        let with = |key: &str, extra: Value| {
            let mut with = value.clone();
            with[key] = extra;
            mismatches(schema, &with)
        };
        assert!(!with("of_our_own", json!(1)).is_empty(), "{schema} is open");
        let properties = schemas::published(schema)["properties"].as_object().unwrap();
        let times = properties
            .iter()
            .filter(|(_, property)| property["format"] == "date-time");
        for (key, _) in times {
            assert!(!with(key, json!("yesterday")).is_empty(), "{schema}: {key} is any text");
        }
    }
}

#[test]
fn every_optional_field_is_there_and_not_and_every_nullable_one_null_and_not() {
    let all = schemas::instances();
    for schema in EVENTS.iter().map(|(_, schema)| *schema).chain(["issue"]) {
        let published = schemas::published(schema);
        let required = published["required"].as_array().cloned().unwrap_or_default();
        let of: Vec<&Instance> = all.iter().filter(|instance| instance.schema == schema).collect();
        let some = |what: &dyn Fn(&Instance) -> bool| of.iter().any(|instance| what(instance));
        for (name, property) in published["properties"].as_object().unwrap() {
            let there = |instance: &Instance| instance.value.get(name).is_some();
            assert!(some(&there), "{schema} never has {name}");
            let optional = !required.contains(&json!(name)) && name != "event";
            assert!(!optional || some(&|one| !there(one)), "{schema} always has {name}");
            let nullable = is_nullable(property);
            assert_eq!(
                nullable,
                some(&|one| one.value.get(name) == Some(&Value::Null)),
                "{schema}: null as {name}"
            );
            assert!(
                some(&|one| one.value.get(name).is_some_and(|value| !value.is_null())),
                "{schema}: {name} is always null"
            );
        }
    }
}

fn is_nullable(property: &Value) -> bool {
    match property["$ref"].as_str() {
        Some(reference) => schemas::published(reference.rsplit('/').next().unwrap())["nullable"] == true,
        None => property["nullable"] == true,
    }
}

/// Every issue with every event, as texts that no serialiser of ours writes: spaced out, and with other escapes.
fn texts() -> Vec<(String, String)> {
    let (issues, events): (Vec<Instance>, Vec<Instance>) =
        schemas::instances().into_iter().partition(|one| one.event.is_none());
    let odd = |value: &Value| {
        serde_json::to_string_pretty(value)
            .unwrap()
            .replace("\"text\"", "\"te\\u0078t \\/\"")
    };
    let timeline: Vec<String> = events.iter().map(|one| odd(&one.value)).collect();
    let timeline = format!("[{}]", timeline.join(","));
    issues.iter().map(|one| (odd(&one.value), timeline.clone())).collect()
}

#[tokio::test]
async fn instances_are_served_byte_for_byte_and_the_archive_takes_them() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    for (number, (issue, timeline)) in (1..).zip(texts()) {
        sim.put_raw(number, &issue, &timeline).await.unwrap();
        let served = client.issue(&number.to_string()).await.text;
        assert_eq!(served, issue);
        let mut pages = Vec::new();
        let mut next = Some(format!(
            "/repos/bugstream-demo/web-bugs/issues/{number}/timeline?per_page=100"
        ));
        while let Some(path) = next {
            let page = client.get(&path).await;
            pages.push(page.text.trim_matches(['[', ']']).to_owned());
            next = page.link("next");
        }
        let served_timeline = format!("[{}]", pages.join(","));
        assert_eq!(served_timeline, timeline);
        archived(number, &served, &served_timeline);
    }
}

/// The archive makes documents of them that hold all they held.
fn archived(number: u64, issue: &str, timeline: &str) {
    let rules = Rules {
        repository: "bugstream-demo/web-bugs".parse().unwrap(),
        private_partner: Some("bugstream-demo/web-bugs-private".parse().unwrap()),
        public: [].into(),
    };
    let id = rules.repository.clone().issue(number).unwrap();
    let stamp = Stamp {
        issue: &id,
        revision: 1,
        downloaded_at: datetime!(2026-03-04 05:06:07 UTC),
        trace_id: None,
        aside: None,
    };
    let archived = Archived::parse(issue.as_bytes(), timeline.as_bytes()).unwrap();
    let classified = archived.classify(&rules);
    let mut document = Vec::new();
    archived.issue_document(&classified, &stamp, &mut document);
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["title"], "text /");
    let events: Vec<Value> = serde_json::from_str(timeline).unwrap();
    for (position, event) in events.iter().enumerate() {
        let mut document = Vec::new();
        archived.timeline_document(&classified, position, &stamp, &mut document);
        let document: Value = serde_json::from_slice(&document).unwrap();
        let lost: Vec<&String> = event
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| document[*key] != event[*key])
            .collect();
        assert!(lost.is_empty(), "{}: {lost:?}", event["event"]);
    }
}

#[tokio::test]
async fn every_answer_over_the_whole_seed_fits() {
    let (sim, client) = simulator(Options {
        issues: 500,
        rate_limit: 100_000,
        ..Options::default()
    })
    .await;
    let mut kinds = BTreeSet::new();
    for number in sim.numbers() {
        let events = client.checked_issue("bugstream-demo/web-bugs", number).await;
        kinds.extend(events.iter().map(|event| event["event"].as_str().unwrap().to_owned()));
    }
    assert!(kinds.len() >= 22, "{kinds:?}");
    let mut rows = 0;
    for repository in ["bugstream-demo/web-bugs", "bugstream-demo/web-bugs-private"] {
        client.checked(&format!("/repos/{repository}")).await;
        rows += client
            .checked_walk(&format!("/repos/{repository}/issues?state=all&per_page=100"))
            .await
            .len();
    }
    assert!(rows > 500, "the partner has some too");
    client.checked("/rate_limit").await;
}

/// One of each kind of change.
pub(super) fn changes(other: &Value) -> Vec<Change> {
    let (text, other) = (str::to_owned, || Box::new(other.clone()));
    vec![
        Change::Title(text("New title")),
        Change::Body(text("New body")),
        Change::Comment(text("A comment")),
        Change::Label(text("a label that nobody knows")),
        Change::Label(text("日本語")),
        Change::Unlabel(text("日本語")),
        Change::Assign(text("nobody-special")),
        Change::Unassign(text("nobody-special")),
        Change::Milestone(text("needsdiagnosis")),
        Change::Milestone(text("a milestone that nobody knows")),
        Change::Lock(text("spam")),
        Change::Unlock,
        Change::Type(text("Bug")),
        Change::Type(text("a type that nobody knows")),
        Change::Mention(text("somebody")),
        Change::Subscribe(text("somebody[bot]")),
        Change::Reference,
        Change::CrossReference(other()),
        Change::SubIssue(other()),
        Change::Parent(other()),
        Change::Commit(text("A commit")),
        Change::Review("approved", text("Fine")),
        Change::ForcePush,
        Change::Close(text("completed")),
        Change::Reopen,
        Change::Close(text("not_planned")),
        Change::Reopen,
        Change::Close(text("duplicate")),
        Change::Reopen,
        Change::Merge,
        Change::Discussion,
    ]
}

pub(super) async fn a_pull_request(sim: &Simulator) -> u64 {
    let is_pull = |number: &u64| sim.issue(*number).unwrap().get("pull_request").is_some();
    let open = |number: &u64| sim.issue(*number).unwrap()["state"] == "open";
    sim.numbers()
        .into_iter()
        .find(|number| is_pull(number) && open(number))
        .unwrap()
}

#[tokio::test]
async fn every_answer_after_every_kind_of_edit_fits() {
    let (sim, client) = simulator(Options {
        issues: 60,
        rate_limit: 100_000,
        ..Options::default()
    })
    .await;
    let repository = "bugstream-demo/web-bugs";
    let other = sim.issue(1).unwrap();
    let opened = sim.open("Opened", "").await.unwrap();
    for number in [opened, 2, a_pull_request(&sim).await] {
        client.checked_issue(repository, number).await;
        for change in changes(&other) {
            sim.edit(number, [change]).await.unwrap();
            client.checked_issue(repository, number).await;
        }
        sim.remove_events(number, |event| event["event"] == "commented")
            .await
            .unwrap();
        client.checked_issue(repository, number).await;
    }
    sim.make_private(opened).await.unwrap();
    client.checked_issue(repository, opened).await;
    sim.make_public(opened).await.unwrap();
    client.checked_issue(repository, opened).await;
    let arrived = sim.transfer(opened, "bugstream-demo/elsewhere").await.unwrap();
    client.checked_issue("bugstream-demo/elsewhere", arrived).await;
    for place in [
        repository,
        "bugstream-demo/elsewhere",
        "bugstream-demo/web-bugs-private",
    ] {
        client.checked(&format!("/repos/{place}")).await;
        client.checked_walk(&format!("/repos/{place}/issues?state=all")).await;
    }
}

#[tokio::test]
async fn every_refusal_fits() {
    let (sim, client) = simulator(Options {
        tokens: vec!["good".to_owned()],
        ..Options::default()
    })
    .await;
    let issue = "/repos/bugstream-demo/web-bugs/issues/3";
    let tag = client.checked(issue).await.header("etag").to_owned();
    let unchanged = client.get_with(issue, &[("if-none-match", &tag)]).await;
    let unknown = client.get_with(issue, &[("authorization", "Bearer bad")]).await;
    assert_eq!((unchanged.status, unknown.status), (304, 401));
    answer_fits(issue, &unchanged);
    answer_fits(issue, &unknown);
    sim.delete(4).await.unwrap();
    sim.hide(5).await.unwrap();
    sim.transfer(6, "bugstream-demo/elsewhere").await.unwrap();
    let list = "/repos/bugstream-demo/web-bugs/issues";
    for (path, status) in [
        (format!("{list}/4"), 410),
        (format!("{list}/5"), 404),
        (format!("{list}/6"), 301),
        (format!("{list}/6/timeline?page=2"), 404),
        (format!("{list}?state=ajar"), 422),
        (format!("{list}?per_page=100&page=101"), 422),
        ("/repos/no/where".to_owned(), 404),
    ] {
        assert_eq!(client.checked(&path).await.status, status, "{path}");
    }
    let limit = |status, retry_after_s| Fault::SecondaryLimit { status, retry_after_s };
    for fault in [
        Fault::NotFound,
        Fault::IssuesDisabled,
        Fault::Status(502),
        limit(403, None),
        limit(429, Some(1)),
        Fault::PrimaryLimit { resets_in_s: 1 },
    ] {
        sim.fault(FaultRule::next(1, fault));
        assert!(client.checked(issue).await.status >= 400);
    }
    sim.advance(std::time::Duration::from_secs(3_601));
    sim.set_issues_enabled(false).await.unwrap();
    assert_eq!(client.checked(list).await.status, 410);
    sim.rename_repository("bugstream-demo/renamed").await.unwrap();
    assert_eq!(client.checked("/repos/bugstream-demo/web-bugs").await.status, 301);
}

#[test]
fn a_full_instance_takes_every_alternative_in_turn() {
    let associations: BTreeSet<String> = (0..8)
        .map(|number| schemas::instance("issue", Fill::Full(number))["author_association"].to_string())
        .collect();
    assert_eq!(associations.len(), 8);
    let labels = [0, 1].map(|number| schemas::instance("issue", Fill::Full(number))["labels"][0].is_object());
    assert_eq!(labels, [false, true], "a label is a text or an object");
}
