//! The events of an issue in their order, without content: what, when, why, and what it changed.

use std::fmt::Write as _;

use async_nats::HeaderMap;
use bugstream_kit::log::Entry;
use bugstream_proto::message::{Change, time_of as moment};
use bugstream_proto::{Event, v1};
use serde_json::{Value, json};

use super::past::Past;
use crate::report::{Report, counted, thousands, time_of};

pub(super) fn report(past: &Past) -> Report {
    let entries = past.entries();
    if let Some(forgotten) = past.forgotten() {
        let human = format!("{} was forgotten at {}", past.issue(), time_of(forgotten.occurred_at));
        let events = [told(1, &entries[entries.len() - 1], None)];
        return Report::new(human, json(past, &events));
    }
    let mut before = None;
    let told: Vec<Told> = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let told = told(at + 1, entry, before);
            before = entry.event.as_ref().ok().or(before);
            told
        })
        .collect();
    let mut human = format!("{}: {}", past.issue(), counted(told.len() as u64, "event"));
    for one in &told {
        let _ = write!(human, "\n{}", one.human);
    }
    Report::new(human, json(past, &told))
}

fn json(past: &Past, told: &[Told]) -> Value {
    let events: Vec<&Value> = told.iter().map(|one| &one.json).collect();
    json!({"issue": past.issue().to_string(), "events": events})
}

/// One event for people and for programs.
struct Told {
    human: String,
    json: Value,
}

fn told(number: usize, entry: &Entry, before: Option<&Event>) -> Told {
    let trace = trace_of(&entry.headers);
    let mut json = json!({
        "number": number,
        "sequence": entry.sequence,
        "stored_at": time_of(entry.stored_at),
        "trace_id": trace,
    });
    let place = format!(
        "sequence {}{}",
        entry.sequence,
        trace.map_or_else(String::new, |id| format!(", trace {id}"))
    );
    let human = match &entry.event {
        Ok(event) => {
            describe(event, before, &mut json);
            readable(number, event, before, &place)
        }
        Err(why) => {
            json["what"] = "unreadable".into();
            json["why"] = why.to_string().into();
            format!(
                "{number:>3}  {}  unreadable: {why}\n     {place}",
                time_of(entry.stored_at)
            )
        }
    };
    Told { human, json }
}

fn readable(number: usize, event: &Event, before: Option<&Event>, place: &str) -> String {
    let at = time_of(event.occurred_at);
    let what = if is_reindex(event) {
        "indexed again".to_owned()
    } else {
        what(&event.change)
    };
    let mut human = format!("{number:>3}  {at}  {what}");
    if let Some(side) = became(before, event) {
        let _ = write!(human, ", {side} from here on");
    }
    // That it was forgotten is all that there is to know.
    if event.change != Change::Forgotten {
        let _ = write!(human, "\n     because of {}", cause(&event.cause));
    }
    if let Change::Downloaded(downloaded) = &event.change {
        let old = before.and_then(downloaded_of);
        let object = |new: &v1::StoredObject, old: Option<&v1::StoredObject>| match old {
            Some(old) if old.key == new.key => format!("{}  as before", counted(new.size, "byte")),
            _ => format!(
                "{}{}  {}",
                counted(new.size, "byte"),
                difference(new.size, old.map(|old| old.size)),
                new.key
            ),
        };
        let (events, old_events) = (
            downloaded.timeline_events,
            old.map(|old| u64::from(old.timeline_events)),
        );
        let _ = write!(
            human,
            "\n     issue     {}\n     timeline  {}{}, {}",
            object(&downloaded.issue, old.map(|old| &old.issue)),
            counted(events.into(), "event"),
            difference(events.into(), old_events),
            object(&downloaded.timeline, old.map(|old| &old.timeline)),
        );
    }
    let _ = write!(human, "\n     revision {}, {place}", event.revision);
    human
}

/// The state of before, published once more.
fn is_reindex(event: &Event) -> bool {
    event.cause.reason() == v1::Reason::Reindex && downloaded_of(event).is_some()
}

fn downloaded_of(event: &Event) -> Option<&bugstream_proto::message::Downloaded> {
    match &event.change {
        Change::Downloaded(downloaded) => Some(downloaded),
        Change::Deleted(_) | Change::Forgotten => None,
    }
}

/// ` (+12)`, or nothing where nothing changed or nothing is known.
fn difference(new: u64, old: Option<u64>) -> String {
    match old {
        Some(old) if new > old => format!(" (+{})", thousands(new - old)),
        Some(old) if new < old => format!(" (−{})", thousands(old - new)),
        _ => String::new(),
    }
}

/// What an event says, in words.
pub(super) fn what(change: &Change) -> String {
    match change {
        Change::Downloaded(_) => "downloaded".to_owned(),
        Change::Forgotten => "forgotten".to_owned(),
        Change::Deleted(deleted) if deleted.status == 0 => "allowed again after it was forgotten".to_owned(),
        Change::Deleted(deleted) => {
            let moved = deleted
                .moved_to
                .as_ref()
                .and_then(|moved| moved.issue.as_ref()?.id().ok());
            let moved = moved.map_or_else(String::new, |to| format!(", moved to {to}"));
            format!(
                "deleted: GitHub answered {}, {}{moved}",
                deleted.status,
                confirmed(deleted.confirmation())
            )
        }
    }
}

