//! `cargo stack down`: ends what `up` started, in the opposite order, and keeps the data.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::stack::Stack;
use crate::state;

/// How long a part may take to finish what it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stop the pipeline; what was mirrored is kept
///
/// Only processes that `cargo stack up` started are stopped, never servers that you brought along.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack down
  cargo stack up --detach      starts again with the same ports and data")]
pub(crate) struct Arguments {}

pub(crate) fn run() -> Result<ExitCode> {
    // Read anew: another command may have changed the stack meanwhile.
    let mut stack = Stack::open()?;
    let _lock = state::lock(&stack.data)?;
    let stopped = end_all(&mut stack)?;
    let text = if stopped.is_empty() {
        "nothing was running".to_owned()
    } else {
        format!("stopped {}", stopped.join(", "))
    };
    writeln!(std::io::stdout(), "{text}").context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

/// Ends every part that runs; returns their names.
pub(crate) fn end_all(stack: &mut Stack) -> Result<Vec<String>> {
    let mut stopped = Vec::new();
    for running in stack
        .state
        .running
        .iter()
        .rev()
        .filter(|running| running.identity.is_alive())
    {
        running.identity.end(PATIENCE);
        stopped.push(running.part.clone());
    }
    stack.state.forget_ended();
    stack.save()?;
    Ok(stopped)
}
