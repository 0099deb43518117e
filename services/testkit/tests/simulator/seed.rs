//! The invented tracker: the same every time, distributed as stated, and in the shapes that GitHub publishes.

use std::collections::{BTreeMap, BTreeSet};

use bugstream_testkit::fixtures;
use bugstream_testkit::github::{MODERATION_TITLE, Options, Simulator};
use serde_json::Value;

async fn seeded(issues: u64, seed: u64) -> Vec<(Value, Vec<Value>)> {
    let sim = Simulator::start(Options {
        issues,
        seed,
        ..Options::default()
    })
    .await
    .unwrap();
    sim.numbers()
        .into_iter()
        .map(|n| (sim.issue(n).unwrap(), sim.timeline(n).unwrap()))
        .collect()
}

#[tokio::test]
async fn the_same_seed_is_the_same_tracker() {
    let (one, again, other) = (seeded(60, 1).await, seeded(60, 1).await, seeded(60, 2).await);
    assert!(one == again);
    assert!(one != other);
    let longer = seeded(80, 1).await;
    assert!(longer[..60] == one[..], "more issues leave the first ones as they are");
}

#[tokio::test]
async fn five_hundred_issues_are_distributed_as_stated() {
    let all = seeded(500, 1).await;
    assert_eq!(all.len(), 500);
    let mut sizes: Vec<usize> = all.iter().map(|(_, timeline)| timeline.len()).collect();
    sizes.sort_unstable();
    let events: usize = sizes.iter().sum();
    assert!((5..=8).contains(&sizes[250]), "median {}", sizes[250]);
    assert!((6_000..=10_000).contains(&events), "{events} events");
    let beyond = |size: usize| sizes.iter().filter(|s| **s > size).count();
    assert!(
        (10..=35).contains(&beyond(100)),
        "{} timelines of more than a page",
        beyond(100)
    );
    assert!(
        (3..=12).contains(&beyond(200)),
        "{} timelines of three pages",
        beyond(200)
    );

    let count = |what: &dyn Fn(&Value) -> bool| all.iter().filter(|(issue, _)| what(issue)).count();
    let pulls = count(&|issue| issue.get("pull_request").is_some());
    let private = count(&|issue| issue["title"] == MODERATION_TITLE);
    let closed = count(&|issue| issue["state"] == "closed");
    assert!((40..=80).contains(&pulls), "{pulls} pull requests");
    assert!((12..=40).contains(&private), "{private} private");
    assert!((180..=320).contains(&closed), "{closed} closed");
    let titles: BTreeSet<&str> = all.iter().map(|(issue, _)| issue["title"].as_str().unwrap()).collect();
    assert!(titles.len() > 280, "{} different titles", titles.len());
    assert!(
        all[41].0.get("pull_request").is_none() && all[41].0["title"] != MODERATION_TITLE,
        "number 42 is a report"
    );
}

#[tokio::test]
async fn every_moderated_issue_has_its_content_in_the_first_cross_reference() {
    let mut moderated = 0;
    for (issue, timeline) in seeded(200, 1).await {
        if issue["title"] == MODERATION_TITLE {
            moderated += 1;
            let first = timeline
                .iter()
                .find(|event| event["event"] == "cross-referenced")
                .unwrap();
            assert_eq!(first["source"]["issue"]["repository"]["private"], true);
            assert_ne!(first["source"]["issue"]["title"], MODERATION_TITLE);
        }
    }
    assert!(moderated > 3);
}

#[tokio::test]
async fn an_issue_agrees_with_its_timeline() {
    for (issue, timeline) in seeded(200, 1).await {
        let count = |kind: &str| timeline.iter().filter(|event| event["event"] == kind).count();
        assert_eq!(issue["comments"].as_u64().unwrap(), count("commented") as u64);
        let (labels, balance) = (
            issue["labels"].as_array().unwrap().len(),
            count("labeled") - count("unlabeled"),
        );
        assert_eq!(labels, balance, "issue {}", issue["number"]);
        assert_eq!(issue["state"] == "closed", issue["closed_at"].is_string());
        let ids: Vec<u64> = timeline.iter().filter_map(|event| event["id"].as_u64()).collect();
        assert!(ids.is_sorted());
        let without: BTreeSet<&str> = timeline
            .iter()
            .filter(|event| event.get("id").is_none())
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert!(
            without.is_subset(&BTreeSet::from(["cross-referenced", "committed"])),
            "{without:?}"
        );
    }
}