fn confirmed(confirmation: v1::Confirmation) -> &'static str {
    match confirmation {
        v1::Confirmation::Webhook => "confirmed by a webhook",
        v1::Confirmation::SecondLook => "twice",
        v1::Confirmation::Operator => "approved by an operator",
        v1::Confirmation::Unspecified => "believed for an unknown reason",
    }
}

fn cause(cause: &v1::Cause) -> String {
    let mut text = reason(cause.reason()).to_owned();
    let of = |delivery: &v1::Delivery| format!("{} {}", delivery.event, delivery.action).trim().to_owned();
    match (&cause.first_delivery, &cause.last_delivery) {
        (Some(first), Some(last)) if first.delivery_id != last.delivery_id => {
            let _ = write!(text, " ({} … {})", of(first), of(last));
        }
        (Some(one), _) | (None, Some(one)) => {
            let _ = write!(text, " ({})", of(one));
        }
        (None, None) => {}
    }
    if let Some(asked) = cause.first_requested_at.as_ref().and_then(moment) {
        let _ = write!(text, ", asked for at {}", time_of(asked));
    }
    text
}

fn reason(reason: v1::Reason) -> &'static str {
    match reason {
        v1::Reason::Unspecified => "an unknown reason",
        v1::Reason::Webhook => "a webhook",
        v1::Reason::Manual => "a request by hand",
        v1::Reason::Range => "a range",
        v1::Reason::Sweep => "a sweep",
        v1::Reason::Audit => "the audit",
        v1::Reason::Backfill => "a backfill",
        v1::Reason::Repair => "a repair",
        v1::Reason::Reindex => "a request to index it again",
        v1::Reason::Confirm => "a second look",
        v1::Reason::Import => "an import",
    }
}

/// The side on which the issue's document is for the first time. Marks only grow, so a second time does not show.
fn became(before: Option<&Event>, event: &Event) -> Option<&'static str> {
    downloaded_of(event)?;
    let sides = |event: &Event| {
        let on = |side: Option<v1::SideMarks>| side.is_some_and(|side| side.issue);
        (on(event.marks.public), on(event.marks.private))
    };
    match (before.map(sides), sides(event)) {
        (None, (false, true)) | (Some((_, false)), (_, true)) => Some("private"),
        (Some((false, true)), (true, true)) => Some("public"),
        _ => None,
    }
}

fn describe(event: &Event, before: Option<&Event>, json: &mut Value) {
    json["occurred_at"] = time_of(event.occurred_at).into();
    json["revision"] = event.revision.into();
    json["what"] = match &event.change {
        Change::Downloaded(_) if is_reindex(event) => "reindexed",
        Change::Downloaded(_) => "downloaded",
        Change::Deleted(deleted) if deleted.status == 0 => "allowed",
        Change::Deleted(_) => "deleted",
        Change::Forgotten => "forgotten",
    }
    .into();
    if event.change == Change::Forgotten {
        return;
    }
    json["cause"] = cause_json(&event.cause);
    json["became"] = became(before, event).into();
    let old = before.and_then(downloaded_of);
    if let Change::Downloaded(new) = &event.change {
        let change = |new: u64, old: Option<u64>| old.map(|old| i128::from(new) - i128::from(old));
        let change = |new, old| change(new, old).and_then(|change| i64::try_from(change).ok());
        let object = |new: &v1::StoredObject, old: Option<&v1::StoredObject>| {
            json!({
                "key": new.key,
                "size": new.size,
                "change": change(new.size, old.map(|old| old.size)),
            })
        };
        json["issue"] = object(&new.issue, old.map(|old| &old.issue));
        json["timeline"] = object(&new.timeline, old.map(|old| &old.timeline));
        json["timeline"]["events"] = new.timeline_events.into();
        let events = change(new.timeline_events.into(), old.map(|old| old.timeline_events.into()));
        json["timeline"]["events_change"] = events.into();
    }
    if let Change::Deleted(deleted) = &event.change {
        let moved = deleted
            .moved_to
            .as_ref()
            .and_then(|moved| moved.issue.as_ref()?.id().ok());
        json["deletion"] = json!({
            "status": deleted.status,
            "confirmation": word(deleted.confirmation().as_str_name(), "CONFIRMATION_"),
            "moved_to": moved.map(|to| to.to_string()),
        });
    }
}

fn cause_json(cause: &v1::Cause) -> Value {
    let delivery = |delivery: &v1::Delivery| {
        json!({
            "hook_id": delivery.hook_id,
            "delivery_id": delivery.delivery_id,
            "event": delivery.event,
            "action": delivery.action,
        })
    };
    json!({
        "reason": word(cause.reason().as_str_name(), "REASON_"),
        "first_requested_at": cause.first_requested_at.as_ref().and_then(moment).map(time_of),
        "first_delivery": cause.first_delivery.as_ref().map(delivery),
        "last_delivery": cause.last_delivery.as_ref().map(delivery),
    })
}

fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

/// Of W3C's `traceparent`: 32 hexadecimal digits.
fn trace_of(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get("traceparent")?.as_str();
    let id = parent.split('-').nth(1)?;
    let is_one = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| id.to_owned())
}

#[cfg(test)]
mod tests;
