//! GitHub's published schemas (its OpenAPI description) as JSON Schema, and objects synthesised from them.
//!
//! The published type of a timeline is a union so open that nearly any object fits. [`EVENTS`] is the project's own table of
//! which schema each event has; a test holds it against the published union. Every schema is *closed* here: a property that
//! is not published does not fit. What is composed by `allOf` is merged first, or closing would break it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::fixtures::api_description;

/// Each timeline event's name and its schema. The last block has no schema of its own: those events look like `closed`.
pub const EVENTS: &[(&str, &str)] = &[
    ("labeled", "labeled-issue-event"),
    ("unlabeled", "unlabeled-issue-event"),
    ("milestoned", "milestoned-issue-event"),
    ("demilestoned", "demilestoned-issue-event"),
    ("renamed", "renamed-issue-event"),
    ("review_requested", "review-requested-issue-event"),
    ("review_request_removed", "review-request-removed-issue-event"),
    ("review_dismissed", "review-dismissed-issue-event"),
    ("locked", "locked-issue-event"),
    ("unlocked", "locked-issue-event"),
    ("added_to_project", "added-to-project-issue-event"),
    ("moved_columns_in_project", "moved-column-in-project-issue-event"),
    ("removed_from_project", "removed-from-project-issue-event"),
    ("converted_note_to_issue", "converted-note-to-issue-issue-event"),
    ("commented", "timeline-comment-event"),
    ("cross-referenced", "timeline-cross-referenced-event"),
    ("committed", "timeline-committed-event"),
    ("reviewed", "timeline-reviewed-event"),
    ("line-commented", "timeline-line-commented-event"),
    ("commit-commented", "timeline-commit-commented-event"),
    ("assigned", "timeline-assigned-issue-event"),
    ("unassigned", "timeline-unassigned-issue-event"),
    ("issue_type_added", "issue-type-added-issue-event"),
    ("issue_type_removed", "issue-type-removed-issue-event"),
    ("issue_type_changed", "issue-type-changed-issue-event"),
    ("sub_issue_added", "sub-issue-added-issue-event"),
    ("sub_issue_removed", "sub-issue-removed-issue-event"),
    ("parent_issue_added", "parent-issue-added-issue-event"),
    ("parent_issue_removed", "parent-issue-removed-issue-event"),
    ("blocked_by_added", "blocked-by-added-issue-event"),
    ("blocked_by_removed", "blocked-by-removed-issue-event"),
    ("blocking_added", "blocking-added-issue-event"),
    ("blocking_removed", "blocking-removed-issue-event"),
    ("closed", STATE_CHANGE),
    ("reopened", STATE_CHANGE),
    ("added_to_merge_queue", STATE_CHANGE),
    ("auto_merge_disabled", STATE_CHANGE),
    ("auto_merge_enabled", STATE_CHANGE),
    ("automatic_base_change_failed", STATE_CHANGE),
    ("automatic_base_change_succeeded", STATE_CHANGE),
    ("base_ref_changed", STATE_CHANGE),
    ("connected", STATE_CHANGE),
    ("convert_to_draft", STATE_CHANGE),
    ("converted_to_discussion", STATE_CHANGE),
    ("deployed", STATE_CHANGE),
    ("deployment_environment_changed", STATE_CHANGE),
    ("disconnected", STATE_CHANGE),
    ("head_ref_deleted", STATE_CHANGE),
    ("head_ref_force_pushed", STATE_CHANGE),
    ("head_ref_restored", STATE_CHANGE),
    ("marked_as_duplicate", STATE_CHANGE),
    ("mentioned", STATE_CHANGE),
    ("merged", STATE_CHANGE),
    ("pinned", STATE_CHANGE),
    ("ready_for_review", STATE_CHANGE),
    ("referenced", STATE_CHANGE),
    ("removed_from_merge_queue", STATE_CHANGE),
    ("subscribed", STATE_CHANGE),
    ("transferred", STATE_CHANGE),
    ("unmarked_as_duplicate", STATE_CHANGE),
    ("unpinned", STATE_CHANGE),
    ("unsubscribed", STATE_CHANGE),
    ("user_blocked", STATE_CHANGE),
];

const STATE_CHANGE: &str = "state-change-issue-event";

/// The schema of an event of this name, if the table knows it.
#[must_use]
pub fn of_event(name: &str) -> Option<&'static str> {
    let row = EVENTS.iter().find(|(event, _)| *event == name)?;
    Some(row.1)
}

/// A published schema as it is published.
///
/// # Panics
/// If there is none of that name.
#[must_use]
pub fn published(name: &str) -> &'static Value {
    let schema = api_description()["components"]["schemas"].get(name);
    schema.unwrap_or_else(|| panic!("GitHub publishes no schema {name}"))
}

