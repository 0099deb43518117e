//! Mirroring the repository after the first start, through queue-cli as an operator would.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bugstream_stack::interrupt;
use bugstream_stack::process::log_tail;
use bugstream_stack::progress::{Board, Part};
use bugstream_stack::server::agent;
use serde_json::Value;

use crate::checkout::log;
use crate::compile::Programs;
use crate::search::{Count, count, count_when_ready};
use crate::services::environment;
use crate::stack::Stack;

/// How many issues the simulator has, numbered from 1.
pub(crate) const SEED: u64 = 500;

/// Before GitHub's first issue; a date that it accepts.
const BEGINNING: &str = "2008-01-01";

/// How long nothing may become searchable before the mirror counts as stuck.
const STUCK: Duration = Duration::from_secs(180);

/// What has to be queued so that the search is complete.
#[derive(Debug, PartialEq, Eq)]
enum Work {
    /// It already is.
    Nothing,
    /// The log has everything: index it again, without GitHub.
    Index,
    /// Ask GitHub.
    Download,
}

/// Fills the search where it is not complete, and returns what is searchable: nothing is known of the user's own
/// Elasticsearch where it cannot be asked from here (`https`, passwords).
pub(crate) fn mirror(stack: &mut Stack, programs: &Programs, board: &Board) -> Result<Option<Count>> {
    let elastic = stack.elastic_url()?;
    let found = match stack.given.elasticsearch {
        Some(_) => count(&elastic).ok(),
        None => Some(count_when_ready(&elastic)?),
    };
    let work = work(stack, found.map(|count| count.issues))?;
    if work == Work::Nothing {
        return Ok(found);
    }
    let part = board.part("mirror");
    let expected = queue(stack, programs, &work, &part)?;
    match found {
        Some(_) => wait_searchable(&elastic, expected, &part)?,
        None => part.say(
            "queued",
            &format!("{expected} issues; `queue-cli length` tells how many wait"),
        ),
    }
    stack.state.mirrored = Some(stack.mirror()?);
    stack.save()?;
    found.map(|_| count_when_ready(&elastic)).transpose()
}

fn work(stack: &Stack, searchable: Option<u64>) -> Result<Work> {
    let target = stack.mirror()?;
    Ok(match &stack.state.mirrored {
        Some(done) if *done == target && searchable != Some(0) => Work::Nothing,
        Some(done) if done.archive == target.archive => Work::Index,
        _ => Work::Download,
    })
}

/// Queues the requests and returns how many issues should become searchable.
fn queue(stack: &Stack, programs: &Programs, work: &Work, part: &Part) -> Result<u64> {
    let lane = if *work == Work::Index { "index" } else { "download" };
    part.say("queueing", &stack.given.repository);
    if stack.given.github_api.is_none() {
        let expected = simulated_issues(stack)?;
        queue_cli(stack, programs, &["add-range", lane, "1", &SEED.to_string()])?;
        return Ok(expected);
    }
    let tally = queue_cli(
        stack,
        programs,
        &["add-updated-since", lane, BEGINNING, "--limit", "200"],
    )?;
    // Some may wait already, since a mirror that was interrupted.
    Ok(["queued", "waiting"]
        .iter()
        .filter_map(|name| tally[name].as_u64())
        .sum())
}

/// Runs queue-cli as an operator would and returns what it did. Its errors go to a log.
fn queue_cli(stack: &Stack, programs: &Programs, arguments: &[&str]) -> Result<Value> {
    let errors = log("queue-cli");
    let file = std::fs::File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
    let mut command = Command::new(programs.path("queue-cli")?);
    environment(&mut command, stack);
    let command = command
        .args(arguments)
        .args(["--output", "json"])
        .stdin(Stdio::null())
        .stderr(file);
    let output = command.output().context("cannot start queue-cli")?;
    if !output.status.success() {
        bail!("queue-cli {} failed; {}", arguments.join(" "), log_tail(&errors));
    }
    serde_json::from_slice(&output.stdout).context("queue-cli prints no JSON")
}

/// How many issues of the seed the simulator still has: a person may have deleted some.
fn simulated_issues(stack: &Stack) -> Result<u64> {
    let list = format!(
        "{}/repos/{}/issues?state=all&per_page=100",
        stack.github_url()?,
        stack.given.repository
    );
    let mut total = 0;
    for page in 1.. {
        let mut answer = agent(Duration::from_secs(30))
            .get(format!("{list}&page={page}"))
            .call()
            .context("the simulator does not list its issues")?;
        let rows: Vec<Value> = answer.body_mut().read_json().context("the simulator lists no issues")?;
        total += rows
            .iter()
            .filter(|row| row["number"].as_u64().is_some_and(|number| number <= SEED))
            .count();
        if rows.len() < 100 {
            break;
        }
    }
    u64::try_from(total).context("more issues than anyone can count")
}

fn wait_searchable(elastic: &str, expected: u64, part: &Part) -> Result<()> {
    let (mut best, mut since) = (0, Instant::now());
    loop {
        // What cannot be counted for a moment, while an index is being made, has not become less.
        let issues = count(elastic).map_or(best, |found| found.issues);
        part.say("mirroring", &format!("{issues:>4} / {expected} issues searchable"));
        if issues >= expected {
            part.say("complete", &format!("{issues} issues searchable"));
            return Ok(());
        }
        if interrupt::requested() {
            bail!("interrupted");
        }
        if issues > best {
            (best, since) = (issues, Instant::now());
        }
        if since.elapsed() > STUCK {
            bail!(
                "only {issues} of {expected} issues are searchable, and none has come for {} s\n  \
                 cargo stack logs downloader\n  cargo stack logs indexer",
                STUCK.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::tests::stack;

    #[test]
    fn github_is_asked_only_for_what_the_log_lacks() {
        let mut stack = stack();
        stack.given.elasticsearch = Some("http://one:9200".to_owned());
        assert_eq!(work(&stack, Some(0)).expect("known"), Work::Download);
        stack.state.mirrored = Some(stack.mirror().expect("known"));
        assert_eq!(work(&stack, Some(500)).expect("known"), Work::Nothing);
        // Somebody dropped the indices.
        assert_eq!(work(&stack, Some(0)).expect("known"), Work::Index);
        stack.given.elasticsearch = Some("http://two:9200".to_owned());
        assert_eq!(work(&stack, Some(500)).expect("known"), Work::Index);
        stack.given.nats = Some("nats://elsewhere:4222".to_owned());
        assert_eq!(work(&stack, Some(500)).expect("known"), Work::Download);
    }
}
