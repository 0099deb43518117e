//! An issue on a page, for a person at a terminal.

use std::fmt::Write as _;

use bugstream_proto::IssueId;
use serde_json::{Value, json};

use crate::history::past::{Numbered, Parsed};
use crate::history::text;
use crate::report::{Report, counted, time_of};

/// What is told of an issue, in this order, where it is there.
const MEMBERS: [&str; 14] = [
    "title",
    "state",
    "state_reason",
    "user",
    "labels",
    "milestone",
    "assignees",
    "type",
    "locked",
    "comments",
    "created_at",
    "updated_at",
    "closed_at",
    "html_url",
];

pub(super) fn report(issue: &IssueId, found: Numbered<'_>, parsed: &Parsed) -> Report {
    let at = time_of(found.event.occurred_at);
    let mut human = format!(
        "{issue} as of {at}, event {}, revision {}",
        found.number, found.event.revision
    );
    for member in MEMBERS {
        if let Some(told) = told(&parsed.issue[member]) {
            let _ = write!(human, "\n  {member:<13} {told}");
        }
    }
    for line in parsed.issue["body"].as_str().unwrap_or_default().lines() {
        let _ = write!(human, "\n  | {}", text::plain(line));
    }
    let _ = write!(human, "\n  {}", counted(parsed.timeline.len() as u64, "timeline event"));
    for (position, event) in parsed.timeline.iter().enumerate() {
        let _ = write!(human, "\n  {}", text::event(position, event));
    }
    let json = json!({
        "id": issue.to_string(),
        "number": found.number,
        "occurred_at": at,
        "revision": found.event.revision,
        "issue": parsed.issue,
        "timeline": parsed.timeline,
    });
    Report::new(human, json)
}

/// Nothing for what says nothing.
fn told(value: &Value) -> Option<String> {
    let is_empty = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(all) => all.is_empty(),
        _ => false,
    };
    (!is_empty).then(|| text::value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_left_out() {
        for nothing in [json!(null), json!(false), json!([])] {
            assert_eq!(told(&nothing), None);
        }
        assert_eq!(told(&json!([{"name": "bug"}])).as_deref(), Some(r#"["bug"]"#));
    }
}
