//! A rebuild that is killed at five moments, amid edits, deletions and privacy flips, before the eyes of two searchers:
//! one counts and never finds fewer, one looks for what is private on the public side and never finds any.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bugstream_proto::topology::{self, Start};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::Change;
use bugstream_testkit::proxy::{Mode, Proxy};
use bugstream_testkit::rig::{Plan, Rig};
use bugstream_testkit::wait;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::sync::watch;

use crate::settle::{LONG, drained, issues_wanted, mirror_everything, taken};

const USUAL: u64 = 300;
const MODERATED: &str = "In the moderation queue.";
/// Kills, and portions of what is done to issues meanwhile.
const KILLS: usize = 5;
const EDITS: usize = 200 / KILLS;
const DELETIONS: usize = 10 / KILLS;
const FLIPS: usize = 10 / KILLS;

/// Who does what to which issues. What is deleted or flipped is not edited, and none occurs twice.
struct Cast {
    deleted: Vec<u64>,
    to_private: Vec<u64>,
    to_public: Vec<u64>,
    edited: Vec<u64>,
    /// Must not be found on the public side, at this moment.
    private: Mutex<BTreeSet<u64>>,
}

impl Cast {
    fn of(rig: &Rig) -> Self {
        let moderated = |number: &u64| rig.github.issue(*number).unwrap()["title"] == MODERATED;
        let (private, mut public): (Vec<u64>, Vec<u64>) = rig.github.numbers().into_iter().partition(moderated);
        let half = KILLS * FLIPS / 2;
        assert!(private.len() > half, "{} private issues", private.len());
        let deleted = public.split_off(public.len() - KILLS * DELETIONS);
        let to_private = public.split_off(public.len() - half);
        Self {
            deleted,
            to_private,
            to_public: private[..half].to_vec(),
            edited: public,
            private: Mutex::new(private.into_iter().collect()),
        }
    }

    fn private(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.private.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part of everything, as it goes with one of the kills.
    async fn act(&self, rig: &Rig, portion: usize) {
        let github = &rig.github;
        let mut deliveries = Vec::new();
        for step in portion * EDITS..(portion + 1) * EDITS {
            let number = self.edited[step * 7 % self.edited.len()];
            let change = match step % 2 {
                0 => Change::Title(format!("Edited {step}")),
                _ => Change::Comment(format!("Comment {step}")),
            };
            deliveries.extend(github.edit(number, [change]).await.unwrap());
        }
        for number in self.deleted.iter().skip(portion * DELETIONS).take(DELETIONS) {
            deliveries.extend(github.delete(*number).await.unwrap());
        }
        for flip in portion * FLIPS..(portion + 1) * FLIPS {
            deliveries.extend(match flip % 2 {
                0 => github.make_private(self.to_private[flip / 2]).await.unwrap(),
                _ => {
                    let number = self.to_public[flip / 2];
                    self.private().remove(&number);
                    github.make_public(number).await.unwrap()
                }
            });
        }
        taken(github, deliveries).await;
    }
}

/// The search engine as people see it.
struct Searcher<'a> {
    elastic: &'a Elastic,
    cast: &'a Cast,
}

