//! What lies in a queue: which issues, and which subjects.
//!
//! A queue has several subjects for one issue (waiting for quiet, for its deadline, for another attempt, due), so it is
//! counted by issue. Listed by the server page by page (100,000 subjects each); what comes and goes meanwhile may be
//! missed, as in every count of something that moves.

use std::collections::{BTreeMap, HashSet};

use async_nats::jetstream::stream::Stream;
use bugstream_kit::broker::Broker;
use bugstream_proto::{IssueId, RepoName, Subject, Verb};
use futures_util::TryStreamExt as _;

use crate::failure::Failure;
use crate::queue::Queue;

/// The requests of a queue, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    issues: HashSet<IssueId>,
    /// By the first token of their subjects; every family of the queue is there.
    pub(crate) families: BTreeMap<&'static str, u64>,
    /// Subjects that name no issue. The services turn them into dead letters.
    pub(crate) malformed: u64,
    /// Subjects of the scope's repository that its filters do not capture: `download.WebCompat.web-bugs.1`.
    pub(crate) odd_spellings: Vec<String>,
}

/// A whole queue, or one repository's part of it.
#[derive(Debug)]
pub(crate) struct Scope {
    queue: Queue,
    repository: Option<RepoName>,
    /// Of the repository's subjects, up to and with the last dot.
    prefixes: Vec<String>,
}

impl Scope {
    /// `None` is every repository, and what names none.
    pub(crate) fn new(queue: Queue, repository: Option<RepoName>) -> Self {
        let prefix = |repository: &RepoName, verb: &Verb| verb.of_repo(repository).trim_end_matches('*').to_owned();
        let of_repository = |r: &RepoName| queue.verbs().iter().map(|verb| prefix(r, verb)).collect();
        Self {
            queue,
            prefixes: repository.as_ref().map(of_repository).unwrap_or_default(),
            repository,
        }
    }

    /// The subjects to purge, odd spellings apart; `None` for all.
    pub(crate) fn filters(&self) -> Option<Vec<String>> {
        self.repository.as_ref()?;
        Some(self.prefixes.iter().map(|prefix| format!("{prefix}*")).collect())
    }

    fn holds(&self, subject: &str, issue: Option<&IssueId>) -> bool {
        match (&self.repository, issue) {
            (None, _) => true,
            (Some(wanted), Some(issue)) => issue.repo() == wanted,
            (Some(_), None) => self.captures(subject),
        }
    }

    fn captures(&self, subject: &str) -> bool {
        let last = |prefix: &String| subject.strip_prefix(prefix.as_str());
        self.prefixes
            .iter()
            .filter_map(last)
            .any(|number| !number.contains('.'))
    }
}

impl Contents {
    /// How many issues wait, each counted once; what names none counts for itself.
    pub(crate) fn length(&self) -> u64 {
        self.issues.len() as u64 + self.malformed
    }

    /// How many messages there are.
    pub(crate) fn requests(&self) -> u64 {
        self.families.values().sum()
    }

    fn empty(queue: Queue) -> Self {
        Self {
            families: queue.families().iter().map(|family| (*family, 0)).collect(),
            ..Self::default()
        }
    }

    /// Takes one subject, if the scope holds it.
    fn add(&mut self, subject: &str, messages: u64, scope: &Scope) {
        let issue = subject.parse::<Subject>().ok().map(|parsed| parsed.issue);
        if !scope.holds(subject, issue.as_ref()) {
            return;
        }
        if scope.repository.is_some() && !scope.captures(subject) {
            self.odd_spellings.push(subject.to_owned());
        }
        match issue {
            Some(issue) => drop(self.issues.insert(issue)),
            None => self.malformed += 1,
        }
        let family = subject.split('.').next().unwrap_or_default();
        if let Some(count) = self.families.get_mut(family) {
            *count += messages;
        }
    }
}

/// The stream behind a queue.
pub(crate) async fn stream(broker: &Broker, queue: Queue) -> Result<Stream<()>, Failure> {
    let stream = broker.jetstream.get_stream_no_info(queue.stream()).await;
    stream.map_err(|error| away(&error))
}

/// Lists what the scope holds.
///
/// # Errors
/// [`Failure`] if JetStream does not answer.
pub(crate) async fn read(stream: &Stream<()>, scope: &Scope) -> Result<Contents, Failure> {
    let mut contents = Contents::empty(scope.queue);
    let mut subjects = stream.info_with_subjects(">").await.map_err(|error| away(&error))?;
    while let Some((subject, messages)) = subjects.try_next().await.map_err(|error| away(&error))? {
        contents.add(&subject, messages as u64, scope);
    }
    Ok(contents)
}

pub(crate) fn away(error: &impl std::fmt::Display) -> Failure {
    Failure::failed(format!("JetStream does not answer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(subjects: &[&str], repository: Option<&str>) -> Contents {
        let repository = repository.map(|name| name.parse().expect("a repository"));
        let scope = Scope::new(Queue::Download, repository);
        let mut contents = Contents::empty(Queue::Download);
        for subject in subjects {
            contents.add(subject, 1, &scope);
        }
        contents
    }

    const SUBJECTS: &[&str] = &[
        "debounce.a.b.1",
        "deadline.a.b.1",
        "retry.backfill.a.b.1",
        "download.A.B.1",
        "backfill.a.b.2",
        "backfill.a.c.2",
        "download.12345",
        "download.a.b.xyz",
    ];

    #[test]
    fn an_issue_counts_once_over_all_its_subjects() {
        let all = contents(SUBJECTS, None);
        assert_eq!((all.length(), all.requests(), all.malformed), (5, 8, 2));
        let families: Vec<_> = all.families.into_iter().collect();
        assert_eq!(
            families,
            [
                ("backfill", 2),
                ("deadline", 1),
                ("debounce", 1),
                ("download", 3),
                ("retry", 1)
            ]
        );
    }

    #[test]
    fn one_repository_leaves_the_others() {
        let one = contents(SUBJECTS, Some("a/b"));
        assert_eq!((one.length(), one.requests(), one.malformed), (3, 6, 1));
        assert_eq!(one.odd_spellings, ["download.A.B.1"]);
    }
}
