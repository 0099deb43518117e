//! The consumer loop when something breaks: a consumer deleted by hand, a handler that panics, a server that is killed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bugstream_kit::clock::Clock;
use bugstream_kit::consume::{Options, Outcome};
use bugstream_kit::publish::PublishError;
use bugstream_proto::topology::{ConsumerSpec, DOWNLOADER_LIVE, DOWNLOADS};
use bugstream_testkit::wait;
use tokio::sync::Semaphore;

use crate::harness::{Bench, SOON, cause, issue, options};

#[tokio::test]
async fn a_consumer_deleted_by_hand_comes_back_by_itself() {
    let bench = Bench::start().await;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let working = bench.work(options(DOWNLOADER_LIVE, 4), move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Outcome::Done }
    });
    bench.requests().download(&issue(1), cause()).await.expect("stored");
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    let stream = bench.stream(DOWNLOADS).await;
    stream
        .delete_consumer(DOWNLOADER_LIVE.name)
        .await
        .expect("deleted by hand");
    bench.requests().download(&issue(2), cause()).await.expect("stored");
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    assert_eq!(handled.load(Ordering::SeqCst), 2);
    working.stop().await;
}

#[tokio::test]
async fn a_panic_ends_the_loop_with_an_error_and_the_message_stays() {
    let bench = Bench::start().await;
    bench.requests().download(&issue(1), cause()).await.expect("stored");
    let working = bench.work(options(DOWNLOADER_LIVE, 4), |message, _| async move {
        assert_ne!(message.issue().number(), 1, "a panic on purpose");
        Outcome::Done
    });
    let error = working.ended().await.expect_err("the process must end");
    assert!(error.to_string().contains("panic"), "{error}");
    assert_eq!(bench.subjects(DOWNLOADS).await, ["download.a.b.1"]);
}

#[tokio::test]
async fn a_server_killed_in_the_middle_loses_nothing() {
    let mut bench = Bench::start().await;
    let total: u64 = 400;
    for number in 1..=total {
        bench
            .requests()
            .download(&issue(number), cause())
            .await
            .expect("stored");
    }
    let handled = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&handled);
    // An ack that the dead server never saw is given again after the ack wait.
    let spec = ConsumerSpec {
        ack_wait: Duration::from_secs(3),
        ..DOWNLOADER_LIVE
    };
    // Half of them may be done before the kill, however fast they come; the slots are all taken then.
    let gate = Arc::new(Semaphore::new(200));
    let open = Arc::clone(&gate);
    let working = bench.work(options(spec, 8), move |message, _| {
        let (seen, gate) = (Arc::clone(&seen), Arc::clone(&open));
        async move {
            gate.acquire().await.expect("never closed").forget();
            seen.lock().expect("no panic").insert(message.issue().number());
            Outcome::Done
        }
    });
    let so_far = || handled.lock().expect("no panic").len() as u64;
    wait::until_true("it is in the middle", SOON, || async { gate.available_permits() == 0 }).await;
    bench.nats.kill9();
    assert!(so_far() < total, "there is something left to lose");
    gate.add_permits(1_000_000);
    bench.nats.restart().await;
    wait::until_true("every one was handled", SOON, || async { so_far() == total }).await;
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    working.stop().await;
}

#[tokio::test]
async fn a_publish_to_a_server_that_is_away_says_so() {
    let mut bench = Bench::start().await;
    bench.nats.kill9();
    let away = tokio::time::timeout(SOON, bench.requests().download(&issue(1), cause())).await;
    let away = away.expect("it does not hang");
    assert!(matches!(away, Err(PublishError::Unavailable(_))), "{away:?}");
    assert!(bench.context.health.away().await.contains_key("nats"));
    bench.nats.restart().await;
    wait::until_true("the connection is back", SOON, || async {
        bench.context.health.away().await.is_empty()
    })
    .await;
    bench.requests().download(&issue(1), cause()).await.expect("stored");
}

#[tokio::test]
async fn a_request_that_the_server_lost_sight_of_is_published_again() {
    let bench = Bench::start().await;
    let stream = bench.stream(DOWNLOADS).await;
    bench.requests().download(&issue(1), cause()).await.expect("stored");
    let last = stream.get_info().await.expect("it answers").state.last_sequence;
    // What a kill -9 leaves at times: the message is there, and the consumer counts it as acked.
    let reset = stream.reset_consumer(DOWNLOADER_LIVE.name, Some(last + 1)).await;
    reset.expect("the consumer begins after it");
    // Before anybody looks: what the server knows of is no ghost, and comes first.
    bench.requests().download(&issue(2), cause()).await.expect("stored");
    let handled = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&handled);
    let options = Options {
        ghost_pause: Duration::from_millis(300),
        ..options(DOWNLOADER_LIVE, 4)
    };
    let working = bench.work(options, move |message, _| {
        seen.lock().expect("no panic").push(message.issue().number());
        async { Outcome::Done }
    });
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    assert_eq!(
        *handled.lock().expect("no panic"),
        [2, 1],
        "delivered once, after what the server knew of"
    );
    working.stop().await;
}

#[tokio::test]
async fn a_schedule_that_the_server_lost_sight_of_is_fired_all_the_same() {
    let mut bench = Bench::start().await;
    let now = bench.context.clock.now();
    let hours = |n: u64| now + Duration::from_secs(n * 3600);
    let requests = bench.requests();
    // To a service whose clock is two hours ahead, what is due in an hour looks like what a kill -9 leaves at times.
    requests.debounce(&issue(1), cause(), hours(1)).await.expect("stored");
    requests.deadline(&issue(2), cause(), hours(1)).await.expect("stored");
    let (lane, payload) = (bugstream_proto::Lane::Download, bytes::Bytes::new());
    let third = issue(3);
    let again = requests.retry(lane, &third, payload, 5, hours(1), None);
    again.await.expect("stored");
    requests.deadline(&issue(4), cause(), hours(3)).await.expect("stored");
    bench.nats.publish_by_hand("deadline.a.b.5", "").await.expect("stored");
    bench
        .nats
        .publish_by_hand("debounce.nonsense", "")
        .await
        .expect("stored");
    bench.wait_for_messages(DOWNLOADS, 6).await;
    bench.context.clock = Clock::manual(hours(2));

    let handled = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&handled);
    let options = Options {
        ghost_pause: Duration::from_millis(300),
        ..options(DOWNLOADER_LIVE, 4)
    };
    let working = bench.work(options, move |message, _| {
        let (number, attempts) = (message.issue().number(), message.attempts);
        seen.lock().expect("no panic").insert((number, attempts));
        async { Outcome::Done }
    });
    bench.wait_for_messages(DOWNLOADS, 1).await;
    assert_eq!(
        bench.subjects(DOWNLOADS).await,
        ["deadline.a.b.4"],
        "its time is to come"
    );
    assert_eq!(
        *handled.lock().expect("no panic"),
        BTreeSet::from([(1, 0), (2, 0), (3, 5)])
    );
    let letters = bench.wait_for_dead_letters(2).await;
    let subjects: BTreeSet<&str> = letters.iter().map(|letter| letter.subject.as_str()).collect();
    assert_eq!(subjects, BTreeSet::from(["deadline.a.b.5", "debounce.nonsense"]));
    assert!(letters.iter().all(|letter| letter.kind == "schedule"));
    working.stop().await;
}
