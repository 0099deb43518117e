//! `bench webhooks`: a broker, a receiver and the bare handler.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::ports;
use bugstream_stack::process::Process;
use bugstream_stack::server::{Nats, NatsOptions, answers};
use bugstream_testkit::bench::handler;
use bugstream_testkit::bench::webhooks::{self, Options, REPOSITORY, SECRET, Servers};
use clap::Args;
use tokio::net::TcpListener;

/// How long a server may take to get ready.
const START: Duration = Duration::from_secs(60);

/// How long a server may take to stop.
const STOP: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Webhooks {
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

pub(crate) fn serve_handler(listen: SocketAddr) -> anyhow::Result<()> {
    crate::runtime()?.block_on(async { handler::serve(TcpListener::bind(listen).await?, SECRET).await })
}

pub(crate) fn run(arguments: &Webhooks) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    crate::say("starting servers");
    let mut running = Running::start(arguments, folder.path())?;
    let options = Options {
        requests: arguments.requests as usize,
        rounds: arguments.rounds as usize,
        connections: arguments.connections as usize,
        singles: 1_000,
    };
    crate::measure(webhooks::run(options, &running.servers, crate::say))?;
    running.stop();
    Ok(())
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
