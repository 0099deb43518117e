//! What a downloader remembers of GitHub between two requests; forgotten at a restart, which costs a request or two.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bugstream_kit::consume::Outcome;
use bugstream_proto::{IssueId, RepoName};
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
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() < AWAY_AFTER {
            failed.insert(issue.clone());
        }
        if failed.len() < AWAY_AFTER {
            Outcome::retry(why)
        } else {
            Outcome::away(why)
        }
    }

    /// GitHub gave a whole answer.
    pub(crate) fn over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
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
