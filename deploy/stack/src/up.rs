//! `cargo stack up`: from nothing to a mirrored repository that can be searched.
//!
//! Servers download while the services compile. Whatever already runs is kept, so that a second `up` only starts what
//! is missing. Until everything works, started processes belong to this one and end with it; each is also written
//! down at once, so that `cargo stack down` finds it even if this process is killed.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use bugstream_stack::process::Identity;
use bugstream_stack::progress::{Board, Part};
use bugstream_stack::provision::{self, Cache, Parts, Wanted};
use bugstream_stack::server::{Elasticsearch, ElasticsearchOptions, Nats, NatsOptions};
use bugstream_stack::{interrupt, ports};

use crate::checkout::{log, run_folder};
use crate::search::Count;
use crate::stack::Stack;
use crate::{compile, down, follow, mirror, services, show, state};

/// Start the whole pipeline and mirror a repository
///
/// NATS, Elasticsearch, a GitHub simulator, webhook-receiver, downloader and indexer start as separate processes on
/// 127.0.0.1. Without --detach the command stays, shows what happens, and Ctrl-C stops everything. What was mirrored
/// survives; --fresh starts empty.
///
/// Servers named by NATS_URL, ELASTIC_NODE and OBJECT_STORE_URL are used instead of its own and never erased. With
/// GITHUB_PERSONAL_ACCESS_TOKEN the 200 newest updated issues of the real repository (GITHUB_ORG, GITHUB_REPO_PUBLIC)
/// are mirrored instead of the simulator's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack up                                          start, and stop with Ctrl-C
  cargo stack up --detach                                 start and return
  cargo stack up --fresh                                  forget what was mirrored, start empty
  ELASTIC_NODE=http://localhost:9200 cargo stack up       with an Elasticsearch of your own

Environment:
  BUGSTREAM_CACHE   where downloaded servers are kept   [/var/cache/bugstream as root, else ~/.cache/bugstream]
  BUGSTREAM_STATE   where data are kept                 [/var/lib/bugstream/… as root, else target/stack/data]")]
pub(crate) struct Arguments {
    /// Return when everything is ready; `cargo stack down` stops it
    #[arg(long)]
    detach: bool,
    /// Erase what the stack keeps and mirror anew
    #[arg(long)]
    fresh: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    let began = Instant::now();
    let mut stack = Stack::open()?;
    let lock = state::lock(&stack.data)?;
    if arguments.fresh {
        down::end_all(&mut stack)?;
        stack.erase()?;
    }
    let found = bring_up(&mut stack)?;
    show::summary(&stack, found, began.elapsed())?;
    drop(lock);
    if arguments.detach {
        return Ok(ExitCode::SUCCESS);
    }
    follow::until_interrupted(&stack)?;
    down::run()
}

/// Starts what does not run and fills what is empty.
fn bring_up(stack: &mut Stack) -> Result<Option<Count>> {
    fs::create_dir_all(run_folder().join("logs")).context("cannot create target/stack/logs")?;
    stack.state.forget_ended();
    stack.state.choose_ports(ports::is_free)?;
    stack.save()?;
    let board = Board::default();
    let (programs, servers) = compile::while_compiling(|| compile::programs(&board), || Servers::start(stack, &board))?;
    stack.write_configuration()?;
    stack.write_endpoints()?;
    let services = services::start(stack, &programs, &board)?;
    let found = mirror::mirror(stack, &programs, &board)?;
    servers.detach()?;
    services
        .into_iter()
        .try_for_each(|process| process.detach().map(drop))?;
    Ok(found)
}

/// The stack's own servers that this run started; they end when this is dropped.
#[derive(Default)]
struct Servers {
    nats: Option<Nats>,
    elasticsearch: Option<Elasticsearch>,
}

impl Servers {
    fn start(stack: &mut Stack, board: &Board) -> Result<Self> {
        let mut servers = Self::default();
        let wanted = Wanted {
            nats_server: stack.given.nats.is_none() && stack.state.alive("nats").is_none(),
            elasticsearch: stack.given.elasticsearch.is_none() && stack.state.alive("elasticsearch").is_none(),
            ..Wanted::default()
        };
        let parts = provision::obtain(&Cache::open()?, wanted, board)?;
        servers.start_nats(stack, &parts, board)?;
        servers.start_elasticsearch(stack, &parts, board)?;
        Ok(servers)
    }

    fn start_nats(&mut self, stack: &mut Stack, parts: &Parts, board: &Board) -> Result<()> {
        let Some(binary) = &parts.nats_server else {
            return Ok(());
        };
        let part = starting(board, "nats");
        let options = NatsOptions {
            port: stack.state.port("nats")?,
            monitor_port: stack.state.port("nats-monitor")?,
            ..NatsOptions::new(binary, stack.data.join("nats"))
        };
        let nats = Nats::start(options)?;
        remember(stack, "nats", nats.pid(), &nats.log())?;
        part.say("ready", &nats.url());
        self.nats = Some(nats);
        Ok(())
    }

    fn start_elasticsearch(&mut self, stack: &mut Stack, parts: &Parts, board: &Board) -> Result<()> {
        let Some(distribution) = parts.elasticsearch.clone() else {
            return Ok(());
        };
        let part = starting(board, "elasticsearch");
        let folder = stack.use_elastic_folder(distribution.version)?;
        let port = stack.state.port("elasticsearch")?;
        let elasticsearch = Elasticsearch::start(ElasticsearchOptions {
            port,
            ..ElasticsearchOptions::new(distribution, folder)
        })?;
        remember(
            stack,
            "elasticsearch",
            elasticsearch.launcher_pid(),
            &elasticsearch.log(),
        )?;
        part.say("ready", &elasticsearch.url());
        self.elasticsearch = Some(elasticsearch);
        Ok(())
    }

    fn detach(self) -> Result<()> {
        self.nats.map(Nats::detach).transpose()?;
        self.elasticsearch.map(Elasticsearch::detach).transpose()?;
        Ok(())
    }
}

fn starting(board: &Board, name: &str) -> Part {
    let part = board.part(name);
    part.say("starting", "");
    part
}

/// Writes a started server down, and puts its log beside the services' logs.
fn remember(stack: &mut Stack, name: &str, pid: u32, server_log: &Path) -> Result<()> {
    stack.state.record(
        name,
        Identity::of(pid).with_context(|| format!("{name} ended at once"))?,
    );
    stack.save()?;
    let link = log(name);
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(server_log, &link).with_context(|| format!("cannot write {}", link.display()))
}
