//! What was put aside because it could never succeed.

use bugstream_kit::broker::Broker;
use bugstream_kit::dead_letter::StoredLetters;
use serde_json::json;

use super::screen::Part;
use crate::dead_letters::{away, warnings};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{counted, since, span};

/// Letters are no illness: what is behind them goes on. The stream's bounds are one, since the oldest are lost beyond them.
pub(super) async fn part(broker: &Broker, deps: &Deps) -> Result<Part, Failure> {
    let letters = StoredLetters::open(broker).await.map_err(|error| away(&error))?;
    let held = letters.held().await.map_err(|error| away(&error))?;
    let now = deps.context().clock.now();
    let part = match held.oldest.map(|oldest| since(oldest, now)) {
        None => Part::new("dead").say("no letters"),
        Some(age) => Part::new("dead")
            .say(format!(
                "{}, oldest {} (queue-cli dead-letters list)",
                counted(held.letters, "letter"),
                span(age)
            ))
            .json(json!({ "letters": held.letters, "oldest_s": age.as_secs() })),
    };
    Ok(warnings(&held, now).into_iter().fold(part, Part::wrong))
}
