//! From a webhook to the moment when a searcher finds what it is about, beyond the debounce.
//!
//! Everything is the real pipeline: the simulator edits an issue and sends its webhook; a second is the debounce; then
//! come the download, the object store, the log, the index, and a refresh. One searcher asks again and again, as a
//! person would, through the alias that analysts use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::report::AtRest as Times;
use crate::elastic::Elastic;
use crate::github::{Change, Simulator};
use crate::rig::{self, Plan, Rig};

/// What the design asks for.
const P99_MS: f64 = 1_000.0;

/// The debounce of a [`Rig`].
const DEBOUNCE: Duration = Duration::from_secs(1);

/// The longest that one edit may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Between two searches.
const LOOK: Duration = Duration::from_millis(10);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Edits that are measured while nothing else happens, one after another; at least one.
    pub at_rest: usize,
    /// Edits that are measured under load, at least one.
    pub under_load: usize,
    /// Webhooks a second meanwhile, all of different issues; at least one.
    pub per_second: u32,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    bench: &'static str,
    debounce_ms: u128,
    at_rest: Times,
    webhooks_per_second: u32,
    under_load: Times,
    wanted_p99_ms: f64,
    met: bool,
}

/// Measures, saying what comes next.
///
/// # Errors
/// Something does not start, or an edit is not found within a minute.
pub async fn run(options: Options, elastic: Elastic, say: impl Fn(&str)) -> anyhow::Result<Report> {
    say("starting services");
    // As many issues as a debounce and a slow moment need, so that an issue is edited only after its last edit is found.
    let issues = 20 * u64::from(options.per_second);
    let plan = Plan {
        issues,
        ..Plan::default()
    };
    let rig = Rig::start(plan, elastic).await?;
    let searcher = Arc::new(Searcher::new(&rig)?);
    let mut looking = JoinSet::new();
    looking.spawn(Arc::clone(&searcher).look());
    say("warming up");
    let warm = searcher.edits(&rig.github, 3 * options.per_second as usize, options.per_second);
    _ = or_failed(&mut looking, warm).await?;
    say("at rest");
    let one_by_one = async {
        let mut times = Vec::new();
        for edit in 0..options.at_rest {
            times.push(searcher.edit(&rig.github, 1 + edit as u64 % issues).await?);
        }
        Ok(times)
    };
    let at_rest = Times::of(or_failed(&mut looking, one_by_one).await?);
    say(&format!("{at_rest:?}; {} webhooks a second", options.per_second));
    let many = searcher.edits(&rig.github, options.under_load, options.per_second);
    let under_load = Times::of(or_failed(&mut looking, many).await?);
    say(&format!("{under_load:?}"));
    Ok(Report {
        bench: "latency",
        debounce_ms: DEBOUNCE.as_millis(),
        at_rest,
        webhooks_per_second: options.per_second,
        under_load,
        wanted_p99_ms: P99_MS,
        met: at_rest.p99_ms < P99_MS && under_load.p99_ms < P99_MS,
    })
}

/// What is done, unless the searcher fails meanwhile.
async fn or_failed<T>(
    looking: &mut JoinSet<anyhow::Result<()>>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        Some(failed) = looking.join_next() => {
            failed??;
            anyhow::bail!("the searcher ended")
        }
    }
}

/// Asks for everything that is not found yet.
struct Searcher {
    client: reqwest::Client,
    url: String,
    repository: String,
    /// Titles that are waited for, by issue, and when they were found.
    waiting: Mutex<BTreeMap<u64, Waiting>>,
}

struct Waiting {
    title: String,
    found: tokio::sync::oneshot::Sender<Instant>,
}

impl Searcher {
    fn new(rig: &Rig) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
        Ok(Self {
            client,
            url: format!("{}/{}/_search", rig.elastic.node(), rig.elastic.name("issues")),
            repository: rig.repository().to_owned(),
            waiting: Mutex::default(),
        })
    }

    async fn look(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            self.look_once().await?;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look_once(&self) -> anyhow::Result<()> {
        let ids = |number: &u64| format!("{}/{number}", self.repository);
        let wanted: Vec<String> = self.waiting().keys().map(ids).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let query = json!({"query": {"ids": {"values": wanted}}, "size": wanted.len(), "_source": ["number", "title"]});
        let answer = self.client.post(&self.url).json(&query).send().await?;
        // Before its first document an index may not be there, or its shards not started: nothing is found yet.
        if !answer.status().is_success() {
            return Ok(());
        }
        let answer: Value = answer.json().await?;
        let now = Instant::now();
        for hit in answer["hits"]["hits"].as_array().into_iter().flatten() {
            self.found(&hit["_source"], now);
        }
        Ok(())
    }

    fn found(&self, issue: &Value, now: Instant) {
        let mut waiting = self.waiting();
        let number = issue["number"].as_u64().unwrap_or_default();
        if waiting
            .get(&number)
            .is_some_and(|waiting| issue["title"] == waiting.title)
            && let Some(waiting) = waiting.remove(&number)
        {
            // Whoever waited may have given up.
            _ = waiting.found.send(now);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Edits an issue; how long it took from sending the webhook until it was found, beyond the debounce.
    async fn edit(&self, github: &Simulator, number: u64) -> anyhow::Result<Duration> {
        let title = format!("www.stopwatch.example - {}", &crate::nonce()[..16]);
        let (found, finding) = tokio::sync::oneshot::channel();
        let waiting = Waiting {
            title: title.clone(),
            found,
        };
        self.waiting().insert(number, waiting);
        let begin = Instant::now();
        let deliveries = github.edit(number, [Change::Title(title)]).await?;
        anyhow::ensure!(!deliveries.is_empty(), "an edit sends a webhook");
        rig::taken(github, &deliveries, LIMIT).await;
        let found = tokio::time::timeout(LIMIT, finding).await.context("never found")??;
        Ok(found.duration_since(begin).saturating_sub(DEBOUNCE))
    }

    /// So many edits of issues in turn, at a steady pace.
    async fn edits(
        self: &Arc<Self>,
        github: &Simulator,
        edits: usize,
        per_second: u32,
    ) -> anyhow::Result<Vec<Duration>> {
        let issues = 20 * u64::from(per_second);
        let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
        let mut under_way = JoinSet::new();
        for edit in 0..edits as u64 {
            pace.tick().await;
            let (searcher, github) = (Arc::clone(self), github.clone());
            under_way.spawn(async move { searcher.edit(&github, 1 + edit % issues).await });
        }
        under_way.join_all().await.into_iter().collect()
    }
}
