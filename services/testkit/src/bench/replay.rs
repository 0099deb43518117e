//! The newest event of every issue from the log through the services' own consumer loop, against a bare consumer.
//!
//! Both begin with the newest message of every subject and ack each; neither looks into it. What is measured is what the
//! loop adds: order by issue, leases, spans, metrics.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::{self, consumer::PullConsumer};
use bugstream_proto::reconcile::reconcile_consumer;
use bugstream_proto::topology::{self, Start};
use futures_util::StreamExt as _;
use serde::Serialize;

use super::corpus::Corpus;
use super::processor;
use super::report::Spread;

/// What the design asks for.
const RATIO: f64 = 0.8;

/// The longest that one measurement may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Between two looks whether the server has all acks.
const LOOK: Duration = Duration::from_millis(5);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Issues in the log, at least one, with one event each.
    pub issues: u64,
    /// How often both are measured, at least once.
    pub rounds: usize,
}

/// Where the broker is.
#[derive(Debug, Clone)]
pub struct Servers {
    /// `nats://…`
    pub nats_url: String,
    /// Its process, if it has one of its own: what it takes is counted.
    pub processes: Vec<u32>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    bench: &'static str,
    issues: u64,
    rounds: usize,
    cpus: usize,
    events_per_second: Spread,
    bare_events_per_second: Spread,
    /// Ours through bare, round by round.
    ratio: Spread,
    /// Processor time an event in microseconds, of consumer and broker together.
    processor_us: Spread,
    bare_processor_us: Spread,
    /// What the broker takes of that.
    broker_us: Spread,
    bare_broker_us: Spread,
    /// The bare consumer's processor time through ours, round by round: what the ratio would be if nothing but processor
    /// time mattered. Other work on the machine distorts it less.
    processor_ratio: Spread,
    wanted_ratio: f64,
    met: bool,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    rate: f64,
    processor_us: f64,
    broker_us: f64,
}

/// Measures, saying what comes next. `ours` works the consumer `rebuild` of the log at that URL with the services' loop
/// until it has handled that many events, and answers how long that took from the first request on.
///
/// # Errors
/// A consumer that has not all acks in the end, or a measurement that takes longer than two minutes.
pub async fn run(
    options: Options,
    servers: &Servers,
    ours: impl AsyncFn(&str, u64) -> anyhow::Result<Duration>,
    say: impl Fn(&str),
) -> anyhow::Result<Report> {
    let jetstream = super::prepared(&servers.nats_url).await?;
    say(&format!("publishing {} events", options.issues));
    Corpus::of_nothing()?.publish(&jetstream, 1..=options.issues).await?;
    let bench = Bench {
        options,
        servers,
        jetstream,
    };
    let bare = async || bench.bare().await;
    let ours = async || ours(&servers.nats_url, options.issues).await;
    let mut rounds = Vec::new();
    for round in 0..=options.rounds {
        let measured = if round.is_multiple_of(2) {
            let bare = bench.measure(&bare).await.context("bare")?;
            (bench.measure(&ours).await.context("ours")?, bare)
        } else {
            (
                bench.measure(&ours).await.context("ours")?,
                bench.measure(&bare).await.context("bare")?,
            )
        };
        say(&in_words(round, measured));
        rounds.push(measured);
    }
    Ok(report(options, &rounds[1..]))
}

struct Bench<'a> {
    options: Options,
    servers: &'a Servers,
    jetstream: jetstream::Context,
}

impl Bench<'_> {
    async fn measure(&self, way: &impl AsyncFn() -> anyhow::Result<Duration>) -> anyhow::Result<Measured> {
        let stream = self.jetstream.get_stream(topology::ISSUES).await?;
        let spec = topology::rebuild(Start::NewestOfEach);
        _ = stream.delete_consumer(spec.name).await;
        reconcile_consumer(&self.jetstream, &spec).await?;
        let brokers = &self.servers.processes;
        let before = (processor::taken(brokers)?, processor::of(brokers.clone())?);
        let took = tokio::time::timeout(LIMIT, way()).await.context("not done in time")??;
        let acked = async {
            while stream.consumer_info(spec.name).await?.num_ack_pending > 0 {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LIMIT, acked).await.context("acks are missing")??;
        let all = processor::taken(brokers)?.saturating_sub(before.0);
        let broker = processor::of(brokers.clone())?.saturating_sub(before.1);
        let left = stream.consumer_info(spec.name).await?.num_pending;
        anyhow::ensure!(left == 0, "{left} events are left");
        let issues = self.options.issues as f64;
        Ok(Measured {
            rate: issues / took.as_secs_f64(),
            processor_us: all.as_secs_f64() * 1e6 / issues,
            broker_us: broker.as_secs_f64() * 1e6 / issues,
        })
    }

    /// As the client's documentation shows it.
    async fn bare(&self) -> anyhow::Result<Duration> {
        let spec = topology::rebuild(Start::NewestOfEach);
        let client = async_nats::connect(&self.servers.nats_url).await?;
        let jetstream = jetstream::new(client.clone());
        let consumer: PullConsumer = jetstream.get_consumer_from_stream(spec.name, spec.stream).await?;
        let begin = Instant::now();
        let wanted = usize::try_from(self.options.issues)?;
        let mut messages = consumer.messages().await?.take(wanted);
        while let Some(message) = messages.next().await {
            message?
                .ack()
                .await
                .map_err(|error| anyhow::anyhow!("no ack: {error}"))?;
        }
        client.flush().await?;
        Ok(begin.elapsed())
    }
}

fn in_words(round: usize, (ours, bare): (Measured, Measured)) -> String {
    let words = |one: Measured| {
        format!(
            "{:.0}/s {:.1} \u{b5}s ({:.1} broker)",
            one.rate, one.processor_us, one.broker_us
        )
    };
    let name = if round == 0 {
        "warming up".to_owned()
    } else {
        format!("round {round}")
    };
    format!("{name}: {}, bare {}", words(ours), words(bare))
}

fn report(options: Options, rounds: &[(Measured, Measured)]) -> Report {
    let of = |figure: fn(&(Measured, Measured)) -> f64, digits| Spread::of(rounds.iter().map(figure).collect(), digits);
    let ratio = of(|(ours, bare)| ours.rate / bare.rate, 3);
    Report {
        bench: "replay",
        issues: options.issues,
        rounds: rounds.len(),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        events_per_second: of(|(ours, _)| ours.rate, 0),
        bare_events_per_second: of(|(_, bare)| bare.rate, 0),
        processor_us: of(|(ours, _)| ours.processor_us, 2),
        bare_processor_us: of(|(_, bare)| bare.processor_us, 2),
        broker_us: of(|(ours, _)| ours.broker_us, 2),
        bare_broker_us: of(|(_, bare)| bare.broker_us, 2),
        processor_ratio: of(|(ours, bare)| bare.processor_us / ours.processor_us, 3),
        met: ratio.median >= RATIO,
        ratio,
        wanted_ratio: RATIO,
    }
}
