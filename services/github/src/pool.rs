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
