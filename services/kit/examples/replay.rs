//! The consumer loop of every service with a handler that does nothing: what `cargo stack bench replay` measures.
//!
//! It works the consumer of a rebuild, which must be there, until it has handled as many events as the variable
//! `REPLAY_EVENTS` says, and writes the seconds that this took into the file `REPLAY_RESULT`. Everything else is as in a
//! service: configuration, telemetry, runtime.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use bugstream_kit::broker::Broker;
use bugstream_kit::config::Nats;
use bugstream_kit::consume::{Handler, Lease, Options, Outcome, Received, consume};
use bugstream_kit::service::{self, Context, Service};
use bugstream_proto::Lane;
use bugstream_proto::topology::{self, Start};
use tokio::sync::Notify;

/// As many as an indexer has.
const SLOTS: usize = 256;

const SERVICE: Service = Service {
    name: "replay",
    about: "Handles events of the log by doing nothing",
    version: env!("CARGO_PKG_VERSION"),
    sections: &["nats"],
    examples: "",
};

fn main() -> ExitCode {
    service::main(SERVICE, Nats::read, run)
}

struct Nothing {
    wanted: u64,
    handled: AtomicU64,
    all: Notify,
}

impl Handler for Nothing {
    async fn handle(&self, _: &Received, _: &Lease) -> Outcome {
        if self.handled.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted {
            self.all.notify_one();
        }
        Outcome::Done
    }
}

async fn run(nats: Nats, context: Context) -> anyhow::Result<()> {
    let wanted = std::env::var("REPLAY_EVENTS")?.parse().context("REPLAY_EVENTS")?;
    let result = std::env::var("REPLAY_RESULT")?;
    let broker = Broker::connect(&nats, &context).await?;
    let handler = Arc::new(Nothing {
        wanted,
        handled: AtomicU64::new(0),
        all: Notify::new(),
    });
    let options = Options::new(topology::rebuild(Start::NewestOfEach), SLOTS, Lane::Index);
    let begin = Instant::now();
    let all = async {
        handler.all.notified().await;
        let written = std::fs::write(&result, begin.elapsed().as_secs_f64().to_string());
        context.stop.soft();
        written.context("REPLAY_RESULT")
    };
    let (consumed, written) = tokio::join!(Box::pin(consume(&broker, options, Arc::clone(&handler), &context)), all);
    consumed.and(written)
}
