//! The consumer loop while the servers are well: order, capacity, retries, rejections, stopping.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bugstream_kit::consume::{Options, Outcome};
use bugstream_kit::dead_letter::Kind;
use bugstream_proto::topology::{self, DOWNLOADER_LIVE, DOWNLOADS, INDEXER};
use bugstream_proto::{Change, Downloaded, Event, Lane, Nonce, Subject, Verb, v1};
use bugstream_testkit::wait;
use prost::Message;
use tokio::sync::{Barrier, Semaphore};

use crate::harness::{Bench, SOON, cause, issue, options};

/// Stores an empty request; it lies in the stream when this returns.
async fn publish(bench: &Bench, subject: &str) {
    let stored = bench.broker.jetstream.publish(subject.to_owned(), "".into()).await;
    stored.expect("sent").await.expect("stored");
}

async fn publish_many(bench: &Bench, numbers: std::ops::RangeInclusive<u64>) {
    let subjects = numbers.map(|number| Verb::Download.of(&issue(number)).to_string());
    let mut stored = Vec::new();
    for subject in subjects {
        stored.push(bench.broker.jetstream.publish(subject, "".into()).await.expect("sent"));
    }
    for one in stored {
        one.await.expect("stored");
    }
}

#[tokio::test]
async fn one_issue_is_handled_in_order_whatever_its_spelling_while_others_go_on() {
    let bench = Bench::start().await;
    let spellings = ["download.a.b.1", "download.A.b.1", "download.a.B.1", "download.A.B.1"];
    for subject in spellings {
        publish(&bench, subject).await;
    }
    for number in 2..=20 {
        publish(&bench, &format!("download.a.b.{number}")).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(Mutex::new(Vec::new()));
    let (open, seen) = (Arc::clone(&gate), Arc::clone(&begun));
    let working = bench.work(options(DOWNLOADER_LIVE, 8), move |message, _| {
        let (gate, begun) = (Arc::clone(&open), Arc::clone(&seen));
        async move {
            begun
                .lock()
                .expect("no panic")
                .push((message.issue().number(), message.spelling.to_string()));
            if message.subject.issue == issue(1) {
                gate.acquire().await.expect("never closed").forget();
            }
            Outcome::Done
        }
    });
    let of_one = || {
        let begun = begun.lock().expect("no panic");
        begun
            .iter()
            .filter(|(number, _)| *number == 1)
            .map(|(_, spelling)| spelling.clone())
            .collect::<Vec<_>>()
    };
    for done in 0..spellings.len() {
        wait::until_true(
            "the others are done, and one more of the issue begins",
            SOON,
            || async { begun.lock().expect("no panic").len() == 20 + done },
        )
        .await;
        assert_eq!(of_one(), spellings[..=done], "one at a time, in order");
        gate.add_permits(1);
    }
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    working.stop().await;
}

#[tokio::test]
async fn never_more_than_the_slots_are_under_way_and_all_slots_are_used() {
    let bench = Bench::start().await;
    publish_many(&bench, 1..=100).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (under_way, highest) = (Arc::clone(&now), Arc::clone(&most));
    // Nobody goes on before five are under way, however slowly the server delivers.
    let five = Arc::new(Barrier::new(5));
    let working = bench.work(options(DOWNLOADER_LIVE, 5), move |_, _| {
        let (now, most, five) = (Arc::clone(&under_way), Arc::clone(&highest), Arc::clone(&five));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            five.wait().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Outcome::Done
        }
    });
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    assert_eq!(most.load(Ordering::SeqCst), 5);
    let info = bench.stream(DOWNLOADS).await.consumer_info(DOWNLOADER_LIVE.name).await;
    assert_eq!(
        info.expect("an answer").num_redelivered,
        0,
        "nothing waited in a buffer"
    );
    working.stop().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_then_scheduled_and_comes_back_with_its_attempts() {
    let bench = Bench::start().await;
    bench.requests().download(&issue(1), cause()).await.expect("stored");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by = Arc::clone(&seen);
    let options = Options {
        naks: 2,
        ..options(DOWNLOADER_LIVE, 4)
    };
    let working = bench.work(options, move |message, _| {
        seen_by
            .lock()
            .expect("no panic")
            .push((message.attempts, message.deliveries, message.payload));
        let outcome = if message.attempts < 5 {
            Outcome::Retry {
                after: Some(Duration::from_millis(20)),
                why: "not yet".to_owned(),
            }
        } else {
            Outcome::Done
        };
        async move { outcome }
    });
    let succeeded = || seen.lock().expect("no panic").last().is_some_and(|last| last.0 == 5);
    wait::until_true("it succeeds", SOON, || async { succeeded() }).await;
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    let seen = seen.lock().expect("no panic").clone();
    let attempts: Vec<_> = seen
        .iter()
        .map(|(attempts, deliveries, _)| (*attempts, *deliveries))
        .collect();
    assert_eq!(attempts, [(0, 1), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1)]);
    assert!(
        seen.iter().all(|(_, _, payload)| payload == &seen[0].2),
        "it is the same request"
    );
    working.stop().await;
}

