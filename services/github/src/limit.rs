//! Which answers ask to wait, and for how long.
//!
//! From "Rate limits for the REST API" (docs.github.com): a primary limit answers 403 or 429 with `x-ratelimit-remaining: 0`
//! and `x-ratelimit-reset` (seconds since 1970); a secondary limit answers 403 or 429 with `retry-after`, or with a message
//! that says so and no header. Waits are computed against the answer's own `Date`, so that a wrong clock here costs nothing,
//! and clamped: no header may stop the mirror for days.

use std::time::Duration;

use bugstream_telemetry::names::Limit;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// GitHub's windows last an hour; some minutes for clocks that differ.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(65 * 60);

/// A reset that is due, or `retry-after: 0`.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// For a primary limit without a readable reset.
const UNKNOWN_RESET: Duration = Duration::from_secs(60);

/// What an answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) kind: Limit,
    /// `None`: a secondary limit that names no time.
    pub(crate) wait: Option<Duration>,
}

/// What is left of the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// By the clock here.
    pub(crate) reset: OffsetDateTime,
}

/// What any answer says of the hour; `None` where it does not say all of it.
pub(crate) fn quota(headers: &HeaderMap, now: OffsetDateTime) -> Option<Quota> {
    let number = |name| text(headers, name)?.trim().parse::<u64>().ok();
    let reset = i64::try_from(number("x-ratelimit-reset")?).ok()?;
    let reset = OffsetDateTime::from_unix_timestamp(reset).ok()?;
    Some(Quota {
        limit: number("x-ratelimit-limit")?,
        remaining: number("x-ratelimit-remaining")?,
        reset: now + clamp(reset - sent_at(headers, now)),
    })
}

/// Whether this answer is a refusal because of a limit. `message` is the text of GitHub's error object.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, message: &str, now: OffsetDateTime) -> Option<Ask> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let retry_after = retry_after(headers, now);
    match exhausted(headers, now) {
        Some(primary) => Some(Ask {
            wait: primary.wait.max(retry_after),
            ..primary
        }),
        None if retry_after.is_some() => Some(Ask {
            kind: Limit::Secondary,
            wait: retry_after,
        }),
        None if is_secondary(message) || status == StatusCode::TOO_MANY_REQUESTS => Some(Ask {
            kind: Limit::Secondary,
            wait: None,
        }),
        None => None,
    }
}

/// The wait until the quota's reset, where an answer (a good one as well) says that nothing is left.
pub(crate) fn exhausted(headers: &HeaderMap, now: OffsetDateTime) -> Option<Ask> {
    if text(headers, "x-ratelimit-remaining")?.trim().parse() != Ok(0_u64) {
        return None;
    }
    let reset = text(headers, "x-ratelimit-reset").and_then(|t| t.trim().parse().ok());
    let until = reset.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let wait = until.map_or(UNKNOWN_RESET, |until| clamp(until - sent_at(headers, now)));
    Some(Ask {
        kind: Limit::Primary,
        wait: Some(wait),
    })
}

/// Seconds or an HTTP date; what is neither counts as absent.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER.as_str())?.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).clamp(SHORTEST_WAIT, LONGEST_WAIT));
    }
    Some(clamp(
        OffsetDateTime::parse(text, &Rfc2822).ok()? - sent_at(headers, now),
    ))
}

/// When an answer was sent, by its own clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    text(headers, DATE.as_str()).and_then(|t| OffsetDateTime::parse(t, &Rfc2822).ok())
}

fn sent_at(headers: &HeaderMap, now: OffsetDateTime) -> OffsetDateTime {
    date(headers).unwrap_or(now)
}

