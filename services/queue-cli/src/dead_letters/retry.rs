//! `dead-letters retry`: asks for what the letters are about, and removes each letter when its request is stored. A crash
//! in between asks twice, which does no harm.
//!
//! Letters are read and retried some thousands at a time, so memory is bounded. Within those, several letters about one
//! issue become one request; beyond, a request that waits keeps its place.

use std::collections::{BTreeSet, HashMap};

use bugstream_kit::broker::Broker;
use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::Repositories;
use bugstream_kit::dead_letter::{StoredLetter, StoredLetters};
use bugstream_kit::publish::PublishError;
use bugstream_kit::requests::{Queued, Requests};
use bugstream_kit::tasks::Tasks;
use bugstream_proto::{IssueId, RepoName, Task};
use bugstream_telemetry::names;
use futures_util::stream::TryChunksError;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::again::{self, Again, Hopeless, How};
use super::cli::Retry;
use super::subject::About;
use super::which::{Selection, away};
use crate::deps::Deps;
use crate::enqueue::{Pace, patiently};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{Report, counted, thousands};

/// Letters that are read before their requests are published.
const TOGETHER: usize = 10_000;
/// Requests under way at once.
const IN_FLIGHT: usize = 128;
/// Letters of one request that are removed at once.
const REMOVALS: usize = 16;
/// Letters that are named with why they cannot be retried.
const NAMED: usize = 20;

pub(super) async fn run(
    retry: &Retry,
    letters: &StoredLetters,
    broker: &Broker,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Report, Failure> {
    let held = letters.held().await.map_err(|error| away(&error))?;
    let selection = Selection::new(&retry.which, deps);
    let retrier = Retrier::new(retry, letters, broker, deps);
    progress.doing("retried");
    if selection.is_all() {
        progress.expect(held.letters);
    }
    let mut done = Done::default();
    let mut read = selection.read(letters, held.last).try_chunks(TOGETHER);
    while let Some(some) = read.try_next().await.map_err(|TryChunksError(_, error)| error)? {
        let plan = retrier.plan(&some, &mut done);
        if retry.dry_run {
            plan.iter()
                .for_each(|(again, asked)| done.count(again, asked, Queued::New));
        } else {
            retrier.all(plan, &mut done, progress).await?;
        }
    }
    Ok(done.report(retry, retrier.pace))
}

/// One request and the letters that it does for.
#[derive(Debug, Default)]
struct Asked {
    how: How,
    letters: Vec<u64>,
}

struct Retrier<'a> {
    letters: &'a StoredLetters,
    requests: Requests,
    tasks: Tasks,
    chance: Chance,
    clock: Clock,
    /// Empty where none is configured: then all are taken.
    configured: Vec<RepoName>,
    pace: Pace,
}

impl<'a> Retrier<'a> {
    fn new(retry: &Retry, letters: &'a StoredLetters, broker: &Broker, deps: &Deps) -> Self {
        let configured = Repositories::read(deps.settings()).map(|all| all.0).unwrap_or_default();
        let context = deps.context();
        Self {
            letters,
            requests: Requests::new(broker.jetstream.clone()),
            tasks: Tasks::new(broker.jetstream.clone()),
            chance: context.chance.clone(),
            clock: context.clock.clone(),
            configured: configured.into_iter().map(|one| one.name).collect(),
            pace: match retry.which.named() {
                Some(_) => Pace::Now,
                None => Pace::WhenQuotaAllows,
            },
        }
    }

    /// Sorts letters by what they ask for.
    fn plan(&self, letters: &[StoredLetter], done: &mut Done) -> HashMap<Again, Asked> {
        let mut plan: HashMap<Again, Asked> = HashMap::new();
        for letter in letters {
            match self.again(letter) {
                Ok((again, how)) => {
                    let asked = plan.entry(again).or_default();
                    asked.how.join(how);
                    asked.letters.push(letter.sequence);
                }
                Err(why) => done.leave(letter, &why),
            }
        }
        plan
    }

    /// A request for a repository that is not configured would come back as a letter.
    fn again(&self, letter: &StoredLetter) -> Result<(Again, How), Hopeless> {
        let (again, how) = again::of(letter)?;
        let repo = again.repository();
        if self.configured.is_empty() || self.configured.contains(repo) {
            Ok((again, how))
        } else {
            Err(Hopeless::NotConfigured(repo.clone()))
        }
    }

