//! After an answer that asked to wait nothing is sent until the wait is over.

use std::time::{Duration, Instant};

use bugstream_github::{Client, Error, IssueAnswer, Limit};
use bugstream_testkit::github::{Fault, FaultRule, Simulator};

use crate::{TOKEN, clock, config, issue, simulator};

async fn waits(client: &Client, github: &Simulator) -> (Limit, u64) {
    match client.issue(&issue(github, 1), None).await {
        Err(Error::Limited { kind, after }) => (kind, after.as_secs()),
        other => panic!("not limited: {other:?}"),
    }
}

async fn answers(client: &Client, github: &Simulator) -> bool {
    matches!(client.issue(&issue(github, 1), None).await, Ok(IssueAnswer::Found(_)))
}

/// Whether so many seconds are what is left of a wait that began then: GitHub tells whole seconds, rounded up, and its time
/// of day in whole seconds, rounded down.
pub(crate) fn is_left_of(wait: u64, left: u64, began: Instant) -> bool {
    (wait.saturating_sub(began.elapsed().as_secs() + 1)..=wait + 1).contains(&left)
}

#[tokio::test]
async fn a_secondary_limit_is_waited_for_by_everyone() {
    for status in [403, 429] {
        let github = simulator().await;
        let clock = clock();
        let client = Client::new(config(&github.url()), clock.clone()).unwrap();
        github.fault(FaultRule::next(
            1,
            Fault::SecondaryLimit {
                status,
                retry_after_s: Some(30),
            },
        ));
        assert_eq!(waits(&client, &github).await, (Limit::Secondary, 30));
        clock.advance(Duration::from_secs(29));
        assert_eq!(waits(&client.clone(), &github).await, (Limit::Secondary, 1));
        assert!(client.repository(issue(&github, 1).repo()).await.is_err());
        assert_eq!(github.requests().total(), 1, "nothing was sent meanwhile");
        clock.advance(Duration::from_secs(1));
        assert!(client.limited().is_none());
        assert!(answers(&client, &github).await);
    }
}

#[tokio::test]
async fn a_secondary_limit_without_a_time_waits_longer_each_time() {
    let github = simulator().await;
    let clock = clock();
    let client = Client::new(config(&github.url()), clock.clone()).unwrap();
    for (status, want) in [(403, 60), (429, 120), (403, 240)] {
        github.fault(FaultRule::next(
            1,
            Fault::SecondaryLimit {
                status,
                retry_after_s: None,
            },
        ));
        assert_eq!(waits(&client, &github).await, (Limit::Secondary, want));
        clock.advance(Duration::from_secs(want));
    }
    assert!(answers(&client, &github).await);
    github.fault(FaultRule::next(
        1,
        Fault::SecondaryLimit {
            status: 403,
            retry_after_s: None,
        },
    ));
    assert_eq!(
        waits(&client, &github).await,
        (Limit::Secondary, 60),
        "a success begins anew"
    );
}

#[tokio::test]
async fn the_last_request_of_the_quota_closes_the_gate() {
    let github = simulator().await;
    let clock = clock();
    let client = Client::new(config(&github.url()), clock.clone()).unwrap();
    let began = Instant::now();
    github.leave_quota(TOKEN, 1, 600);
    assert!(answers(&client, &github).await, "the last one is answered");
    let (kind, left) = waits(&client, &github).await;
    assert_eq!(kind, Limit::Primary);
    assert!(is_left_of(600, left, began), "{left} s");
    assert_eq!(github.requests().total(), 1);
    clock.advance(Duration::from_secs(left + 1));
    github.advance(Duration::from_secs(left + 1));
    assert!(answers(&client, &github).await);
}

#[tokio::test]
async fn an_exhausted_quota_says_when_it_is_full_again() {
    let github = simulator().await;
    let client = crate::client(&github.url());
    let began = Instant::now();
    github.leave_quota(TOKEN, 0, 1_200);
    let (kind, left) = waits(&client, &github).await;
    assert_eq!(kind, Limit::Primary);
    assert!(is_left_of(1_200, left, began), "{left} s");
}
