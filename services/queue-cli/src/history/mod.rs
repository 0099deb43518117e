//! `history`: what happened to an issue and why, as the log tells it; with `--diff` what changed between two events.
//!
//! `past` reads the log and the objects, `story` tells the events, `diff` compares two states, `change` tells the result.
//! [`past`] and [`text`] are `show`'s too.

mod change;
pub(crate) mod cli;
mod diff;
pub(crate) mod past;
mod story;
pub(crate) mod text;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::Report;
use cli::History;
use past::Past;

pub(crate) async fn run(asked: &History, deps: &Deps) -> Result<Report, Failure> {
    let past = Past::read(asked.number, deps).await?;
    match asked.diff.as_deref() {
        Some([from, to]) => compare(&past, *from, *to, deps).await,
        _ => Ok(story::report(&past)),
    }
}

async fn compare(past: &Past, from: u64, to: u64, deps: &Deps) -> Result<Report, Failure> {
    past.nothing_but_forgotten()?;
    let (from, to) = (past.event(from)?, past.event(to)?);
    let before = past.content(from, deps).await?.parse()?;
    let after = past.content(to, deps).await?.parse()?;
    let found = diff::Difference::of(&before, &after);
    Ok(change::report(past.issue(), from, to, &found))
}