impl Searcher<'_> {
    async fn ask(&self, aliases: [&str; 2], what: &str, body: &Value) -> Value {
        let aliases = aliases.map(|alias| self.elastic.name(alias)).join(",");
        let (status, answer) = self
            .elastic
            .call(Method::POST, &format!("/{aliases}/{what}"), Some(body))
            .await;
        assert_eq!(status, 200, "a search is always answered: {answer}");
        answer
    }

    /// Documents of issues that stay where they are, whatever is done to them: they only get more.
    async fn count(&self) -> u64 {
        let cast = self.cast;
        let moving: Vec<u64> = [&cast.deleted, &cast.to_private, &cast.to_public]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let body = json!({"query": {"bool": {"must_not": {"terms": {"bug_number": moving}}}}});
        self.ask(["issues", "timelines"], "_count", &body).await["count"]
            .as_u64()
            .unwrap()
    }

    /// Issues that have anything on the public side, of those that are private or turn private.
    async fn public(&self) -> BTreeSet<u64> {
        let mut watched = self.cast.private().clone();
        watched.extend(&self.cast.to_private);
        let body = json!({"size": 0, "query": {"terms": {"bug_number": watched}},
            "aggs": {"numbers": {"terms": {"field": "bug_number", "size": 10_000}}}});
        let found = self.ask(["issues-public", "timelines-public"], "_search", &body).await;
        let buckets = found["aggregations"]["numbers"]["buckets"].as_array().unwrap();
        buckets.iter().map(|bucket| bucket["key"].as_u64().unwrap()).collect()
    }

    fn judge(&self, public: &BTreeSet<u64>) {
        let mut private = self.cast.private();
        let leaked: Vec<&u64> = private.intersection(public).collect();
        assert!(leaked.is_empty(), "private, and found on the public side: {leaked:?}");
        // What has turned private stays so.
        let turned = self.cast.to_private.iter().filter(|number| !public.contains(number));
        private.extend(turned);
    }

    /// Looks until told to stop, and once after that; answers how often.
    async fn look(&self, stopped: watch::Receiver<bool>) -> u64 {
        let (mut looks, mut most) = (0, self.count().await);
        loop {
            let is_last = *stopped.borrow();
            let now = self.count().await;
            assert!(now >= most, "{most} documents were found before, and {now} now");
            most = now;
            self.judge(&self.public().await);
            looks += 1;
            if is_last {
                return looks;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Events that are under way at once: with as many as usual all issues would be, and filling had no middle.
const SLOTS: u64 = 16;
/// What passes in each direction of a connection to Elasticsearch between two looks at how much is filled: some issues.
const STRIDE: u64 = 8 * 1024;
/// The request that moves the aliases.
const SWAP: &str = "POST /_aliases";
/// Asked for before the aliases move, and once more when all is done.
const GENERATIONS: &str = "GET /_cat/indices";

/// `queue-cli rebuild`, under way. Its way to Elasticsearch is opened step by step and closed at certain requests, so that
/// it stands still while somebody looks where it is, however long that takes.
struct Rebuilding<'a> {
    rig: &'a Rig,
    far: &'a Proxy,
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

/// When it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    FillingEarly,
    FillingLate,
    HoldingThePause,
    JustAfterTheSwap,
    Following,
}

const MOMENTS: [Moment; KILLS] = [
    Moment::FillingEarly,
    Moment::FillingLate,
    Moment::HoldingThePause,
    Moment::JustAfterTheSwap,
    Moment::Following,
];

/// The generation that the aliases lead to.
async fn serving(rig: &Rig) -> u64 {
    let path = format!("/_alias/{}", rig.elastic.name("issues-public"));
    let (_, answer) = rig.elastic.call(Method::GET, &path, None).await;
    let index = answer.as_object().unwrap().keys().next().unwrap().clone();
    index[index.len() - 6..].parse().unwrap()
}

impl<'a> Rebuilding<'a> {
    fn start(rig: &'a Rig, far: &'a Proxy) -> Self {
        far.set(Mode::Blackhole);
        let mut command = rig.queue_cli_command(&["rebuild"]);
        command.env("ELASTIC_NODE", format!("http://{}", far.address()));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { rig, far, child, lines }
    }

    /// Events that are left, of how many.
    async fn left(&self, of: &mut u64) -> Option<u64> {
        let info = self.rig.consumer(topology::rebuild(Start::All)).await?;
        let left = info.num_pending + info.num_ack_pending as u64;
        *of = (*of).max(left);
        Some(left)
    }

    /// Lets it go on until a moment, and no further.
    async fn reach(&mut self, moment: Moment, before: u64, events: u64) {
        let mut of = events;
        match moment {
            Moment::FillingEarly | Moment::FillingLate => {}
            Moment::HoldingThePause => self.hold_at(SWAP).await,
            Moment::JustAfterTheSwap => {
                self.hold_at(SWAP).await;
                // The request goes on, and of its answer too little to be understood.
                self.far.set(Mode::Ration(1));
            }
            Moment::Following => {
                self.hold_at(SWAP).await;
                // Whatever comes before the end.
                self.far.set(Mode::HoldAt(GENERATIONS));
                self.told("handing over").await;
                self.told("following").await;
            }
        }
        let deadline = Instant::now() + LONG;
        while !self.is_at(moment, before, &mut of).await {
            assert!(Instant::now() < deadline, "{moment:?} never came");
            if matches!(moment, Moment::FillingEarly | Moment::FillingLate) {
                self.far.set(Mode::Ration(STRIDE));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets it go on until it sends a request, which does not arrive.
    async fn hold_at(&mut self, request: &'static str) {
        self.far.set(Mode::HoldAt(request));
        let (far, child) = (self.far, &mut self.child);
        wait::until_true(request, LONG, async || {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            far.held() > 0
        })
        .await;
    }

    async fn told(&mut self, beginning: &str) {
        loop {
            let line = self.lines.next_line().await.unwrap();
            let line = line.expect("it ended before it was killed");
            if line.trim_start().starts_with(beginning) {
                return;
            }
        }
    }

    async fn is_at(&self, moment: Moment, before: u64, of: &mut u64) -> bool {
        match moment {
            Moment::FillingEarly => self
                .left(of)
                .await
                .is_some_and(|left| left * 10 < *of * 9 && left * 2 > *of),
            Moment::FillingLate => self.left(of).await.is_some_and(|left| left * 10 < *of * 3 && left > 0),
            Moment::HoldingThePause => {
                let live = self.rig.consumer(topology::INDEXER).await;
                live.is_some_and(|live| live.paused) && serving(self.rig).await == before
            }
            Moment::JustAfterTheSwap | Moment::Following => serving(self.rig).await == before + 1,
        }
    }

    /// What happens to issues meanwhile adds to what is left.
    async fn is_still_at(&self, moment: Moment, before: u64, mut of: u64) -> bool {
        match moment {
            Moment::FillingEarly => self.left(&mut of).await.is_some_and(|left| left * 2 > of),
            Moment::FillingLate => self.left(&mut of).await.is_some_and(|left| left > 0),
            _ => self.is_at(moment, before, &mut of).await,
        }
    }

    /// Freezes it at the moment, looks whether the moment is still there, and kills it.
    async fn kill_at(mut self, moment: Moment) {
        let (before, events) = (serving(self.rig).await, self.rig.logged().await.unwrap());
        self.reach(moment, before, events).await;
        let pid = Pid::from_raw(self.child.id().expect("it runs").cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        assert!(
            self.is_still_at(moment, before, events).await,
            "{moment:?} was over before the kill"
        );
        kill_process(pid, Signal::KILL).unwrap();
        assert!(!self.child.wait().await.unwrap().success());
        // A request of the dead that is held would arrive in the next mode.
        self.far.cut();
    }
}

async fn succeeds(rig: &Rig, words: &[&str]) -> Value {
    let words = [words, &["--output", "json"]].concat();
    let output = rig.queue_cli(&words).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything that happens to the rebuild and the issues; answers when all of it is indexed.
async fn killed_five_times(rig: &Rig, cast: &Cast, tell: impl Fn(&str)) {
    let far = Proxy::start(rig.elastic.node().trim_start_matches("http://").parse().unwrap())
        .await
        .unwrap();
    for (portion, moment) in MOMENTS.into_iter().enumerate() {
        let rebuilding = Rebuilding::start(rig, &far);
        tokio::join!(rebuilding.kill_at(moment), cast.act(rig, portion));
        tell(&format!("killed: {moment:?}"));
    }
    let rebuilt = succeeds(rig, &["rebuild"]).await;
    assert_eq!((&rebuilt["generation"], &rebuilt["holes"]), (&json!(4), &json!([])));
    tell("rebuilt");
    drained(rig).await;
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    tell("all is right after the swap");
    assert_eq!(succeeds(rig, &["rollback"]).await["generation"], 3);
    assert_eq!(rig.verify().await.unwrap(), Vec::<String>::new());
    tell("all is right after the roll-back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_at_five_moments_amid_edits_shows_no_gap_and_nothing_private() {
    let plan = Plan {
        issues: issues_wanted("BUGSTREAM_TEST_REBUILD_ISSUES", USUAL),
        enterprise: true,
        downloader: "confirm_delay_s = 1\ndeletions_per_hour = 1000\nslots = 32\n".to_owned(),
        indexer: format!("slots = {SLOTS}\n"),
        ..Plan::default()
    };
    let rig = Rig::start(plan, Elastic::shared()).await.unwrap();
    let begin = Instant::now();
    let tell = |what: &str| eprintln!("{:>6.1} s: {what}", begin.elapsed().as_secs_f64());
    for number in 1..=10 {
        rig.github.make_private(number * 7).await.unwrap();
    }
    mirror_everything(&rig).await;
    tell("everything is mirrored");
    let cast = Cast::of(&rig);
    let (stop, stopped) = watch::channel(false);
    let searcher = Searcher {
        elastic: &rig.elastic,
        cast: &cast,
    };
    let work = async {
        killed_five_times(&rig, &cast, tell).await;
        stop.send(true).unwrap();
    };
    let ((), looks) = tokio::join!(work, searcher.look(stopped));
    tell(&format!("{looks} looks"));
    let turned = cast.private().clone();
    assert!(
        cast.to_private.iter().all(|number| turned.contains(number)),
        "every flip was seen"
    );
    assert_eq!(rig.dead_letters().await.unwrap().len(), 0);
}
