//! A person decides about what the fuse holds back.

use bugstream_kit::broker::Broker;
use bugstream_kit::config;
use bugstream_kit::deletions::{Deletions, Evidence, Fuse, Stage};
use bugstream_testkit::nats::Nats;
use serde_json::json;
use time::macros::datetime;

use crate::operator::{Operator, issue};

/// Two blocked deletions, one seen once, and a blown fuse.
async fn blown(nats: &Nats) -> Deletions {
    let section = config::Nats {
        url: nats.url(),
        ..config::Nats::default()
    };
    let broker = Broker::connect_once(&section, "test")
        .await
        .expect("the server answers");
    let deletions = Deletions::open(&broker).await.expect("the bucket exists");
    let now = datetime!(2026-11-21 09:30 UTC);
    for (number, stage) in [(3, Stage::Blocked), (12, Stage::Blocked), (5, Stage::Seen)] {
        let evidence = Evidence {
            status: 404,
            first_seen: now,
            stage,
        };
        deletions
            .record(&issue("a/b", number), &evidence)
            .await
            .expect("stored");
    }
    let fuse = deletions.count_one(&issue("a/b", 3), 0, now).await.expect("counted");
    assert_eq!(fuse, Fuse::Blown);
    deletions
}

#[tokio::test]
async fn nothing_is_held_back_at_first() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    assert_eq!(
        operator.run("deletions list").await.out(),
        "fuse closed: deletions go through\n"
    );
    assert_eq!(
        operator.run("deletions discard").await.out(),
        "nothing was held back; deletions go through\n"
    );
}

#[tokio::test]
async fn what_is_held_back_is_listed_and_approved() {
    let nats = Nats::start().await;
    let (operator, deletions) = (Operator::of(&nats), blown(&nats).await);
    insta::assert_snapshot!(operator.run("deletions list").await.out(), @r#"
    fuse blown at 2026-11-21T09:30:00Z: nothing is deleted until you decide
      a/b#3                                     GitHub says 404 since 2026-11-21T09:30:00Z
      a/b#12                                    GitHub says 404 since 2026-11-21T09:30:00Z
    2 deletions held back
      queue-cli deletions approve   deletes them, where GitHub still says that they are gone
      queue-cli deletions discard   keeps them
    "#);
    assert_eq!(
        operator.run("deletions approve --output json").await.json(),
        json!({ "approved": ["a/b#3", "a/b#12"] })
    );
    let evidence = deletions
        .evidence(&issue("a/b", 12))
        .await
        .expect("readable")
        .expect("kept");
    assert_eq!(evidence.stage, Stage::Approved);
    assert_eq!(deletions.fuse().await.expect("readable").blown_at, None);
    assert_eq!(
        operator.run("length download").await.out(),
        "download.length = 2\n",
        "both are looked at again"
    );
}

#[tokio::test]
async fn what_is_discarded_is_kept_in_the_archive() {
    let nats = Nats::start().await;
    let (operator, deletions) = (Operator::of(&nats), blown(&nats).await);
    assert_eq!(
        operator.run("deletions discard").await.out(),
        "discarded 2 deletions: the archive keeps the issues\n"
    );
    assert_eq!(deletions.evidence(&issue("a/b", 12)).await.expect("readable"), None);
    assert_eq!(
        operator.run("deletions list").await.out(),
        "fuse closed: deletions go through\n"
    );
}
