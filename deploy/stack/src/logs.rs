//! `cargo stack logs`: the end of a part's log.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::checkout::log;

/// Show the end of a part's log
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack logs downloader
  cargo stack logs indexer -f          goes on until Ctrl-C
  cargo stack logs nats -n 1000")]
pub(crate) struct Arguments {
    /// nats, elasticsearch, github-simulator, webhook-receiver, downloader, indexer
    service: String,
    /// Go on showing what is added
    #[arg(short, long)]
    follow: bool,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 100)]
    lines: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = log(&arguments.service);
    if !path.is_file() {
        bail!("{} has no log\n  {}", arguments.service, known());
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", &arguments.lines.to_string()]);
    if arguments.follow {
        // By name: the log may be made anew.
        tail.arg("-F");
    }
    // Only returns if there is no `tail`.
    Err(tail.arg(&path).exec()).context("cannot start tail")
}

fn known() -> String {
    let folder = std::fs::read_dir(crate::checkout::run_folder().join("logs"));
    let names = folder
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut logs: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".log").map(str::to_owned))
        .collect();
    logs.sort_unstable();
    if logs.is_empty() {
        "start the stack first: cargo stack up".to_owned()
    } else {
        format!("logs: {}", logs.join(", "))
    }
}