/// The published schema of each kind of event that the seed has. The last lines are kinds without a schema of their own.
const SCHEMAS: &[(&str, &str)] = &[
    ("labeled", "labeled-issue-event"),
    ("unlabeled", "unlabeled-issue-event"),
    ("milestoned", "milestoned-issue-event"),
    ("renamed", "renamed-issue-event"),
    ("locked", "locked-issue-event"),
    ("unlocked", "locked-issue-event"),
    ("commented", "timeline-comment-event"),
    ("cross-referenced", "timeline-cross-referenced-event"),
    ("committed", "timeline-committed-event"),
    ("reviewed", "timeline-reviewed-event"),
    ("assigned", "timeline-assigned-issue-event"),
    ("unassigned", "timeline-unassigned-issue-event"),
    ("closed", "state-change-issue-event"),
    ("reopened", "state-change-issue-event"),
    ("issue_type_added", "issue-type-added-issue-event"),
    ("sub_issue_added", "sub-issue-added-issue-event"),
    ("parent_issue_added", "parent-issue-added-issue-event"),
    ("mentioned", "state-change-issue-event"),
    ("subscribed", "state-change-issue-event"),
    ("referenced", "state-change-issue-event"),
    ("merged", "state-change-issue-event"),
    ("head_ref_force_pushed", "state-change-issue-event"),
];

/// Published schemas by name.
struct Schemas(&'static Value);

impl Schemas {
    /// Every required property is there, and none that the schema does not know.
    fn check(&self, name: &str, object: &Value) {
        let schema = &self.0["components"]["schemas"][name];
        let object = object.as_object().unwrap_or_else(|| panic!("no {name}: {object}"));
        let required = schema["required"].as_array().unwrap();
        let missing: Vec<&Value> = required
            .iter()
            .filter(|key| !object.contains_key(key.as_str().unwrap()))
            .collect();
        let known = schema["properties"].as_object().unwrap();
        let unknown: Vec<&String> = object.keys().filter(|key| !known.contains_key(*key)).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "{name}: missing {missing:?}, unknown {unknown:?}"
        );
    }

    fn issue(&self, issue: &Value) {
        self.check("issue", issue);
        self.check("simple-user", &issue["user"]);
        self.check("reaction-rollup", &issue["reactions"]);
        issue["labels"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|label| self.check("label", label));
        for (key, name) in [
            ("milestone", "milestone"),
            ("type", "issue-type"),
            ("closed_by", "simple-user"),
        ] {
            if !issue[key].is_null() {
                self.check(name, &issue[key]);
            }
        }
        if let Some(repository) = issue.get("repository") {
            self.check("repository", repository);
        }
    }

    fn event(&self, event: &Value) {
        let kind = event["event"].as_str().unwrap();
        let schema = SCHEMAS
            .iter()
            .find(|(of, _)| *of == kind)
            .unwrap_or_else(|| panic!("no schema for {kind}"))
            .1;
        self.check(schema, event);
        let nested = [&event["source"]["issue"], &event["sub_issue"], &event["parent_issue"]];
        nested
            .into_iter()
            .filter(|issue| !issue.is_null())
            .for_each(|issue| self.issue(issue));
    }
}

#[tokio::test]
async fn everything_has_the_published_shape() {
    let schemas = Schemas(fixtures::api_description());
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (issue, timeline) in seeded(500, 1).await {
        schemas.issue(&issue);
        for event in &timeline {
            schemas.event(event);
            *kinds.entry(event["event"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let absent: Vec<_> = SCHEMAS.iter().filter(|(kind, _)| !kinds.contains_key(*kind)).collect();
    assert!(absent.is_empty(), "the seed has none of {absent:?}");
}

#[tokio::test]
async fn a_repository_has_the_published_shape() {
    let (_sim, client) = super::simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let repository = client.get("/repos/bugstream-demo/web-bugs").await.json();
    Schemas(fixtures::api_description()).check("full-repository", &repository);
}
