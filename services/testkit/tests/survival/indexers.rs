//! Three indexers over one log, of which one is killed every few seconds, while issues are edited and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bugstream_proto::topology;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Delivery, Simulator};
use bugstream_testkit::process::Service;
use bugstream_testkit::rig::{Plan, Rig, Role};
use bugstream_testkit::wait;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use crate::settle::{LONG, drained, issues_wanted, patience, taken};

/// Between two kills.
const EVERY: Duration = Duration::from_secs(2);
const USUAL: u64 = 300;
/// Killed at least so often, however fast the rest is.
const KILLS: u64 = 6;
/// There are more edits than that, however slow the machine is.
const EDITS: u64 = 50;

/// What somebody does to an issue.
async fn edit_once(github: &Simulator, number: u64, step: u64, chance: &mut StdRng) -> anyhow::Result<Vec<Delivery>> {
    match chance.random_range(0..100) {
        0..=39 => github.edit(number, [Change::Title(format!("Edited {step}"))]).await,
        40..=64 => github.edit(number, [Change::Comment(format!("Comment {step}"))]).await,
        65..=74 => {
            // Of that GitHub sends nothing which is returned here; the edit after it makes up for it.
            github
                .remove_events(number, |event| event["event"] == "commented")
                .await?;
            github.edit(number, [Change::Body(format!("Tidied {step}"))]).await
        }
        75..=83 => github.make_private(number).await,
        84..=93 => github.make_public(number).await,
        _ => github.delete(number).await,
    }
}

/// Edits until told to stop, and counts.
async fn edit(github: Simulator, seed: u64, edits: Arc<AtomicU64>, stopped: watch::Receiver<bool>) {
    let mut chance = StdRng::seed_from_u64(seed);
    while !*stopped.borrow() {
        let numbers = github.numbers();
        let number = numbers[chance.random_range(0..numbers.len())];
        // Not everything can be done to every issue: there may be nothing to make public.
        let step = edits.load(Ordering::Relaxed);
        if let Ok(deliveries) = edit_once(&github, number, step, &mut chance).await {
            taken(&github, deliveries).await;
            edits.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(10..60))).await;
    }
}

/// Whether nothing waits any more of what was asked for in the background. The log is no measure: of an issue that is
/// deleted before its first download it never hears.
async fn all_downloaded(rig: &Rig) -> bool {
    let info = rig.consumer(topology::DOWNLOADER_BACKFILL).await;
    info.is_some_and(|info| info.num_pending == 0 && info.num_ack_pending == 0)
}

/// Kills one after the other until every issue was downloaded, and often enough, amid enough edits; answers how often.
async fn kill_in_turn(rig: &mut Rig, others: &mut [Service; 2], edits: &AtomicU64) -> u64 {
    let deadline = Instant::now() + patience(rig.github.numbers().len() as u64);
    let mut kills = 0;
    while kills < KILLS || edits.load(Ordering::Relaxed) <= EDITS || !all_downloaded(rig).await {
        assert!(Instant::now() < deadline, "not every issue is downloaded");
        tokio::time::sleep(EVERY).await;
        let service = match kills % 3 {
            0 => rig.service(Role::Indexer),
            other => &mut others[usize::try_from(other).unwrap() - 1],
        };
        service.kill9().await;
        service.restart().await.unwrap();
        kills += 1;
    }
    kills
}

#[tokio::test(flavor = "multi_thread")]
async fn three_indexers_of_which_one_dies_every_few_seconds_leave_exactly_the_truth() {
    let issues = issues_wanted("BUGSTREAM_TEST_INDEXERS_ISSUES", USUAL);
    let plan = Plan {
        issues,
        enterprise: true,
        downloader: "confirm_delay_s = 1\ndeletions_per_hour = 100000\nslots = 32\n".to_owned(),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    let mut others = [rig.another_indexer().unwrap(), rig.another_indexer().unwrap()];
    for other in &mut others {
        other.ready().await.unwrap();
    }
    let begin = Instant::now();
    let tell = |what: &str| eprintln!("{:>6.1} s: {what}", begin.elapsed().as_secs_f64());
    let queued = rig
        .queue_cli(&["add-range", "download", "1", &issues.to_string()])
        .await;
    assert!(queued.unwrap().status.success());
    let (stop, stopped) = watch::channel(false);
    let mut editing = tokio::task::JoinSet::new();
    let edits = Arc::new(AtomicU64::new(0));
    editing.spawn(edit(rig.github.clone(), 7, Arc::clone(&edits), stopped));
    let kills = kill_in_turn(&mut rig, &mut others, &edits).await;
    stop.send(true).unwrap();
    editing.join_next().await.unwrap().unwrap();
    tell(&format!("{kills} kills and {} edits", edits.load(Ordering::Relaxed)));
    drained(&rig).await;
    tell("nothing waits");
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    tell("the mirror equals the truth");
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
    for service in others.iter_mut().chain([rig.service(Role::Indexer)]) {
        assert!(!service.has_ended() && service.starts() > 1, "it was killed, and lives");
    }
    wait::until_true("all are ready", LONG, async || {
        let mut ready = 0;
        for other in &others {
            ready += u64::from(other.readiness().await.is_some_and(|(status, _)| status == 200));
        }
        ready == 2
    })
    .await;
}
