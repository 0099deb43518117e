//! Deliveries as GitHub recorded them, for as many issues as a bench wants, signed.

use anyhow::Context as _;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use super::report::Bodies;
use crate::fixtures;
use crate::github::sign;

/// The repository of the recorded deliveries. They stay as they are but for the number.
pub(super) const REPOSITORY: &str = "Codertocat/Hello-World";

/// What is downloaded at once has no debounce and no deadline.
const AT_ONCE: [&str; 2] = ["deleted", "transferred"];

/// A body that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) body: Bytes,
    pub(super) signature: HeaderValue,
}

/// The recorded `issues` deliveries of [`REPOSITORY`] that are debounced, as GitHub's own site sent them.
pub(super) struct Recorded(Vec<Value>);

impl Recorded {
    /// Reads them.
    ///
    /// # Errors
    /// If there are none or they have another shape.
    pub(super) fn read() -> anyhow::Result<Self> {
        let recorded = fixtures::deliveries().into_iter().filter(|delivery| {
            delivery.source == "api.github.com"
                && delivery.event == "issues"
                && delivery.repository == REPOSITORY
                && !AT_ONCE.contains(&delivery.action.as_str())
        });
        let payloads: Result<Vec<Value>, _> = recorded
            .map(|delivery| serde_json::from_str(&delivery.payload))
            .collect();
        let payloads = payloads.context("a recorded payload is no JSON")?;
        anyhow::ensure!(!payloads.is_empty(), "no delivery of {REPOSITORY} is recorded");
        Ok(Self(payloads))
    }

    /// One body for each of these issues, the recorded ones in turn.
    ///
    /// # Errors
    /// Never, as long as a signature is a valid header.
    pub(super) fn about(&self, numbers: impl Iterator<Item = u64>, secret: &str) -> anyhow::Result<Vec<Signed>> {
        let in_turn = self.0.iter().cycle();
        in_turn
            .zip(numbers)
            .map(|(payload, number)| signed(payload.clone(), number, secret))
            .collect()
    }

    /// What the report says about a set of bodies.
    pub(super) fn describe(&self, bodies: &[Signed]) -> Bodies {
        let bytes = || bodies.iter().map(|signed| signed.body.len());
        Bodies {
            recorded: self.0.len(),
            mean_bytes: bytes().sum::<usize>() / bodies.len().max(1),
            largest_bytes: bytes().max().unwrap_or(0),
        }
    }
}

/// Without white space, as GitHub sends it.
fn signed(mut payload: Value, number: u64, secret: &str) -> anyhow::Result<Signed> {
    payload["issue"]["number"] = number.into();
    let body = Bytes::from(payload.to_string());
    let signature = sign(secret, &body).parse().context("a signature is a header")?;
    Ok(Signed { body, signature })
}
