//! A clock that steps while work is under way.
//!
//! The services' clock; the broker's and GitHub's are right. So everything that the services write down with it for
//! somebody else to read (schedules above all) is wrong meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use bugstream_kit::clock::Clock;
use bugstream_kit::deletions::Deletions;
use bugstream_kit::log::Log;
use bugstream_testkit::github::{Change, Fault, FaultRule};
use bugstream_testkit::wait;

use crate::stage::{Play, SOON, Stage};

const DAY: time::Duration = time::Duration::days(1);
const HOUR: time::Duration = time::Duration::hours(1);
/// The consumers look for schedules that are too far ahead every half minute, less often where a look takes long, and
/// leave young ones alone.
const TWO_LOOKS: Duration = Duration::from_secs(600);

async fn mirrored(clock: &Clock) -> Stage {
    let play = Play {
        clock: clock.clone(),
        ..Play::default()
    };
    let stage = Stage::set(play).await;
    stage.queue_cli(&["add-range", "download", "1", "20"]).await;
    stage.drained().await;
    stage
}

/// The revision of every issue's newest event.
async fn revisions(stage: &Stage) -> BTreeMap<u64, u64> {
    let log = Log::new(stage.broker.jetstream.clone(), Clock::system());
    let mut revisions = BTreeMap::new();
    for issue in log.known(&stage.repo).await.unwrap() {
        let newest = log.newest(&issue).await.unwrap().unwrap();
        revisions.insert(issue.number(), newest.event.revision);
    }
    revisions
}

async fn edit(stage: &Stage, numbers: std::ops::RangeInclusive<u64>, title: &str) {
    for number in numbers {
        stage.edit(number, [Change::Title(title.to_owned())]).await;
    }
}

async fn titled(stage: &Stage, numbers: std::ops::RangeInclusive<u64>, title: &str) {
    for number in numbers {
        stage.titled(number, title).await;
    }
}

async fn ask(stage: &Stage, number: u64) {
    let subject = format!("download.{}.{number}", stage.repo.to_string().replace('/', "."));
    stage.nats_pub(&subject, "").await;
}

async fn verified(stage: &Stage) {
    stage.drained().await;
    let found = stage
        .queue_cli(&["verify", "--against-github", "--output", "json"])
        .await;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["differences"].as_array().map(Vec::len), Some(0), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_a_day_ahead_and_back_loses_nothing_and_stops_nothing_for_a_day() {
    let clock = Clock::stepping();
    let stage = mirrored(&clock).await;
    let before = revisions(&stage).await;

    edit(&stage, 1..=3, "Scheduled before the step").await;
    clock.step(DAY);
    titled(&stage, 1..=3, "Scheduled before the step").await;
    edit(&stage, 4..=6, "Scheduled for tomorrow").await;
    stage.github.mute_webhooks(true);
    edit(&stage, 7..=7, "Asked for tomorrow").await;
    ask(&stage, 7).await;
    titled(&stage, 7..=7, "Asked for tomorrow").await;
    // A sign of a deletion that seems to be made tomorrow, and a wait that seems to end then.
    stage.github.hide(8).await.unwrap();
    ask(&stage, 8).await;
    let signs = Deletions::open(&stage.broker).await.unwrap();
    let seen = async || signs.all().await.unwrap().len() == 1;
    wait::until_true("a first sign", SOON, seen).await;
    let (status, retry_after_s) = (403, Some(3));
    let limit = Fault::SecondaryLimit { status, retry_after_s };
    stage.github.fault(FaultRule::next(1, limit));
    ask(&stage, 9).await;
    wait::until_true("told to wait", SOON, async || !stage.github.faults_met().is_empty()).await;
    let ahead = revisions(&stage).await;

    clock.step(-DAY);
    let fired = async || stage.difference(6).await.is_none();
    wait::until_true("what was scheduled for tomorrow comes", TWO_LOOKS, fired).await;
    titled(&stage, 4..=6, "Scheduled for tomorrow").await;
    let deleted = async || stage.issue_document(8).await.is_none();
    wait::until_true("the deletion is confirmed", TWO_LOOKS, deleted).await;
    stage.github.mute_webhooks(false);
    edit(&stage, 1..=7, "After the step back").await;
    titled(&stage, 1..=7, "After the step back").await;

    let after = revisions(&stage).await;
    for number in 1..=7 {
        assert!(
            before[&number] <= ahead[&number] && ahead[&number] < after[&number],
            "{number}"
        );
    }
    // Where the machine stood still before the step back, the second look may have come in the day ahead.
    assert!(before[&8] < after[&8], "deleted");
    assert!(ahead[&7] > before[&7] + 80_000_000, "a day in milliseconds, or nearly");
    assert_eq!(after[&7], ahead[&7] + 1, "the clock is behind the log now");
    verified(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_an_hour_back_in_the_middle_of_work_loses_nothing() {
    let clock = Clock::stepping();
    let stage = mirrored(&clock).await;
    let before = revisions(&stage).await;
    edit(&stage, 1..=5, "Before the step").await;
    clock.step(-HOUR);
    edit(&stage, 4..=8, "After the step").await;
    titled(&stage, 1..=3, "Before the step").await;
    titled(&stage, 4..=8, "After the step").await;
    let after = revisions(&stage).await;
    for number in 1..=8 {
        assert!(before[&number] < after[&number], "{number}");
    }
    verified(&stage).await;
    stage.stop().await;
}
