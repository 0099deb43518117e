//! What to ask for, so that what a letter is about is tried again: a request, never the message itself. An event of the
//! log would otherwise come back as if it were new.

use std::fmt;

use bugstream_kit::dead_letter::StoredLetter;
use bugstream_proto::{IssueId, RepoName, Subject, Task, TaskSubject, topology, v1};
use prost::Message as _;
use time::OffsetDateTime;

use super::words::line;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Again {
    Download(IssueId),
    Index(IssueId),
    Task(Task, RepoName),
}

impl Again {
    pub(super) fn repository(&self) -> &RepoName {
        match self {
            Self::Download(issue) | Self::Index(issue) => issue.repo(),
            Self::Task(_, repo) => repo,
        }
    }
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Download(issue) => write!(f, "a download of {issue}"),
            Self::Index(issue) => write!(f, "the indexing of {issue}"),
            Self::Task(task, repo) => write!(f, "the task {} of {repo}", task.token()),
        }
    }
}

/// What must be asked for in the same way as before.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct How {
    /// A download that stores everything anew.
    repair: bool,
    /// What a task was asked for with.
    task: Option<v1::TaskRequested>,
}

impl How {
    /// Several letters about the same: the strongest request does for all.
    pub(super) fn join(&mut self, other: Self) {
        self.repair |= other.repair;
        self.task = other.task.or(self.task.take());
    }

    pub(super) fn is_repair(&self) -> bool {
        self.repair
    }

    pub(super) fn cause(&self, now: OffsetDateTime) -> v1::Cause {
        let reason = if self.repair {
            v1::Reason::Repair
        } else {
            v1::Reason::Manual
        };
        v1::Cause::new(reason, now)
    }

    pub(super) fn task(&self, repo: &RepoName, now: OffsetDateTime) -> v1::TaskRequested {
        self.task.clone().unwrap_or_else(|| v1::TaskRequested::new(repo, now))
    }
}

/// Why there is nothing to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hopeless {
    NoLetter,
    /// With what should have been written.
    Subject(String),
    Stream(String),
    Backfill,
    NotConfigured(RepoName),
}

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLetter => f.write_str("it is no letter"),
            Self::Subject(why) => write!(f, "its subject names nothing: {why}"),
            Self::Stream(name) => write!(f, "this version does not know the stream {name:?}"),
            Self::Backfill => f.write_str("nothing is known of the backfill that was asked for"),
            Self::NotConfigured(repo) => write!(f, "{repo} is not configured"),
        }
    }
}

impl Hopeless {
    /// What to do.
    pub(super) fn fix(&self) -> &'static str {
        match self {
            Self::NoLetter | Self::Subject(_) => "what names nothing can only go: queue-cli dead-letters purge ID",
            Self::Stream(_) => "update queue-cli: a newer version may know that stream",
            Self::Backfill => "begin it anew: queue-cli backfill, then queue-cli dead-letters purge ID",
            Self::NotConfigured(_) => "add it to [[repositories]] in bugstream.toml, restart the services, retry again",
        }
    }
}

/// What a letter's message becomes.
pub(super) fn of(letter: &StoredLetter) -> Result<(Again, How), Hopeless> {
    let letter = letter.letter.as_ref().ok_or(Hopeless::NoLetter)?;
    let how = How::default();
    match letter.stream.as_str() {
        topology::ISSUES | topology::INDEXING => Ok((Again::Index(issue(letter)?), how)),
        topology::DOWNLOADS => {
            let repair = asks_for_repair(letter);
            Ok((Again::Download(issue(letter)?), How { repair, ..how }))
        }
        topology::TASKS => task(letter),
        other => Err(Hopeless::Stream(line(other, 60))),
    }
}

fn issue(letter: &v1::DeadLetter) -> Result<IssueId, Hopeless> {
    let parsed: Result<Subject, _> = letter.subject.parse();
    parsed.map(|subject| subject.issue).map_err(|error| hopeless(&error))
}

fn asks_for_repair(letter: &v1::DeadLetter) -> bool {
    let request = v1::DownloadRequested::decode(&*letter.payload).unwrap_or_default();
    request.cause.is_some_and(|cause| cause.reason() == v1::Reason::Repair)
}

