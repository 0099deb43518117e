//! `status`: how fresh and how sound the mirror is, part by part, on one screen.
//!
//! Invariants:
//! - Every part is asked by itself and within seconds. One that cannot be asked says so, hides none of the others, and is
//!   never called healthy.
//! - It asks what Bugstream itself keeps, and never GitHub: looking costs no quota.
//! - What is not as it should be is said in words with what to do, and decides the exit code.
//!
//! What it is not: a proof. That log, objects, documents and GitHub agree is `verify`'s to say.
//!
//! One file a part: `mirror` and `waiting` of the queues, `layers` of freshness, `credentials` of GitHub's quota, `search`
//! of Elasticsearch, `downloader` of who works, `dead` of what was put aside; `screen` is how they are shown.

mod credentials;
mod dead;
pub(crate) mod downloader;
mod layers;
mod mirror;
mod screen;
mod search;
mod waiting;

use std::time::Duration;

use bugstream_kit::broker::Broker;
use bugstream_kit::config::Repository;
use bugstream_proto::RepoName;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::cli::Status;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::Report;
use screen::{Block, Part, Screen};
use search::Search;

/// How long one part may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longer than GitHub's window, so that no limit alone makes anything that late.
const LATE: Duration = Duration::from_secs(65 * 60);
/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);

pub(crate) async fn run(asked: &Status, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let mut parts = Parts::open(deps)?;
    if !asked.watch {
        return Ok(parts.look(deps).await.report());
    }
    let mut interrupt = Interrupt::listen()?;
    loop {
        let report = parts.look(deps).await.report();
        progress.page(&report)?;
        tokio::select! {
            () = interrupt.comes() => return Ok(report.shown()),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// What is asked, over and over with `--watch`.
struct Parts {
    repositories: Vec<Repository>,
    search: Option<Search>,
    /// Stays connected over looks; comes back by itself once it was there.
    broker: Option<Broker>,
}

impl Parts {
    fn open(deps: &Deps) -> Result<Self, Failure> {
        Ok(Self {
            repositories: deps.configured()?,
            search: Search::open(deps)?,
            broker: None,
        })
    }

    async fn look(&mut self, deps: &Deps) -> Screen {
        let broker = self.broker(deps).await;
        let broker = broker.as_ref().map_err(String::as_str);
        let blocks = join_all(
            self.repositories
                .iter()
                .map(|one| of_repository(&one.name, deps, broker)),
        );
        let (blocks, shared) = tokio::join!(Box::pin(blocks), Box::pin(self.shared(deps, broker)));
        Screen::new(blocks, shared)
    }

    async fn broker(&mut self, deps: &Deps) -> Result<Broker, String> {
        if self.broker.is_none() {
            self.broker = Some(within(deps.broker()).await?);
        }
        Ok(self.broker.clone().expect("it was just connected"))
    }

    async fn shared(&self, deps: &Deps, broker: Result<&Broker, &str>) -> Vec<Part> {
        let search = async {
            match &self.search {
                Some(search) => asked("search", within(search.part(broker)).await),
                None => Part::new("search").say("not configured"),
            }
        };
        let of_broker = async {
            let Ok(broker) = broker else { return Vec::new() };
            let (github, work, dead) = tokio::join!(
                within(credentials::part(broker, deps)),
                within(downloader::part(broker)),
                within(dead::part(broker, deps)),
            );
            vec![asked("github", github), asked("downloader", work), asked("dead", dead)]
        };
        let (search, mut shared) = tokio::join!(search, of_broker);
        shared.insert(shared.len().min(1), search);
        shared
    }
}

async fn of_repository(name: &RepoName, deps: &Deps, broker: Result<&Broker, &str>) -> Block {
    let broker = match broker {
        Ok(broker) => broker,
        Err(why) => return Block::new(name.to_string(), vec![Part::unknown("nats", why)]),
    };
    let (mirror, waiting, layers) = tokio::join!(
        within(mirror::part(name, broker, deps)),
        within(waiting::part(name, broker)),
        within(layers::part(name, broker, deps)),
    );
    let parts = vec![
        asked("mirror", mirror),
        asked("waiting", waiting),
        asked("fresh", layers),
    ];
    Block::new(name.to_string(), parts)
}

fn asked(name: &'static str, answer: Result<Part, String>) -> Part {
    answer.unwrap_or_else(|why| Part::unknown(name, &why))
}

/// An answer, or the reason why there is none.
async fn within<T>(ask: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
    match timeout(PATIENCE, Box::pin(ask)).await {
        Ok(answer) => answer.map_err(|failure| failure.problem().to_owned()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
