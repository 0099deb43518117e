//! How long a message stays with its worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bugstream_kit::consume::{LeaseLost, Options, Outcome};
use bugstream_proto::topology::{ConsumerSpec, DOWNLOADER_LIVE, DOWNLOADS};

use crate::harness::{Bench, SOON, cause, issue, options};

/// Short, so that a test can outlast it; and long enough that a lease outlasts a machine that stands still for seconds.
const ACK_WAIT: Duration = Duration::from_secs(9);

/// Where the lease is to be lost.
const SHORT: Duration = Duration::from_secs(2);

fn short(ack_wait: Duration, longest_lease: Duration) -> Options {
    let spec = ConsumerSpec {
        ack_wait,
        ..DOWNLOADER_LIVE
    };
    Options {
        longest_lease,
        ..options(spec, 4)
    }
}

#[tokio::test]
async fn long_work_keeps_its_message_by_reporting_progress() {
    let bench = Bench::start().await;
    bench.requests().download(&issue(1), cause()).await.expect("stored");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by = Arc::clone(&seen);
    let working = bench.work(short(ACK_WAIT, SOON), move |message, lease| {
        let seen = Arc::clone(&seen_by);
        async move {
            tokio::time::sleep(ACK_WAIT * 2).await;
            let mut seen = seen.lock().expect("no panic");
            seen.push((message.deliveries, lease.check()));
            Outcome::Done
        }
    });
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    assert_eq!(*seen.lock().expect("no panic"), [(1, Ok(()))], "nobody else got it");
    working.stop().await;
}

#[tokio::test]
async fn work_beyond_its_longest_time_is_dropped_before_another_gets_the_message() {
    let bench = Bench::start().await;
    bench.requests().download(&issue(1), cause()).await.expect("stored");
    let dropped = Arc::new(AtomicBool::new(false));
    let (flag, second) = (Arc::clone(&dropped), Arc::new(Mutex::new(None)));
    let found = Arc::clone(&second);
    let working = bench.work(short(SHORT, SHORT), move |message, lease| {
        let (flag, found) = (Arc::clone(&flag), Arc::clone(&found));
        async move {
            if message.deliveries > 1 {
                let mut found = found.lock().expect("no panic");
                found.get_or_insert((flag.load(Ordering::SeqCst), message.attempts));
                return Outcome::Done;
            }
            let _guard = Guard(flag);
            while lease.check().is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(lease.check(), Err(LeaseLost));
            std::future::pending().await
        }
    });
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    assert_eq!(*second.lock().expect("no panic"), Some((true, 1)));
    working.stop().await;
}

/// Says when the future that holds it is dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
