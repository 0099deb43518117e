//! Which of several downloaders works.

use bugstream_proto::topology;
use bugstream_testkit::wait;

use crate::stage::{PATIENCE, Stage};

/// Waits until somebody leads, and says who.
async fn leader(stage: &Stage) -> bytes::Bytes {
    let leases = stage.broker.jetstream.get_key_value(topology::LEASES).await;
    let leases = leases.expect("the bucket is there");
    wait::until("somebody leads", PATIENCE, || async {
        leases.get("downloader").await.ok().flatten()
    })
    .await
}

#[tokio::test]
async fn one_works_and_the_other_takes_over_when_it_stops() {
    let stage = Stage::set().await;
    let first = stage.start();
    let lead = leader(&stage).await;
    let second = stage.start();
    second.ready().await;
    stage.download(1).await;
    assert_eq!(leader(&stage).await, lead, "the second stands by");

    let began = std::time::Instant::now();
    first.stop().await;
    assert_ne!(leader(&stage).await, lead);
    assert!(
        began.elapsed() < topology::LEASE_TTL,
        "a lease that was given back need not run out"
    );
    stage.download(2).await;
    second.stop().await;
}

#[tokio::test]
async fn the_other_takes_over_when_the_first_one_crashes() {
    let stage = Stage::set().await;
    let first = stage.start();
    let lead = leader(&stage).await;
    let second = stage.start();
    stage.download(1).await;
    first.crash().await;
    stage.download(2).await;
    assert_ne!(leader(&stage).await, lead);
    second.stop().await;
}
