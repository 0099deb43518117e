//! How far a run is, said now and then.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::Book;
use crate::queues::Queues;

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Tells every ten seconds what is being done, what was done and what waits. Never ends.
pub(super) async fn tell(book: &Book, queues: &Queues, say: impl Fn(&str)) -> Infallible {
    let begin = Instant::now();
    loop {
        tokio::time::sleep(EVERY).await;
        let waiting = queues.counts().await;
        say(&line(book, begin.elapsed(), &waiting));
    }
}

fn line(book: &Book, elapsed: Duration, waiting: &str) -> String {
    let ledger = book.open();
    format!(
        "{:>4} s  {:<12} {} edits, {} faults; {waiting}",
        elapsed.as_secs(),
        ledger.phase,
        ledger.edits.values().sum::<u64>(),
        ledger.faults.values().sum::<u64>(),
    )
}