/// A published schema as JSON Schema (draft 2020-12), closed, with all that it refers to.
///
/// # Panics
/// If there is none of that name.
#[must_use]
pub fn json_schema(name: &str) -> Value {
    let mut reached = BTreeSet::new();
    reach(name, &mut reached);
    let definitions: Map<String, Value> = reached
        .iter()
        .map(|name| (name.clone(), translated(published(name))))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/$defs/{name}"),
        "$defs": definitions,
    })
}

/// The name behind a `$ref`.
fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")
}

fn reach(name: &str, reached: &mut BTreeSet<String>) {
    if reached.insert(name.to_owned()) {
        reach_from(published(name), reached);
    }
}

fn reach_from(schema: &Value, reached: &mut BTreeSet<String>) {
    if let Some(name) = referred(schema) {
        return reach(name, reached);
    }
    parts(schema).for_each(|part| reach_from(part, reached));
}

/// The schemas directly inside a schema.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::values);
    let single = ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|key| schema.get(key));
    properties
        .chain(single)
        .chain(alternatives(schema).into_iter().flatten())
        .chain(schema.get("allOf").and_then(Value::as_array).into_iter().flatten())
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()
}

/// OpenAPI 3.0 to JSON Schema: `nullable` becomes a type, references are renamed, objects are closed.
fn translated(schema: &Value) -> Value {
    if let Some(name) = referred(schema) {
        return json!({"$ref": format!("#/$defs/{name}")});
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
        let whole = all.iter().fold(json!({}), |whole, part| merged(&whole, part));
        return translated(&whole);
    }
    let Some(schema) = schema.as_object() else {
        return schema.clone();
    };
    let mut out: Map<String, Value> = schema.iter().filter_map(|(key, value)| keyword(key, value)).collect();
    if out.contains_key("properties") && !out.contains_key("additionalProperties") {
        out.insert("additionalProperties".into(), json!(false));
    }
    if schema.get("nullable") == Some(&json!(true)) {
        or_null(out)
    } else {
        Value::Object(out)
    }
}

/// What fits both: properties and what is required of either; of other keywords those of the second.
fn merged(first: &Value, second: &Value) -> Value {
    let mut whole = first.clone();
    for (key, value) in second.as_object().into_iter().flatten() {
        let known = first.get(key);
        whole[key] = match (key.as_str(), known) {
            ("properties", Some(known)) => merged_properties(known, value),
            ("required", Some(known)) => either(known, value),
            _ => value.clone(),
        };
    }
    whole
}

/// The names of two lists, each once.
fn either(first: &Value, second: &Value) -> Value {
    let names = [first, second].into_iter().filter_map(Value::as_array).flatten();
    let names: BTreeSet<&str> = names.filter_map(Value::as_str).collect();
    json!(names)
}

fn merged_properties(first: &Value, second: &Value) -> Value {
    let mut all = first.clone();
    for (name, property) in second.as_object().into_iter().flatten() {
        all[name] = first
            .get(name)
            .map_or_else(|| property.clone(), |known| merged(known, property));
    }
    all
}

/// Where there is one type, null becomes a second one: a mismatch then names the property, not the whole object.
fn or_null(mut schema: Map<String, Value>) -> Value {
    let Some(kind) = schema.get("type").cloned() else {
        return json!({"anyOf": [{"type": "null"}, schema]});
    };
    schema.insert("type".into(), json!([kind, "null"]));
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    Value::Object(schema)
}

/// A keyword that says what fits; examples, texts and the like are left out.
fn keyword(key: &str, value: &Value) -> Option<(String, Value)> {
    let all = |value: &Value| {
        value
            .as_array()
            .map(|all| all.iter().map(translated).collect::<Value>())
    };
    let value = match key {
        "type" | "enum" | "required" | "format" | "minLength" | "maxLength" | "minimum" | "maximum" | "pattern" => {
            value.clone()
        }
        "items" | "additionalProperties" => translated(value),
        "oneOf" | "anyOf" => all(value)?,
        "properties" => {
            let properties = value.as_object()?.iter();
            Value::Object(
                properties
                    .map(|(name, schema)| (name.clone(), translated(schema)))
                    .collect(),
            )
        }
        _ => return None,
    };
    Some((key.to_owned(), value))
}

/// An object made from a schema.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The schema.
    pub schema: &'static str,
    /// The event's name, for a timeline event.
    pub event: Option<&'static str>,
    /// Which fields it has.
    pub fill: Fill,
    /// The object.
    pub value: Value,
}

/// Which fields an instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// All, each with a value; of alternatives and enumerations the one of this number (beginning anew at the end).
    Full(usize),
    /// All; null where that is allowed, lists empty.
    Null,
    /// The required ones.
    Bare,
}

