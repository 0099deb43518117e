//! The audit finds what nothing else tells: silent deletions, transfers, cross-references on dormant issues.

use std::time::Duration;

use bugstream_kit::watermarks::{Audit, State};
use bugstream_proto::{Change as Event, v1};
use bugstream_testkit::github::{Change, Options};
use bugstream_testkit::wait;

use crate::layers::{set, with};
use crate::stage::{PATIENCE, deleted, downloaded};

/// Short, so that a test sees several.
const ROUND: Duration = Duration::from_secs(2);

#[tokio::test]
async fn it_finds_a_silent_deletion_a_transfer_and_a_cross_reference_on_a_dormant_issue() {
    let (stage, config) = set(Options::default()).await;
    let downloader = stage.start_with(config.clone());
    let mut before = Vec::new();
    for number in 1..=6 {
        before.push(stage.download(number).await);
    }
    stage.kill(downloader).await;
    stage.github.mute_webhooks(true);
    let other = stage.github.issue(1).expect("it is there");
    let reference = Change::CrossReference(Box::new(other));
    stage.github.edit(2, [reference]).await.unwrap();
    stage.github.delete(4).await.unwrap();
    stage.github.transfer(5, "bugstream-demo/elsewhere").await.unwrap();

    let downloader = stage.start_with(with(&config, |layers| layers.audit_round = Some(ROUND)));
    let found = stage.event_after(2, before[1].sequence).await;
    assert_eq!(found.event.cause.reason(), v1::Reason::Audit);
    assert_eq!(
        downloaded(&found).issue,
        downloaded(&before[1]).issue,
        "the issue itself did not change"
    );
    for (number, status) in [(4, 410), (5, 301)] {
        let gone = wait::until("the deletion is believed", PATIENCE, async || {
            let newest = stage.newest(number).await?;
            matches!(newest.event.change, Event::Deleted(_)).then_some(newest)
        })
        .await;
        assert_eq!(deleted(&gone).status, status);
        assert_eq!(deleted(&gone).confirmation(), v1::Confirmation::SecondLook);
    }
    assert_eq!(
        stage.newest(1).await.as_ref(),
        Some(&before[0]),
        "what did not change has no event"
    );
    let record = stage
        .mark_when::<Audit>("a whole round", |record| record.round > 1)
        .await;
    assert!(record.finished.is_some() && record.state == State::On, "{record:?}");
    downloader.end().await;
}

#[tokio::test]
async fn a_round_over_what_did_not_change_costs_nothing_with_a_token() {
    let (stage, config) = set(Options::default()).await;
    let downloader = stage.start_with(config.clone());
    for number in 1..=5 {
        stage.queue(number).await;
    }
    for number in 1..=5 {
        stage.event_after(number, 0).await;
    }
    stage.idle().await;
    stage.kill(downloader).await;
    stage.github.forget_requests();
    let downloader = stage.start_with(with(&config, |layers| layers.audit_round = Some(ROUND)));
    let record = stage
        .mark_when::<Audit>("a round", |record| record.finished.is_some())
        .await;
    stage.idle().await;
    assert_eq!((record.known, record.last), (5, 5));
    let requests = stage.github.requests();
    assert!(
        requests.status(304) >= 10,
        "every issue was asked for: {}",
        requests.to_json()
    );
    assert_eq!(requests.spent(), 0, "{}", requests.to_json());
    downloader.end().await;
}
