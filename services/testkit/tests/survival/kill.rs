//! kill -9 of every part in the middle of a run over 500 issues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bugstream_proto::topology::{self, ConsumerSpec};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Fault, FaultRule, Route, Simulator};
use bugstream_testkit::rig::{self, Node, Plan, Rig, Role};
use bugstream_testkit::wait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::settle::{LONG, drained};

const ISSUES: u64 = 500;
/// Issues that are edited and not yet asked for.
const AT_ONCE: usize = 40;

/// GitHub's part of the run: every issue is edited, and what the receiver does not take is sent again.
struct Edits {
    under_way: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Edits {
    fn begin(github: &Simulator) -> Self {
        let (under_way, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(AT_ONCE)));
        let mut tasks = JoinSet::new();
        for number in github.numbers() {
            let (github, turns, under_way) = (github.clone(), Arc::clone(&turns), Arc::clone(&under_way));
            tasks.spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                under_way.fetch_add(1, Ordering::Relaxed);
                let deliveries = github.edit(number, [Change::Title(format!("Edited {number}"))]).await;
                for delivery in deliveries.unwrap() {
                    assert!(
                        delivery.status == Some(202) || rig::deliver(&github, &delivery, LONG).await,
                        "{number}"
                    );
                }
                under_way.fetch_sub(1, Ordering::Relaxed);
                // So that the run goes no faster than its slowest part.
                while github.requests().count(Route::Issue, number) == 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        Self { under_way, tasks }
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// How far the run is, in percent of issues that have reached the log.
async fn progress(rig: &Rig) -> Option<u64> {
    Some(rig.logged().await? * 100 / ISSUES)
}

/// Waits until the run has come this far.
async fn reach(rig: &Rig, percent: u64) {
    wait::until_true(&format!("{percent} % of the run"), LONG, async || {
        progress(rig).await.is_some_and(|now| now >= percent)
    })
    .await;
}

/// What is checked at every kill.
async fn assert_in_the_middle(rig: &Rig) {
    let now = progress(rig).await.unwrap();
    assert!((10..=90).contains(&now), "{now} % of the run are done at the kill");
}

/// Freezes a service at a moment when messages are in its hands, so that what is asserted is still true at the kill.
async fn freeze_at_work(rig: &mut Rig, role: Role, consumer: ConsumerSpec) {
    for _ in 0..500 {
        rig.service(role).freeze();
        let at_work = rig.consumer(consumer).await.unwrap().num_ack_pending;
        if at_work > 0 {
            return;
        }
        rig.service(role).thaw();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the {} never had a message in its hands", role.program());
}

async fn kill_at_work(rig: &mut Rig, role: Role, consumer: ConsumerSpec) {
    freeze_at_work(rig, role, consumer).await;
    assert_in_the_middle(rig).await;
    rig.service(role).kill9().await;
    rig.service(role).restart().await.unwrap();
}

/// Frozen first, so that deliveries wait for it at the kill.
async fn kill_receiver(rig: &mut Rig, edits: &Edits) {
    rig.service(Role::Receiver).freeze();
    wait::until_true("a delivery is under way", LONG, async || edits.under_way() > 0).await;
    assert_in_the_middle(rig).await;
    assert!(edits.under_way() > 0, "deliveries are under way at the kill");
    rig.service(Role::Receiver).kill9().await;
    rig.service(Role::Receiver).restart().await.unwrap();
}

async fn kill_nats(rig: &mut Rig) {
    wait::until_true("messages are in flight", LONG, async || {
        rig.consumer(topology::DOWNLOADER_LIVE)
            .await
            .is_some_and(|info| info.num_ack_pending > 0)
    })
    .await;
    assert_in_the_middle(rig).await;
    rig.nats.kill9();
    rig.nats.restart().await;
}

async fn kill_elastic(rig: &mut Rig, node: &mut Node) {
    wait::until_true("documents are in flight", LONG, async || {
        rig.consumer(topology::INDEXER)
            .await
            .is_some_and(|info| info.num_ack_pending > 0)
    })
    .await;
    assert_in_the_middle(rig).await;
    node.kill9().await.unwrap();
    node.restart().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_is_killed_in_the_middle_of_a_run_and_the_mirror_equals_the_truth() {
    let turns = Node::shared();
    let mut turn = turns.lock().await;
    if turn.is_none() {
        *turn = Some(Node::start().await.unwrap());
    }
    let node = turn.as_mut().unwrap();
    let plan = Plan {
        issues: ISSUES,
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, Elastic::at(node.url())).await.unwrap();
    // So that downloads take a while, as from the real GitHub.
    rig.github.fault(FaultRule::next(u64::MAX, Fault::Slow(100)));
    let mut edits = Edits::begin(&rig.github);

    let begin = std::time::Instant::now();
    let tell = |what: &str| eprintln!("{:>6.1} s: {what}", begin.elapsed().as_secs_f64());
    reach(&rig, 10).await;
    tell("the downloader is killed");
    kill_at_work(&mut rig, Role::Downloader, topology::DOWNLOADER_LIVE).await;
    reach(&rig, 25).await;
    tell("the indexer is killed");
    kill_at_work(&mut rig, Role::Indexer, topology::INDEXER).await;
    reach(&rig, 40).await;
    tell("the receiver is killed");
    kill_receiver(&mut rig, &edits).await;
    reach(&rig, 55).await;
    tell("NATS is killed");
    kill_nats(&mut rig).await;
    reach(&rig, 70).await;
    tell("Elasticsearch is killed");
    kill_elastic(&mut rig, node).await;
    tell("everything was killed");

    while let Some(edited) = edits.tasks.join_next().await {
        edited.unwrap();
    }
    tell("everything is edited");
    drained(&rig).await;
    tell("nothing waits");
    let length = rig.queue_cli(&["length"]).await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&length.stdout),
        "download.length = 0\nindex.length = 0\n"
    );
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
    for role in Role::ALL {
        let service = rig.service(role);
        assert!(!service.has_ended(), "nobody ended by itself");
        assert_eq!(service.starts(), 2, "{} was killed once", service.name());
        let status = service.stop().await.unwrap();
        assert!(status.success(), "{}: {status}", service.name());
    }
}
