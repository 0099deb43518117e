//! Limits of GitHub's: seen, waited for, left alone by a stop, and kept across a change of leaders.

use std::time::{Duration, Instant};

use bugstream_downloader::Config;
use bugstream_kit::clock::Clock;
use bugstream_kit::secret::Secret;
use bugstream_kit::service::DRAIN;
use bugstream_proto::{Verb, v1};
use bugstream_testkit::github::{Fault, FaultKind, FaultRule, Options, Storm};
use bugstream_testkit::wait;

use crate::leading::leader;
use crate::stage::{PATIENCE, Stage, issue};

async fn told_to_wait(stage: &Stage) {
    wait::until_true("the limit is told", PATIENCE, || async {
        let requests = stage.github.requests();
        requests.status(403) + requests.status(429) > 0
    })
    .await;
}

#[tokio::test]
async fn who_takes_over_obeys_the_limits_that_the_first_one_met() {
    const LIMIT_S: u64 = 20;
    let stage = Stage::set().await;
    // One at a time, so that no answer that was on its way already comes after the refusal.
    let config = Config {
        slots: 1,
        ..stage.config()
    };
    let first = stage.start_with(config.clone());
    stage.download(1).await;
    let lead = leader(&stage).await;
    let second = stage.start_with(config);
    let limit = Fault::SecondaryLimit {
        status: 403,
        retry_after_s: Some(LIMIT_S),
    };
    stage.github.fault(FaultRule::next(1, limit));
    stage.queue(2).await;
    told_to_wait(&stage).await;
    let told = Instant::now();
    wait::until_true("the limit is kept", PATIENCE, || async {
        stage
            .kept_quotas()
            .await
            .iter()
            .any(|quota| !quota["closed_until"].is_null())
    })
    .await;
    stage.kill(first).await;

    wait::until_true("the other leads", PATIENCE, || async { leader(&stage).await != lead }).await;
    assert!(told.elapsed() < Duration::from_secs(LIMIT_S), "it leads within seconds");
    second.ready().await;
    let event = stage.event_after(2, 0).await;
    stage.holds_what_github_has(2, &event).await;
    let requests = stage.github.requests();
    let mut after = requests.latest().skip_while(|request| request.status != 403);
    let limited = after.next().expect("one was refused");
    let waited = after.next().expect("it went on").at - limited.at;
    assert!(
        waited >= Duration::from_secs(LIMIT_S),
        "the next request came after {waited}"
    );
    assert_eq!((requests.status(403), requests.while_told_to_wait()), (1, 0));
    second.end().await;
}

#[tokio::test]
async fn a_wait_for_the_quota_shows_as_ready_and_does_not_hold_up_a_stop() {
    let stage = Stage::set().await;
    let mut config = stage.config();
    // One request at a time, so that none was on its way already when the limit was told; the others wait for their turn.
    config.github.concurrency = 1;
    let downloader = stage.start_with(config);
    stage.download(1).await;
    stage.github.leave_quota("", 0, 3000);
    for number in 2..=9 {
        stage.queue(number).await;
    }
    told_to_wait(&stage).await;
    downloader.ready().await;
    let began = Instant::now();
    downloader.stop().await;
    assert!(began.elapsed() < DRAIN, "what waits is dropped: {:?}", began.elapsed());
    assert_eq!(stage.waiting(Verb::Download).await, 8, "nothing is dropped");
    assert_eq!(stage.dead_letters().await, 0);
    assert_eq!(stage.github.requests().while_told_to_wait(), 0);
}

#[tokio::test]
async fn through_a_storm_of_faults_and_limits_everything_arrives() {
    let stage = Stage::set_with(Options {
        issues: ISSUES,
        ..Options::default()
    })
    .await;
    let config = stage.config();
    let most = config.github.concurrency as u64 - 1;
    let downloader = stage.start_with(config);
    storm(&stage).await;
    let met = stage.github.faults_met();
    let limits = met.get("secondary_limit").into_iter().chain(met.get("primary_limit"));
    let limits: u64 = limits.sum();
    let waited = stage.github.requests().while_told_to_wait();
    assert!(
        waited <= limits * most,
        "{waited} cannot all have been under way when one of {limits} limits was told"
    );
    downloader.end().await;
}

#[tokio::test]
async fn through_a_storm_of_faults_and_limits_nothing_comes_while_told_to_wait() {
    let stage = Stage::set_with(Options {
        issues: ISSUES,
        ..Options::default()
    })
    .await;
    let mut config = stage.config();
    // One at a time: what was under way already when a limit was told would come after it.
    config.github.concurrency = 1;
    let downloader = stage.start_with(config);
    storm(&stage).await;
    assert_eq!(stage.github.requests().while_told_to_wait(), 0);
    downloader.end().await;
}

/// The issues of a storm.
const ISSUES: u64 = 40;

/// Downloads every issue through a storm.
async fn storm(stage: &Stage) {
    stage.download(1).await;
    // That one costs a minute each time.
    let storm = Storm::new(0.2, 5)
        .without(&[FaultKind::SilentSecondaryLimit])
        .each_issue_at_most(3);
    stage.github.storm(storm).expect("a rate");
    let cause = v1::Cause::new(v1::Reason::Backfill, Clock::system().now());
    for number in 2..=ISSUES {
        let stored = stage.requests.backfill(&issue(number), cause.clone()).await;
        stored.expect("the server takes it");
    }
    for number in 2..=ISSUES {
        let event = stage.event_after(number, 0).await;
        stage.holds_what_github_has(number, &event).await;
    }
    let met: u64 = stage.github.faults_met().values().sum();
    assert!(met > 10, "{met} faults are no storm");
    assert_eq!(stage.dead_letters().await, 0);
    stage.github.clear_faults();
}

#[tokio::test]
async fn a_backfill_leaves_a_share_of_the_hour_to_live_work() {
    let stage = Stage::set_with(Options {
        tokens: vec!["good".to_owned()],
        rate_limit: 20,
        ..Options::default()
    })
    .await;
    let mut config = stage.config();
    config.github.token = Some(Secret::new("good"));
    config.github.reserve_percent = 50;
    let downloader = stage.start_with(config);
    let cause = v1::Cause::new(v1::Reason::Range, Clock::system().now());
    for number in 1..=15 {
        stage.requests.backfill(&issue(number), cause.clone()).await.unwrap();
    }
    wait::until_true("the backfill has used up its share", PATIENCE, || async {
        stage.github.requests().spent_by("good") >= 10
    })
    .await;
    let event = stage.download_live(20).await;
    stage.holds_what_github_has(20, &event).await;
    assert!(stage.waiting(Verb::Backfill).await >= 9, "the others wait");
    let requests = stage.github.requests();
    assert_eq!((requests.spent_by("good"), requests.while_told_to_wait()), (12, 0));
    downloader.ready().await;
    downloader.end().await;
}
