//! A broker that is away, before the receiver starts or while it runs.

use std::time::Duration;

use bugstream_testkit::nats::Nats;
use bugstream_testkit::proxy::{Mode, Proxy};
use bugstream_testkit::wait;

use crate::harness::{Delivery, Downloads, Receiver, SOON, awake, config};

#[tokio::test]
async fn while_the_broker_is_away_senders_hear_so_in_time_and_afterwards_all_is_well() {
    let mut nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    nats.kill9();
    let (answer, waited) = awake(receiver.send(&Delivery::of_issue("d1", "edited", 1))).await;
    assert!(waited < Duration::from_secs(10), "GitHub waits no longer");
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
    let nats = Nats::start().await;
    let address = nats.url().trim_start_matches("nats://").parse().expect("an address");
    // In place of a server that starts again: how long that takes is the machine's affair, and may be longer than GitHub
    // waits.
    let way = Proxy::start(address).await.expect("a free port");
    let receiver = Receiver::start(config(&format!("nats://{}", way.address()))).await;
    let receiver = receiver.ready().await;
    let before = way.accepted();
    way.set(Mode::Refuse);
    way.cut();
    let in_vain = async |times| {
        wait::until_true("it tries to come back in vain", SOON, || async {
            way.accepted() >= before + times
        })
        .await;
    };
    in_vain(1).await;
    let delivery = Delivery::of_issue("d1", "edited", 1);
    let moment = async {
        in_vain(4).await;
        way.set(Mode::Pass);
    };
    let (status, ()) = tokio::join!(receiver.status(&delivery), moment);
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
