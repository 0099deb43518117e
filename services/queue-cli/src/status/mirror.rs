//! How fresh the mirror of one repository is: what it saw last, what has waited longest, how much it knows.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageError, LastRawMessageErrorKind, Stream};
use bugstream_kit::broker::Broker;
use bugstream_kit::log::Log;
use bugstream_proto::message::time_of;
use bugstream_proto::topology::{DOWNLOADS, DOWNLOADS_VERBS, ISSUES};
use bugstream_proto::{Event, RepoName, Subject, Verb, v1};
use serde_json::json;
use time::OffsetDateTime;

use super::LATE;
use super::layers::Layers;
use super::screen::Part;
use crate::contents::away;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{counted, since, span};

/// A request that waits, the first of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    verb: Verb,
    /// Since the first of those that it stands for was made.
    age: Duration,
    /// Since it came to where it lies.
    here: Duration,
}

pub(super) async fn part(repository: &RepoName, broker: &Broker, deps: &Deps) -> Result<Part, Failure> {
    let clock = deps.context().clock.clone();
    let now = clock.now();
    let known = Log::new(broker.jetstream.clone(), clock).known(repository).await;
    let known = known.map_err(|error| Failure::failed(error.to_string()))?.len() as u64;
    let waiting = waiting(repository, broker, now).await?;
    let seen = newest(repository, broker)
        .await?
        .max(Layers::read(repository, broker).await?.sweep.newest);
    Ok(shown(known, seen.map(|at| since(at, now)), &waiting))
}

fn shown(known: u64, seen: Option<Duration>, waiting: &[Waiting]) -> Part {
    let part = Part::new("mirror").say(match seen {
        None => "no change seen yet".to_owned(),
        Some(age) => format!("newest change seen {} ago", span(age)),
    });
    let oldest = waiting.iter().max_by_key(|one| one.age);
    let part = match oldest {
        None => part.say("nothing waits"),
        Some(one) => part.say(format!("oldest waiting request {} ({})", span(one.age), kind(one.verb))),
    };
    let part = part.say(counted(known, "issue")).json(json!({
        "issues": known,
        "newest_change_s": seen.map(|age| age.as_secs()),
        "oldest_waiting_s": oldest.map(|one| one.age.as_secs()),
        "oldest_waiting": oldest.map(|one| kind(one.verb)),
    }));
    waiting.iter().filter_map(late).fold(part, Part::wrong)
}

/// What waits for quiet, for its deadline or for quota waits rightly. What is due, or was tried again and again, does not.
fn late(one: &Waiting) -> Option<String> {
    match one.verb {
        Verb::Download if one.here > LATE => Some(format!(
            "downloads that are due wait for {}: look at the downloader's log",
            span(one.here)
        )),
        Verb::Retry(_) if one.age > LATE => Some(format!(
            "a download has failed for {}: look at the downloader's log",
            span(one.age)
        )),
        _ => None,
    }
}

fn kind(verb: Verb) -> &'static str {
    match verb {
        Verb::Retry(_) => "retry",
        plain => plain.prefix(),
    }
}

/// When the newest change came to the log.
async fn newest(repository: &RepoName, broker: &Broker) -> Result<Option<OffsetDateTime>, Failure> {
    let stream = broker.jetstream.get_stream_no_info(ISSUES).await;
    let stream = stream.map_err(|error| away(&error))?;
    let wildcard = Verb::Issue.of_repo(repository);
    let Some(message) = found(stream.get_last_raw_message_by_subject(&wildcard).await)? else {
        return Ok(None);
    };
    let event = || Event::decode(&message.subject.parse::<Subject>().ok()?.issue, &message.payload).ok();
    Ok(Some(event().map_or(message.time, |event| event.occurred_at)))
}

async fn waiting(repository: &RepoName, broker: &Broker, now: OffsetDateTime) -> Result<Vec<Waiting>, Failure> {
    let stream = broker.jetstream.get_stream_no_info(DOWNLOADS).await;
    let stream = stream.map_err(|error| away(&error))?;
    let mut waiting = Vec::new();
    for verb in DOWNLOADS_VERBS {
        let first = first(&stream, &verb.of_repo(repository)).await?;
        waiting.extend(first.map(|message| Waiting {
            verb: *verb,
            age: since(asked_at(&message, now), now),
            here: since(message.time, now),
        }));
    }
    Ok(waiting)
}

async fn first(stream: &Stream<()>, wildcard: &str) -> Result<Option<StreamMessage>, Failure> {
    found(stream.get_first_raw_message_by_subject(wildcard, 1).await)
}

fn found(answer: Result<StreamMessage, LastRawMessageError>) -> Result<Option<StreamMessage>, Failure> {
    match answer {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(away(&error)),
    }
}

/// When the first of the requests that it stands for was made; what does not say so came when it came.
fn asked_at(message: &StreamMessage, now: OffsetDateTime) -> OffsetDateTime {
    let asked = || {
        let issue = message.subject.parse::<Subject>().ok()?.issue;
        let request = v1::DownloadRequested::read(&issue, &message.payload, now).ok()?;
        time_of(&request.cause?.first_requested_at?)
    };
    asked().map_or(message.time, |at| at.min(message.time))
}

#[cfg(test)]
mod tests {
    use bugstream_proto::Lane;

    use super::*;
    use crate::cli::Output;
    use crate::status::screen::{Block, Screen};

    fn minutes(verb: Verb, age: u64, here: u64) -> Waiting {
        Waiting {
            verb,
            age: Duration::from_secs(60 * age),
            here: Duration::from_secs(60 * here),
        }
    }

    fn text(waiting: &[Waiting]) -> String {
        let block = Block::new(
            "a/b".to_owned(),
            vec![shown(198_412, Some(Duration::from_secs(14)), waiting)],
        );
        Screen::new(vec![block], Vec::new()).report().render(Output::Human)
    }

    #[test]
    fn what_waits_rightly_is_no_illness() {
        insta::assert_snapshot!(text(&[]), @r#"
        a/b                                                       healthy
          mirror      newest change seen 14 s ago · nothing waits · 198,412 issues
        "#);
        let all = [
            minutes(Verb::Debounce, 3, 1),
            minutes(Verb::Backfill, 9_000, 9_000),
            minutes(Verb::Download, 90, 1),
        ];
        insta::assert_snapshot!(text(&all), @r#"
        a/b                                                       healthy
          mirror      newest change seen 14 s ago · oldest waiting request 6 days (backfill) · 198,412 issues
        "#);
    }

    #[test]
    fn what_is_due_or_fails_for_long_is_one() {
        let all = [
            minutes(Verb::Download, 90, 80),
            minutes(Verb::Retry(Lane::Backfill), 600, 1),
        ];
        insta::assert_snapshot!(text(&all), @r#"
        a/b                                                       not healthy
          mirror      newest change seen 14 s ago · oldest waiting request 10 h (retry) · 198,412 issues
          !           mirror: downloads that are due wait for 1 h 20 min: look at the downloader's log
          !           mirror: a download has failed for 10 h: look at the downloader's log
        "#);
    }
}