#[tokio::test]
async fn an_event_that_fails_comes_back_as_an_index_request_and_stays_in_the_log() {
    let bench = Bench::start().await;
    let event = downloaded(&bench);
    bench
        .log()
        .publish(&event, None, &Nonce::from_bits(1))
        .await
        .expect("stored");
    let options = Options {
        naks: 1,
        ..Options::new(INDEXER, 4, Lane::Index)
    };
    let working = bench.work(options, |_, _| async { Outcome::retry("not yet") });
    wait::until_true("the index request is due", SOON, || async {
        bench.subjects(topology::INDEXING).await == ["index.a.b.1"]
    })
    .await;
    let stream = bench.stream(topology::INDEXING).await;
    let due = stream
        .get_last_raw_message_by_subject("index.a.b.1")
        .await
        .expect("it is there");
    let request = v1::IndexRequested::read(&issue(1), &due.payload, bench.context.clock.now()).expect("a request");
    assert_eq!(request.cause.expect("a cause").reason(), v1::Reason::Reindex);
    assert_eq!(bench.subjects(topology::ISSUES).await, ["issue.a.b.1"]);
    wait::until_true("the event itself is acked", SOON, || async {
        let issues = bench.stream(topology::ISSUES).await;
        let consumer = issues.consumer_info(INDEXER.name).await.expect("an answer");
        (consumer.num_pending, consumer.num_ack_pending) == (0, 0)
    })
    .await;
    working.stop().await;
}

#[tokio::test]
async fn thousands_that_always_fail_do_not_hold_up_a_fresh_one() {
    let bench = Bench::start().await;
    let failing: u64 = 2_500;
    assert!(
        failing > topology::ConsumerSpec::MAX_ACK_PENDING.unsigned_abs(),
        "more than may wait for an ack"
    );
    publish_many(&bench, 1..=failing).await;
    let tried = Arc::new(Mutex::new(BTreeSet::new()));
    let fresh = Arc::new(AtomicBool::new(false));
    let (all, done) = (Arc::clone(&tried), Arc::clone(&fresh));
    let began = Instant::now();
    let working = bench.work(options(DOWNLOADER_LIVE, 50), move |message, _| {
        let number = message.issue().number();
        let outcome = if number > failing {
            done.store(true, Ordering::SeqCst);
            Outcome::Done
        } else {
            all.lock().expect("no panic").insert(number);
            Outcome::retry("it always fails")
        };
        async move { outcome }
    });
    wait::until_true("a thousand have failed", SOON, || async {
        tried.lock().expect("no panic").len() > 1_000
    })
    .await;
    // How fast this machine is today: a quick one does a thousand in well under a second.
    let thousand = began.elapsed();
    let published = Instant::now();
    publish(&bench, &format!("download.a.b.{}", failing + 1)).await;
    wait::until_true("the fresh one is done", SOON, || async { fresh.load(Ordering::SeqCst) }).await;
    assert!(
        published.elapsed() < Duration::from_secs(10) + 10 * thousand,
        "it took {:?}, and a thousand took {thousand:?}",
        published.elapsed()
    );
    wait::until_true("all were tried", SOON, || async {
        tried.lock().expect("no panic").len() as u64 == failing
    })
    .await;
    // Its handler said that it is done; the ack takes effect a moment later.
    let left = wait::until("the fresh one is acked", SOON, || async {
        let subjects = bench.subjects(DOWNLOADS).await;
        let parsed = subjects.iter().map(|subject| subject.parse::<Subject>());
        let issues: BTreeSet<_> = parsed.map(|subject| subject.expect("ours").issue).collect();
        (!issues.contains(&issue(failing + 1))).then_some(issues)
    })
    .await;
    assert_eq!(left.len() as u64, failing, "none of them is lost");
    working.stop().await;
}