    async fn all(
        &self,
        plan: HashMap<Again, Asked>,
        done: &mut Done,
        progress: &mut Progress<'_>,
    ) -> Result<(), Failure> {
        let mut sent = stream::iter(plan)
            .map(async |(again, asked)| self.one(&again, &asked).await.map(|queued| (again, asked, queued)))
            .buffer_unordered(IN_FLIGHT);
        while let Some(result) = sent.next().await {
            let (again, asked, queued) = result.map_err(|why| gave_up(&why, done))?;
            done.count(&again, &asked, queued);
            progress.step(done.letters);
        }
        Ok(())
    }

    /// The letters go when the request is stored, not before.
    async fn one(&self, again: &Again, asked: &Asked) -> Result<Queued, String> {
        let span = tracing::info_span!(names::span::PUBLISH, letters = asked.letters.len());
        let published = patiently(&self.chance, || self.publish(again, &asked.how))
            .instrument(span)
            .await;
        let queued = published.map_err(|error| error.to_string())?;
        let removals = stream::iter(&asked.letters).map(|id| self.letters.remove(*id));
        let removed = removals.buffer_unordered(REMOVALS).try_for_each(async |_| Ok(())).await;
        removed.map_err(|error| error.to_string())?;
        Ok(queued)
    }

    async fn publish(&self, again: &Again, how: &How) -> Result<Queued, PublishError> {
        match again {
            Again::Index(issue) => {
                let cause = how.cause(self.clock.now());
                self.requests.index(issue, cause).await.map(|()| Queued::New)
            }
            Again::Download(issue) => self.download(issue, how).await,
            Again::Task(task, repo) => self.task(*task, repo, how).await,
        }
    }

    /// A request that waits there already need not be a repair, so that a repair goes before it then.
    async fn download(&self, issue: &IssueId, how: &How) -> Result<Queued, PublishError> {
        let cause = how.cause(self.clock.now());
        let queued = match self.pace {
            Pace::Now => self.requests.download_if_none_waits(issue, cause.clone()).await?,
            Pace::WhenQuotaAllows => self.requests.backfill(issue, cause.clone()).await?,
        };
        if queued == Queued::Waiting && how.is_repair() {
            self.requests.download(issue, cause).await?;
            return Ok(Queued::New);
        }
        Ok(queued)
    }

    async fn task(&self, task: Task, repo: &RepoName, how: &How) -> Result<Queued, PublishError> {
        if self.tasks.lying(&task.scheduled(repo)).await?.is_some() {
            return Ok(Queued::Waiting);
        }
        let request = how.task(repo, self.clock.now());
        self.tasks.due(task, repo, &request).await
    }
}

fn gave_up(why: &str, done: &Done) -> Failure {
    let so_far = counted(done.letters, "letter");
    Failure::failed(format!("{why}; {so_far} retried so far"))
        .with_fix("give the same command again: what was retried is no letter any more")
}

/// What became of the letters.
#[derive(Debug, Default)]
struct Done {
    letters: u64,
    downloads: u64,
    index: u64,
    tasks: u64,
    waiting: u64,
    left: u64,
    /// The first of those that are left, with why.
    named: Vec<(u64, String, String)>,
    fixes: BTreeSet<&'static str>,
}

impl Done {
    fn count(&mut self, again: &Again, asked: &Asked, queued: Queued) {
        self.letters += asked.letters.len() as u64;
        match (queued, again) {
            (Queued::Waiting, _) => self.waiting += 1,
            (Queued::New, Again::Download(_)) => self.downloads += 1,
            (Queued::New, Again::Index(_)) => self.index += 1,
            (Queued::New, Again::Task(..)) => self.tasks += 1,
        }
    }

    fn leave(&mut self, letter: &StoredLetter, why: &Hopeless) {
        self.left += 1;
        self.fixes.insert(why.fix());
        if self.named.len() < NAMED {
            let subject = letter.letter.as_ref().map_or(&letter.subject, |letter| &letter.subject);
            let about = About::of(subject).to_string();
            self.named.push((letter.sequence, about, why.to_string()));
        }
    }

