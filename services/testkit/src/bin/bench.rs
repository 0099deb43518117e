//! `bench`: starts real servers on loopback, measures a service against the parts beneath it, prints one JSON object.
//!
//! `cargo stack bench` builds everything it needs and calls it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::process::Process;
use bugstream_stack::server::{Nats, NatsOptions, answers};
use bugstream_stack::{interrupt, ports};
use bugstream_testkit::bench::handler;
use bugstream_testkit::bench::webhooks::{self, Options, REPOSITORY, Report, SECRET, Servers};
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;

/// How long a server may take to get ready.
const START: Duration = Duration::from_secs(60);

/// How long a server may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// Measures a service against the parts beneath it; `cargo stack bench` builds and calls this.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Webhooks accepted a second
    Webhooks(Webhooks),
    /// The part beneath the receiver, as a process of its own
    #[command(hide = true)]
    Handler {
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct Webhooks {
    /// The nats-server program
    #[arg(long, value_name = "FILE")]
    nats_server: PathBuf,
    /// The webhook-receiver program, built with --release
    #[arg(long, value_name = "FILE")]
    receiver: PathBuf,
    /// Webhooks in each measurement, each of another issue
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    requests: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Bench::Webhooks(arguments) => measure(&arguments),
        Bench::Handler { listen } => serve_handler(listen),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve_handler(listen: SocketAddr) -> anyhow::Result<()> {
    runtime()?.block_on(async { handler::serve(TcpListener::bind(listen).await?, SECRET).await })
}

fn measure(arguments: &Webhooks) -> anyhow::Result<()> {
    interrupt::watch()?;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    say("starting servers");
    let mut running = Running::start(arguments, folder.path())?;
    let options = Options {
        requests: arguments.requests as usize,
        rounds: arguments.rounds as usize,
        connections: arguments.connections as usize,
        singles: 1_000,
    };
    let report = runtime()?.block_on(unless_interrupted(webhooks::run(options, &running.servers, say)))?;
    running.stop();
    let mut line = serde_json::to_string_pretty(&report).context("a report is JSON")?;
    line.push('\n');
    std::io::stdout().write_all(line.as_bytes()).context("cannot print")
}

async fn unless_interrupted(report: impl Future<Output = anyhow::Result<Report>>) -> anyhow::Result<Report> {
    let interrupted = async {
        while !interrupt::requested() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        report = report => report,
        () = interrupted => anyhow::bail!("interrupted"),
    }
}

/// As many threads as the services have.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("threads can be started")
}

/// The servers of a bench; dropping it ends them.
struct Running {
    servers: Servers,
    receiver: Process,
    handler: Process,
    nats: Nats,
}

impl Running {
    fn start(arguments: &Webhooks, folder: &Path) -> anyhow::Result<Self> {
        let nats = Nats::start(NatsOptions::new(&arguments.nats_server, folder.join("nats")))?;
        let (handler_at, receiver_at) = (loopback()?, loopback()?);
        let own = std::env::current_exe().context("the path of this program")?;
        let mut handler = Command::new(own);
        handler.args(["handler", "--listen", &handler_at.to_string()]);
        let handler = start("handler", handler, handler_at, folder)?;
        let receiver = receiver(&arguments.receiver, &nats.url(), receiver_at);
        let receiver = start("webhook-receiver", receiver, receiver_at, folder)?;
        let servers = Servers {
            nats_url: nats.url(),
            receiver: receiver_at,
            handler: handler_at,
            processes: vec![nats.pid(), handler.pid(), receiver.pid()],
        };
        Ok(Self {
            servers,
            receiver,
            handler,
            nats,
        })
    }

    fn stop(&mut self) {
        self.receiver.stop(STOP);
        self.handler.stop(STOP);
        self.nats.stop();
    }
}

/// As an operator starts it: everything at its default, the log into a file.
fn receiver(program: &Path, nats_url: &str, listen: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("NATS_URL", nats_url)
        .env("GITHUB_REPO_PUBLIC", REPOSITORY)
        .env("GITHUB_WEBHOOK_SECRET", SECRET)
        .env("WEBHOOK_LISTEN", listen.to_string());
    command
}

fn start(name: &str, command: Command, at: SocketAddr, folder: &Path) -> anyhow::Result<Process> {
    let mut process = Process::start(name, command, &folder.join(format!("{name}.log")))?;
    let ready = format!("http://{at}/readyz");
    process.wait_ready(START, || answers(&ready))?;
    Ok(process)
}

fn loopback() -> anyhow::Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, ports::free()?).into())
}

fn say(text: &str) {
    // Progress that nobody can read any more is no reason to stop.
    let _ = writeln!(std::io::stderr(), "  {text}");
}
