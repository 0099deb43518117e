//! Webhooks accepted a second, against what HTTP with verification (h) and JetStream (p) allow together: 1 / (1/h + 1/p).
//!
//! Sender, receiver and broker share one machine, so whatever one of them needs, the others lose: the sum of both parts'
//! times is the least that a webhook can take. The measurements take turns, each round in another order, so that a slow
//! moment of the machine meets all of them; a ratio belongs to one round.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::bodies::{self, Recorded, Signed};
use super::load::{self, Connection};
use super::processor;
use super::publishes::Publishes;
use super::report::{AtRest, Bodies, Measured, Rates, Round};

/// The repository that the receiver must mirror, on its default delays.
pub const REPOSITORY: &str = bodies::REPOSITORY;

/// The secret that receiver and bare handler must have. (Without a comma: that separates secrets in the environment.)
pub const SECRET: &str = "a secret of the bench that everybody knows";

/// What the design asks for.
const RATIO: f64 = 0.8;
const P99_MS: f64 = 10.0;

/// The longest that one measurement may take. It ends well before the first schedule fires.
const LIMIT: Duration = Duration::from_secs(120);

/// The issue that everybody talks about.
const HOT: u64 = 1;

/// Singles at rest are sent as often as this, so that everything goes to sleep in between.
const PACE: Duration = Duration::from_millis(5);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Webhooks in each measurement, at least one; as many different issues.
    pub requests: usize,
    /// How often everything is measured, at least once.
    pub rounds: usize,
    /// Connections that send at the same time, at least one.
    pub connections: usize,
    /// Webhooks that are sent one by one, at least one.
    pub singles: usize,
}

/// Where the servers are. They must be ready, and used by nobody else.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The broker, `nats://…`.
    pub nats_url: String,
    /// A webhook-receiver that publishes to it.
    pub receiver: SocketAddr,
    /// A [`super::handler`].
    pub handler: SocketAddr,
    /// Their processes, as far as they have some of their own: what they take is counted.
    pub processes: Vec<u32>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    bench: &'static str,
    requests: usize,
    rounds: usize,
    connections: usize,
    cpus: usize,
    bodies: Bodies,
    different_issues: Rates,
    hot_issue: Rates,
    at_rest: AtRest,
    wanted_ratio: f64,
    wanted_p99_ms: f64,
    met: bool,
}

/// Measures, saying what comes next.
///
/// # Errors
/// An answer that is not 202, a message that JetStream did not take or that is not there afterwards, or a measurement
/// that takes longer than two minutes: what is wrong has no speed.
pub async fn run(options: Options, servers: &Servers, say: impl Fn(&str)) -> anyhow::Result<Report> {
    say("preparing bodies");
    let bench = Bench::prepare(options, servers).await?;
    say("warming up");
    bench.round(0).await?;
    let (mut different, mut hot) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let (of_different, of_hot) = bench.round(round).await?;
        say(&format!(
            "round {} of {}: different issues {}; one hot issue {}",
            round + 1,
            options.rounds,
            in_words(of_different),
            in_words(of_hot)
        ));
        different.push(of_different);
        hot.push(of_hot);
    }
    say("single webhooks at rest");
    let at_rest = bench.at_rest().await?;
    Ok(bench.report(Rates::of(&different), Rates::of(&hot), at_rest))
}

/// What a round measures, in the order of the first one.
#[derive(Debug, Clone, Copy)]
enum Part {
    Handler,
    Publishes,
    Receiver,
}

struct Bench<'a> {
    options: Options,
    servers: &'a Servers,
    recorded: Recorded,
    different: Load,
    hot: Load,
    publishes: Publishes,
}

/// The same webhooks for every part.
struct Load {
    issues: Vec<u64>,
    bodies: Arc<Vec<Signed>>,
    /// Messages that must lie in the stream afterwards: two an issue.
    stored: u64,
}

impl Load {
    fn new(recorded: &Recorded, issues: Vec<u64>, different: usize) -> anyhow::Result<Self> {
        Ok(Self {
            bodies: Arc::new(recorded.about(issues.iter().copied(), SECRET)?),
            issues,
            stored: 2 * different as u64,
        })
    }
}

