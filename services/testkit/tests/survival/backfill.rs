//! A backfill of a whole repository while GitHub fails, limits and cuts, and its downloader is killed again and again.

use std::time::{Duration, Instant};

use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, FaultKind, Route, Storm};
use bugstream_testkit::rig::{Plan, Rig, Role};
use bugstream_testkit::wait;

use crate::settle::{LONG, drained};

const ISSUES: u64 = 300;

/// Every third of these is a limit; two of them say so by the hour, and are over after some seconds.
const TROUBLE: [FaultKind; 6] = [
    FaultKind::ServerError,
    FaultKind::NoAnswer,
    FaultKind::Truncated,
    FaultKind::HalfBody,
    FaultKind::SecondaryLimit,
    FaultKind::PrimaryLimit,
];

/// How much of the backfill is done at each kill, in percent. A kill between GitHub's answer that says to wait and the
/// write that keeps it loses that answer: who starts next sends one request with that token and is told again.
const KILLS: [u64; 3] = [15, 40, 65];

/// Several, since GitHub takes 900 requests a minute of each.
const TOKENS: [&str; 4] = ["t1", "t2", "t3", "t4"];

async fn reach(rig: &Rig, issues: u64) {
    wait::until_true(&format!("{issues} issues in the log"), 2 * LONG, async || {
        rig.logged().await.is_some_and(|logged| logged >= issues)
    })
    .await;
}

/// Edits an issue and waits until it was asked for again; answers how long that took after the quiet second.
async fn live_work(rig: &Rig, number: u64) -> Duration {
    let before = rig.github.requests().count(Route::Issue, number);
    let deliveries = rig
        .github
        .edit(number, [Change::Title("Edited amid a backfill".to_owned())])
        .await;
    assert!(deliveries.unwrap().iter().all(|delivery| delivery.status == Some(202)));
    let begin = Instant::now();
    wait::until_true("the edited issue is asked for", LONG, async || {
        rig.github.requests().count(Route::Issue, number) > before
    })
    .await;
    begin.elapsed().saturating_sub(Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_amid_trouble_whose_downloader_is_killed_three_times_equals_the_truth() {
    let plan = Plan {
        issues: ISSUES,
        github: format!("tokens = {TOKENS:?}\n"),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    rig.github.storm(Storm::new(0.2, 5).of(TROUBLE)).unwrap();
    let asked = rig.queue_cli(&["backfill", "--detach"]).await.unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let begin = Instant::now();
    let tell = |what: &str| eprintln!("{:>6.1} s: {what}", begin.elapsed().as_secs_f64());
    for percent in KILLS {
        reach(&rig, ISSUES * percent / 100).await;
        let logged = rig.logged().await.unwrap();
        assert!(logged < ISSUES * 95 / 100, "{logged} issues are there before the kill");
        rig.service(Role::Downloader).kill9().await;
        tell(&format!("the downloader was killed after {logged} issues"));
        rig.service(Role::Downloader).restart().await.unwrap();
    }
    reach(&rig, ISSUES * 70 / 100).await;
    let after = live_work(&rig, 7).await;
    tell(&format!(
        "a webhook amid the backfill was answered {:.1} s after its debounce",
        after.as_secs_f64()
    ));
    reach(&rig, ISSUES).await;
    tell("every issue is in the log");
    drained(&rig).await;
    tell("nothing waits");
    let sent = rig.github.requests().while_told_to_wait();
    assert!(
        sent <= (KILLS.len() * TOKENS.len()) as u64,
        "{sent} requests were sent while told to wait, more than one a kill and token"
    );
    assert!(
        rig.github.faults_met().values().sum::<u64>() > ISSUES / 5,
        "{:?}",
        rig.github.faults_met()
    );
    rig.github.clear_faults();
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
}