fn clamp(wait: time::Duration) -> Duration {
    Duration::try_from(wait)
        .unwrap_or(SHORTEST_WAIT)
        .clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

/// GitHub says so in words alone; "abuse" is what it called it before 2021, and GHES still may.
fn is_secondary(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("secondary rate limit")
        || message.contains("abuse detection")
        || message.contains("rate limit exceeded")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
    /// 60 seconds after [`NOW`].
    const RESET: &str = "1767225660";

    type Pairs<'a> = &'a [(&'static str, &'static str)];
    type Case<'a> = (u16, Pairs<'a>, &'a str, Option<(Limit, Option<u64>)>);

    fn headers(pairs: Pairs<'_>) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn asked(status: u16, pairs: Pairs<'_>, message: &str) -> Option<(Limit, Option<u64>)> {
        let status = StatusCode::from_u16(status).unwrap();
        let ask = refusal(status, &headers(pairs), message, NOW)?;
        Some((ask.kind, ask.wait.map(|w| w.as_secs())))
    }

    #[test]
    fn refusals() {
        use Limit::{Primary, Secondary};
        let left = |n| ("x-ratelimit-remaining", n);
        let reset = |at| ("x-ratelimit-reset", at);
        let retry = |after| ("retry-after", after);
        let table: &[Case<'_>] = &[
            (
                403,
                &[left("0"), reset(RESET)],
                "API rate limit exceeded",
                Some((Primary, Some(60))),
            ),
            (429, &[left("0"), reset(RESET)], "", Some((Primary, Some(60)))),
            (
                403,
                &[left("0"), reset(RESET), retry("90")],
                "",
                Some((Primary, Some(90))),
            ),
            (403, &[left("0"), reset("1767225000")], "", Some((Primary, Some(1)))),
            (403, &[left("0"), reset("99999999999")], "", Some((Primary, Some(3900)))),
            (
                403,
                &[left("0"), reset("999999999999999999999")],
                "",
                Some((Primary, Some(60))),
            ),
            (403, &[left("0"), reset("soon")], "", Some((Primary, Some(60)))),
            (403, &[left("0")], "", Some((Primary, Some(60)))),
            (
                403,
                &[left("0"), reset(RESET), ("date", "Thu, 01 Jan 2026 00:00:50 GMT")],
                "",
                Some((Primary, Some(10))),
            ),
            (403, &[retry("30")], "", Some((Secondary, Some(30)))),
            (
                429,
                &[left("4000"), reset(RESET), retry("30")],
                "",
                Some((Secondary, Some(30))),
            ),
            (403, &[retry("0")], "", Some((Secondary, Some(1)))),
            (
                403,
                &[retry("99999999999999999999999")],
                "",
                Some((Secondary, Some(3900))),
            ),
            (
                429,
                &[retry("Thu, 01 Jan 2026 00:02:00 GMT")],
                "",
                Some((Secondary, Some(120))),
            ),
            (
                429,
                &[retry("Thu, 01 Jan 1970 00:00:00 GMT")],
                "",
                Some((Secondary, Some(1))),
            ),
            (429, &[retry("whenever")], "", Some((Secondary, None))),
            (429, &[retry("-5")], "", Some((Secondary, None))),
            (429, &[], "", Some((Secondary, None))),
            (
                403,
                &[],
                "You have exceeded a secondary rate limit. Please wait",
                Some((Secondary, None)),
            ),
            (
                403,
                &[],
                "You have triggered an abuse detection mechanism.",
                Some((Secondary, None)),
            ),
            (
                403,
                &[left("12")],
                "Resource not accessible by personal access token",
                None,
            ),
            (403, &[left("soon")], "Must have admin rights", None),
            (401, &[retry("30")], "", None),
            (503, &[retry("30"), left("0")], "", None),
            (200, &[left("0"), reset(RESET)], "", None),
        ];
        for (status, pairs, message, want) in table {
            assert_eq!(asked(*status, pairs, message), *want, "{status} {pairs:?} {message}");
        }
    }

    #[test]
    fn a_good_answer_can_be_the_last_one() {
        let last = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", RESET)]);
        assert_eq!(exhausted(&last, NOW).unwrap().wait, Some(Duration::from_secs(60)));
        for pairs in [
            &[("x-ratelimit-remaining", "1")][..],
            &[("x-ratelimit-reset", RESET)],
            &[],
        ] {
            assert_eq!(exhausted(&headers(pairs), NOW), None);
        }
    }
}