impl<'a> Bench<'a> {
    async fn prepare(options: Options, servers: &'a Servers) -> anyhow::Result<Self> {
        let recorded = Recorded::read()?;
        let numbers = (1..).take(options.requests).collect();
        Ok(Self {
            options,
            servers,
            different: Load::new(&recorded, numbers, options.requests)?,
            hot: Load::new(&recorded, vec![HOT; options.requests], 1)?,
            recorded,
            publishes: Publishes::connect(&servers.nats_url).await?,
        })
    }

    /// Measures every part with different issues, then with one.
    async fn round(&self, number: usize) -> anyhow::Result<(Round, Round)> {
        Ok((
            self.parts(&self.different, number).await?,
            self.parts(&self.hot, number).await?,
        ))
    }

    async fn parts(&self, load: &Load, number: usize) -> anyhow::Result<Round> {
        let mut order = [Part::Handler, Part::Publishes, Part::Receiver];
        order.rotate_left(number % 3);
        let mut round = Round::default();
        for part in order {
            let measured = self.measure(part, load).await.with_context(|| format!("{part:?}"))?;
            match part {
                Part::Handler => round.handler = measured,
                Part::Publishes => round.publishes = measured,
                Part::Receiver => round.receiver = measured,
            }
        }
        Ok(round)
    }

    /// Checks, too, that each webhook did what it should.
    async fn measure(&self, part: Part, load: &Load) -> anyhow::Result<Measured> {
        self.publishes.empty().await?;
        let before = processor::taken(&self.servers.processes)?;
        let connections = self.options.connections;
        let measured = async {
            match part {
                Part::Handler => load::send_all(self.servers.handler, &load.bodies, connections).await,
                Part::Publishes => self.publishes.publish_all(&load.issues, connections).await,
                Part::Receiver => load::send_all(self.servers.receiver, &load.bodies, connections).await,
            }
        };
        let took = tokio::time::timeout(LIMIT, measured)
            .await
            .context("not done in time")??;
        let taken = processor::taken(&self.servers.processes)?.saturating_sub(before);
        let waiting = self.publishes.waiting().await?;
        let wanted = if matches!(part, Part::Handler) { 0 } else { load.stored };
        anyhow::ensure!(waiting == wanted, "{waiting} messages are stored in place of {wanted}");
        let webhooks = load.issues.len() as f64;
        Ok(Measured {
            rate: webhooks / took.as_secs_f64(),
            processor_us: taken.as_secs_f64() * 1e6 / webhooks,
        })
    }

    async fn at_rest(&self) -> anyhow::Result<AtRest> {
        self.publishes.empty().await?;
        let mut connection = Connection::open(self.servers.receiver).await?;
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut times = Vec::new();
        for signed in self.different.bodies.iter().cycle().take(self.options.singles) {
            ticks.tick().await;
            let begin = Instant::now();
            let sent = tokio::time::timeout(LIMIT, connection.send(signed)).await;
            sent.context("no answer in time")??;
            times.push(begin.elapsed());
        }
        Ok(AtRest::of(times))
    }

    fn report(&self, different_issues: Rates, hot_issue: Rates, at_rest: AtRest) -> Report {
        Report {
            bench: "webhooks",
            requests: self.options.requests,
            rounds: self.options.rounds,
            connections: self.options.connections,
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            bodies: self.recorded.describe(&self.different.bodies),
            met: different_issues.ratio.median >= RATIO && at_rest.p99_ms < P99_MS,
            different_issues,
            hot_issue,
            at_rest,
            wanted_ratio: RATIO,
            wanted_p99_ms: P99_MS,
        }
    }
}

fn in_words(round: Round) -> String {
    let [receiver, handler, publishes] = [round.receiver, round.handler, round.publishes].map(|part| {
        let Measured { rate, processor_us } = part;
        format!("{rate:.0}/s {processor_us:.0} \u{b5}s")
    });
    format!("{receiver} (handler {handler}, publishes {publishes})")
}
