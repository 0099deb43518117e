//! Messages of one key (an issue, a task), one after another: each waits for the one that arrived before it.
//!
//! Nearly always nobody is before a message, so that case is one entry in a map and no more: by the key's hash, which
//! copies no key. Two keys of one hash would wait for one another without need, and do no harm.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// A key that is in the map has one message at work; here are those that wait for it, in order of arrival.
type Queues = HashMap<u64, VecDeque<oneshot::Sender<()>>>;

/// The queues of all keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    queues: Arc<Mutex<Queues>>,
    hasher: RandomState,
}

/// A place in a key's queue. Dropping it, by a panic too, lets the next one through if its own turn had come, and
/// otherwise leaves the queue as if it had never been there.
#[derive(Debug)]
pub(super) struct Turn {
    key: u64,
    /// Not there if its turn has come.
    before: Option<oneshot::Receiver<()>>,
    queues: Arc<Mutex<Queues>>,
}

impl Order {
    /// Takes the place behind the last message of the key.
    pub(super) fn queue(&self, key: &impl Hash) -> Turn {
        let key = self.hasher.hash_one(key);
        let mut before = None;
        locked(&self.queues)
            .entry(key)
            .and_modify(|waiting| {
                let (sender, receiver) = oneshot::channel();
                waiting.push_back(sender);
                before = Some(receiver);
            })
            .or_default();
        let queues = Arc::clone(&self.queues);
        Turn { key, before, queues }
    }
}

fn locked(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().expect("no one panics while holding it")
}

impl Turn {
    /// Waits for the one before. Keep the turn until the work is done.
    pub(super) async fn come(&mut self) {
        if let Some(before) = &mut self.before {
            before.await.expect("whoever is before says so, however it ends");
            self.before = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = locked(&self.queues);
        if let Some(before) = &mut self.before {
            // From here on it is passed over; but it may have been let through a moment ago.
            before.close();
            if before.try_recv().is_err() {
                return;
            }
        }
        if let Some(waiting) = queues.get_mut(&self.key) {
            let let_through = std::iter::from_fn(|| waiting.pop_front()).any(|next| next.send(()).is_ok());
            if !let_through {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bugstream_proto::RepoName;
    use futures_util::FutureExt;

    use super::*;

    fn has_come(turn: &mut Turn) -> bool {
        turn.come().now_or_never().is_some()
    }

    #[tokio::test]
    async fn one_issue_waits_and_another_does_not() {
        let order = Order::default();
        let repo = RepoName::new("a", "b").unwrap();
        let (one, two) = (repo.issue(1).unwrap(), repo.issue(2).unwrap());
        let mut first = order.queue(&one);
        let mut second = order.queue(&one);
        let mut third = order.queue(&one);
        let mut other = order.queue(&two);
        assert!(has_come(&mut first) && has_come(&mut other), "nobody is before them");
        assert!(!has_come(&mut second) && !has_come(&mut third));
        drop(first);
        assert!(!has_come(&mut third), "it waits for the second");
        assert!(has_come(&mut second));
        drop(second);
        assert!(has_come(&mut third));
        drop((third, other));
        assert!(
            locked(&order.queues).is_empty(),
            "nothing is kept of issues that are done"
        );
    }

    #[tokio::test]
    async fn one_that_gives_up_is_passed_over_and_does_not_let_the_next_one_through() {
        let order = Order::default();
        let mut turns = VecDeque::from([(); 4].map(|()| order.queue(&1)));
        assert!(has_come(&mut turns[0]));
        drop(turns.remove(1));
        assert!(!has_come(&mut turns[1]), "the first is still at work");
        turns.pop_front();
        let let_through = turns.pop_front();
        assert!(
            !has_come(&mut turns[0]),
            "it waits for the third, which has not looked yet"
        );
        drop(let_through);
        assert!(has_come(&mut turns[0]));
        turns.clear();
        assert!(locked(&order.queues).is_empty());
    }
}
