//! A backfill of a whole repository while GitHub fails, limits and cuts, and its downloader is killed again and again.

use std::time::{Duration, Instant};

use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Fault, FaultKind, FaultRule, Route, Storm};
use bugstream_testkit::rig::{Plan, Rig, Role};
use bugstream_testkit::wait;

use crate::settle::{LONG, drained, taken};

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

/// How many issues at the end of the list GitHub does not get out before all kills and the webhook are over: so the
/// backfill is not over before, however fast it is and however late somebody looks.
const HELD_BACK: usize = 30;

/// How long a request may be under way on a busy machine; limits that take longer are seen to be obeyed. No limit of the
/// storm does: what is counted are the longer ones.
const UNDER_WAY: Duration = Duration::from_secs(6);
/// How long those take; there is one before every kill.
const LIMIT_S: u64 = 20;

/// Every answer may go wrong, and there is nothing for the last issues.
fn storm(rig: &Rig, held_back: &[u64]) {
    rig.github
        .storm(Storm::new(0.2, 5).of(TROUBLE).each_issue_at_most(3))
        .unwrap();
    for number in held_back {
        rig.github
            .fault(FaultRule::next(u64::MAX, Fault::Status(503)).issue(*number));
    }
}

async fn reach(rig: &Rig, issues: u64) {
    wait::until_true(&format!("{issues} issues in the log"), 2 * LONG, async || {
        rig.logged().await.is_some_and(|logged| logged >= issues)
    })
    .await;
}

/// How many issues are in the log, which are not nearly all.
async fn amid(rig: &Rig) -> u64 {
    let logged = wait::until("the log's length", LONG, async || rig.logged().await).await;
    assert!(logged < ISSUES * 95 / 100, "{logged} issues are there already");
    logged
}

/// Edits an issue and waits until it was asked for again; answers how long that took after the quiet second.
async fn live_work(rig: &Rig, number: u64) -> Duration {
    let before = rig.github.requests().count(Route::Issue, number);
    let deliveries = rig
        .github
        .edit(number, [Change::Title("Edited amid a backfill".to_owned())])
        .await;
    taken(&rig.github, deliveries.unwrap()).await;
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
    let numbers = rig.github.numbers();
    let (_, held_back) = numbers.split_at(numbers.len() - HELD_BACK);
    storm(&rig, held_back);
    rig.github.let_requests_take(UNDER_WAY);
    let asked = rig.queue_cli(&["backfill", "--detach"]).await.unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let begin = Instant::now();
    let tell = |what: &str| eprintln!("{:>6.1} s: {what}", begin.elapsed().as_secs_f64());
    for percent in KILLS {
        let limit = Fault::PrimaryLimit { resets_in_s: LIMIT_S };
        rig.github.fault(FaultRule::next(1, limit));
        reach(&rig, ISSUES * percent / 100).await;
        let logged = amid(&rig).await;
        rig.service(Role::Downloader).kill9().await;
        tell(&format!("the downloader was killed after {logged} issues"));
        rig.service(Role::Downloader).restart().await.unwrap();
    }
    reach(&rig, ISSUES * 70 / 100).await;
    let after = live_work(&rig, 7).await;
    amid(&rig).await;
    // A storm that began again would hit those that still wait for their next try as often as before.
    rig.github.clear_faults();
    tell(&format!(
        "a webhook amid the backfill was answered {:.1} s after its debounce",
        after.as_secs_f64()
    ));
    reach(&rig, ISSUES).await;
    tell("every issue is in the log");
    drained(&rig).await;
    tell("nothing waits");
    tell(&format!("{:?}", rig.github.faults_met()));
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
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
}