    fn report(&self, retry: &Retry, pace: Pace) -> Report {
        let mut lines = vec![self.what(retry.dry_run, pace)];
        if self.left > 0 {
            lines.push(format!("{} cannot be retried:", counted(self.left, "letter")));
            lines.extend(
                self.named
                    .iter()
                    .map(|(id, about, why)| format!("  {id}  {about}: {why}")),
            );
            if self.left > self.named.len() as u64 {
                lines.push("  …".to_owned());
            }
            lines.extend(self.fixes.iter().map(|fix| format!("  {fix}")));
        }
        let report = Report::new(lines.join("\n"), self.json(retry.dry_run));
        if self.left > 0 { report.that_differs() } else { report }
    }

    fn what(&self, dry_run: bool, pace: Pace) -> String {
        if self.letters == 0 && self.left == 0 {
            return "no letter to retry".to_owned();
        }
        let (verb, end) = if dry_run {
            ("would retry", "; nothing was changed")
        } else {
            ("retried", "")
        };
        let download = match pace {
            Pace::Now => "download",
            Pace::WhenQuotaAllows => "download when the quota allows",
        };
        let counts = [
            (self.downloads, download),
            (self.index, "index request"),
            (self.tasks, "task"),
        ];
        let mut parts: Vec<_> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(n, noun)| of(n, noun))
            .collect();
        if self.waiting > 0 {
            parts.push(format!("{} waited already", counted(self.waiting, "request")));
        }
        let what = if parts.is_empty() {
            String::new()
        } else {
            format!(": {}", parts.join(", "))
        };
        format!("{verb} {}{what}{end}", counted(self.letters, "letter"))
    }

    fn json(&self, dry_run: bool) -> Value {
        let row = |(id, about, why): &(u64, String, String)| json!({ "id": id, "about": about, "why": why });
        json!({
            "dry_run": dry_run,
            "letters": self.letters,
            "download": self.downloads,
            "index": self.index,
            "task": self.tasks,
            "waiting": self.waiting,
            "left": self.left,
            "cannot_be_retried": self.named.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

/// `1 download when …`, `2 downloads when …`.
fn of(number: u64, noun: &str) -> String {
    let (first, rest) = noun.split_at(
        noun.find(' ')
            .filter(|_| noun.starts_with("download"))
            .unwrap_or(noun.len()),
    );
    if number == 1 {
        format!("1 {first}{rest}")
    } else {
        format!("{} {first}s{rest}", thousands(number))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cli::Which;
    use super::super::tests::{garbage, letter_from};
    use super::*;
    use crate::cli::Output;

    fn shown(done: &Done, dry_run: bool, pace: Pace) -> (String, u8) {
        let which = Which::default();
        let report = done.report(&Retry { which, dry_run }, pace);
        (report.render(Output::Human), report.exit_code())
    }

    #[test]
    fn what_was_done_is_told_and_what_is_left_with_why() {
        let mut done = Done {
            letters: 12,
            downloads: 3,
            index: 1,
            tasks: 0,
            waiting: 2,
            ..Done::default()
        };
        let (text, code) = shown(&done, false, Pace::WhenQuotaAllows);
        assert_eq!(code, 0);
        insta::assert_snapshot!(text, @r#"retried 12 letters: 3 downloads when the quota allows, 1 index request, 2 requests waited already"#);
        done.leave(
            &letter_from("DOWNLOADS", "download.c.d.1", &[]),
            &Hopeless::NotConfigured("c/d".parse().unwrap()),
        );
        done.leave(&garbage(18), &Hopeless::NoLetter);
        let (text, code) = shown(&done, true, Pace::Now);
        assert_eq!(code, 1);
        insta::assert_snapshot!(text, @r#"
        would retry 12 letters: 3 downloads, 1 index request, 2 requests waited already; nothing was changed
        2 letters cannot be retried:
          17  c/d#1: c/d is not configured
          18  dead.someone: it is no letter
          add it to [[repositories]] in bugstream.toml, restart the services, retry again
          what names nothing can only go: queue-cli dead-letters purge ID
        "#);
        assert_eq!(
            shown(&Done::default(), false, Pace::Now),
            ("no letter to retry\n".to_owned(), 0)
        );
    }

    #[test]
    fn very_many_that_are_left_fill_no_screen() {
        let mut done = Done::default();
        (0..1_000).for_each(|number| done.leave(&garbage(number), &Hopeless::NoLetter));
        assert_eq!(shown(&done, false, Pace::Now).0.lines().count(), NAMED + 4);
    }
}