/// Instances of the issue and of every event of the table: every optional field there and not there, every nullable field
/// null and not, every alternative of every union, every value of every enumeration.
///
/// # Panics
/// If the package with the schemas is not there (`cargo stack test` fetches it).
#[must_use]
pub fn instances() -> Vec<Instance> {
    let events = EVENTS.iter().map(|(event, schema)| (*schema, Some(*event)));
    std::iter::once(("issue", None))
        .chain(events)
        .flat_map(|(schema, event)| instances_of(schema, event))
        .collect()
}

fn instances_of(schema: &'static str, event: Option<&'static str>) -> Vec<Instance> {
    let choices = choices(published(schema), &mut vec![schema]);
    let fills = (0..choices).map(Fill::Full).chain([Fill::Null, Fill::Bare]);
    fills
        .map(|fill| Instance {
            schema,
            event,
            fill,
            value: named(instance(schema, fill), event),
        })
        .collect()
}

/// An event bears its name even where the schema does not demand one.
fn named(mut value: Value, event: Option<&str>) -> Value {
    if let Some(event) = event {
        value["event"] = json!(event);
    }
    value
}

/// An instance of any published schema.
///
/// # Panics
/// If there is no schema of that name.
#[must_use]
pub fn instance(schema: &str, fill: Fill) -> Value {
    Maker {
        fill,
        within: vec![schema.to_owned()],
    }
    .make(published(schema))
    .unwrap_or_default()
}

/// How many numbers [`Fill::Full`] needs until every alternative and every value of an enumeration had its turn.
fn choices(schema: &Value, within: &mut Vec<&'static str>) -> usize {
    if let Some(name) = referred(schema) {
        let known = api_description()["components"]["schemas"].as_object();
        let Some((name, schema)) = known.and_then(|all| all.get_key_value(name)) else {
            return 1;
        };
        if within.contains(&name.as_str()) {
            return 1;
        }
        within.push(name);
        let most = choices(schema, within);
        within.pop();
        return most;
    }
    let here = [schema.get("enum").and_then(Value::as_array), alternatives(schema)];
    let here = here.into_iter().flatten().map(Vec::len);
    parts(schema)
        .map(|part| choices(part, within))
        .chain(here)
        .max()
        .unwrap_or(1)
}

/// Makes one instance.
struct Maker {
    fill: Fill,
    /// The schemas that it is within: none is entered twice, since some contain themselves.
    within: Vec<String>,
}

impl Maker {
    /// A value that fits; none for what would contain itself without end.
    fn make(&mut self, schema: &Value) -> Option<Value> {
        if let Some(name) = referred(schema) {
            return self.enter(name);
        }
        if schema["nullable"] == true && self.fill == Fill::Null {
            return Some(Value::Null);
        }
        if let Some(alternatives) = alternatives(schema) {
            return self.make(self.pick(alternatives));
        }
        if let Some(values) = schema["enum"].as_array() {
            return Some(self.pick(values).clone());
        }
        match schema["type"].as_str() {
            Some("array") => Some(self.array(schema)),
            Some("string") => Some(json!(text(schema["format"].as_str()))),
            Some("integer") if schema["format"] == "int64" => Some(json!(3_000_000_000_u64)),
            Some("integer") => Some(json!(7)),
            Some("number") => Some(json!(1.5)),
            Some("boolean") => Some(json!(self.fill == Fill::Full(0))),
            _ => self.object(schema),
        }
    }

    fn enter(&mut self, name: &str) -> Option<Value> {
        if self.within.iter().any(|outer| outer == name) {
            return (published(name)["nullable"] == true).then_some(Value::Null);
        }
        self.within.push(name.to_owned());
        let made = self.make(published(name));
        self.within.pop();
        made
    }

    fn pick<'a>(&self, from: &'a [Value]) -> &'a Value {
        match self.fill {
            Fill::Full(number) => &from[number % from.len()],
            Fill::Null | Fill::Bare => &from[0],
        }
    }

    fn array(&mut self, schema: &Value) -> Value {
        let size = match self.fill {
            Fill::Full(_) => 2,
            Fill::Bare => 1,
            Fill::Null => 0,
        };
        (0..size).filter_map(|_| self.make(&schema["items"])).collect()
    }

    fn object(&mut self, schema: &Value) -> Option<Value> {
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let needed = required.contains(&name.as_str());
            if !needed && self.fill == Fill::Bare {
                continue;
            }
            match self.make(property) {
                Some(value) => _ = object.insert(name.clone(), value),
                None if needed => return None,
                None => {}
            }
        }
        if schema
            .get("additionalProperties")
            .is_some_and(|more| *more != json!(false))
            && self.fill != Fill::Bare
        {
            object.insert("a key of its own".into(), json!("text"));
        }
        Some(Value::Object(object))
    }
}

fn text(format: Option<&str>) -> &'static str {
    match format {
        Some("date-time") => "2024-05-06T07:08:09Z",
        Some("uri") => "https://api.github.com/some/where",
        _ => "text",
    }
}
