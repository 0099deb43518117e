//! Very much at once: requests that keep failing, and deletions that cannot be meant.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Fault, FaultRule, Route};
use bugstream_testkit::rig::{Plan, Rig, Role};
use bugstream_testkit::wait;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::settle::{LONG, drained, drained_of, mirror_everything, taken};

/// Under way at once, of what a test does itself.
const AT_ONCE: usize = 32;
const FAILING: u64 = 2_000;
/// How soon one of very many that fail comes back after another (the consumer loop's pace).
const PACE: Duration = Duration::from_millis(250);

/// Forbids these issues for ever and asks for each.
async fn keep_failing(rig: &Rig, issues: RangeInclusive<u64>) {
    for number in issues.clone() {
        let forbidden = FaultRule::next(u64::MAX, Fault::Status(403));
        rig.github.fault(forbidden.route(Route::Issue).issue(number));
    }
    let subject = |number| format!("download.{}.{number}", rig.repository().replace('/', "."));
    let published = futures_util::stream::iter(issues).map(async |number| rig.publish(&subject(number)).await);
    let published: Vec<_> = published.buffer_unordered(AT_ONCE).collect().await;
    assert!(published.iter().all(Result::is_ok));
}

fn failures(rig: &Rig) -> u64 {
    rig.github.faults_met().values().sum()
}

async fn searchable(rig: &Rig, number: u64, title: &str) {
    let found = async || {
        let of_issue = json!({"term": {"bug_number": number}});
        let hits = rig.elastic.hits("issues", of_issue).await;
        hits.first().is_some_and(|hit| hit["_source"]["title"] == title)
    };
    wait::until_true("the webhook is searchable", LONG, found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_requests_that_keep_failing_do_not_delay_a_fresh_webhook() {
    let plan = Plan {
        enterprise: true,
        downloader: "slots = 32\n".to_owned(),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    let failing = 1_001..=1_000 + FAILING;
    let failed_first = Instant::now();
    keep_failing(&rig, failing.clone()).await;
    // The cheap question first.
    wait::until_true("as many have failed", LONG, async || failures(&rig) >= FAILING).await;
    let all_failed = async || {
        let requests = rig.github.requests();
        failing.clone().all(|number| requests.count(Route::Issue, number) > 0)
    };
    wait::until_true("every one has failed", LONG, all_failed).await;

    let (begin, before) = (Instant::now(), failures(&rig));
    let number = rig.github.numbers()[3];
    let edited = rig.github.edit(number, [Change::Title("Fresh".to_owned())]).await;
    taken(&rig.github, edited.unwrap()).await;
    searchable(&rig, number, "Fresh").await;
    let again = failures(&rig) - before;
    eprintln!(
        "searchable after {:.1} s, in which {again} of {FAILING} were tried again",
        begin.elapsed().as_secs_f64()
    );
    // On a slow machine many have come back by now and stood before it in the queue, but no more than their pace allows.
    let paced = failed_first.elapsed().div_duration_f64(PACE) as u64;
    assert!(
        again < FAILING / 4 + paced,
        "it did not stand behind a round of the others: {again}, of which {paced} may come back"
    );
    let all_wait = async || rig.waiting().await.is_some_and(|waiting| waiting >= FAILING);
    wait::until_true("none of the others is lost", LONG, all_wait).await;
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
    rig.service(Role::Indexer).ready().await.unwrap();
}

async fn visible(rig: &Rig) -> usize {
    rig.elastic.hits("issues", json!({"match_all": {}})).await.len()
}

async fn delete(rig: &Rig, issues: &[u64]) {
    let deleted = futures_util::stream::iter(issues).map(async |number| rig.github.delete(*number).await.unwrap());
    let deleted: Vec<_> = deleted.buffer_unordered(AT_ONCE).collect().await;
    taken(&rig.github, deleted.concat()).await;
}

/// How many deletions `queue-cli deletions list` shows.
async fn held_back(rig: &Rig) -> usize {
    let listed = rig.queue_cli(&["deletions", "list", "--output", "json"]).await.unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed["held"].as_array().unwrap().len()
}

async fn not_ready(rig: &mut Rig, what: &str) {
    let downloader = rig.service(Role::Downloader);
    wait::until_true(&format!("readiness speaks of {what}"), LONG, async || {
        let said = downloader.readiness().await;
        said.is_some_and(|(status, why)| status == 503 && why.contains(what))
    })
    .await;
}

async fn verify(rig: &Rig) {
    let verified = rig.queue_cli(&["verify"]).await.unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sudden_deletions_stop_at_the_fuse_until_a_person_lets_them_through() {
    let (deleted, allowed, stay) = (1_000, 20, 20);
    let plan = Plan {
        issues: deleted as u64 + stay as u64,
        enterprise: true,
        downloader: format!("confirm_delay_s = 1\ndeletions_per_hour = {allowed}\nslots = 32\n"),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    let last = rig.github.numbers().last().unwrap().to_string();
    let queued = rig.queue_cli(&["add-range", "download", "1", &last]).await.unwrap();
    assert!(queued.status.success());
    drained(&rig).await;
    let all = rig.github.numbers();
    assert_eq!((all.len(), visible(&rig).await), (deleted + stay, deleted + stay));

    let begin = Instant::now();
    delete(&rig, &all[stay..]).await;
    drained_of(&rig, all.len() as u64).await;
    eprintln!("judged after {:.1} s", begin.elapsed().as_secs_f64());
    assert_eq!(
        visible(&rig).await,
        deleted + stay - allowed,
        "as many as an hour allows"
    );
    assert_eq!(held_back(&rig).await, deleted - allowed);
    not_ready(&mut rig, "the fuse is blown").await;
    // What is held back is whole: log, objects and documents agree with each other.
    verify(&rig).await;

    let approved = rig.queue_cli(&["deletions", "approve"]).await.unwrap();
    assert!(approved.status.success(), "{approved:?}");
    drained_of(&rig, all.len() as u64).await;
    assert_eq!((visible(&rig).await, held_back(&rig).await), (stay, 0));
    rig.service(Role::Downloader).ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_other_issue_answers_nothing_is_deleted_and_readiness_says_so() {
    let mut rig = Rig::start(Plan::default(), Elastic::shared()).await.unwrap();
    mirror_everything(&rig).await;
    let (seen, logged) = (visible(&rig).await, rig.events().await.unwrap());
    rig.github
        .fault(FaultRule::next(u64::MAX, Fault::NotFound).route(Route::Issue));
    for number in rig.github.numbers() {
        let subject = format!("download.{}.{number}", rig.repository().replace('/', "."));
        rig.publish(&subject).await.unwrap();
    }
    not_ready(&mut rig, "nothing is believed").await;
    assert_eq!((visible(&rig).await, rig.events().await.unwrap()), (seen, logged));
    assert_eq!(held_back(&rig).await, 0);
    rig.github.clear_faults();
    drained(&rig).await;
    rig.service(Role::Downloader).ready().await.unwrap();
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
}
