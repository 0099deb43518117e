//! What a person is told when everything is ready: where things are, and what to try next.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::search::{Count, prefix};
use crate::stack::Stack;

/// Prints the summary of a started stack.
pub(crate) fn summary(stack: &Stack, found: Option<Count>, took: Duration) -> Result<()> {
    let text = format!(
        "ready in {}\n{}{}",
        duration(took),
        places(stack, found)?,
        attempts(stack)?
    );
    std::io::stdout().write_all(text.as_bytes()).context("cannot print")
}

fn places(stack: &Stack, found: Option<Count>) -> Result<String> {
    let searchable = found.map_or_else(String::new, |found| found.to_string());
    let github = if stack.given.github_api.is_some() {
        "the real GitHub"
    } else {
        "a simulator"
    };
    let rows = [
        ("elasticsearch", stack.elastic_url()?, searchable),
        (
            "webhooks",
            stack.webhook_url()?,
            "secret in target/stack/endpoints.json".to_owned(),
        ),
        ("nats", stack.nats_url()?, String::new()),
        (
            "github",
            stack.github_url()?,
            format!("{github} with {}", stack.given.repository),
        ),
        ("object store", stack.object_store_url()?, String::new()),
        (
            "logs",
            "target/stack/logs".to_owned(),
            "cargo stack logs SERVICE".to_owned(),
        ),
    ];
    let width = rows
        .iter()
        .map(|(_, place, _)| place.len())
        .filter(|width| *width < 50)
        .max()
        .unwrap_or(0);
    let line = |(name, place, note): &(&str, String, String)| format!("  {name:<14}  {place:<width$}   {note}");
    Ok(rows
        .iter()
        .map(line)
        .map(|line| format!("{}\n", line.trim_end()))
        .collect())
}

fn attempts(stack: &Stack) -> Result<String> {
    let search = format!(
        "curl '{}/{}issues/_search?q=title:video'",
        stack.elastic_url()?,
        prefix()
    );
    let subject = stack.given.repository.to_lowercase();
    let (owner, name) = subject.split_once('/').context("a repository is owner/name")?;
    let publish = format!("nats pub download.{owner}.{}.42 ''", name.replace('.', "%2E"));
    let mut lines = vec![search, format!("{publish:<52} then  cargo stack logs downloader")];
    if stack.given.github_api.is_none() {
        let edit = "cargo stack edit 42 --title 'Video does not play'";
        lines.push(format!(
            "{edit:<52} the simulator sends a webhook; searchable in about 6 s"
        ));
    }
    let first = |index: usize| if index == 0 { "try" } else { "   " };
    Ok(lines
        .iter()
        .enumerate()
        .map(|(index, line)| format!("{}   {line}\n", first(index)))
        .collect())
}

/// `48 s`, `4 min 12 s`.
fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_aloud() {
        assert_eq!(duration(Duration::from_secs(48)), "48 s");
        assert_eq!(duration(Duration::from_secs(252)), "4 min 12 s");
    }
}
