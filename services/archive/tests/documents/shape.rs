//! What documents look like.

use bugstream_archive::{Archived, Aside, Stamp, error_stub, issue_document_id, stub, timeline_document_id};
use insta::assert_snapshot;

use crate::{documents, issue, rules, stamp, text};

const FROM_PARTNER: &str = r#"{"event":"cross-referenced","created_at":"2026-01-02T03:04:05Z","source":{"type":"issue","issue":{
  "number":7,"title":"bank.example - login \u2620 fails","body":"line 1\nline 2","repository":{"full_name":"webcompat/web-bugs-private","private":true}}}}"#;

#[test]
fn a_public_issue() {
    let (document, timeline, merged) = documents(
        "{\n  \"number\": 42,\n  \"title\": \"Video\",\n  \"body\": null\n}\n",
        r#"[{"event":"closed","created_at":"2026-01-02T03:04:05Z"}, {"event":"mentioned"}]"#,
    );
    assert_snapshot!(text(&document), @r#"{"number": 42,"title": "Video","body": null,"bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","timeline_events":2}}"#);
    assert_snapshot!(text(&timeline[0]), @r#"{"event":"closed","created_at":"2026-01-02T03:04:05Z","bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","position":0,"occurred_at":"2026-01-02T03:04:05Z"}}"#);
    assert_snapshot!(text(&timeline[1]), @r#"{"event":"mentioned","bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","position":1}}"#);
    assert_snapshot!(text(&merged), @r#"{"number": 42,"title": "Video","body": null}"#);
}

#[test]
fn a_private_issue_has_title_and_body_of_its_partner_in_their_place() {
    let (document, timeline, merged) = documents(
        r#"{"id":1e3,"title":"In the moderation queue.","n":42,"body":"moderated","x":[1, 2]}"#,
        &format!("[{{\"event\":\"labeled\"}},{FROM_PARTNER}]"),
    );
    assert_snapshot!(text(&document), @r#"{"id":1e3,"title":"bank.example - login \u2620 fails","n":42,"body":"line 1\nline 2","x":[1, 2],"bug_number":42,"__WEBCOMPAT_PRIVATE_ISSUE__":true,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","timeline_events":2}}"#);
    assert_snapshot!(text(&timeline[0]), @r#"{"event":"labeled","bug_number":42,"__WEBCOMPAT_PRIVATE_ISSUE__":true,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","position":0}}"#);
    assert_snapshot!(text(&merged), @r#"{"id":1e3,"title":"bank.example - login \u2620 fails","n":42,"body":"line 1\nline 2","x":[1, 2],"__WEBCOMPAT_PRIVATE_ISSUE__":true}"#);
    assert!(text(&timeline[1]).contains(r#""__WEBCOMPAT_PRIVATE_ISSUE__":true"#));
}

#[test]
fn the_first_cross_reference_from_the_partner_counts() {
    let second = FROM_PARTNER.replace("bank.example", "second.example");
    let other = FROM_PARTNER
        .replace("web-bugs-private", "elsewhere")
        .replace("bank.example", "other.example");
    let (document, ..) = documents(
        r#"{"title":"Issue closed."}"#,
        &format!("[{other},{FROM_PARTNER},{second}]"),
    );
    assert!(
        text(&document).contains(r#""title":"bank.example - login \u2620 fails""#),
        "{}",
        text(&document)
    );
    assert!(
        text(&document).contains(r#""body":"line 1\nline 2""#),
        "a member that the public issue lacks is added"
    );
}

#[test]
fn a_partner_issue_without_body_leaves_the_own_one() {
    let bare = r#"{"event":"cross-referenced","source":{"issue":{"title":"t","repository_url":"https://api.github.com/repos/webcompat/web-bugs-private"}}}"#;
    let (.., merged) = documents(r#"{"title":"Issue closed.","body":"b"}"#, &format!("[{bare}]"));
    assert_eq!(
        text(&merged),
        r#"{"title":"t","body":"b","__WEBCOMPAT_PRIVATE_ISSUE__":true}"#
    );
}

#[test]
fn an_imported_flag_stays_once() {
    let raw = r#"{"__WEBCOMPAT_PRIVATE_ISSUE__":true,"title":"real title","__WEBCOMPAT_PRIVATE_ISSUE__":true}"#;
    let (document, timeline, merged) = documents(raw, r#"[{"event":"labeled","__WEBCOMPAT_PRIVATE_ISSUE__":true}]"#);
    for bytes in [&document, &timeline[0], &merged] {
        assert_eq!(
            text(bytes).matches("__WEBCOMPAT_PRIVATE_ISSUE__\":true").count(),
            1,
            "{}",
            text(bytes)
        );
    }
    assert_eq!(
        text(&merged),
        r#"{"title":"real title","__WEBCOMPAT_PRIVATE_ISSUE__":true}"#
    );
}

#[test]
fn a_public_issue_does_not_name_its_private_parent() {
    let parent =
        |repo: &str| format!(r#"{{"parent_issue_url":"https://api.github.com/repos/{repo}/issues/9","title":"t"}}"#);
    let (document, _, merged) = documents(&parent("webcompat/web-bugs-private"), "[]");
    assert_eq!(text(&merged), r#"{"title":"t"}"#);
    assert!(!text(&document).contains("private"), "{}", text(&document));
    let (.., merged) = documents(&parent("webcompat/web-bugs"), "[]");
    assert!(text(&merged).contains("parent_issue_url"));
    let private = parent("webcompat/web-bugs-private").replace("{", r#"{"__WEBCOMPAT_PRIVATE_ISSUE__":true,"#);
    let (.., merged) = documents(&private, "[]");
    assert!(
        text(&merged).contains("parent_issue_url"),
        "a private document keeps everything"
    );
}

#[test]
fn when_an_event_happened() {
    let table = [
        (
            r#"{"created_at":"2026-01-02T03:04:05Z","submitted_at":"2020-01-01T00:00:00Z"}"#,
            Some("2026-01-02T03:04:05Z"),
        ),
        (
            r#"{"submitted_at":"2026-01-02T03:04:05Z"}"#,
            Some("2026-01-02T03:04:05Z"),
        ),
        (
            r#"{"author":{"date":"2020-01-01T00:00:00Z"},"committer":{"date":"2026-01-02T03:04:05+02:00"}}"#,
            Some("2026-01-02T01:04:05Z"),
        ),
        (
            r#"{"author":{"date":"2026-01-02T03:04:05Z"},"committer":{"date":"0000-00-00T00:00:00Z"}}"#,
            Some("2026-01-02T03:04:05Z"),
        ),
        (
            r#"{"event":"line-commented","comments":[{"created_at":"2026-01-02T03:04:05Z"}]}"#,
            Some("2026-01-02T03:04:05Z"),
        ),
        (
            r#"{"created_at":"","submitted_at":"2026-01-02T03:04:05Z"}"#,
            Some("2026-01-02T03:04:05Z"),
        ),
        (r#"{"created_at":"9999-12-31T23:59:59-23:00"}"#, None),
        (r#"{"created_at":"2026-02-30T00:00:00Z"}"#, None),
        (r#"{"created_at":"yesterday"}"#, None),
        (r#"{"created_at":1767322800}"#, None),
        (r#"{"comments":[]}"#, None),
        ("{}", None),
    ];
    for (event, want) in table {
        let (_, timeline, _) = documents("{}", &format!("[{event}]"));
        let document: serde_json::Value = serde_json::from_slice(&timeline[0]).unwrap();
        assert_eq!(
            document["bugstream"].get("occurred_at").and_then(|v| v.as_str()),
            want,
            "{event}"
        );
    }
}

#[test]
fn stubs_and_ids() {
    let (mut gone, mut refused) = (Vec::new(), Vec::new());
    stub(17, &mut gone);
    error_stub(&issue(), 17, "field [\"a\"] mapper_parsing_exception", &mut refused);
    assert_snapshot!(text(&gone), @r#"{"bugstream":{"gone":true,"revision":17}}"#);
    assert_snapshot!(text(&refused), @r#"{"bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":17,"error":"field [\"a\"] mapper_parsing_exception"}}"#);
    assert_eq!(issue_document_id(&issue()).to_string(), "webcompat/web-bugs/42");
    assert_eq!(timeline_document_id(&issue(), 0).to_string(), "webcompat/web-bugs/42/0");
}

/// The issue's document after one more refusal each.
fn after_refusals(raw_issue: &str, raw_timeline: &str, fields: &[&str]) -> Vec<String> {
    let archived = Archived::parse(raw_issue.as_bytes(), raw_timeline.as_bytes()).unwrap();
    let classified = archived.classify(&rules());
    let (id, mut aside) = (issue(), Aside::default());
    let after = |field: &&str| {
        assert!(aside.grow(field, &format!("refused: {field}")));
        let stamp = Stamp {
            aside: Some(&aside),
            trace_id: None,
            ..stamp(&id)
        };
        let mut line = Vec::new();
        archived.issue_document(&classified, &stamp, &mut line);
        text(&line).to_owned()
    };
    fields.iter().map(after).collect()
}

#[test]
fn what_elasticsearch_refused_lies_beside_byte_for_byte_and_the_rest_stays() {
    let raw = r#"{"title":"Video","labels":[ "bug\n"], "": 1e400,"bugstream":"not ours"}"#;
    let [first, second, third] = &after_refusals(raw, "[]", &["labels.name", "", ""])[..] else {
        panic!("three documents")
    };
    assert_snapshot!(first, @r#"{"title":"Video","": 1e400,"bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","timeline_events":0,"error":"refused: labels.name","unindexed":{"labels":"[ \"bug\\n\"]"}}}"#);
    assert_snapshot!(second, @r#"{"title":"Video","bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","timeline_events":0,"error":"refused: labels.name, refused: ","unindexed":{"":"1e400","labels":"[ \"bug\\n\"]"}}}"#);
    assert_snapshot!(third, @r#"{"bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","timeline_events":0,"error":"refused: labels.name, refused: ","unindexed":{"":"1e400","labels":"[ \"bug\\n\"]","title":"\"Video\""}}}"#);
}

#[test]
fn what_lies_beside_is_what_the_document_may_say() {
    let raw = r#"{"title":"In the moderation queue.","body":{"moderated":1}}"#;
    let partner = FROM_PARTNER.replace(r#""line 1\nline 2""#, "{\"odd\":\n1.0}");
    assert_snapshot!(after_refusals(raw, &format!("[{partner}]"), &["body"])[0], @r#"{"title":"bank.example - login \u2620 fails","bug_number":42,"__WEBCOMPAT_PRIVATE_ISSUE__":true,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","timeline_events":1,"error":"refused: body","unindexed":{"body":"{\"odd\":\n1.0}"}}}"#);
    let withheld =
        r#"{"title":"Video","parent_issue_url":"https://api.github.com/repos/webcompat/web-bugs-private/issues/7"}"#;
    assert_snapshot!(after_refusals(withheld, "[]", &["parent_issue_url"])[0], @r#"{"title":"Video","bug_number":42,"bugstream":{"repository":"webcompat/web-bugs","revision":1772593567089,"downloaded_at":"2026-03-04T03:06:07.089Z","timeline_events":0,"error":"refused: parent_issue_url"}}"#);
}
