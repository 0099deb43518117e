//! `github-simulator`: a GitHub for the local stack, with 500 invented issues that can be edited by command.

use std::net::SocketAddr;
use std::path::PathBuf;

use bugstream_testkit::github::{FaultKind, Options, Simulator, Storm, Webhook, WebhookRates};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// A GitHub on this machine: issues, timelines, lists, webhooks, and edits by command under /_simulator.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// The tracker
    #[arg(long, value_name = "OWNER/NAME", default_value = "bugstream-demo/web-bugs")]
    repository: String,
    /// The private repository that moderated content lives in
    #[arg(long, value_name = "OWNER/NAME", default_value = "bugstream-demo/web-bugs-private")]
    private_repository: String,
    /// How many issues to invent
    #[arg(long, default_value_t = 500)]
    issues: u64,
    /// Which issues to invent: the same number, the same issues
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep everything in this file over restarts; what it holds goes before --issues and --seed
    #[arg(long, value_name = "PATH")]
    state_file: Option<PathBuf>,
    /// Send webhooks there
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook_url: Option<String>,
    /// Sign them with this secret
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Requests an hour for each credential
    #[arg(long, default_value_t = 1_000_000)]
    rate_limit: u64,
    /// The path below which the API lies, as /api/v3 of a GitHub Enterprise Server
    #[arg(long, value_name = "PATH", default_value = "")]
    base_path: String,
    /// The share of answers that go wrong, 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    fault_rate: f64,
    /// Which answers and webhooks go wrong: the same number, the same ones
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    fault_seed: u64,
    /// How they go wrong, comma-separated (in every way, if this is left out)
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    faults: Vec<FaultKind>,
    /// The share of webhooks that are never sent
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    webhooks_lost: f64,
    /// The share of webhooks that are sent twice
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    webhooks_duplicated: f64,
    /// The share of webhooks that are sent after a later one
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    webhooks_reordered: f64,
}

impl Arguments {
    fn storm(&self) -> Storm {
        let storm = Storm::new(self.fault_rate, self.fault_seed).webhooks(WebhookRates {
            lost: self.webhooks_lost,
            duplicated: self.webhooks_duplicated,
            reordered: self.webhooks_reordered,
        });
        if self.faults.is_empty() {
            storm
        } else {
            storm.of(self.faults.iter().copied())
        }
    }
}

impl From<Arguments> for Options {
    fn from(arguments: Arguments) -> Self {
        Self {
            storm: Some(arguments.storm()),
            listen: arguments.listen,
            repository: arguments.repository,
            private_repository: arguments.private_repository,
            issues: arguments.issues,
            seed: arguments.seed,
            state_file: arguments.state_file,
            webhook: arguments
                .webhook_url
                .zip(arguments.webhook_secret)
                .map(|(url, secret)| Webhook { url, secret }),
            tokens: Vec::new(),
            rate_limit: arguments.rate_limit,
            base_path: arguments.base_path,
            app: None,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let simulator = Simulator::start(Arguments::parse().into()).await?;
    announce(&simulator);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the line that says where it is and that it is ready is what a launcher waits for"
)]
fn announce(simulator: &Simulator) {
    println!(
        "github-simulator ready at {} with {} issues of {}",
        simulator.url(),
        simulator.numbers().len(),
        simulator.repository()
    );
}
