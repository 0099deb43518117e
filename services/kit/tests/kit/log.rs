//! The log: one newest event an issue, and what two writers get.

use bugstream_kit::log::{LogError, Logged};
use bugstream_proto::{Change, Event, IssueId, Nonce, topology, v1};

use crate::harness::{Bench, cause, issue};

fn deletion(issue: &IssueId, revision: u64) -> Event {
    Event {
        issue: issue.clone(),
        revision,
        occurred_at: time::OffsetDateTime::UNIX_EPOCH,
        marks: v1::Marks {
            public: Some(v1::SideMarks::default()),
            private: Some(v1::SideMarks::default()),
        },
        cause: cause(),
        change: Change::Deleted(v1::IssueDeleted {
            status: 404,
            confirmation: v1::Confirmation::SecondLook.into(),
            moved_to: None,
        }),
    }
}

async fn newest(bench: &Bench) -> Option<Logged> {
    bench.log().newest(&issue(1)).await.expect("the log answers")
}

#[tokio::test]
async fn what_was_published_is_the_newest_with_its_sequence_and_nonce() {
    let bench = Bench::start().await;
    let log = bench.log();
    assert_eq!(newest(&bench).await, None);
    let event = deletion(&issue(1), log.next_revision(None));
    let nonce = Nonce::from_bits(1);
    let sequence = log.publish(&event, None, &nonce).await.expect("stored");
    let first = newest(&bench).await.expect("it is there");
    assert_eq!((first.sequence, &first.event), (sequence, &event));
    assert_eq!(first.nonce.as_deref(), Some(nonce.as_str()));
    let second = deletion(&issue(1), log.next_revision(Some(&first)));
    assert!(second.revision > event.revision);
    log.publish(&second, Some(&first), &Nonce::from_bits(2))
        .await
        .expect("stored");
    assert_eq!(newest(&bench).await.map(|newest| newest.event), Some(second));
    assert_eq!(log.newest(&issue(2)).await.expect("the log answers"), None);
}

#[tokio::test]
async fn of_two_writers_one_wins_and_the_other_hears_so() {
    let bench = Bench::start().await;
    let log = bench.log();
    let (one, two) = (Nonce::from_bits(1), Nonce::from_bits(2));
    log.publish(&deletion(&issue(1), 10), None, &one).await.expect("stored");
    let late = log.publish(&deletion(&issue(1), 20), None, &two).await;
    assert!(matches!(late, Err(LogError::Conflict)), "{late:?}");
    let first = newest(&bench).await.expect("it is there");
    assert_eq!(first.event.revision, 10);
    log.publish(&deletion(&issue(1), 20), Some(&first), &two)
        .await
        .expect("stored");
    let stale = log
        .publish(&deletion(&issue(1), 30), Some(&first), &Nonce::from_bits(3))
        .await;
    assert!(matches!(stale, Err(LogError::Conflict)), "{stale:?}");
}

#[tokio::test]
async fn a_publish_whose_answer_was_lost_may_be_repeated_and_is_stored_once() {
    let bench = Bench::start().await;
    let log = bench.log();
    let (event, nonce) = (deletion(&issue(1), 10), Nonce::from_bits(1));
    let stored = log.publish(&event, None, &nonce).await.expect("stored");
    let repeated = log
        .publish(&event, None, &nonce)
        .await
        .expect("its own event is no conflict");
    assert_eq!(repeated, stored);
    let stream = bench.stream(topology::ISSUES).await;
    assert_eq!(stream.cached_info().state.messages, 1);
}

#[tokio::test]
async fn a_nonce_that_another_issue_used_is_never_taken_for_success() {
    let bench = Bench::start().await;
    let (log, nonce) = (bench.log(), Nonce::from_bits(1));
    log.publish(&deletion(&issue(1), 10), None, &nonce)
        .await
        .expect("stored");
    let duplicate = log.publish(&deletion(&issue(2), 10), None, &nonce).await;
    assert!(matches!(duplicate, Err(LogError::Conflict)), "{duplicate:?}");
    assert_eq!(log.newest(&issue(2)).await.expect("the log answers"), None);
}

#[tokio::test]
async fn a_revision_that_does_not_rise_is_refused_before_it_is_sent() {
    let bench = Bench::start().await;
    let log = bench.log();
    log.publish(&deletion(&issue(1), 10), None, &Nonce::from_bits(1))
        .await
        .expect("stored");
    let first = newest(&bench).await.expect("it is there");
    for revision in [9, 10] {
        let stale = log
            .publish(&deletion(&issue(1), revision), Some(&first), &Nonce::from_bits(2))
            .await;
        assert!(matches!(stale, Err(LogError::Stale { newest: 10, .. })), "{stale:?}");
    }
    assert_eq!(newest(&bench).await, Some(first));
}

#[tokio::test]
async fn what_is_no_event_is_named_and_does_not_pass_for_one() {
    let bench = Bench::start().await;
    bench
        .nats
        .publish_by_hand("issue.a.b.1", "garbage")
        .await
        .expect("sent");
    bench.wait_for_messages(topology::ISSUES, 1).await;
    let unreadable = bench.log().newest(&issue(1)).await;
    assert!(
        matches!(unreadable, Err(LogError::Unreadable { sequence: 1, .. })),
        "{unreadable:?}"
    );
}
