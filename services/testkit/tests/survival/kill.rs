//! kill -9 of every part in the middle of a run over 500 issues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bugstream_proto::topology::{self, ConsumerSpec};
use bugstream_stack::process::Identity;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Fault, FaultRule, Simulator};
use bugstream_testkit::proxy::Mode;
use bugstream_testkit::rig::{Link, Node, Plan, Rig, Role};
use bugstream_testkit::wait;
use rustix::process::Signal;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::settle::{LONG, drained, taken};

const ISSUES: u64 = 500;
/// How far edits may be ahead of the log, in percent of the issues. Twice as much at a kill: so there is always something
/// to do, and however slow the observer is, the run cannot come to its end meanwhile.
const AHEAD: u64 = 10;

/// GitHub's part of the run: every issue is edited once that is allowed, and what the receiver does not take is sent again.
struct Edits {
    turns: Arc<Semaphore>,
    allowed: u64,
    counts: Arc<Counts>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Edits {
    fn new(github: &Simulator) -> Self {
        let (turns, counts) = (Arc::new(Semaphore::new(0)), Arc::<Counts>::default());
        let mut tasks = JoinSet::new();
        for number in github.numbers() {
            let (github, turns, counts) = (github.clone(), Arc::clone(&turns), Arc::clone(&counts));
            tasks.spawn(async move {
                turns.acquire().await.unwrap().forget();
                counts.begun.fetch_add(1, Ordering::SeqCst);
                let deliveries = github.edit(number, [Change::Title(format!("Edited {number}"))]).await;
                taken(&github, deliveries.unwrap()).await;
                counts.ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        Self {
            turns,
            allowed: 0,
            counts,
            tasks,
        }
    }

    /// Lets so many percent of the issues be edited, and no more.
    fn allow(&mut self, percent: u64) {
        let allowed = ISSUES * percent / 100;
        self.turns.add_permits(usize::try_from(allowed - self.allowed).unwrap());
        self.allowed = allowed;
    }

    fn begun(&self) -> u64 {
        self.counts.begun.load(Ordering::SeqCst)
    }

    fn under_way(&self) -> u64 {
        let ended = self.counts.ended.load(Ordering::SeqCst);
        self.begun() - ended
    }
}

/// How far the run is, in percent of issues that have reached the log.
async fn progress(rig: &Rig) -> Option<u64> {
    Some(rig.logged().await? * 100 / ISSUES)
}

/// Waits until the run has come this far.
async fn reach(rig: &Rig, edits: &mut Edits, percent: u64) {
    edits.allow(percent + AHEAD);
    wait::until_true(&format!("{percent} % of the run"), LONG, async || {
        progress(rig).await.is_some_and(|now| now >= percent)
    })
    .await;
}

/// What is checked at every kill; true for good until more edits are allowed.
async fn assert_in_the_middle(rig: &Rig) {
    let now = wait::until("the log's length", LONG, async || progress(rig).await).await;
    assert!((10..=90).contains(&now), "{now} % of the run are done at the kill");
}

/// Whether messages of a consumer are with its service.
async fn is_at_work(rig: &Rig, consumer: ConsumerSpec) -> bool {
    let info = rig.consumer(consumer).await;
    info.is_some_and(|info| info.num_ack_pending > 0)
}

async fn in_hand(rig: &Rig, consumer: ConsumerSpec) {
    let what = format!("messages of {} are under way", consumer.name);
    wait::until_true(&what, LONG, async || is_at_work(rig, consumer).await).await;
}

/// Kills a service while it waits for answers of what it works with, which do not come: so it cannot be done with the
/// messages in its hands, of which some came after that. Frozen, so that it does not put them back either.
async fn kill_at_work(rig: &mut Rig, edits: &mut Edits, percent: u64, role: Role) {
    let (link, consumer) = match role {
        Role::Indexer => (Link::IndexerElastic, topology::INDEXER),
        _ => (Link::DownloaderGithub, topology::DOWNLOADER_LIVE),
    };
    reach(rig, edits, percent).await;
    rig.link(link).set(Mode::Blackhole);
    edits.allow(percent + 2 * AHEAD);
    loop {
        in_hand(rig, consumer).await;
        rig.service(role).freeze();
        // Who waited for long enough may have put it back just before.
        if is_at_work(rig, consumer).await {
            break;
        }
        rig.service(role).thaw();
    }
    assert_in_the_middle(rig).await;
    rig.service(role).kill9().await;
    rig.link(link).set(Mode::Pass);
    rig.service(role).restart().await.unwrap();
}

/// Frozen first: a delivery that begins after that is not answered before the kill.
async fn kill_receiver(rig: &mut Rig, edits: &mut Edits, percent: u64) {
    reach(rig, edits, percent).await;
    rig.service(Role::Receiver).freeze();
    let before = edits.begun();
    edits.allow(percent + 2 * AHEAD);
    wait::until_true("a delivery begins", LONG, async || edits.begun() > before).await;
    assert_in_the_middle(rig).await;
    assert!(edits.under_way() > 0, "deliveries are under way at the kill");
    rig.service(Role::Receiver).kill9().await;
    rig.service(Role::Receiver).restart().await.unwrap();
}

/// While downloads wait for GitHub's answers.
async fn kill_nats(rig: &mut Rig, edits: &mut Edits, percent: u64) {
    reach(rig, edits, percent).await;
    rig.link(Link::DownloaderGithub).set(Mode::Blackhole);
    edits.allow(percent + 2 * AHEAD);
    in_hand(rig, topology::DOWNLOADER_LIVE).await;
    assert_in_the_middle(rig).await;
    rig.nats.kill9();
    rig.link(Link::DownloaderGithub).set(Mode::Pass);
    rig.nats.restart().await;
}

/// Frozen first: documents that come after that are not written before the kill.
async fn kill_elastic(rig: &mut Rig, edits: &mut Edits, percent: u64, node: &mut Node) {
    reach(rig, edits, percent).await;
    Identity::of(node.pid().unwrap()).unwrap().signal(Signal::STOP);
    edits.allow(percent + 2 * AHEAD);
    in_hand(rig, topology::INDEXER).await;
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
    let mut edits = Edits::new(&rig.github);

    let begin = std::time::Instant::now();
    let tell = |what: &str| eprintln!("{:>6.1} s: {what}", begin.elapsed().as_secs_f64());
    kill_at_work(&mut rig, &mut edits, 10, Role::Downloader).await;
    tell("the downloader was killed");
    kill_at_work(&mut rig, &mut edits, 25, Role::Indexer).await;
    tell("the indexer was killed");
    kill_receiver(&mut rig, &mut edits, 40).await;
    tell("the receiver was killed");
    kill_nats(&mut rig, &mut edits, 55).await;
    tell("NATS was killed");
    kill_elastic(&mut rig, &mut edits, 70, node).await;
    tell("Elasticsearch was killed");
    edits.allow(100);

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
