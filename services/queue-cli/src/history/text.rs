//! Content as it may be shown: anyone who may write an issue writes it, so none may move a terminal's cursor.

use serde_json::Value;

/// The longest text that is shown in a line, in characters.
pub(crate) const LINE: usize = 120;

/// One line in quotes, without control characters, cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(LINE).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

/// A line of a text that is shown line by line, whole.
pub(crate) fn plain(line: &str) -> String {
    let shown = |c: char| c == '\t' || c == '"' || c == '\'' || c == '\\';
    line.trim_end_matches('\r')
        .chars()
        .flat_map(|c| if shown(c) { vec![c] } else { c.escape_debug().collect() })
        .collect()
}

/// A JSON value in a line: texts in quotes, people, labels and milestones by their names.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Object(_) => name(value).map_or_else(|| quoted(&value.to_string()), quoted),
        Value::Array(all) => format!("[{}]", all.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// What people call an object of GitHub's.
pub(crate) fn name(value: &Value) -> Option<&str> {
    ["name", "login", "title"]
        .iter()
        .find_map(|member| value[*member].as_str())
}

/// A timeline event in a line: its position, kind, author and time, and how its text begins.
pub(crate) fn event(position: usize, event: &Value) -> String {
    let text = |value: &Value| {
        value
            .as_str()
            .map(|text| plain(&text.chars().take(LINE).collect::<String>()))
    };
    let kind = text(&event["event"]).unwrap_or_else(|| "of no kind".to_owned());
    let who = [&event["actor"], &event["user"], &event["author"]]
        .into_iter()
        .find_map(name);
    let when = [&event["created_at"], &event["submitted_at"], &event["author"]["date"]];
    let mut line = format!("{position:>4}  {kind}");
    if let Some(who) = who {
        line += &format!(" by {}", plain(who));
    }
    if let Some(when) = when.into_iter().find_map(text) {
        line += &format!(", {when}");
    }
    let about = [
        &event["label"],
        &event["milestone"],
        &event["assignee"],
        &event["source"]["issue"],
    ];
    let about = about.into_iter().find_map(name).or_else(|| event["body"].as_str());
    match about {
        Some(about) => format!("{line}: {}", quoted(about.lines().next().unwrap_or_default())),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_leaves_its_line_or_moves_the_cursor() {
        assert_eq!(quoted("a\u{1b}[2J\nb\u{202e}"), r#""a\u{1b}[2J\nb\u{202e}""#);
        assert_eq!(
            plain("it's\t\"schön\" \\o/ \u{9b}2J\r"),
            "it's\t\"schön\" \\o/ \\u{9b}2J"
        );
        assert_eq!(quoted(&"x".repeat(200)).chars().count(), LINE + 3);
    }

    #[test]
    fn people_labels_and_events_are_called_by_their_names() {
        assert_eq!(
            value(&json!([{"name": "bug", "id": 1}, {"login": "Ann"}])),
            r#"["bug", "Ann"]"#
        );
        assert_eq!(value(&json!({"total": 1})), r#""{\"total\":1}""#);
        assert_eq!(
            (value(&json!(null)), value(&json!(4))),
            ("null".to_owned(), "4".to_owned())
        );
        let commented = json!({"event": "commented", "user": {"login": "Ann"}, "created_at": "2026-01-02T03:04:05Z", "body": "Me too\nreally"});
        assert_eq!(
            event(3, &commented),
            r#"   3  commented by Ann, 2026-01-02T03:04:05Z: "Me too""#
        );
        let labeled = json!({"event": "labeled", "label": {"name": "bug"}});
        assert_eq!(event(12, &labeled), r#"  12  labeled: "bug""#);
        assert_eq!(event(0, &json!(7)), "   0  of no kind");
    }
}
