//! Message headers that two services must agree on.
//!
//! A fired schedule keeps `traceparent` and our own headers, and drops `Nats-Msg-Id`, `Nats-Expected-*` and the
//! schedule's (checked on the server).

use async_nats::HeaderMap;
use async_nats::header::{NATS_MESSAGE_ID, NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::subject::Subject;
use crate::v1::Delivery;

/// How often this request failed before it was scheduled on a `retry.…` subject.
pub const ATTEMPTS: &str = "Bugstream-Attempts";

/// Adds a message schedule: the message on this subject becomes one on `target` at `at`. A time in the past fires at
/// once (within 250 ms).
pub fn schedule(headers: &mut HeaderMap, at: OffsetDateTime, target: &impl std::fmt::Display) {
    let at = at
        .to_offset(time::UtcOffset::UTC)
        .format(&Rfc3339)
        .expect("UTC times up to the year 9999 have this form");
    headers.insert(NATS_SCHEDULE, format!("@at {at}"));
    headers.insert(NATS_SCHEDULE_TARGET, target.to_string());
}

/// When a message's schedule fires; `None` without a valid one.
#[must_use]
pub fn scheduled_at(headers: &HeaderMap) -> Option<OffsetDateTime> {
    headers.get(NATS_SCHEDULE_TARGET)?;
    let schedule = headers.get(NATS_SCHEDULE)?.as_str().strip_prefix("@at ")?;
    OffsetDateTime::parse(schedule.trim(), &Rfc3339).ok()
}

/// `Nats-Msg-Id` of a request made by a webhook: hook, delivery and subject, since de-duplication is per stream and one
/// delivery may concern two issues.
pub fn identify(headers: &mut HeaderMap, delivery: &Delivery, subject: &Subject) {
    headers.insert(
        NATS_MESSAGE_ID,
        format!("{}/{}/{subject}", delivery.hook_id, delivery.delivery_id),
    );
}

/// The failed attempts that a message carries; 0 without the header or with an unreadable one.
#[must_use]
pub fn attempts(headers: Option<&HeaderMap>) -> u64 {
    headers
        .and_then(|h| h.get(ATTEMPTS))
        .and_then(|v| v.as_str().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_schedule_can_be_read_back() {
        let mut headers = HeaderMap::new();
        let target: Subject = "download.a.b.1".parse().unwrap();
        schedule(&mut headers, datetime!(2026-11-21 12:00:00.25 +1), &target);
        assert_eq!(
            headers.get(NATS_SCHEDULE).unwrap().as_str(),
            "@at 2026-11-21T11:00:00.25Z"
        );
        assert_eq!(headers.get(NATS_SCHEDULE_TARGET).unwrap().as_str(), "download.a.b.1");
        assert_eq!(scheduled_at(&headers), Some(datetime!(2026-11-21 11:00:00.25 UTC)));
    }

    #[test]
    fn what_is_no_schedule_has_no_time() {
        let mut headers = HeaderMap::new();
        assert_eq!(scheduled_at(&headers), None);
        headers.insert(NATS_SCHEDULE_TARGET, "download.a.b.1");
        headers.insert(NATS_SCHEDULE, "@every 5s");
        assert_eq!(scheduled_at(&headers), None);
    }
}
