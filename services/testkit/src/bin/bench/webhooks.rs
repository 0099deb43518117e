//! `bench webhooks`: a broker, a receiver and the bare handler.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::benches::Webhooks;
use bugstream_stack::ports;
use bugstream_stack::process::Process;
use bugstream_stack::server::{Nats, answers};
use bugstream_testkit::bench::handler;
use bugstream_testkit::bench::webhooks::{self, Options, REPOSITORY, SECRET, Servers};
use bugstream_testkit::process::program;
use tokio::net::TcpListener;

use crate::mirrors::nats;

/// How long a server may take to get ready.
const START: Duration = Duration::from_secs(60);

/// How long a server may take to stop.
const STOP: Duration = Duration::from_secs(10);

pub(crate) fn serve_handler(listen: SocketAddr) -> anyhow::Result<()> {
    crate::runtime()?.block_on(async { handler::serve(TcpListener::bind(listen).await?, SECRET).await })
}

pub(crate) fn run(arguments: &Webhooks) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let mut running = Running::start(folder.path())?;
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
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let nats = nats(folder)?;
        let (handler_at, receiver_at) = (loopback()?, loopback()?);
        let own = std::env::current_exe().context("the path of this program")?;
        let mut handler = Command::new(own);
        handler.args(["handler", "--listen", &handler_at.to_string()]);
        let handler = start("handler", handler, handler_at, folder)?;
        let receiver = receiver(&program("webhook-receiver"), &nats.url(), receiver_at);
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