#[tokio::test]
async fn while_a_part_is_away_the_loop_asks_for_nothing_and_then_for_one_at_a_time() {
    let bench = Bench::start().await;
    publish_many(&bench, 1..=30).await;
    let away = Arc::new(AtomicBool::new(true));
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (gone, called) = (Arc::clone(&away), Arc::clone(&calls));
    let hold = Duration::from_millis(1500);
    let working = bench.work(options(DOWNLOADER_LIVE, 4), move |message, _| {
        called
            .lock()
            .expect("no panic")
            .push((Instant::now(), message.issue().number()));
        let outcome = if gone.load(Ordering::SeqCst) {
            Outcome::Hold {
                after: Some(hold),
                why: "the store is away".to_owned(),
                ready: false,
            }
        } else {
            Outcome::Done
        };
        async move { outcome }
    });
    wait::until_true("it looked three times", SOON, || async {
        let calls = calls.lock().expect("no panic");
        let first = calls.first().map(|(at, _)| *at);
        first.is_some_and(|first| calls.last().expect("there is a first").0 - first > 2 * hold)
    })
    .await;
    let reason = bench.context.health.away().await;
    assert_eq!(
        reason.get(DOWNLOADER_LIVE.name).map(String::as_str),
        Some("the store is away")
    );
    let times: Vec<_> = calls.lock().expect("no panic").iter().map(|(at, _)| *at).collect();
    let bursts = times
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > hold * 8 / 10)
        .count();
    let in_first = times.iter().filter(|at| **at - times[0] < hold * 8 / 10).count();
    assert!(in_first <= 4, "no more than the slots before it knew");
    assert_eq!(times.len() - in_first, bursts, "then one a look: {times:?}");

    away.store(false, Ordering::SeqCst);
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    bench.ready().await;
    let handled: BTreeSet<_> = calls
        .lock()
        .expect("no panic")
        .iter()
        .map(|(_, number)| *number)
        .collect();
    assert_eq!(handled.len(), 30);
    working.stop().await;
}

#[tokio::test]
async fn a_held_message_that_is_purged_does_not_leave_the_service_unready() {
    let bench = Bench::start().await;
    publish_many(&bench, 1..=1).await;
    let working = bench.work(options(DOWNLOADER_LIVE, 4), move |_, _| {
        let away = Outcome::Hold {
            after: Some(Duration::from_millis(500)),
            why: "the store is away".to_owned(),
            ready: false,
        };
        async move { away }
    });
    let not_ready = || async { !bench.context.health.away().await.is_empty() };
    wait::until_true("it is not ready", SOON, not_ready).await;
    let stream = bench.broker.jetstream.get_stream(DOWNLOADS).await.unwrap();
    stream.purge().await.unwrap();
    wait::until_true("nothing waits, so it is ready", SOON, || async {
        bench.context.health.away().await.is_empty()
    })
    .await;
    working.stop().await;
}

