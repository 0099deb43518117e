//! Everything goes wrong at once, by seed, for a while; then nothing does, and the mirror must equal the truth.
//!
//! Real processes and servers; only GitHub is simulated. While [`edits`] change issues in every way that GitHub has,
//! [`breakage`] kills, freezes and restarts processes and servers and disturbs the connections between them, and a storm
//! lies over GitHub's answers and webhooks. At the end all is mended, what the receiver did not take is delivered again
//! (as by the button on GitHub's page), every queue must drain, and `queue-cli verify --against-github` must find
//! nothing. What died may only be what was planted.
//!
//! A seed chooses what happens in which order; when exactly, the machine decides.
//! Not among the faults: webhooks that GitHub never sends. Nothing finds those yet.

mod breakage;
mod edits;
mod progress;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use edits::Editor;
pub use report::Report;

use crate::elastic::Elastic;
use crate::github::{FaultKind, Storm, WebhookRates};
use crate::rig::{Node, Plan, Rig, Role};

/// How long the queues may get no shorter: a frozen worker's messages alone come back after half a minute.
const STUCK: Duration = Duration::from_secs(300);

/// How long one webhook may take to be accepted once everything works, on a busy machine.
const ACCEPTED: Duration = Duration::from_secs(300);

/// The share of GitHub's answers that go wrong.
const STORM: f64 = 0.1;

/// Second looks and looks for what webhooks did not bring come soon, and the fuse stays out of it.
const DOWNLOADER: &str = "confirm_delay_s = 3\ndeletions_per_hour = 100000\nsweep_interval_s = 5\n\
                          deliveries_interval_s = 5\n";

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What happens.
    pub seed: u64,
    /// For how long.
    pub duration: Duration,
    /// Invented issues at the start.
    pub issues: u64,
}

/// What edits and breakage leave behind for the end.
#[derive(Debug, Default)]
struct Ledger {
    /// What is being done.
    phase: &'static str,
    /// By kind.
    edits: BTreeMap<&'static str, u64>,
    faults: BTreeMap<String, u64>,
    /// Subjects that were published to become dead letters; true where the broker confirmed it.
    planted: BTreeMap<String, bool>,
    /// Services that ended although nobody ended them.
    ended: BTreeSet<&'static str>,
}

/// Shared between those who act.
#[derive(Debug, Clone, Default)]
struct Book(Arc<Mutex<Ledger>>);

impl Book {
    fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, name: impl Into<String>) {
        *self.open().faults.entry(name.into()).or_default() += 1;
    }

    fn begin(&self, phase: &'static str) {
        self.open().phase = phase;
    }

    fn edit(&self, name: &'static str) {
        *self.open().edits.entry(name).or_default() += 1;
    }
}

/// Makes a run on this Elasticsearch, which it kills now and then, and says what came of it; on the way, how far it is.
///
/// # Errors
/// The run could not be made. What it found is in the report.
pub async fn run(options: Options, node: &mut Node, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let elastic = Elastic::at(node.url());
    make(options, elastic, Some(node), say).await
}

/// As [`run`], on an Elasticsearch that others use too, and with nothing that takes a minute to heal: servers are not
/// killed, and nobody is frozen for longer than a lease.
///
/// # Errors
/// As [`run`].
pub async fn run_briefly(options: Options, elastic: Elastic, say: impl Fn(&str)) -> anyhow::Result<Report> {
    make(options, elastic, None, say).await
}

async fn make(
    options: Options,
    elastic: Elastic,
    node: Option<&mut Node>,
    say: impl Fn(&str),
) -> anyhow::Result<Report> {
    let plan = Plan {
        issues: options.issues,
        seed: options.seed,
        downloader: DOWNLOADER.to_owned(),
        ..Plan::default()
    };
    let mut rig = Rig::start(plan, elastic).await?;
    let (book, queues) = (Book::default(), rig.queues().clone());
    tokio::select! {
        report = steps(&mut rig, node, options, &book) => report,
        never = progress::tell(&book, &queues, say) => match never {},
    }
}

