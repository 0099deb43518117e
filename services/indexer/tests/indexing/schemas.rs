//! Whatever GitHub sends, or might send one day: Elasticsearch refuses none of it, and nothing of it is lost.
//!
//! Everything goes the way of a download, through a running indexer. What its documents say is compared with what was
//! sent, after the members that Elasticsearch could not index (`bugstream.unindexed`) are back in their places. The tests
//! also state which those are: that list is the limit of the mappings.

use std::collections::BTreeSet;

use bugstream_testkit::schemas::{self, Fill};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use crate::stage::{Stage, issue};

/// What Bugstream adds.
const ADDED: [&str; 3] = ["bug_number", "bugstream", "__WEBCOMPAT_PRIVATE_ISSUE__"];

/// Events of one timeline in these tests.
const TIMELINE: usize = 400;

/// Members about other issues: a public document leaves them out unless they name only what is public.
fn may_be_withheld(name: &str) -> bool {
    ["parent_issue", "sub_issue"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Every instance of the published schemas: an issue, and 58 names of events.
#[tokio::test]
async fn every_published_instance_is_indexed() {
    let all = schemas::instances();
    let (events, issues): (Vec<_>, Vec<_>) = all.into_iter().partition(|instance| instance.event.is_some());
    let value = |instance: schemas::Instance| instance.value;
    let issues: Vec<Value> = issues.into_iter().map(value).collect();
    let texts_as_labels = issues.iter().any(|issue| issue["labels"][0].is_string());
    assert!(
        texts_as_labels && issues.len() > 5,
        "the schema allows a label that is a text"
    );
    let events: Vec<Value> = events.into_iter().map(value).collect();
    assert!(events.len() > 200, "{}", events.len());
    let errors: BTreeSet<String> = indexed_whole(&issues, &events).await.into_iter().flatten().collect();
    let expected = ["labels", "source.issue.labels"].map(|field| format!("document_parsing_exception: {field}"));
    assert_eq!(
        Vec::from_iter(errors),
        expected,
        "texts as labels, and nothing else that GitHub publishes"
    );
}

/// Each mapped field, and each object that has some, with values of every other type: nothing is refused, and no more is
/// put aside than [`is_indexable`] says.
#[tokio::test]
async fn no_type_at_any_mapped_place_is_refused() {
    let odd = odd_values();
    let [issues, events] = [
        include_str!("../../mappings/issues.json"),
        include_str!("../../mappings/timelines.json"),
    ]
    .map(places);
    assert!(
        issues.len() > 70 && events.len() > 120,
        "{} {}",
        issues.len(),
        events.len()
    );
    let documents = |places: &[Place]| -> Vec<Value> {
        places
            .iter()
            .flat_map(|place| odd.iter().map(|value| at(&place.path, value)))
            .collect()
    };
    let errors = indexed_whole(&documents(&issues), &documents(&events)).await;
    let expected = [&issues[..], &events[..]].concat();
    let expected = expected
        .iter()
        .flat_map(|place| odd.iter().map(move |value| (place, value)));
    assert_eq!(errors.len(), expected.clone().count());
    for ((place, value), error) in expected.zip(errors) {
        let wanted = is_indexable(&place.kind, value);
        let may_be_either = error.is_none() && (place.kind == "date" || may_be_withheld(&place.path[0]));
        assert!(
            may_be_either || error.is_none() == wanted,
            "{place:?}: {value} {error:?}"
        );
    }
}

/// What Elasticsearch indexes at a place with a mapping: the limit of every mapping with objects in it.
///
/// Where an object belongs: objects with proper names. Where a value belongs: whatever is no object (at a date version 9
/// takes even that, 8.19 does not). Null and lists of all this are fine anywhere.
fn is_indexable(kind: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.iter().all(|element| is_indexable(kind, element)),
        Value::Object(members) if kind == "object" => members.keys().all(|name| !name.trim().is_empty()),
        Value::Object(_) => false,
        _ => kind != "object",
    }
}

/// Instances of the schemas with a few values swapped for others, and names that Elasticsearch takes for something else.
#[tokio::test]
async fn mutants_of_published_instances_and_odd_names_are_indexed_and_lose_nothing() {
    let mut dice = Dice(7);
    let mut mutants = |schema: &'static str, event: Option<&'static str>, count: usize| -> Vec<Value> {
        let mutant = |number| mutant(schemas::instance(schema, Fill::Full(number)), event, &mut dice);
        (0..count).map(mutant).collect()
    };
    let mut issues = mutants("issue", None, 60);
    let mut events: Vec<Value> = schemas::EVENTS
        .iter()
        .flat_map(|(event, schema)| mutants(schema, Some(event), 12))
        .collect();
    issues.extend(odd_names());
    events.extend(odd_names());
    indexed_whole(&issues, &events).await;
}

/// What JSON allows and few parsers take: nothing is refused here either.
#[tokio::test]
async fn json_that_few_parsers_take_is_kept_too() {
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let raw = [
        (
            r#"{"title":"one","labels":[{"name":"a","name":"b"}]}"#.to_owned(),
            "labels",
        ),
        (
            format!(r#"{{"title":"two","pinned_comment":{}}}"#, deep(1100)),
            "pinned_comment",
        ),
        (
            format!(
                r#"{{"title":"three","labels":{}}}"#,
                "[".repeat(1100) + &"]".repeat(1100)
            ),
            "labels",
        ),
        (r#"{"title":"four","number":1e400,"body":"\ud800"}"#.to_owned(), ""),
        (format!(r#"{{"title":"five","body":"{}"}}"#, "x".repeat(20_000_000)), ""),
    ];
    let stage = Stage::start().await;
    for (number, (raw, _)) in (1..).zip(&raw) {
        stage
            .download_raw(&issue(number), raw.clone().into_bytes(), b"[]".to_vec())
            .await;
    }
    stage.settled().await;
    assert_eq!(stage.dead_letters().await, []);
    for (number, (raw, aside)) in (1..).zip(&raw) {
        let found = stage.additions(number).await;
        let unindexed = found["unindexed"].as_object();
        let names: Vec<&str> = unindexed.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let expected: Vec<&str> = Some(*aside).filter(|name| !name.is_empty()).into_iter().collect();
        assert_eq!(names, expected, "issue {number}");
        let kept = found["unindexed"][*aside].as_str().unwrap_or_default();
        assert!(raw.contains(kept), "byte for byte");
    }
    stage.stop().await;
}

/// Indexes issues and events; nothing may be refused, missing or changed. What each document says of what was put aside.
async fn indexed_whole(issues: &[Value], events: &[Value]) -> Vec<Option<String>> {
    let stage = Stage::start().await;
    let timelines: Vec<&[Value]> = events.chunks(TIMELINE).collect();
    let first = issues.len() as u64 + 1;
    let whose = |n: usize| (first + (n / TIMELINE) as u64, n % TIMELINE);
    let number_only: Vec<Value> = (first..)
        .zip(&timelines)
        .map(|(number, _)| json!({"number": number}))
        .collect();
    let alone = issues.iter().map(|raw| (raw, &[][..]));
    let with_events = number_only.iter().zip(timelines.iter().copied());
    futures_util::stream::iter((1..).zip(alone.chain(with_events)))
        .for_each_concurrent(16, async |(number, (raw, timeline))| {
            stage.download(&issue(number), raw, timeline).await;
        })
        .await;
    stage.settled().await;
    assert_eq!(stage.dead_letters().await, [], "nothing is refused");
    let mut errors = Vec::new();
    let found = stage.sources("issues").await;
    for (number, sent) in (1_u64..).zip(issues) {
        errors.push(compare(&found[&format!("demo/web-bugs/{number}")], sent));
    }
    let found = stage.sources("timelines").await;
    for (n, sent) in events.iter().enumerate() {
        let (number, position) = whose(n);
        errors.push(compare(&found[&format!("demo/web-bugs/{number}/{position}")], sent));
    }
    stage.stop().await;
    errors
}

/// What was found must be what was sent, the rest of it in `bugstream.unindexed`. What `bugstream.error` says.
fn compare(found: &Value, sent: &Value) -> Option<String> {
    let mut whole = found.clone();
    let additions = whole["bugstream"].take();
    for (name, json) in additions["unindexed"].as_object().into_iter().flatten() {
        whole[name] = serde_json::from_str(json.as_str().expect("a text")).unwrap();
    }
    let names: BTreeSet<&String> = [sent, &whole]
        .iter()
        .flat_map(|it| it.as_object().expect("it is one").keys())
        .collect();
    for name in names {
        let ours = ADDED.contains(&name.as_str());
        let withheld = may_be_withheld(name) && whole.get(name).is_none();
        assert!(
            ours || withheld || whole.get(name) == sent.get(name),
            "{name} of {found} is not as sent"
        );
    }
    additions["error"].as_str().map(str::to_owned)
}

/// A mapped field, or an object that has some.
#[derive(Debug, Clone)]
struct Place {
    path: Vec<String>,
    kind: String,
}

fn places(mappings: &str) -> Vec<Place> {
    fn walk(properties: &Value, path: &[String], out: &mut Vec<Place>) {
        for (name, field) in properties.as_object().expect("an object") {
            let path = [path, std::slice::from_ref(name)].concat();
            if let Some(inner) = field.get("properties") {
                walk(inner, &path, out);
            }
            let kind = field["type"].as_str().unwrap_or("object").to_owned();
            out.push(Place { path, kind });
        }
    }
    let template: Value = serde_json::from_str(mappings).unwrap();
    let mut out = Vec::new();
    walk(&template["template"]["mappings"]["properties"], &[], &mut out);
    out.retain(|place| !ADDED.contains(&place.path[0].as_str()));
    out
}

/// A document with a value at that path.
fn at(path: &[String], value: &Value) -> Value {
    path.iter().rev().fold(value.clone(), |inner, name| {
        Value::Object(Map::from_iter([(name.clone(), inner)]))
    })
}

fn odd_values() -> Vec<Value> {
    // Deeper than Elasticsearch likes, but not so deep that a new member of an issue cannot be judged.
    let deep = (0..60).fold(json!(1), |inner, _| json!({"a": inner}));
    vec![
        json!("text"),
        json!("x".repeat(40_000)),
        json!("2024-13-45T99:00Z"),
        json!("12"),
        json!(-1.5e300),
        json!(true),
        json!(null),
        json!({}),
        json!([[1, "a"], null, [{"b": null}]]),
        json!({"": 1, "a.b": {"..": 2}, " ": [3]}),
        deep,
    ]
}

/// Names that Elasticsearch reads as paths or keeps for itself, and maps that are open.
fn odd_names() -> Vec<Value> {
    let open: Map<String, Value> = (0..3_000).map(|n| (format!("key {n}"), json!({"n": n}))).collect();
    let metadata = [
        "_id",
        "_index",
        "_source",
        "_routing",
        "_field_names",
        "_ignored",
        "_version",
        "_seq_no",
        "_tier",
        "_doc_count",
    ];
    let mut odd: Vec<Value> = metadata
        .into_iter()
        .map(|name| json!({"title": "a", name: "text"}))
        .collect();
    odd.extend(
        [
            "",
            " ",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "title.x",
            "title.keyword",
            "labels.",
            "labels.name",
            "user.login.x",
            "*",
            "\u{0}",
        ]
        .map(|name| json!({"title": "a", "labels": [{"name": "b"}], name: {"value": 1}})),
    );
    odd.extend([
        json!({"title": "a", "labels": {"": 1}, "user": {" ": 1}, "milestone": {"title.x": 1}}),
        json!({"title": "a", "labels": open.clone(), "reactions": {"+1": open.clone()}}),
        Value::Object(open),
        json!({"title": "a", "bugstream": {"revision": "not ours"}, "bug_number": {"n": 1}}),
    ]);
    odd
}

/// Swaps a few values anywhere in an instance.
fn mutant(mut value: Value, event: Option<&str>, dice: &mut Dice) -> Value {
    let odd = odd_values();
    for _ in 0..1 + dice.below(4) {
        let place = somewhere(&value, dice);
        *value.pointer_mut(&place).expect("just found") = odd[dice.below(odd.len())].clone();
    }
    match value {
        Value::Object(mut members) => {
            if let Some(event) = event {
                members.entry("event").or_insert_with(|| json!(event));
            }
            Value::Object(members)
        }
        // The whole was swapped: an issue and an event are objects, so it becomes a member.
        other => json!({"body": other}),
    }
}

/// The JSON pointer of some place, near the top or deep inside.
fn somewhere(value: &Value, dice: &mut Dice) -> String {
    let mut pointer = String::new();
    let mut place = value;
    while dice.below(5) > 0 {
        let step = match place {
            Value::Object(members) => members.keys().nth(dice.below(members.len().max(1))).cloned(),
            Value::Array(elements) if !elements.is_empty() => Some(dice.below(elements.len()).to_string()),
            _ => None,
        };
        let Some(step) = step else { break };
        pointer = format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"));
        place = value.pointer(&pointer).expect("it has such a member");
    }
    pointer
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}
