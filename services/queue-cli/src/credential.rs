//! One credential of GitHub's, by a name that is no secret, and what is known of its quota.

use std::time::Duration;

use bugstream_github::{Client, QuotaState};
use bugstream_kit::broker::Broker;
use bugstream_kit::watermarks::{WatermarkError, Watermarks};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cost::Quota;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{span, thousands};

/// What GitHub gives a token or an App at least.
const USUAL: u64 = 5_000;
/// Without a token.
const ANONYMOUS: u64 = 60;

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) label: String,
    pub(crate) quota: Known,
    /// It is asked nothing for so long, because of a limit.
    pub(crate) closed: Option<Duration>,
    /// Why it is used no more, if so.
    pub(crate) set_aside: Option<String>,
}

/// What is known of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// From the headers of an answer.
    Measured(Quota),
    /// Answers say nothing of a quota.
    Unlimited,
    /// Nothing has been sent with it.
    Nothing,
}

impl Credential {
    /// `silent` is what it means that no answer told a limit.
    fn of(state: QuotaState, silent: Known, now: OffsetDateTime) -> Self {
        let ahead = |at: OffsetDateTime| Duration::try_from(at - now).ok().filter(|time| !time.is_zero());
        let quota = |(limit, remaining)| match state.reset.and_then(ahead) {
            Some(reset) => Quota {
                limit,
                remaining,
                resets_in_s: reset.as_secs(),
            },
            // Its hour is over.
            None => Quota::full(limit),
        };
        let told = state.limit.zip(state.remaining);
        Self {
            quota: told.map_or(silent, |told| Known::Measured(quota(told))),
            closed: state.closed_until.and_then(ahead),
            label: state.label,
            set_aside: state.set_aside,
        }
    }

    /// What it can send: what nothing is known of counts as usual. `None` for one that is set aside.
    pub(crate) fn supply(&self) -> Option<Quota> {
        let usual = if self.label == "anonymous" { ANONYMOUS } else { USUAL };
        let quota = match self.quota {
            Known::Measured(quota) => quota,
            Known::Unlimited => Quota::unlimited(),
            Known::Nothing => Quota::full(usual),
        };
        self.set_aside.is_none().then_some(quota)
    }

    /// Where that is from, for who plans with it.
    pub(crate) fn source(&self) -> &'static str {
        match (&self.set_aside, self.quota) {
            (Some(_), _) => "measured: GitHub does not accept it",
            (None, Known::Measured(_)) => "measured",
            (None, Known::Unlimited) => "measured: answers tell no limit",
            (None, Known::Nothing) => "assumed: GitHub's usual limit",
        }
    }

    pub(crate) fn text(&self) -> String {
        let label = &self.label;
        if let Some(why) = &self.set_aside {
            return format!("{label}: set aside ({why})");
        }
        match self.quota {
            Known::Measured(quota) => format!("{label}: {}{}", left(&quota), self.waits()),
            Known::Unlimited => format!("{label}: no limit{}", self.waits()),
            Known::Nothing => format!("{label}: not used yet"),
        }
    }

    fn waits(&self) -> String {
        self.closed
            .map_or_else(String::new, |time| format!(", GitHub asks to wait {}", span(time)))
    }

    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "credential": self.label,
            "set_aside": self.set_aside,
            "closed_s": self.closed.map(|time| time.as_secs()),
        });
        if let Known::Measured(quota) = self.quota {
            json["limit"] = quota.limit.into();
            json["remaining"] = quota.remaining.into();
            json["resets_in_s"] = quota.resets_in_s.into();
        }
        json
    }
}

fn left(quota: &Quota) -> String {
    let (remaining, limit) = (thousands(quota.remaining), thousands(quota.limit));
    let reset = span(Duration::from_secs(quota.resets_in_s));
    format!("{remaining} of {limit} left, resets in {reset}")
}

/// What the active downloader stored of its credentials.
///
/// # Errors
/// [`Failure`] if JetStream does not answer.
pub(crate) async fn stored(broker: &Broker, deps: &Deps) -> Result<Vec<Credential>, Failure> {
    let failed = |error: WatermarkError| Failure::failed(error.to_string());
    let marks = Watermarks::open(broker).await.map_err(failed)?;
    let now = deps.context().clock.now();
    let states = current(marks.quotas().await.map_err(failed)?, deps);
    let of = |state| Credential::of(state, Known::Nothing, now);
    Ok(states.into_iter().map(of).collect())
}

/// Without those that were taken out of the configuration, as far as this program's own tells: it may have none.
fn current(mut states: Vec<QuotaState>, deps: &Deps) -> Vec<QuotaState> {
    let configured = deps.clients().map(|clients| clients.quotas()).unwrap_or_default();
    let is_configured = |state: &QuotaState| configured.iter().any(|other| other.label == state.label);
    if states.iter().any(is_configured) {
        states.retain(is_configured);
    }
    states
}

/// What GitHub says of the credentials of this program's own client, which costs nothing.
///
/// # Errors
/// As the client's: it was not said.
pub(crate) async fn of_client(client: &Client, deps: &Deps) -> Result<Vec<Credential>, bugstream_github::Error> {
    let states = client.ask_quotas().await?;
    let now = deps.context().clock.now();
    let of = |state| Credential::of(state, Known::Unlimited, now);
    Ok(states.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use bugstream_kit::config::Settings;
    use bugstream_kit::service::Context;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn state(label: &str) -> QuotaState {
        QuotaState {
            label: label.to_owned(),
            limit: Some(5_000),
            remaining: Some(17),
            reset: Some(datetime!(2026-11-21 12:10 UTC)),
            closed_until: Some(datetime!(2026-11-21 11:59 UTC)),
            set_aside: None,
        }
    }

    #[test]
    fn what_was_stored_is_read_by_the_time_it_is_now() {
        let at = |now| Credential::of(state("token-1a2b3c4d"), Known::Nothing, now);
        assert_eq!(at(NOW).text(), "token-1a2b3c4d: 17 of 5,000 left, resets in 10 min");
        let later = at(NOW + Duration::from_secs(600));
        assert_eq!(
            later.text(),
            "token-1a2b3c4d: 5,000 of 5,000 left, resets in 1 h",
            "its hour is over"
        );
        let silent = QuotaState {
            limit: None,
            ..state("anonymous")
        };
        let unlimited = Credential::of(silent.clone(), Known::Unlimited, NOW);
        assert_eq!(unlimited.text(), "anonymous: no limit");
        assert_eq!(unlimited.supply(), Some(Quota::unlimited()));
        let unused = Credential::of(silent, Known::Nothing, NOW);
        assert_eq!(unused.supply(), Some(Quota::full(ANONYMOUS)));
    }

    #[test]
    fn a_token_that_was_taken_out_is_not_shown() {
        let environment = |name: &str| (name == "GITHUB_PERSONAL_ACCESS_TOKEN").then(|| "a-token".to_owned());
        let settings = Settings::load(None, environment, &[]).expect("well-formed");
        let deps = Deps::new(settings, None, Context::new("queue-cli"));
        let ours = deps.clients().expect("a client").quotas().remove(0).label;
        let labels = |stored: &[&str]| {
            let states = stored.iter().map(|label| state(label)).collect();
            current(states, &deps)
                .into_iter()
                .map(|state| state.label)
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(&[&ours, "token-00000000"]), [ours.as_str()]);
        assert_eq!(
            labels(&["token-00000000"]),
            ["token-00000000"],
            "this program may have other credentials"
        );
    }
}
