//! The documents that an issue must have, from its stored JSON and its newest event: raw members, and what Bugstream
//! adds. Computed from what `docs/ARCHITECTURE.md` says, over plain values, without the archive library.

use std::borrow::Cow;

use bugstream_proto::Event;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::place::Side;
use super::wall::{PRIVATE_FLAG, Wall};

/// Everything of one issue.
pub(super) struct Expected {
    pub(super) issue: Document,
    pub(super) timeline: Vec<Document>,
}

/// One document and the side where it belongs. Times in `bugstream` are in nanoseconds since 1970.
pub(super) struct Document {
    pub(super) side: Side,
    content: Value,
}

impl Expected {
    pub(super) fn of(event: &Event, issue: &Value, timeline: &[Value], wall: &Wall<'_>) -> Self {
        let judged = wall.judge(issue, timeline);
        let render = |members, private, own| Document {
            side: if private { Side::Private } else { Side::Public },
            content: complete(members, event, judged.private, own),
        };
        let own = json!({"timeline_events": timeline.len()});
        let rendered = timeline
            .iter()
            .zip(&judged.events)
            .enumerate()
            .map(|(position, (raw, private))| {
                let mut own = json!({"position": position});
                if let Some(at) = occurred_at(raw) {
                    own["occurred_at"] = json!(at.to_string());
                }
                render(members(raw), *private, own)
            });
        Self {
            issue: render(
                issue_members(issue, judged.private, judged.content, wall),
                judged.private,
                own,
            ),
            timeline: rendered.collect(),
        }
    }
}

impl Document {
    /// The first place (a JSON pointer, no content) in which what was found differs; `None` if it is equal.
    pub(super) fn difference(&self, found: &Value) -> Option<String> {
        let mut found = whole(found).into_owned();
        if let Some(additions) = found.get_mut("bugstream").and_then(Value::as_object_mut) {
            // A document may name the trace that made it.
            if additions.get("trace_id").is_some_and(Value::is_string) {
                additions.remove("trace_id");
            }
            for name in ["downloaded_at", "occurred_at"] {
                if let Some(at) = additions.get(name).and_then(date) {
                    additions.insert(name.to_owned(), json!(at.to_string()));
                }
            }
        }
        first_difference(&self.content, &found, "")
    }
}

/// A document with what Elasticsearch could not index in its place again.
pub(super) fn whole(found: &Value) -> Cow<'_, Value> {
    let Some(unindexed) = found["bugstream"]["unindexed"].as_object() else {
        return Cow::Borrowed(found);
    };
    let mut whole = found.clone();
    for (name, json) in unindexed {
        let value = json.as_str().and_then(|json| serde_json::from_str(json).ok());
        whole[name] = value.unwrap_or_default();
    }
    if let Some(additions) = whole["bugstream"].as_object_mut() {
        additions.retain(|name, _| name != "unindexed" && name != "error");
    }
    Cow::Owned(whole)
}

fn members(raw: &Value) -> Map<String, Value> {
    let ours = ["bug_number", "bugstream", PRIVATE_FLAG];
    let all = raw.as_object().into_iter().flatten();
    let kept = all.filter(|(name, _)| !ours.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn issue_members(issue: &Value, private: bool, content: Option<&Value>, wall: &Wall<'_>) -> Map<String, Value> {
    let mut members = members(issue);
    if !private {
        members.retain(|name, value| wall.shows(name, value));
    }
    for name in ["title", "body"] {
        if let Some(value) = content.and_then(|content| content.get(name)) {
            members.insert(name.to_owned(), value.clone());
        }
    }
    members
}

fn complete(mut members: Map<String, Value>, event: &Event, private: bool, own: Value) -> Value {
    let mut additions = json!({
        "repository": event.issue.repo().to_string(),
        "revision": event.revision,
        "downloaded_at": nanoseconds(event.occurred_at).to_string(),
    });
    for (name, value) in own.as_object().into_iter().flatten() {
        additions[name] = value.clone();
    }
    members.insert("bug_number".to_owned(), json!(event.issue.number()));
    members.insert("bugstream".to_owned(), additions);
    if private {
        members.insert(PRIVATE_FLAG.to_owned(), json!(true));
    }
    Value::Object(members)
}

/// When an event happened: its own date, that of its commit, or that of the first comment in its list.
fn occurred_at(event: &Value) -> Option<i128> {
    let pointers = [
        "/created_at",
        "/submitted_at",
        "/committer/date",
        "/author/date",
        "/comments/0/created_at",
    ];
    pointers.into_iter().find_map(|pointer| date(event.pointer(pointer)?))
}

fn date(value: &Value) -> Option<i128> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok().map(nanoseconds)
}

fn nanoseconds(at: OffsetDateTime) -> i128 {
    at.unix_timestamp_nanos()
}

/// Where two values first differ, as a JSON pointer.
pub(super) fn first_difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            names.into_iter().find_map(|name| {
                let path = format!("{path}/{name}");
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => first_difference(a, b, &path),
                    _ => Some(path),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .into_iter()
                .find_map(|(n, (a, b))| first_difference(a, b, &format!("{path}/{n}")))
        }
        _ => (left != right).then(|| {
            if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_counts_as_being_in_its_place() {
        let found = json!({"title": "a", "bugstream": {"revision": 1, "error": "refused: labels",
            "unindexed": {"labels": "[\"b\"]", "": "{\"c\":1}"}}});
        let meant = json!({"title": "a", "labels": ["b"], "": {"c": 1}, "bugstream": {"revision": 1}});
        assert_eq!(*whole(&found), meant);
        assert_eq!(*whole(&meant), meant);
    }

    #[test]
    fn a_difference_is_named_by_its_path_and_never_quoted() {
        let table = [
            (
                json!({"a": [1, {"b": "x"}]}),
                json!({"a": [1, {"b": "y"}]}),
                Some("/a/1/b"),
            ),
            (json!({"a": 1}), json!({"a": 1, "secret": 2}), Some("/secret")),
            (json!({"a": 1, "c": null}), json!({"a": 1}), Some("/c")),
            (json!({"a": [1]}), json!({"a": [1, 2]}), Some("/a")),
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), None),
            (json!([]), json!({}), Some("/")),
        ];
        for (left, right, wanted) in table {
            assert_eq!(first_difference(&left, &right, "").as_deref(), wanted, "{left} {right}");
        }
    }

    #[test]
    fn the_date_of_an_event_is_the_first_that_is_one() {
        let table = [
            (json!({"created_at": "2026-01-01T00:00:00Z", "submitted_at": "x"}), true),
            (
                json!({"committer": {"date": "nonsense"}, "author": {"date": "2026-01-01T01:00:00+01:00"}}),
                true,
            ),
            (json!({"comments": [{"created_at": "2026-01-01T00:00:00Z"}]}), true),
            (json!({"created_at": null}), false),
        ];
        for (event, dated) in table {
            assert_eq!(
                occurred_at(&event),
                dated.then_some(1_767_225_600_000_000_000),
                "{event}"
            );
        }
    }
}
