use bugstream_proto::message::Downloaded;
use bugstream_proto::{IssueId, MessageError};
use time::macros::datetime;

use super::*;
use crate::cli::Output;

fn issue() -> IssueId {
    "a/b".parse::<bugstream_proto::RepoName>().unwrap().issue(7).unwrap()
}

fn marks(public: bool, private: bool) -> v1::Marks {
    let side = |issue| Some(v1::SideMarks { timeline: 0, issue });
    v1::Marks {
        public: side(public),
        private: side(private),
    }
}

fn event(minute: i64, marks: v1::Marks, cause: v1::Cause, change: Change) -> Event {
    let at = datetime!(2026-11-21 12:00 UTC) + time::Duration::minutes(minute);
    Event {
        issue: issue(),
        revision: 1_763_726_400_000 + u64::try_from(minute).unwrap(),
        occurred_at: at,
        marks,
        cause,
        change,
    }
}

fn downloaded(issue: (&str, u64), timeline: (&str, u64), events: u32) -> Change {
    let object = |(key, size): (&str, u64)| v1::StoredObject {
        key: format!("issues/a/b/7/{key}"),
        size,
        sha256: vec![0; 32],
        compression: v1::Compression::None.into(),
    };
    Change::Downloaded(Downloaded {
        issue: object(issue),
        timeline: object(timeline),
        timeline_events: events,
    })
}

fn webhook(first: &str, last: &str) -> v1::Cause {
    let delivery = |action: &str| v1::Delivery {
        hook_id: 1,
        delivery_id: format!("id-{action}"),
        event: "issues".to_owned(),
        action: action.to_owned(),
    };
    v1::Cause {
        last_delivery: Some(delivery(last)),
        ..v1::Cause::of_delivery(delivery(first), datetime!(2026-11-21 11:55 UTC))
    }
}

fn by(reason: v1::Reason) -> v1::Cause {
    v1::Cause::new(reason, datetime!(2026-11-21 12:30 UTC))
}

fn entries(events: Vec<Result<Event, MessageError>>) -> Vec<Entry> {
    let trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", trace);
    let entry = |(at, event)| Entry {
        sequence: 100 + at as u64,
        stored_at: datetime!(2026-11-21 13:00 UTC),
        headers: if at == 0 { headers.clone() } else { HeaderMap::new() },
        event,
    };
    events.into_iter().enumerate().map(entry).collect()
}

fn told(events: Vec<Result<Event, MessageError>>, output: Output) -> String {
    report(&Past::of(issue(), entries(events))).render(output)
}

fn a_life() -> Vec<Result<Event, MessageError>> {
    let deleted = v1::IssueDeleted {
        status: 410,
        confirmation: v1::Confirmation::Webhook.into(),
        moved_to: None,
    };
    vec![
        Ok(event(
            0,
            marks(true, false),
            webhook("opened", "edited"),
            downloaded(("1-x/issue.json", 4_000), ("1-x/timeline.json", 2_000), 3),
        )),
        Ok(event(
            10,
            marks(true, false),
            webhook("labeled", "labeled"),
            downloaded(("1-x/issue.json", 4_000), ("2-y/timeline.json", 2_900), 4),
        )),
        Ok(event(
            20,
            marks(true, true),
            by(v1::Reason::Sweep),
            downloaded(("3-z/issue.json", 3_100), ("3-z/timeline.json", 2_000), 2),
        )),
        Err(MessageError::Newer),
        Ok(event(
            30,
            marks(true, true),
            by(v1::Reason::Reindex),
            downloaded(("3-z/issue.json", 3_100), ("3-z/timeline.json", 2_000), 2),
        )),
        Ok(event(
            40,
            marks(true, true),
            webhook("deleted", "deleted"),
            Change::Deleted(deleted),
        )),
    ]
}

