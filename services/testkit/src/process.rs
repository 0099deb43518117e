//! Services as processes of their own: killed, frozen, restarted and measured from outside, as an operating system would.
//!
//! The programs are those that cargo built beside this one. A process that is dropped is killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bugstream_stack::process::{Identity, log_tail};
use rustix::process::Signal;
use tokio::process::{Child, Command};

/// How long a service may take until it is ready; the parts that it needs may have to start first.
const START: Duration = Duration::from_secs(240);

/// How long a polite stop may take: the services' own drain, and as much as a busy machine may add.
const STOP: Duration = Duration::from_secs(120);

/// How long one answer of `/readyz` may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a process may take to stand still once it was told to: as long as its threads get no turn.
const STILL: Duration = Duration::from_secs(60);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The path of a program that lies beside this one, or (for a test) a folder above.
///
/// # Panics
/// If it was not built, with the command that does.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a running program has a path");
    let found = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not beside {}: build it first with cargo build -p bugstream-{name}",
            here.display()
        )
    })
}

/// What a service is started with; the same over restarts.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program's name.
    pub name: &'static str,
    /// Its environment besides `PATH`; nothing else of this process's own is handed on.
    pub environment: BTreeMap<String, String>,
    /// The port of `/readyz`.
    pub health_port: u16,
    /// Its log, appended to.
    pub log: PathBuf,
}

/// A service under somebody else's control. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    launch: Launch,
    child: Option<Child>,
    starts: u64,
    memory: u64,
}

impl Service {
    /// Starts it without waiting.
    ///
    /// # Errors
    /// The program or its log cannot be opened.
    pub fn start(launch: Launch) -> anyhow::Result<Self> {
        let mut service = Self {
            launch,
            child: None,
            starts: 0,
            memory: 0,
        };
        service.spawn()?;
        Ok(service)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.launch.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.launch.health_port))
    }

    /// Its log over all restarts.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// It ended, or is not ready in time, with the end of its log.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            // Before the look, so that there is one after the deadline, however long this thread stood still.
            let over = begin.elapsed() > START;
            if self.readiness().await.is_some_and(|(status, _)| status == 200) {
                return Ok(());
            }
            if self.has_ended() {
                bail!("{} ended; {}", self.launch.name, log_tail(&self.launch.log));
            }
            if over {
                bail!(
                    "{} does not get ready; {}",
                    self.launch.name,
                    log_tail(&self.launch.log)
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What `/readyz` answers, status and body; none if nothing answers.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        crate::install_tls();
        // A connection of its own: one that was kept may be to a process that is no more.
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER).build().ok()?;
        let url = format!("http://{}/readyz", self.address());
        let answer = client.get(url).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Whether it does not run: nobody started it again after its end.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Kills it without warning (SIGKILL), frozen or not.
    pub async fn kill9(&mut self) {
        self.measure();
        if let Some(mut child) = self.child.take() {
            // An error says that it ended before.
            _ = child.kill().await;
        }
    }

    /// Freezes it (SIGSTOP): to others it looks alive and says nothing. None of its threads does anything any more when
    /// this returns.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let begin = Instant::now();
        // Under a millisecond, unless the machine is busy.
        while self.pid().is_some_and(|pid| !stands_still(pid)) && begin.elapsed() < STILL {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on (SIGCONT), as if no time had passed for it.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it again, killing it first where it still runs; [`Self::ready`] waits.
    ///
    /// # Errors
    /// The program or its log cannot be opened.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill9().await;
        self.spawn()
    }

    /// Asks it to end (SIGTERM) and returns how it did.
    ///
    /// # Errors
    /// It does not run, or does not end in time; then it is killed.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.measure();
        self.signal(Signal::TERM);
        let mut child = self
            .child
            .take()
            .with_context(|| format!("{} does not run", self.launch.name))?;
        let ended = tokio::time::timeout(STOP, child.wait()).await;
        ended
            .with_context(|| format!("{} does not stop; {}", self.launch.name, log_tail(&self.launch.log)))?
            .context("it cannot be waited for")
    }

    /// The most memory that it ever had resident, in bytes, over all restarts as far as anybody looked.
    pub fn memory_high_water(&mut self) -> u64 {
        self.measure();
        self.memory
    }

    fn measure(&mut self) {
        let now = self.pid().and_then(high_water).unwrap_or_default();
        self.memory = self.memory.max(now);
    }

    fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn signal(&self, signal: Signal) {
        if let Some(identity) = self.pid().and_then(Identity::of) {
            identity.signal(signal);
        }
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let Launch { name, log, .. } = &self.launch;
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.command();
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        self.child = Some(command.spawn().with_context(|| format!("cannot start {name}"))?);
        self.starts += 1;
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program(self.launch.name));
        command.env_clear().envs(&self.launch.environment);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// Whether every thread of a process is stopped or gone (`State` of proc_pid_status(5)); also if there is no such process.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_none_or(|state| state.trim_start().starts_with(['T', 'Z', 'X']))
    })
}

/// The most memory that a process ever had resident, in bytes (`VmHWM` of proc_pid_status(5)).
#[must_use]
pub fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(high_water(std::process::id()).expect("Linux tells") > 100_000);
    }
}
