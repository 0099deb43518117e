//! Messages of one issue, one after another: each waits for the one that arrived before it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bugstream_proto::IssueId;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The last in the queue of every issue that has one.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Arc<Mutex<HashMap<IssueId, (u64, CancellationToken)>>>,
    tickets: std::sync::atomic::AtomicU64,
}

/// A place in an issue's queue. Dropping it, by a panic too, lets the next one through.
#[derive(Debug)]
pub(super) struct Turn {
    before: Option<CancellationToken>,
    place: Place,
}

#[derive(Debug)]
pub(super) struct Place {
    issue: IssueId,
    ticket: u64,
    last: Arc<Mutex<HashMap<IssueId, (u64, CancellationToken)>>>,
    _done: DropGuard,
}

impl Order {
    /// Takes the place behind the last message of the issue.
    pub(super) fn queue(&self, issue: &IssueId) -> Turn {
        let ticket = self.tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let done = CancellationToken::new();
        let mut last = self.last.lock().expect("no one panics while holding it");
        let before = last
            .insert(issue.clone(), (ticket, done.clone()))
            .map(|(_, token)| token);
        let place = Place {
            issue: issue.clone(),
            ticket,
            last: Arc::clone(&self.last),
            _done: done.drop_guard(),
        };
        Turn { before, place }
    }
}

impl Turn {
    /// Waits for the one before. Keep the place until the work is done.
    pub(super) async fn wait(self) -> Place {
        if let Some(before) = self.before {
            before.cancelled().await;
        }
        self.place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut last = self.last.lock().expect("no one panics while holding it");
        if last.get(&self.issue).is_some_and(|(ticket, _)| *ticket == self.ticket) {
            last.remove(&self.issue);
        }
    }
}

#[cfg(test)]
mod tests {
    use bugstream_proto::RepoName;
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_issue_waits_and_another_does_not() {
        let order = Order::default();
        let repo = RepoName::new("a", "b").unwrap();
        let (one, two) = (repo.issue(1).unwrap(), repo.issue(2).unwrap());
        let first = order.queue(&one).wait().await;
        let mut second = Box::pin(order.queue(&one).wait());
        let third = order.queue(&one);
        let other = order.queue(&two).wait().now_or_never();
        assert!(other.is_some(), "another issue does not wait");
        assert!((&mut second).now_or_never().is_none(), "the second waits for the first");
        drop(first);
        let second = second.now_or_never().expect("the first is done");
        assert!(
            third.before.as_ref().is_some_and(|before| !before.is_cancelled()),
            "the third waits for the second"
        );
        drop(second);
        drop(third.wait().now_or_never().expect("the second is done"));
        drop(other);
        assert!(
            order.last.lock().unwrap().is_empty(),
            "nothing is kept of issues that are done"
        );
    }
}