#[tokio::test]
async fn a_limit_is_no_fault_the_service_stays_ready() {
    let bench = Bench::start().await;
    publish_many(&bench, 1..=1).await;
    let (calls, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (called, is_over) = (Arc::clone(&calls), Arc::clone(&over));
    let working = bench.work(options(DOWNLOADER_LIVE, 4), move |_, _| {
        called.fetch_add(1, Ordering::SeqCst);
        let limited = Outcome::Hold {
            after: Some(Duration::from_millis(300)),
            why: "rate limit".to_owned(),
            ready: true,
        };
        let outcome = if is_over.load(Ordering::SeqCst) {
            Outcome::Done
        } else {
            limited
        };
        async move { outcome }
    });
    // Twice, so that the first decision has been carried out.
    wait::until_true("it is limited", SOON, || async { calls.load(Ordering::SeqCst) >= 2 }).await;
    bench.ready().await;
    over.store(true, Ordering::SeqCst);
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    working.stop().await;
}

#[tokio::test]
async fn what_can_never_succeed_is_put_aside_with_its_reason_and_the_rest_goes_on() {
    let bench = Bench::start().await;
    let malformed = [
        ("download.12345", "write download.<owner>.<repo>.<number>"),
        ("download.a.b.xyz", "\"xyz\" is not an issue number"),
        ("download.a.b.0", "is not an issue number"),
        ("download.a.b.1180591620717411303424", "is not an issue number"),
        ("download.a.my.repo.5", "%2E"),
    ];
    for (subject, _) in malformed {
        bench.nats.publish_by_hand(subject, "").await.expect("sent");
    }
    bench
        .nats
        .publish_by_hand("download.not.configured.1", "")
        .await
        .expect("sent");
    bench
        .nats
        .publish_by_hand("download.a.b.1", "the title of an issue")
        .await
        .expect("sent");
    let of_another = v1::DownloadRequested::new(&issue(9), cause()).encode_to_vec();
    let sent = bench.broker.client.publish("download.a.b.2", of_another.clone().into());
    sent.await.expect("sent");
    bench.nats.publish_by_hand("download.a.b.3", "").await.expect("sent");
    bench.wait_for_messages(DOWNLOADS, malformed.len() as u64 + 4).await;

    let done = Arc::new(Mutex::new(Vec::new()));
    let handled = Arc::clone(&done);
    let now = bench.context.clock.now();
    let working = bench.work(options(DOWNLOADER_LIVE, 4), move |message, _| {
        let outcome = if message.issue().repo().to_string() != "a/b" {
            Outcome::reject(Kind::Other, "the repository is not configured")
        } else {
            match v1::DownloadRequested::read(message.issue(), &message.payload, now) {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::reject(Kind::Payload, error.to_string()),
            }
        };
        if outcome == Outcome::Done {
            handled.lock().expect("no panic").push(message.issue().number());
        }
        async move { outcome }
    });
    bench.wait_until_empty(DOWNLOADS, SOON).await;
    let letters = bench.wait_for_dead_letters(malformed.len() + 3).await;
    assert_eq!(letters.len(), malformed.len() + 3);
    let letter = |subject: &str| letters.iter().find(|letter| letter.subject == subject).expect(subject);
    for (subject, reason) in malformed {
        let found = letter(subject);
        assert!(found.reason.contains(reason), "{subject}: {}", found.reason);
        assert_eq!((found.kind.as_str(), found.stream.as_str()), ("subject", DOWNLOADS));
        assert!(found.sequence > 0 && found.attempts == 1 && found.service == "test-service");
    }
    assert_eq!(
        letter("download.not.configured.1").reason,
        "the repository is not configured"
    );
    let garbage = letter("download.a.b.1");
    assert_eq!((garbage.kind.as_str(), garbage.payload_size), ("payload", 21));
    assert!(
        garbage.payload.is_empty() && garbage.payload_sha256.len() == 32,
        "it could hold content"
    );
    let strange = letter("download.a.b.2");
    assert!(
        strange.reason.contains("another issue") && strange.payload == of_another,
        "{}",
        strange.reason
    );
    assert_eq!(*done.lock().expect("no panic"), [3]);
    working.stop().await;
}

#[tokio::test]
async fn what_is_no_event_leaves_the_log_so_that_the_newest_is_an_event_again() {
    let bench = Bench::start().await;
    let event = downloaded(&bench);
    let stored = bench.log().publish(&event, None, &Nonce::from_bits(1)).await;
    stored.expect("stored");
    bench
        .nats
        .publish_by_hand("issue.a.b.1", "garbage")
        .await
        .expect("sent");
    bench
        .nats
        .publish_by_hand("issue.nonsense", "garbage")
        .await
        .expect("sent");
    bench.wait_for_messages(topology::ISSUES, 3).await;
    let working = bench.work(options(INDEXER, 4), |message, _| async move {
        match Event::decode(message.issue(), &message.payload) {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::reject(Kind::Payload, error.to_string()),
        }
    });
    bench.wait_for_messages(topology::ISSUES, 1).await;
    assert_eq!(bench.wait_for_dead_letters(2).await.len(), 2);
    let newest = bench.log().newest(&issue(1)).await.expect("readable again");
    assert_eq!(newest.map(|newest| newest.event), Some(event));
    working.stop().await;
}

fn downloaded(bench: &Bench) -> Event {
    let object = |key: &str| v1::StoredObject {
        key: format!("issues/a/b/1/1-0000000000000001/{key}.json"),
        size: 2,
        sha256: vec![0; 32],
        compression: v1::Compression::None.into(),
    };
    Event {
        issue: issue(1),
        revision: 1,
        occurred_at: bench.context.clock.now(),
        marks: v1::Marks::default(),
        cause: cause(),
        change: Change::Downloaded(Downloaded {
            issue: object("issue"),
            timeline: object("timeline"),
            timeline_events: 0,
        }),
    }
}

#[tokio::test]
async fn a_soft_stop_finishes_what_is_under_way_and_begins_nothing() {
    let bench = Bench::start().await;
    publish_many(&bench, 1..=10).await;
    let finish = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let (gate, started) = (Arc::clone(&finish), Arc::clone(&begun));
    let working = bench.work(options(DOWNLOADER_LIVE, 3), move |_, _| {
        started.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("never closed").forget();
            Outcome::Done
        }
    });
    wait::until_true("all slots are taken", SOON, || async {
        begun.load(Ordering::SeqCst) == 3
    })
    .await;
    working.stop.soft();
    finish.add_permits(10);
    working.ended().await.expect("a stop is no error");
    assert_eq!(begun.load(Ordering::SeqCst), 3, "nothing new was begun");
    // What was under way is acked, the rest waits.
    bench.wait_for_messages(DOWNLOADS, 7).await;
}

#[tokio::test]
async fn a_hard_stop_does_not_wait_and_loses_nothing() {
    let bench = Bench::start().await;
    publish_many(&bench, 1..=1).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let started = Arc::clone(&begun);
    let working = bench.work(options(DOWNLOADER_LIVE, 3), move |_, _| {
        started.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    });
    wait::until_true("it began", SOON, || async { begun.load(Ordering::SeqCst) == 1 }).await;
    working.stop.hard();
    working.ended().await.expect("a stop is no error");
    assert_eq!(bench.subjects(DOWNLOADS).await, ["download.a.b.1"]);
}