#[test]
fn a_life_is_told_in_its_order() {
    insta::assert_snapshot!(told(a_life(), Output::Human), @r#"
    a/b#7: 6 events
      1  2026-11-21T12:00:00Z  downloaded
         because of a webhook (issues opened … issues edited), asked for at 2026-11-21T11:55:00Z
         issue     4,000 bytes  issues/a/b/7/1-x/issue.json
         timeline  3 events, 2,000 bytes  issues/a/b/7/1-x/timeline.json
         revision 1763726400000, sequence 100, trace 0123456789abcdef0123456789abcdef
      2  2026-11-21T12:10:00Z  downloaded
         because of a webhook (issues labeled), asked for at 2026-11-21T11:55:00Z
         issue     4,000 bytes  as before
         timeline  4 events (+1), 2,900 bytes (+900)  issues/a/b/7/2-y/timeline.json
         revision 1763726400010, sequence 101
      3  2026-11-21T12:20:00Z  downloaded, private from here on
         because of a sweep, asked for at 2026-11-21T12:30:00Z
         issue     3,100 bytes (−900)  issues/a/b/7/3-z/issue.json
         timeline  2 events (−2), 2,000 bytes (−900)  issues/a/b/7/3-z/timeline.json
         revision 1763726400020, sequence 102
      4  2026-11-21T13:00:00Z  unreadable: the event's kind is unknown: it was written by a newer version of the contract; update this service
         sequence 103
      5  2026-11-21T12:30:00Z  indexed again
         because of a request to index it again, asked for at 2026-11-21T12:30:00Z
         issue     3,100 bytes  as before
         timeline  2 events, 2,000 bytes  as before
         revision 1763726400030, sequence 104
      6  2026-11-21T12:40:00Z  deleted: GitHub answered 410, confirmed by a webhook
         because of a webhook (issues deleted), asked for at 2026-11-21T11:55:00Z
         revision 1763726400040, sequence 105
    "#);
}

#[test]
fn programs_are_told_the_same() {
    let told: Value = serde_json::from_str(&told(a_life(), Output::Json)).unwrap();
    let events = told["events"].as_array().unwrap();
    let what: Vec<&str> = events.iter().map(|event| event["what"].as_str().unwrap()).collect();
    assert_eq!(
        what,
        [
            "downloaded",
            "downloaded",
            "downloaded",
            "unreadable",
            "reindexed",
            "deleted"
        ]
    );
    assert_eq!(events[0]["trace_id"], "0123456789abcdef0123456789abcdef");
    assert_eq!(events[0]["cause"]["last_delivery"]["delivery_id"], "id-edited");
    assert_eq!(
        (&events[0]["issue"]["change"], &events[1]["issue"]["change"]),
        (&Value::Null, &json!(0))
    );
    assert_eq!(
        events[2]["timeline"],
        json!({
            "key": "issues/a/b/7/3-z/timeline.json", "size": 2_000, "change": -900, "events": 2, "events_change": -2,
        })
    );
    assert_eq!(events[2]["became"], "private");
    assert_eq!(
        events[5]["deletion"],
        json!({"status": 410, "confirmation": "webhook", "moved_to": null})
    );
}

#[test]
fn of_what_was_forgotten_only_that_is_told() {
    let mut life = a_life();
    life.push(Ok(event(
        50,
        marks(true, true),
        by(v1::Reason::Manual),
        Change::Forgotten,
    )));
    insta::assert_snapshot!(told(life.clone(), Output::Human), @"a/b#7 was forgotten at 2026-11-21T12:50:00Z");
    insta::assert_snapshot!(told(life.clone(), Output::Json), @r#"{"events":[{"number":1,"occurred_at":"2026-11-21T12:50:00Z","revision":1763726400050,"sequence":106,"stored_at":"2026-11-21T13:00:00Z","trace_id":null,"what":"forgotten"}],"issue":"a/b#7"}"#);
    let allowed = v1::IssueDeleted::default();
    life.push(Ok(event(
        60,
        marks(true, true),
        by(v1::Reason::Manual),
        Change::Deleted(allowed),
    )));
    insta::assert_snapshot!(told(life, Output::Human), @r"
    a/b#7: 2 events
      1  2026-11-21T12:50:00Z  forgotten
         revision 1763726400050, sequence 106
      2  2026-11-21T13:00:00Z  allowed again after it was forgotten
         because of a request by hand, asked for at 2026-11-21T12:30:00Z
         revision 1763726400060, sequence 107
    ");
}

#[test]
fn a_first_event_tells_a_side_only_where_it_is_the_only_one() {
    let first = |marks| {
        became(
            None,
            &event(0, marks, by(v1::Reason::Import), downloaded(("i", 1), ("t", 2), 0)),
        )
    };
    assert_eq!(first(marks(false, true)), Some("private"));
    assert_eq!(first(marks(true, false)), None, "as nearly all are");
    assert_eq!(
        first(marks(true, true)),
        None,
        "older events are not kept, so nobody knows"
    );
}
