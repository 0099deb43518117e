//! The order in which every service starts and stops: configuration, telemetry, signals, one start line, run, drain,
//! flush. A service is a `main` of a few lines over its library's `run(config, context)`.
//!
//! Exit codes: 0 after a stop that was asked for, 2 for a configuration that cannot be used, 1 for everything else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, Command};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{self, ConfigError, KEYS, Settings};
use crate::health::Health;

/// How long a stop waits for work under way before it drops it. Below Kubernetes' and systemd's 30 and 90 s.
pub const DRAIN: Duration = Duration::from_secs(25);

/// What a service is called and reads.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The binary's name, also `service.name` in telemetry.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The sections of the configuration it reads; their keys become its flags.
    pub sections: &'static [&'static str],
    /// Shown at the end of `--help`.
    pub examples: &'static str,
}

/// What every service gets beside its configuration. Clones share it.
#[derive(Debug, Clone)]
pub struct Context {
    /// The service's name.
    pub service: &'static str,
    /// Says when to stop.
    pub stop: Stop,
    /// What is ready.
    pub health: Health,
    /// The time of day.
    pub clock: Clock,
    /// Nonces and jitter.
    pub chance: Chance,
}

impl Context {
    /// A context on the machine's clock and chance, which nothing has asked to stop.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        Self {
            service,
            stop: Stop::default(),
            health: Health::default(),
            clock: Clock::system(),
            chance: Chance::system(),
        }
    }
}

/// A stop in two steps: soft, which drains, and hard, which drops what is still under way.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    /// Asks for a soft stop.
    pub fn soft(&self) {
        self.soft.cancel();
    }

    /// Asks for a stop at once.
    pub fn hard(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// A stop of a part: it stops with the whole, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            soft: self.soft.child_token(),
            hard: self.hard.child_token(),
        }
    }

    /// Waits until a soft stop is asked for.
    pub async fn asked(&self) {
        self.soft.cancelled().await;
    }

    /// Waits until a stop at once is asked for.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }

    /// Whether a stop is asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Waits `duration`, or less if a stop is asked for; `false` if so.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.asked() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

/// Runs a service from the command line to its exit code.
pub fn main<C, R, F>(service: Service, read: fn(&Settings) -> Result<C, ConfigError>, run: R) -> ExitCode
where
    R: FnOnce(C, Context) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let settings = match settings(&service) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    let checked = read(&settings).and_then(|config| Ok((config, config::Telemetry::read(&settings)?)));
    let (config, telemetry) = match checked {
        Ok(checked) => checked,
        Err(error) => return refuse(&error),
    };
    crate::tls::install();
    crate::runtime::start().block_on(start_and_stop(service, &settings, telemetry, config, run))
}

async fn start_and_stop<C, R, F>(
    service: Service,
    settings: &Settings,
    telemetry: config::Telemetry,
    config: C,
    run: R,
) -> ExitCode
where
    R: FnOnce(C, Context) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let telemetry = match bugstream_telemetry::start(telemetry_options(&service, telemetry)) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error),
    };
    let context = Context::new(service.name);
    let mut signals = tokio::task::JoinSet::new();
    signals.spawn(on_signals(context.stop.clone()));
    tracing::info!(
        service = service.name,
        version = service.version,
        configuration = settings.redacted(),
        "starting"
    );
    let result = Box::pin(run(config, context)).await;
    match &result {
        Ok(()) => tracing::info!(service = service.name, "stopped"),
        Err(error) => tracing::error!(
            service = service.name,
            error = format!("{error:#}"),
            "stopped by an error"
        ),
    }
    telemetry.shutdown();
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn telemetry_options(service: &Service, section: config::Telemetry) -> bugstream_telemetry::Options {
    let json = section.log_format.as_deref() == Some("json");
    bugstream_telemetry::Options {
        service: service.name,
        version: service.version,
        format: if json {
            bugstream_telemetry::Format::Json
        } else {
            bugstream_telemetry::Format::Text
        },
        filter: section.log_filter,
        otlp_endpoint: section.otlp_endpoint,
    }
}

fn settings(service: &Service) -> Result<Settings, ConfigError> {
    let matches = command(service).get_matches();
    let flags: Vec<_> = keys_of(service.sections)
        .filter_map(|key| matches.get_one::<String>(key.path).map(|text| (key.path, text.clone())))
        .collect();
    let file = matches.get_one::<PathBuf>("config").cloned();
    Settings::load(file.as_deref(), |name| std::env::var(name).ok(), &flags)
}

fn command(service: &Service) -> Command {
    let mut command = Command::new(service.name)
        .about(service.about)
        .version(service.version)
        .after_help(service.examples)
        .arg(config_arg());
    for key in keys_of(service.sections) {
        command = command.arg(flag(key));
    }
    command
}

/// `--config FILE`, also `BUGSTREAM_CONFIG`.
#[must_use]
pub fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("BUGSTREAM_CONFIG")
        .value_parser(clap::value_parser!(PathBuf))
        .help("configuration file (TOML), one for all services")
}

/// The keys of some sections and of the telemetry that every program has.
pub fn keys_of<'a>(sections: &'a [&'a str]) -> impl Iterator<Item = &'static config::Key> + 'a {
    KEYS.iter().filter(move |key| {
        let section = key.path.split_once('.').map_or("", |(section, _)| section);
        sections.contains(&section) || section == "telemetry"
    })
}

/// One key as a flag. A secret has no flag's value in `ps` unless someone insists; the variable is the better place.
#[must_use]
pub fn flag(key: &'static config::Key) -> Arg {
    let help = key
        .env
        .map_or_else(|| key.help.to_owned(), |env| format!("{} [env: {env}]", key.help));
    Arg::new(key.path)
        .long(key.flag())
        .value_name("VALUE")
        .help(help)
        .hide_short_help(key.secret)
}

async fn on_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("cannot listen to signals");
        return;
    };
    for step in [Stop::soft, Stop::hard] {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping");
        step(&stop);
    }
}

#[expect(
    clippy::print_stderr,
    reason = "telemetry has not started yet: this is the only way to say it"
)]
fn refuse(error: &ConfigError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a process, after telemetry has gone"
)]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Serves a router until a soft stop, then lets requests under way finish.
///
/// # Errors
/// If the address cannot be listened on: the error says which.
pub async fn serve(listener: TcpListener, router: axum::Router, stop: &Stop) -> anyhow::Result<()> {
    let asked = stop.clone();
    let graceful = async move { asked.asked().await };
    let server = axum::serve(listener, router).with_graceful_shutdown(graceful);
    tokio::select! {
        served = server.into_future() => served.context("serving HTTP"),
        () = async { stop.asked().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// Listens on an address.
///
/// # Errors
/// If it is taken or not ours, with the address in the text.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}
