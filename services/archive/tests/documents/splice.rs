//! A document is its raw JSON plus the additions, byte for byte, however odd the raw JSON is.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{documents, text};

/// Values whose bytes a parser that rebuilds them would change.
const ODD: [&str; 20] = [
    "1e400",
    "-0",
    "1.0",
    "1E+2",
    "18446744073709551616",
    "0.1000000000000000055511151231257827",
    r#""\u0041\/\b\u2028""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d""#,
    "\"ä\u{2028}\u{feff}😀\u{7f}\"",
    r#""line\nline""#,
    r#""}{\"],[""#,
    "null",
    "[]",
    "{}",
    r#"[ 1 ,2]"#,
    r#"{"a":1,"a":2}"#,
    r#"{"z":1,"a":{"m":[null]}}"#,
    r#"{"":""}"#,
    "true",
];

/// Spaces between tokens as different writers leave them.
const SPACES: [&str; 4] = ["", " ", "\n  ", "\r\n\t"];

fn raw_object(space: &str, order: impl Iterator<Item = usize>) -> String {
    let members: Vec<_> = order
        .map(|i| format!("{space}\"m{i}\\u00e4\"{space}:{space}{}{space}", ODD[i]))
        .collect();
    format!("{space}{{{}}}{space}", members.join(","))
}

fn members(json: &[u8]) -> BTreeMap<String, &RawValue> {
    serde_json::from_slice(json).unwrap()
}

fn assert_raw_plus(document: &[u8], raw: &str, additions: &[&str]) {
    let (got, want) = (members(document), members(raw.as_bytes()));
    for (name, value) in &want {
        assert_eq!(
            got[name].get(),
            value.get().replace(['\n', '\r'], " "),
            "{name} of {raw}"
        );
    }
    let added: Vec<_> = got.keys().filter(|name| !want.contains_key(*name)).collect();
    assert_eq!(added, additions);
}

#[test]
fn every_value_stays_as_it_was() {
    for space in SPACES {
        for start in 0..ODD.len() {
            let order = (0..ODD.len()).map(|i| (i * 7 + start) % ODD.len());
            let raw = raw_object(space, order);
            let (document, timeline, merged) = documents(&raw, &format!("[{raw},{raw}]"));
            assert_raw_plus(&document, &raw, &["bug_number", "bugstream"]);
            assert_raw_plus(&timeline[1], &raw, &["bug_number", "bugstream"]);
            assert_raw_plus(&merged, &raw, &[]);
        }
    }
}

#[test]
fn a_document_is_one_line() {
    for space in SPACES {
        let (document, timeline, _) = documents(
            &raw_object(space, 0..ODD.len()),
            &format!("[{}]", raw_object(space, 0..9)),
        );
        for line in [&document, &timeline[0]] {
            assert!(!line.iter().any(|b| matches!(b, b'\n' | b'\r')), "{}", text(line));
        }
    }
}

#[test]
fn empty_objects_get_the_additions_alone() {
    let (document, timeline, merged) = documents(" { } ", "[{}]");
    assert!(
        text(&document).starts_with(r#"{"bug_number":42,"bugstream":{"#),
        "{}",
        text(&document)
    );
    assert!(text(&timeline[0]).starts_with(r#"{"bug_number":42,"bugstream":{"#));
    assert_eq!(text(&merged), "{}");
}

#[test]
fn raw_members_with_the_names_of_additions_give_way() {
    let raw = r#"{"bugstream":{"gone":true},"a":1,"bug\u005fnumber":9,"__WEBCOMPAT_PRIVATE_ISSUE__":false}"#;
    let (document, timeline, merged) = documents(raw, &format!("[{raw}]"));
    for line in [&document, &timeline[0]] {
        assert!(
            text(line).starts_with(r#"{"a":1,"bug_number":42,"bugstream":{"repository""#),
            "{}",
            text(line)
        );
        assert_eq!(text(line).matches("bugstream\"").count(), 1);
    }
    assert_eq!(text(&merged), r#"{"a":1}"#);
}

#[test]
fn of_a_member_that_comes_twice_the_last_stays() {
    let (.., merged) = documents(r#"{"a":1,"b":2,"\u0061":3}"#, "[]");
    assert_eq!(text(&merged), r#"{"b":2,"\u0061":3}"#);
}
