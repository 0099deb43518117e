//! What changed between two events, for people and for programs. The one place of `history` that shows content.

use std::fmt::Write as _;

use bugstream_proto::IssueId;
use serde_json::{Value, json};

use super::diff::{Changed, Difference};
use super::past::Numbered;
use super::text;
use crate::report::{Report, counted, time_of};

/// Lines of a long text that are shown as removed, and as added.
const MOST_LINES: usize = 60;

pub(super) fn report(issue: &IssueId, from: Numbered<'_>, to: Numbered<'_>, found: &Difference) -> Report {
    let mut human = format!("{issue}: from event {} to {}", named(from), named(to));
    if found.is_empty() {
        human.push_str("\nnothing differs");
    }
    for changed in &found.issue {
        tell("  ", changed, &mut human);
    }
    for (sign, events) in [("-", &found.removed), ("+", &found.added)] {
        for (position, event) in events {
            let _ = write!(human, "\n{sign} {}", text::event(*position, event));
        }
    }
    for (position, event, changed) in &found.edited {
        let _ = write!(human, "\n~ {}", text::event(*position, event));
        changed
            .iter()
            .for_each(|changed| tell("          ", changed, &mut human));
    }
    Report::new(human, json(issue, from, to, found))
}

fn named(one: Numbered<'_>) -> String {
    let at = time_of(one.event.occurred_at);
    format!("{} ({at}, revision {})", one.number, one.event.revision)
}

fn tell(indent: &str, changed: &Changed, human: &mut String) {
    let path = text::plain(&changed.path);
    let _ = match (&changed.before, &changed.after) {
        (Some(Value::String(before)), Some(Value::String(after))) if is_long(before) || is_long(after) => {
            write!(human, "\n{indent}{path}{}", lines(indent, before, after))
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            write!(human, "\n{indent}{path}: {}", elements(before, after))
        }
        (before, after) => write!(
            human,
            "\n{indent}{path}: {} → {}",
            value(before.as_ref()),
            value(after.as_ref())
        ),
    };
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), text::value)
}

fn is_long(text: &str) -> bool {
    text.contains('\n') || text.len() > text::LINE
}

/// What went and what came, without what both have.
fn elements(before: &[Value], after: &[Value]) -> String {
    let only = |these: &[Value], those: &[Value], sign: &str| -> Vec<String> {
        let only = these.iter().filter(|one| !those.contains(one));
        only.map(|one| format!("{sign}{}", text::value(one))).collect()
    };
    let mut all = only(before, after, "−");
    all.extend(only(after, before, "+"));
    if all.is_empty() {
        return "in another order".to_owned();
    }
    all.join(", ")
}

/// The lines between those with which both texts begin and end.
fn lines(indent: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let begin = old.iter().zip(&new).take_while(same).count();
    let (old, new) = (&old[begin..], &new[begin..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut all = format!(", from line {}", begin + 1);
    for (sign, lines) in [('-', old), ('+', new)] {
        for line in lines.iter().take(MOST_LINES) {
            let _ = write!(all, "\n{indent}{sign} {}", text::plain(line));
        }
        if lines.len() > MOST_LINES {
            let more = counted((lines.len() - MOST_LINES) as u64, "line");
            let _ = write!(all, "\n{indent}{sign} … and {more}");
        }
    }
    all
}

fn json(issue: &IssueId, from: Numbered<'_>, to: Numbered<'_>, found: &Difference) -> Value {
    let end = |one: Numbered<'_>| {
        json!({
            "number": one.number,
            "revision": one.event.revision,
            "occurred_at": time_of(one.event.occurred_at),
        })
    };
    let members = |all: &[Changed]| -> Vec<Value> {
        let one = |one: &Changed| json!({"field": one.path, "before": one.before, "after": one.after});
        all.iter().map(one).collect()
    };
    let events = |all: &[(usize, Value)]| -> Vec<Value> {
        let one = |(position, event): &(usize, Value)| json!({"position": position, "event": event});
        all.iter().map(one).collect()
    };
    let edited = found.edited.iter();
    let edited = edited
        .map(|(position, event, changed)| json!({"position": position, "event": event, "changes": members(changed)}));
    json!({
        "issue": issue.to_string(),
        "from": end(from),
        "to": end(to),
        "changes": members(&found.issue),
        "timeline": {
            "removed": events(&found.removed),
            "added": events(&found.added),
            "edited": edited.collect::<Vec<_>>(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        assert_eq!(lines("", "a\nb\nc\nd", "a\nB\nd"), ", from line 2\n- b\n- c\n+ B");
        assert_eq!(lines("", "a\n", "a\nb\u{1b}[2J"), ", from line 2\n+ b\\u{1b}[2J");
        let many = "x\n".repeat(100);
        assert!(lines("", "", &many).ends_with("+ … and 40 lines"));
    }

    #[test]
    fn of_lists_only_what_went_and_came_is_shown() {
        let label = |name: &str| json!({"name": name, "id": name.len()});
        let before = [label("bug"), label("needs-triage")];
        let after = [label("bug"), label("fixed"), json!({"login": "Ann"})];
        assert_eq!(elements(&before, &after), r#"−"needs-triage", +"fixed", +"Ann""#);
        assert_eq!(
            elements(&[json!(1), json!(2)], &[json!(2), json!(1)]),
            "in another order"
        );
    }
}
