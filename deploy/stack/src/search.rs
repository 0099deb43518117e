//! Counting what is searchable.

use std::time::Duration;

use anyhow::{Context, Result};
use bugstream_stack::interrupt;
use bugstream_stack::process::wait_until;
use bugstream_stack::server::agent;
use serde_json::Value;

/// Searchable documents behind the aliases that analysts use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// Documents of `issues`.
    pub(crate) issues: u64,
    /// Documents of `timelines`.
    pub(crate) events: u64,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} issues · {} timeline events searchable",
            thousands(self.issues),
            thousands(self.events)
        )
    }
}

/// What begins every index name, for an Elasticsearch that others use too.
pub(crate) fn prefix() -> String {
    std::env::var("ELASTIC_PREFIX").unwrap_or_default()
}

/// Counts through the read aliases; an alias that is not there yet counts as empty.
///
/// # Errors
/// Elasticsearch cannot be asked from here (`https`), does not answer, or refuses the credentials.
pub(crate) fn count(elastic: &str) -> Result<Count> {
    let of = |alias: &str| documents(&format!("{elastic}/{}{alias}/_count", prefix()));
    Ok(Count {
        issues: of("issues")?,
        events: of("timelines")?,
    })
}

/// Counts as soon as Elasticsearch can: while an index is being made or recovered it answers 503.
///
/// # Errors
/// As [`count`], after half a minute of trying.
pub(crate) fn count_when_ready(elastic: &str) -> Result<Count> {
    let mut counted = count(elastic);
    wait_until(Duration::from_secs(30), || {
        if counted.is_err() && !interrupt::requested() {
            counted = count(elastic);
        }
        counted.is_ok() || interrupt::requested()
    });
    counted
}

fn documents(url: &str) -> Result<u64> {
    let mut request = agent(Duration::from_secs(10)).get(url);
    // The credentials that the services use.
    if let Ok(key) = std::env::var("ELASTIC_API_KEY") {
        request = request.header("authorization", format!("ApiKey {key}"));
    }
    match request.call() {
        Err(ureq::Error::StatusCode(404)) => Ok(0),
        answer => {
            let mut answer = answer.with_context(|| format!("cannot count {url}"))?;
            let body: Value = answer
                .body_mut()
                .read_json()
                .with_context(|| format!("cannot read {url}"))?;
            body["count"].as_u64().with_context(|| format!("no count from {url}"))
        }
    }
}

/// A number with separated thousands: 6212 → `6,212`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let shown: Vec<String> = [0, 999, 1_000, 6_212, 1_234_567].into_iter().map(thousands).collect();
        assert_eq!(shown, ["0", "999", "1,000", "6,212", "1,234,567"]);
    }
}