/// A task does the next step of what its watermark says, whatever its message; only a backfill says what it is.
fn task(letter: &v1::DeadLetter) -> Result<(Again, How), Hopeless> {
    let parsed: Result<TaskSubject, _> = letter.subject.parse();
    let TaskSubject { task, repo, .. } = parsed.map_err(|error| hopeless(&error))?;
    let kept = Some(&*letter.payload).filter(|payload| !payload.is_empty());
    let request = kept.and_then(|payload| v1::TaskRequested::read(&repo, payload, OffsetDateTime::UNIX_EPOCH).ok());
    if task == Task::Backfill && request.is_none() {
        return Err(Hopeless::Backfill);
    }
    let how = How {
        task: request,
        ..How::default()
    };
    Ok((Again::Task(task, repo), how))
}

fn hopeless(error: &impl fmt::Display) -> Hopeless {
    Hopeless::Subject(line(&error.to_string(), 200))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::tests::{garbage, letter_from};
    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 15:00 UTC);

    fn becomes(stream: &str, subject: &str) -> String {
        match of(&letter_from(stream, subject, &[])) {
            Ok((again, _)) => again.to_string(),
            Err(why) => format!("{why}; {}", why.fix()),
        }
    }

    #[test]
    fn every_stream_has_its_request() {
        let table = [
            ("ISSUES", "issue.a.b.7", "the indexing of a/b#7"),
            ("INDEXING", "index.A.b%2Ec.7", "the indexing of a/b.c#7"),
            ("INDEXING", "retry.index.a.b.7", "the indexing of a/b#7"),
            ("DOWNLOADS", "download.a.b.7", "a download of a/b#7"),
            ("DOWNLOADS", "retry.backfill.a.b.7", "a download of a/b#7"),
            ("DOWNLOADS", "debounce.a.b.7", "a download of a/b#7"),
            ("TASKS", "task.sweep.a.b", "the task sweep of a/b"),
            ("TASKS", "schedule.audit.a.b", "the task audit of a/b"),
        ];
        for (stream, subject, wanted) in table {
            assert_eq!(becomes(stream, subject), wanted);
        }
        insta::assert_snapshot!(becomes("DOWNLOADS", "download.12345"), @r#"its subject names nothing: write download.<owner>.<repo>.<number>, with a dot inside a repository name as %2E; this subject has 1 parts after download; what names nothing can only go: queue-cli dead-letters purge ID"#);
        insta::assert_snapshot!(becomes("ISSUES", "issue.a.b.0"), @r#"its subject names nothing: "0" is not an issue number (a whole number from 1 up); what names nothing can only go: queue-cli dead-letters purge ID"#);
        insta::assert_snapshot!(becomes("TASKS", "task.dance.a.b"), @r#"its subject names nothing: write task.<sweep|audit|deliveries|backfill|collect>.<owner>.<repo>, with a dot inside a repository name as %2E; what names nothing can only go: queue-cli dead-letters purge ID"#);
        insta::assert_snapshot!(becomes("TASKS", "task.backfill.a.b"), @r#"nothing is known of the backfill that was asked for; begin it anew: queue-cli backfill, then queue-cli dead-letters purge ID"#);
        insta::assert_snapshot!(becomes("BUILDS", "build.firefox"), @r#"this version does not know the stream "BUILDS"; update queue-cli: a newer version may know that stream"#);
        assert_eq!(of(&garbage(1)), Err(Hopeless::NoLetter));
    }

    #[test]
    fn what_was_asked_for_is_asked_for_again() {
        let issue = "a/b".parse::<RepoName>().unwrap().issue(7).unwrap();
        let request = v1::DownloadRequested::new(&issue, v1::Cause::new(v1::Reason::Repair, NOW)).encode_to_vec();
        let (_, mut repair) = of(&letter_from("DOWNLOADS", "backfill.a.b.7", &request)).expect("an issue");
        let (_, plain) = of(&letter_from("DOWNLOADS", "download.a.b.7", &[])).expect("an issue");
        repair.join(plain.clone());
        assert_eq!(repair.cause(NOW), v1::Cause::new(v1::Reason::Repair, NOW));
        assert_eq!(plain.cause(NOW), v1::Cause::new(v1::Reason::Manual, NOW));

        let repo: RepoName = "a/b".parse().unwrap();
        let backfill = v1::TaskRequested {
            backfill: Some(v1::BackfillRequested {
                run: "17".to_owned(),
                ..v1::BackfillRequested::default()
            }),
            ..v1::TaskRequested::new(&repo, NOW)
        };
        let (again, how) = of(&letter_from("TASKS", "task.backfill.a.b", &backfill.encode_to_vec())).expect("a task");
        assert_eq!(
            (again, how.task(&repo, NOW)),
            (Again::Task(Task::Backfill, repo), backfill)
        );
    }
}
