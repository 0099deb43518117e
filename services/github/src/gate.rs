//! Closed while any answer's limit lasts. One gate for one set of credentials, since GitHub counts by credential.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bugstream_telemetry::names::Limit;
use time::OffsetDateTime;

use crate::limit::{Ask, LONGEST_WAIT};

/// The least wait after a secondary limit that names none; GitHub asks for "at least one minute", then exponentially more.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Beyond the longest wait already.
const MOST_DOUBLINGS: u32 = 10;

/// Lets requests through, or says how long not to.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    closed: Option<(OffsetDateTime, Limit)>,
    /// Secondary limits since the last success, each after the wait of the one before.
    strikes: u32,
}

impl Gate {
    /// What is left of the wait, if there is one.
    pub(crate) fn closed(&self, now: OffsetDateTime) -> Option<(Limit, Duration)> {
        let (until, kind) = self.state().closed?;
        Duration::try_from(until - now)
            .ok()
            .filter(|left| !left.is_zero())
            .map(|left| (kind, left))
    }

    /// Closes for as long as an answer asked, and says for how long that is. A gate never opens earlier than it said.
    pub(crate) fn close(&self, ask: Ask, now: OffsetDateTime) -> Duration {
        let mut state = self.state();
        let open = state.closed.is_none_or(|(until, _)| until <= now);
        // Answers that were under way together are one strike.
        state.strikes += u32::from(open && ask.kind == Limit::Secondary);
        let doublings = state.strikes.saturating_sub(1).min(MOST_DOUBLINGS);
        let wait = ask.wait.unwrap_or(FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
        let until = now + wait;
        if state.closed.is_none_or(|(earlier, _)| earlier < until) {
            state.closed = Some((until, ask.kind));
        }
        wait
    }

    /// An answer that asked for nothing: the next secondary limit begins with the first wait again.
    pub(crate) fn succeeded(&self, now: OffsetDateTime) {
        let mut state = self.state();
        if state.closed.is_none_or(|(until, _)| until <= now) {
            *state = State::default();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn secondary(wait: Option<u64>) -> Ask {
        Ask {
            kind: Limit::Secondary,
            wait: wait.map(seconds),
        }
    }

    #[test]
    fn a_gate_is_closed_until_the_latest_of_all_waits() {
        let gate = Gate::default();
        assert_eq!(gate.closed(NOW), None);
        gate.close(
            Ask {
                kind: Limit::Primary,
                wait: Some(seconds(100)),
            },
            NOW,
        );
        gate.close(secondary(Some(5)), NOW);
        assert_eq!(gate.closed(NOW + seconds(99)), Some((Limit::Primary, seconds(1))));
        assert_eq!(gate.closed(NOW + seconds(100)), None);
    }

    #[test]
    fn secondary_limits_without_a_time_double_until_a_success() {
        let gate = Gate::default();
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = gate.close(secondary(None), now);
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3840, 3900]);
        gate.succeeded(now);
        assert_eq!(gate.close(secondary(None), now), seconds(60));
    }

    #[test]
    fn answers_that_were_under_way_together_are_one_strike() {
        let gate = Gate::default();
        for _ in 0..20 {
            gate.close(secondary(None), NOW);
        }
        gate.succeeded(NOW + seconds(1));
        assert_eq!(
            gate.closed(NOW + seconds(59)),
            Some((Limit::Secondary, seconds(1))),
            "a late success opens nothing"
        );
        assert_eq!(gate.close(secondary(None), NOW + seconds(60)), seconds(120));
    }
}
