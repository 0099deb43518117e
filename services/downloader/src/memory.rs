//! What a downloader remembers of GitHub between two requests; forgotten at a restart, which costs a request or two.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bugstream_kit::consume::Outcome;
use bugstream_kit::health::Health;
use bugstream_proto::{IssueId, RepoName};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// Different issues in a row that GitHub fails, after which GitHub counts as away.
const AWAY_AFTER: usize = 3;

/// The issues that GitHub failed since it last gave a whole answer. One issue that always fails is that issue's trouble;
/// several different ones are GitHub's.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<HashSet<IssueId>>);

impl Trouble {
    /// Notes a failure: the message alone tries again, or everything waits.
    pub(crate) fn with(&self, issue: &IssueId, why: String) -> Outcome {
        if self.is_general(issue) {
            Outcome::away(why)
        } else {
            Outcome::retry(why)
        }
    }

    /// Notes a failure, and says whether it is more than this issue's own.
    pub(crate) fn is_general(&self, issue: &IssueId) -> bool {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() < AWAY_AFTER {
            failed.insert(issue.clone());
        }
        failed.len() >= AWAY_AFTER
    }

    /// GitHub gave a whole answer.
    pub(crate) fn over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What is wrong with a whole repository, shown in `/readyz` until one of its issues answers; and which one did so last.
#[derive(Debug)]
pub(crate) struct Doubts {
    health: Health,
    raised: Mutex<HashSet<RepoName>>,
    answered: Mutex<HashMap<RepoName, IssueId>>,
}

impl Doubts {
    pub(crate) fn new(health: Health) -> Self {
        Self {
            health,
            raised: Mutex::default(),
            answered: Mutex::default(),
        }
    }

    /// Makes the service not ready. `why` must not change from issue to issue: each change is a line in the log.
    pub(crate) fn raise(&self, repo: &RepoName, why: &str) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.insert(repo.clone());
        self.health.down(&part(repo), why);
    }

    /// An issue answered.
    pub(crate) fn lift(&self, issue: &IssueId) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.insert(issue.repo().clone(), issue.clone());
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if raised.remove(issue.repo()) {
            self.health.up(&part(issue.repo()));
        }
    }

    /// Another process leads, so they are its business.
    pub(crate) fn drop_all(&self) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.drain().for_each(|repo| self.health.up(&part(&repo)));
    }

    /// The issue of a repository that answered last: the best one to ask where another seems to be gone.
    pub(crate) fn answered_last(&self, repo: &RepoName) -> Option<IssueId> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.get(repo).cloned()
    }

    /// An issue that answered before does so no more.
    pub(crate) fn silent(&self, issue: &IssueId) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.retain(|_, last| last != issue);
    }
}

fn part(repo: &RepoName) -> String {
    format!("issues of {repo}")
}

/// Repositories that answered lately, so that a range with a thousand gaps does not ask for its repository each time.
#[derive(Debug, Default)]
pub(crate) struct SeenRepositories(Mutex<HashMap<RepoName, Instant>>);

impl SeenRepositories {
    const LATELY: Duration = Duration::from_secs(60);

    pub(crate) fn note(&self, name: &RepoName) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(name.clone(), Instant::now());
    }

    pub(crate) fn lately(&self, name: &RepoName) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(name).is_some_and(|at| at.elapsed() < Self::LATELY)
    }
}

/// One download of an issue at a time, whatever lane or list asks for it. Two at once could both see the same newest
/// event, and the one that asked GitHub first could publish last: a change that was undone in between would stay.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<IssueId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else works on the issue. The turn ends when the guard is dropped.
    pub(crate) async fn wait(&self, issue: &IssueId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What only this map knows, nobody works on or waits for.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(all.entry(issue.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_issue_that_always_fails_stops_nobody_and_several_stop_all() {
        let issue = |number| RepoName::new("a", "b").unwrap().issue(number).unwrap();
        let trouble = Trouble::default();
        let retries = |number| matches!(trouble.with(&issue(number), "5xx".to_owned()), Outcome::Retry { .. });
        assert!((0..9).all(|_| retries(1)));
        assert!(retries(2));
        assert!(!retries(3), "the third in a row");
        assert!(!retries(1), "and all after it");
        trouble.over();
        assert!(retries(3));
    }

    #[tokio::test]
    async fn a_doubt_shows_until_an_issue_of_the_repository_answers() {
        let (health, issue) = (Health::default(), RepoName::new("a", "b").unwrap().issue(1).unwrap());
        let doubts = Doubts::new(health.clone());
        doubts.lift(&issue);
        assert!(health.away().await.is_empty());
        doubts.raise(issue.repo(), "nothing answers");
        assert_eq!(health.away().await["issues of a/b"], "nothing answers");
        doubts.lift(&RepoName::new("a", "c").unwrap().issue(1).unwrap());
        assert_eq!(
            health.away().await.len(),
            1,
            "another repository says nothing of this one"
        );
        doubts.lift(&issue);
        assert!(health.away().await.is_empty());
        doubts.raise(issue.repo(), "nothing answers");
        doubts.drop_all();
        assert!(health.away().await.is_empty());
        assert_eq!(doubts.answered_last(issue.repo()), Some(issue.clone()));
        doubts.silent(&issue);
        assert_eq!(doubts.answered_last(issue.repo()), None);
    }

    #[tokio::test]
    async fn an_issue_is_worked_on_once_at_a_time_and_others_meanwhile() {
        let issue = |number| RepoName::new("a", "b").unwrap().issue(number).unwrap();
        let turns = Turns::default();
        let one = issue(1);
        let first = turns.wait(&one).await;
        drop(turns.wait(&issue(2)).await);
        let mut second = Box::pin(turns.wait(&one));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        drop(turns.wait(&issue(3)).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "what nobody needs is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_repository_is_asked_for_again_after_a_minute() {
        let (seen, name) = (SeenRepositories::default(), RepoName::new("a", "b").unwrap());
        assert!(!seen.lately(&name));
        seen.note(&name);
        assert!(seen.lately(&name));
        tokio::time::advance(SeenRepositories::LATELY).await;
        assert!(!seen.lately(&name));
    }
}
