//! A broker that is away, before the receiver starts or while it runs.

use std::time::{Duration, Instant};

use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;

use crate::harness::{Delivery, Downloads, Receiver, SOON, config};

#[tokio::test]
async fn while_the_broker_is_away_senders_hear_so_in_time_and_afterwards_all_is_well() {
    let mut nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    nats.kill9();
    let began = Instant::now();
    let answer = receiver.send(&Delivery::of_issue("d1", "edited", 1)).await;
    assert!(began.elapsed() < Duration::from_secs(10), "GitHub waits no longer");
    assert_eq!(answer.status(), 503);
    let later = answer.headers().get("retry-after").expect("when to come back");
    assert!(later.to_str().expect("text").parse::<u32>().is_ok());
    assert!(answer.text().await.expect("a body").contains("JetStream"));
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    assert_eq!(receiver.get("/livez").await.status(), 200);

    nats.restart().await;
    let receiver = receiver.ready().await;
    assert_eq!(receiver.status(&Delivery::of_issue("d1", "edited", 1)).await, 202);
    let subjects = Downloads::of(&nats).await.subjects().await;
    assert_eq!(
        subjects,
        [
            "deadline.bugstream-test.web-bugs.1",
            "debounce.bugstream-test.web-bugs.1"
        ]
    );
    receiver.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_away_for_a_moment_costs_no_delivery() {
    let mut nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    nats.kill9();
    let delivery = Delivery::of_issue("d1", "edited", 1);
    let (status, ()) = tokio::join!(receiver.status(&delivery), nats.restart());
    assert_eq!(status, 202);
    receiver.stop().await;
}

#[tokio::test]
async fn it_starts_before_its_broker_and_says_so() {
    let mut nats = Nats::start().await;
    nats.kill9();
    let receiver = Receiver::start(config(&nats.url())).await;
    assert_eq!(receiver.get("/livez").await.status(), 200);
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    let answer = receiver.send(&Delivery::of_issue("d1", "edited", 1)).await;
    assert_eq!(answer.status(), 503);
    nats.restart().await;
    wait::until_true("a delivery is accepted", SOON, || async {
        receiver.status(&Delivery::of_issue("d1", "edited", 1)).await == 202
    })
    .await;
    receiver.stop().await;
}

#[tokio::test]
async fn a_stop_while_it_waits_for_its_broker_is_no_error() {
    let mut nats = Nats::start().await;
    nats.kill9();
    let receiver = Receiver::start(config(&nats.url())).await;
    assert_eq!(receiver.get("/livez").await.status(), 200);
    receiver.stop().await;
}
