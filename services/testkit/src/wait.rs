//! Waiting for a condition with a deadline, in place of sleeping and hoping.

use std::time::{Duration, Instant};

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` has something, and returns that.
///
/// # Panics
/// When `deadline` is over, with what was waited for.
pub async fn until<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        // Before the look, so that there is one after the deadline, however long this thread stood still.
        let over = begin.elapsed() >= deadline;
        if let Some(found) = look().await {
            return found;
        }
        assert!(!over, "waited {deadline:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks until `look` says yes.
///
/// # Panics
/// When `deadline` is over, with what was waited for.
pub async fn until_true(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> bool) {
    until(what, deadline, async || look().await.then_some(())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_returns_what_it_waited_for() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await;
        assert_eq!(found, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain: what never comes")]
    async fn it_says_what_did_not_come() {
        until_true("what never comes", Duration::from_millis(30), || async { false }).await;
    }
}
