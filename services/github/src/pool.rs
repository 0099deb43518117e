//! Which credential the next request takes. Pure.

use std::time::Duration;

use bugstream_telemetry::names::Limit;

use crate::ledger::State;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It is sent with this one.
    Take(usize),
    /// It waits until another one has ended, or for so long.
    Wait(Option<Duration>),
    /// It is not sent: nobody may before that.
    Limited(Limit, Duration),
    /// It is not sent: nobody is accepted.
    Refused,
}

/// Takes the credential with most left; the preferred one as long as it is open, since only it can hear "unchanged".
pub(crate) fn choose(states: &[State], preferred: Option<usize>) -> Choice {
    let left = |at: usize| match states[at] {
        State::Open { left } => Some(left),
        _ => None,
    };
    if let Some(at) = preferred.filter(|at| left(*at).is_some()) {
        return Choice::Take(at);
    }
    let open = (0..states.len()).filter_map(|at| Some((left(at)?, at)));
    // Of equals the first.
    match open.max_by_key(|(left, at)| (*left, std::cmp::Reverse(*at))) {
        Some((_, at)) => Choice::Take(at),
        None => rest(states),
    }
}

/// Nobody is open.
fn rest(states: &[State]) -> Choice {
    let paced = states.iter().filter_map(|state| match state {
        State::Paced(wait) => Some(*wait),
        _ => None,
    });
    let closed = states.iter().filter_map(|state| match state {
        State::Closed(kind, wait) => Some((*wait, *kind)),
        _ => None,
    });
    let paced = paced.min();
    if paced.is_some() || states.contains(&State::Busy) {
        return Choice::Wait(paced);
    }
    match closed.min_by_key(|(wait, _)| *wait) {
        Some((wait, kind)) => Choice::Limited(kind, wait),
        None => Choice::Refused,
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn who_asks() {
        use State::{Busy, Closed, Open, Paced, SetAside};
        let open = |left| Open { left };
        let closed = |n| Closed(Limit::Primary, seconds(n));
        let table: &[(&[State], Option<usize>, Choice)] = &[
            (&[open(5)], None, Choice::Take(0)),
            (&[open(5), open(9), open(7)], None, Choice::Take(1)),
            (&[open(5), open(5)], None, Choice::Take(0)),
            (&[open(5), open(9)], Some(0), Choice::Take(0)),
            (&[closed(1), open(9)], Some(0), Choice::Take(1)),
            (&[SetAside, Busy, open(1)], Some(1), Choice::Take(2)),
            (&[Busy, closed(1), SetAside], None, Choice::Wait(None)),
            (
                &[Busy, Paced(seconds(3)), Paced(seconds(2))],
                None,
                Choice::Wait(Some(seconds(2))),
            ),
            (&[closed(1), Paced(seconds(30))], None, Choice::Wait(Some(seconds(30)))),
            (
                &[closed(9), Closed(Limit::Secondary, seconds(3))],
                None,
                Choice::Limited(Limit::Secondary, seconds(3)),
            ),
            (
                &[SetAside, closed(9)],
                None,
                Choice::Limited(Limit::Primary, seconds(9)),
            ),
            (&[SetAside, SetAside], Some(1), Choice::Refused),
            (&[], None, Choice::Refused),
        ];
        for (states, preferred, want) in table {
            assert_eq!(choose(states, *preferred), *want, "{states:?} {preferred:?}");
        }
    }
}
