//! What differs between two states of an issue. Pure.
//!
//! Members are compared by their path, arrays as a whole. Timeline events are found again by what names them (an id, a
//! commit, the issue that mentioned it), so that one that moved because another went before it is not a change.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::past::Parsed;

/// A member that differs; `None` where it is not there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Changed {
    /// Names with dots between them.
    pub(super) path: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Everything that differs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    pub(super) issue: Vec<Changed>,
    /// Position before, and the event.
    pub(super) removed: Vec<(usize, Value)>,
    /// Position after, and the event.
    pub(super) added: Vec<(usize, Value)>,
    /// Position after, the event as it is then, and what of it differs.
    pub(super) edited: Vec<(usize, Value, Vec<Changed>)>,
}

impl Difference {
    pub(super) fn of(before: &Parsed, after: &Parsed) -> Self {
        let mut difference = Self {
            issue: members(&before.issue, &after.issue),
            ..Self::default()
        };
        difference.timelines(&before.timeline, &after.timeline);
        difference
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn timelines(&mut self, before: &[Value], after: &[Value]) {
        let mut known: HashMap<String, VecDeque<usize>> = HashMap::new();
        for (position, event) in before.iter().enumerate() {
            known.entry(identity(event)).or_default().push_back(position);
        }
        for (position, event) in after.iter().enumerate() {
            let earlier = known.get_mut(&identity(event)).and_then(VecDeque::pop_front);
            match earlier.map(|earlier| members(&before[earlier], event)) {
                None => self.added.push((position, event.clone())),
                Some(changed) if changed.is_empty() => {}
                Some(changed) => self.edited.push((position, event.clone(), changed)),
            }
        }
        let mut gone: Vec<usize> = known.into_values().flatten().collect();
        gone.sort_unstable();
        self.removed = gone
            .into_iter()
            .map(|position| (position, before[position].clone()))
            .collect();
    }
}

/// What names an event; all of it where nothing does.
fn identity(event: &Value) -> String {
    let kind = &event["event"];
    let names = [
        &event["id"],
        &event["node_id"],
        &event["sha"],
        &event["source"]["issue"]["url"],
    ];
    match names.into_iter().find(|name| !name.is_null()) {
        Some(name) => format!("{kind} {name}"),
        None => event.to_string(),
    }
}

fn members(before: &Value, after: &Value) -> Vec<Changed> {
    let mut changed = Vec::new();
    compare("", Some(before), Some(after), &mut changed);
    changed
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changed: &mut Vec<Changed>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let below = |name: &str| {
                if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                }
            };
            for (name, value) in old {
                compare(&below(name), Some(value), new.get(name), changed);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare(&below(name), None, Some(value), changed);
            }
        }
        (before, after) => changed.push(Changed {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(issue: Value, timeline: Value) -> Parsed {
        let Value::Array(timeline) = timeline else {
            unreachable!()
        };
        Parsed { issue, timeline }
    }

    #[test]
    fn members_are_compared_by_their_path() {
        let before = json!({"title": "a", "user": {"login": "Ann", "id": 1}, "labels": [1, 2], "gone": null});
        let after = json!({"title": "b", "user": {"login": "Ann", "id": 2}, "labels": [2], "new": [1]});
        let found = members(&before, &after);
        let paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["gone", "labels", "title", "user.id", "new"]);
        assert_eq!(found[0].before, Some(Value::Null));
        assert_eq!((&found[4].before, &found[4].after), (&None, &Some(json!([1]))));
    }

    #[test]
    fn events_are_found_again_wherever_they_are() {
        let commit = json!({"event": "committed", "sha": "abc"});
        let mention = json!({"event": "cross-referenced", "source": {"issue": {"url": "u"}}});
        let nameless = json!({"event": "odd"});
        let comment = |id: u64, body: &str| json!({"event": "commented", "id": id, "body": body});
        let before = json!([comment(1, "spam"), comment(2, "x"), commit, mention, nameless, nameless]);
        let after = json!([comment(2, "y"), commit, mention, nameless, comment(3, "new")]);
        let found = Difference::of(&parsed(json!({}), before), &parsed(json!({}), after));
        assert_eq!(found.issue, []);
        assert_eq!(found.removed, [(0, comment(1, "spam")), (5, nameless)]);
        assert_eq!(found.added, [(4, comment(3, "new"))]);
        let [(0, _, changed)] = &found.edited[..] else {
            panic!("{found:?}")
        };
        assert_eq!((changed.len(), &*changed[0].path), (1, "body"));
    }

    #[test]
    fn the_same_is_no_difference() {
        let one = || parsed(json!({"a": [1]}), json!([{"event": "x"}, {"event": "x"}]));
        assert!(Difference::of(&one(), &one()).is_empty());
    }
}
