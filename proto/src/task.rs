//! Tasks of the active downloader: what they are called, their subjects, their messages.
//!
//! `task.<task>.<owner>.<repo>` is due now; `schedule.<task>.<owner>.<repo>` is a message schedule that becomes it. There
//! is at most one of each, so a task needs no leader to be done once: whoever is active schedules the next step, and
//! the first one wins.

use std::fmt;
use std::str::FromStr;

use prost::Message;
use time::OffsetDateTime;

use crate::ids::{IdError, RepoName};
use crate::message::{MessageError, time_of, timestamp};
use crate::subject::{decode, encode};
use crate::v1;

/// What is done for a repository now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Asks for what was updated since the last time.
    Sweep,
    /// Asks for every known issue again, slowly.
    Audit,
    /// Finds webhooks that failed to arrive.
    Deliveries,
    /// Walks the list of all issues, when asked to.
    Backfill,
    /// Removes old revisions and what no event names.
    Collect,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] = [
        Self::Sweep,
        Self::Audit,
        Self::Deliveries,
        Self::Backfill,
        Self::Collect,
    ];

    /// Its token in a subject, also its name for people.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Audit => "audit",
            Self::Deliveries => "deliveries",
            Self::Backfill => "backfill",
            Self::Collect => "collect",
        }
    }

    /// The subject on which this task is due for a repository.
    #[must_use]
    pub fn due(self, repo: &RepoName) -> TaskSubject {
        TaskSubject {
            stage: Stage::Due,
            task: self,
            repo: repo.clone(),
        }
    }

    /// The subject on which it waits for its time.
    #[must_use]
    pub fn scheduled(self, repo: &RepoName) -> TaskSubject {
        TaskSubject {
            stage: Stage::Scheduled,
            ..self.due(repo)
        }
    }
}

/// Whether a task waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `schedule.…`
    Scheduled,
    /// `task.…`
    Due,
}

impl Stage {
    const ALL: [Self; 2] = [Self::Scheduled, Self::Due];

    /// The leading token of its subjects.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Scheduled => "schedule",
            Self::Due => "task",
        }
    }

    /// The wildcard that captures all its subjects, malformed ones too.
    #[must_use]
    pub fn wildcard(self) -> String {
        format!("{}.>", self.prefix())
    }
}

/// A well-formed subject of a task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskSubject {
    /// Scheduled or due.
    pub stage: Stage,
    /// What is to be done.
    pub task: Task,
    /// For which repository.
    pub repo: RepoName,
}

/// Why a subject is no task's. The text names the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskSubjectError {
    /// The wrong number of tokens, or an unknown one.
    #[error(
        "write task.<sweep|audit|deliveries|backfill|collect>.<owner>.<repo>, with a dot inside a repository name as %2E"
    )]
    Shape,
    /// A token is no owner or repository.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl fmt::Display for TaskSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stage, task) = (self.stage.prefix(), self.task.token());
        write!(f, "{stage}.{task}.{}.{}", self.repo.owner(), encode(self.repo.repo()))
    }
}

impl FromStr for TaskSubject {
    type Err = TaskSubjectError;

    fn from_str(text: &str) -> Result<Self, TaskSubjectError> {
        let tokens: Vec<&str> = text.split('.').collect();
        let [stage, task, owner, repo] = tokens[..] else {
            return Err(TaskSubjectError::Shape);
        };
        let stage = Stage::ALL.into_iter().find(|known| known.prefix() == stage);
        let task = Task::ALL.into_iter().find(|known| known.token() == task);
        Ok(Self {
            stage: stage.ok_or(TaskSubjectError::Shape)?,
            task: task.ok_or(TaskSubjectError::Shape)?,
            repo: RepoName::new(owner, &decode(repo))?,
        })
    }
}

impl v1::TaskRequested {
    /// A request for one repository.
    #[must_use]
    pub fn new(repo: &RepoName, requested_at: OffsetDateTime) -> Self {
        Self {
            repository: Some(v1::Repository {
                owner: repo.owner().to_owned(),
                repo: repo.repo().to_owned(),
            }),
            requested_at: Some(timestamp(requested_at)),
            backfill: None,
        }
    }

    /// Reads a request from its subject's repository and its payload. An empty payload is a request made by hand.
    ///
    /// # Errors
    /// [`MessageError`] for bytes that are no such message or belong to another repository.
    pub fn read(repo: &RepoName, payload: &[u8], now: OffsetDateTime) -> Result<Self, MessageError> {
        if payload.is_empty() {
            return Ok(Self::new(repo, now));
        }
        let wrong = || MessageError::Undecodable("TaskRequested");
        let request = Self::decode(payload).map_err(|_| wrong())?;
        let named = request.repository.as_ref().ok_or_else(wrong)?;
        match RepoName::new(&named.owner, &named.repo) {
            Ok(named) if named == *repo => Ok(request),
            _ => Err(MessageError::OtherRepository),
        }
    }
}

impl v1::BackfillRequested {
    /// From when on issues are listed; `None` for all.
    #[must_use]
    pub fn since(&self) -> Option<OffsetDateTime> {
        self.since.as_ref().and_then(time_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_prints_and_parses_back() {
        for repo in ["webcompat/web-bugs", "socketio/socket.io"] {
            let repo: RepoName = repo.parse().unwrap();
            for task in Task::ALL {
                for subject in [task.due(&repo), task.scheduled(&repo)] {
                    assert_eq!(subject.to_string().parse(), Ok(subject));
                }
            }
        }
        let repo: RepoName = "a/b.c".parse().unwrap();
        assert_eq!(Task::Sweep.scheduled(&repo).to_string(), "schedule.sweep.a.b%2Ec");
        assert_eq!("task.audit.A.B%2ec".parse(), Ok(Task::Audit.due(&repo)));
    }

    #[test]
    fn malformed_subjects_say_what_to_write() {
        for (subject, reason) in [
            ("task.sweep.a", "write task.<sweep|"),
            ("task.sweep.a.b.c", "%2E"),
            ("task.dance.a.b", "write task.<sweep|"),
            ("download.sweep.a.b", "write task.<sweep|"),
            ("task.sweep..b", "is not a GitHub account name"),
        ] {
            let error = subject.parse::<TaskSubject>().expect_err(subject).to_string();
            assert!(error.contains(reason), "{subject}: {error}");
        }
    }

    #[test]
    fn a_request_belongs_to_its_repository_and_may_be_empty() {
        let (ours, other): (RepoName, RepoName) = ("a/b".parse().unwrap(), "a/c".parse().unwrap());
        let now = OffsetDateTime::UNIX_EPOCH;
        let request = v1::TaskRequested::new(&ours, now);
        let bytes = request.encode_to_vec();
        assert_eq!(v1::TaskRequested::read(&ours, &bytes, now), Ok(request.clone()));
        assert_eq!(v1::TaskRequested::read(&ours, b"", now), Ok(request));
        assert_eq!(
            v1::TaskRequested::read(&other, &bytes, now),
            Err(MessageError::OtherRepository)
        );
        assert!(v1::TaskRequested::read(&ours, b"sweep now", now).is_err());
    }
}
