//! Messages of one key (an issue, a task), one after another: each waits for the one that arrived before it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use tokio_util::sync::{CancellationToken, DropGuard};

/// The last in the queue of each key that has one.
type Last<K> = Arc<Mutex<HashMap<K, (u64, CancellationToken)>>>;

/// The queues of all keys.
#[derive(Debug)]
pub(super) struct Order<K> {
    last: Last<K>,
    tickets: std::sync::atomic::AtomicU64,
}

/// A place in a key's queue. Dropping it, by a panic too, lets the next one through.
#[derive(Debug)]
pub(super) struct Turn<K: Eq + Hash> {
    before: Option<CancellationToken>,
    place: Place<K>,
}

#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    key: K,
    ticket: u64,
    last: Last<K>,
    _done: DropGuard,
}

impl<K> Default for Order<K> {
    fn default() -> Self {
        Self {
            last: Arc::default(),
            tickets: std::sync::atomic::AtomicU64::default(),
        }
    }
}

impl<K: Clone + Eq + Hash> Order<K> {
    /// Takes the place behind the last message of the key.
    pub(super) fn queue(&self, key: K) -> Turn<K> {
        let ticket = self.tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let done = CancellationToken::new();
        let mut last = self.last.lock().expect("no one panics while holding it");
        let before = last.insert(key.clone(), (ticket, done.clone())).map(|(_, token)| token);
        let place = Place {
            key,
            ticket,
            last: Arc::clone(&self.last),
            _done: done.drop_guard(),
        };
        Turn { before, place }
    }
}

impl<K: Eq + Hash> Turn<K> {
    /// Waits for the one before. Keep the place until the work is done.
    pub(super) async fn wait(self) -> Place<K> {
        if let Some(before) = self.before {
            before.cancelled().await;
        }
        self.place
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut last = self.last.lock().expect("no one panics while holding it");
        if last.get(&self.key).is_some_and(|(ticket, _)| *ticket == self.ticket) {
            last.remove(&self.key);
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
        let first = order.queue(one.clone()).wait().await;
        let mut second = Box::pin(order.queue(one.clone()).wait());
        let third = order.queue(one.clone());
        let other = order.queue(two).wait().now_or_never();
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
