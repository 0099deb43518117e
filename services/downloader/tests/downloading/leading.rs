//! Which of several downloaders works.

use std::time::Duration;

use async_nats::jetstream::kv::Operation;
use bugstream_proto::{Verb, topology};
use bugstream_testkit::wait;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use crate::stage::{PATIENCE, Stage};

/// Waits until somebody leads, and says who.
pub(crate) async fn leader(stage: &Stage) -> bytes::Bytes {
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

    let leases = stage.broker.jetstream.get_key_value(topology::LEASES).await.unwrap();
    let mut changes = leases.watch("downloader").await.unwrap();
    first.stop().await;
    assert_ne!(leader(&stage).await, lead);
    let given_back = async {
        loop {
            // An error says that the connection stood still; what was missed comes again.
            if let Ok(change) = changes.next().await.expect("the bucket tells")
                && change.value != lead
            {
                return change.operation;
            }
        }
    };
    // A lease that ran out is not told as a change: the first one would be the other's.
    let given_back = tokio::time::timeout(PATIENCE, given_back).await.expect("it was told");
    assert_eq!(given_back, Operation::Delete, "the lease need not run out");
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

/// Waits until nobody asks for messages. Between two pulls that is so for a moment, and who pulls asks again every two
/// seconds: so it must be seen in a row for longer than that.
async fn nobody_pulls(stage: &Stage) {
    let stream = stage.stream(topology::DOWNLOADS).await;
    let idle = std::sync::atomic::AtomicU32::new(0);
    wait::until_true("nobody asks for messages", PATIENCE, || async {
        let info = stream.consumer_info(topology::DOWNLOADER_LIVE.name).await;
        let in_a_row = match info.expect("the consumer is there").num_waiting {
            0 => idle.load(std::sync::atomic::Ordering::Relaxed) + 1,
            _ => 0,
        };
        idle.store(in_a_row, std::sync::atomic::Ordering::Relaxed);
        in_a_row > 150
    })
    .await;
}

#[tokio::test]
async fn one_that_loses_the_lease_asks_for_nothing_more_until_it_leads_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    stage.download(1).await;
    let leases = stage.broker.jetstream.get_key_value(topology::LEASES).await.unwrap();
    let mut usurper = JoinSet::new();
    usurper.spawn(async move {
        loop {
            leases
                .put("downloader", "another".into())
                .await
                .expect("the bucket is there");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    nobody_pulls(&stage).await;
    stage.queue(2).await;
    downloader.ready().await;
    assert_eq!(stage.waiting(Verb::Download).await, 1);
    assert_eq!(stage.newest(2).await, None);

    usurper.shutdown().await;
    stage.event_after(2, 0).await;
    downloader.stop().await;
}