async fn steps(rig: &mut Rig, node: Option<&mut Node>, options: Options, book: &Book) -> anyhow::Result<Report> {
    book.begin("breaking");
    let last = options.issues.to_string();
    let queued = rig.queue_cli(&["add-range", "download", "1", &last]).await?;
    anyhow::ensure!(queued.status.success(), "{}", String::from_utf8_lossy(&queued.stderr));
    disturb(rig, node, options, book).await?;
    book.begin("settling");
    let catch_up = settle(rig).await?;
    book.begin("comparing");
    conclude(rig, options, book, catch_up).await
}

/// Edits and breaks until the time is over.
async fn disturb(rig: &mut Rig, node: Option<&mut Node>, options: Options, book: &Book) -> anyhow::Result<()> {
    let rates = WebhookRates {
        lost: 0.0,
        duplicated: 0.1,
        reordered: 0.1,
    };
    // A limit stops every request for seconds, so those come one by one with what else breaks.
    let limits = [
        FaultKind::PrimaryLimit,
        FaultKind::SecondaryLimit,
        FaultKind::SilentSecondaryLimit,
    ];
    let storm = Storm::new(STORM, options.seed).without(&limits);
    rig.github.storm(storm.webhooks(rates))?;
    let (stop, stopped) = watch::channel(false);
    let mut editing = JoinSet::new();
    editing.spawn(edits::edit(
        rig.editor().await?,
        StdRng::seed_from_u64(options.seed),
        book.clone(),
        stopped,
    ));
    let end = Instant::now() + options.duration;
    // Another sequence than the edits'.
    let mut chance = StdRng::seed_from_u64(!options.seed);
    let broken = breakage::break_until(rig, node, end, &mut chance, book).await;
    stop.send_replace(true);
    while let Some(ended) = editing.join_next().await {
        ended.context("the editor panicked")?;
    }
    broken
}

/// Everything works from now on: delivers what was refused and waits until nothing waits. None if that never happens.
async fn settle(rig: &Rig) -> anyhow::Result<Option<Duration>> {
    rig.github.clear_faults();
    let begin = Instant::now();
    rig.github.release_webhooks().await;
    for delivery in rig.github.untaken() {
        anyhow::ensure!(
            rig.deliver(&delivery, ACCEPTED).await,
            "a webhook is not accepted although everything works"
        );
    }
    Ok(drained(rig).await.then(|| begin.elapsed()))
}

/// Waits until nothing waits; false if it does not get less any more.
async fn drained(rig: &Rig) -> bool {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    while least > 0 && since.elapsed() < STUCK {
        if let Some(waiting) = rig.waiting().await.filter(|waiting| *waiting < least) {
            (least, since) = (waiting, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    least == 0
}

async fn conclude(rig: &mut Rig, options: Options, book: &Book, catch_up: Option<Duration>) -> anyhow::Result<Report> {
    let stuck = match catch_up {
        None => Some(rig.waiting_in_words().await),
        Some(_) => None,
    };
    let differences = rig.verify().await?;
    let letters: BTreeSet<String> = rig
        .dead_letters()
        .await?
        .into_iter()
        .map(|letter| letter.subject)
        .collect();
    let memory = Role::ALL.map(|role| (role.program(), rig.service(role).memory_high_water()));
    for role in Role::ALL {
        if rig.service(role).has_ended() {
            book.open().ended.insert(role.program());
        }
    }
    let github = rig.github.faults_met();
    let ledger = book.open();
    let unplanted = letters.iter().filter(|subject| !ledger.planted.contains_key(*subject));
    let sure = ledger.planted.iter().filter(|(_, confirmed)| **confirmed);
    let missing = sure
        .map(|(subject, _)| subject)
        .filter(|subject| !letters.contains(*subject));
    let faults = github
        .into_iter()
        .map(|(name, count)| (format!("github {name}"), count));
    let mut report = Report {
        seed: options.seed,
        seconds: options.duration.as_secs(),
        edits: ledger.edits.clone(),
        faults: ledger.faults.clone().into_iter().chain(faults).collect(),
        planted: ledger.planted.len(),
        letters: letters.len(),
        unplanted: unplanted.cloned().collect(),
        missing: missing.cloned().collect(),
        ended: ledger.ended.clone(),
        catch_up,
        stuck,
        differences,
        memory: memory.into(),
        logs: None,
    };
    if !report.is_good() {
        report.logs = Some(rig.keep_logs().to_owned());
    }
    Ok(report)
}
