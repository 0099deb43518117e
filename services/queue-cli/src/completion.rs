//! `completion`: a script that completes commands, queues and flags in a shell.

use serde_json::json;

use crate::cli::Completion;
use crate::invocation;
use crate::report::Report;

pub(crate) fn run(completion: &Completion) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut invocation::command(), "queue-cli", &mut script);
    let script = String::from_utf8_lossy(&script).trim_end().to_owned();
    let json = json!({ "script": script });
    Report::new(script, json)
}
