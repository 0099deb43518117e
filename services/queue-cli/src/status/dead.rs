//! What was put aside because it could never succeed.

use bugstream_kit::broker::Broker;
use bugstream_proto::topology::{self, DEAD_LETTERS};
use serde_json::json;

use super::screen::Part;
use crate::contents::away;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{counted, since, span};

/// Letters are no illness: what is behind them goes on. The stream's bound is one, since the oldest are lost beyond it.
pub(super) async fn part(broker: &Broker, deps: &Deps) -> Result<Part, Failure> {
    let mut stream = broker
        .jetstream
        .get_stream(DEAD_LETTERS)
        .await
        .map_err(|error| away(&error))?;
    let info = stream.info().await.map_err(|error| away(&error))?;
    let (state, bound) = (info.state.clone(), info.config.max_bytes);
    let oldest = (state.messages > 0).then(|| since(state.first_timestamp, deps.context().clock.now()));
    let part = match oldest {
        None => Part::new("dead").say("no letters"),
        Some(age) => Part::new("dead")
            .say(format!("{}, oldest {}", counted(state.messages, "letter"), span(age)))
            .json(json!({ "letters": state.messages, "oldest_s": age.as_secs() })),
    };
    let full = bound > 0 && state.bytes > bound.unsigned_abs() / 10 * 8;
    let why = format!(
        "the stream of dead letters is nearly full: read it ({})",
        topology::dead_letter_subject("*")
    );
    Ok(part.wrong_if(full, why))
}
