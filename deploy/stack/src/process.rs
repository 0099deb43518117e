//! Child processes with a log file and an identity that survives pid reuse.
//!
//! Every server and service runs in a process group of its own with its output in a file, so that Ctrl-C reaches only
//! the stack, which then stops them in order. A pid alone does not name a process for long: [`Identity`] adds the
//! start time from `/proc`, and nothing is signalled whose start time differs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// How often conditions are looked at while waiting.
const POLL: Duration = Duration::from_millis(25);

/// A process that may have been started by another run of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`): with the pid it is unique until a reboot.
    pub started: u64,
}

impl Identity {
    /// Names the running process `pid`; `None` if there is none, or only its zombie.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat)
            .filter(|(state, _)| *state != 'Z')
            .map(|(_, started)| Self { pid, started })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal, if this very process still runs.
    pub fn signal(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.is_alive(), raw(self.pid)) {
            // It may have ended since the line above: then there is nothing left to signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Asks the process to end (SIGTERM) and, after `patience`, ends its whole group (SIGKILL).
    pub fn end(&self, patience: Duration) {
        self.signal(Signal::TERM);
        if wait_until(patience, || !self.is_alive()) {
            return;
        }
        if let (true, Some(pid)) = (self.is_alive(), raw(self.pid)) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        wait_until(Duration::from_secs(5), || !self.is_alive());
    }
}

/// State letter and start time of a `/proc/<pid>/stat` line. The command in it may hold blanks and parentheses.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn raw(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// A running child of this process; dropping it kills its process group unless it was detached.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, without input, its output appended to `log`.
    ///
    /// # Errors
    /// The log cannot be written or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write the log {}", log.display()))?;
        let errors = output
            .try_clone()
            .context("cannot share the log between output and errors")?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        Ok(Self {
            name: name.to_owned(),
            child: Some(child),
            log: log.to_owned(),
        })
    }

    /// The pid of the started program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether the program has ended by itself (it is reaped then).
    pub fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Waits until `ready` answers true.
    ///
    /// # Errors
    /// The program ended or `patience` is over, both with the last lines of its log; or the user pressed Ctrl-C.
    pub fn wait_ready(&mut self, patience: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !ready() {
            if crate::interrupt::requested() {
                bail!("interrupted");
            }
            let ended = self.has_ended();
            if ended || Instant::now() > deadline {
                let what = if ended {
                    "ended instead of starting"
                } else {
                    "did not get ready"
                };
                bail!("{} {what}; {}", self.name, log_tail(&self.log));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Asks the program to end (SIGTERM), kills its group after `patience`, and reaps it.
    pub fn stop(&mut self, patience: Duration) {
        self.signal(Signal::TERM);
        if wait_until(patience, || self.has_ended()) {
            self.child = None;
        } else {
            self.kill();
        }
    }

    /// Kills the whole process group at once (SIGKILL) and reaps the program.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = raw(child.id()) {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            let _ = child.wait();
        }
    }

    /// Lets the program outlive this process.
    ///
    /// # Errors
    /// The program has already ended.
    pub fn detach(mut self) -> Result<Identity> {
        let pid = self.pid();
        let identity = Identity::of(pid).with_context(|| format!("{} ended; {}", self.name, log_tail(&self.log)))?;
        self.child = None;
        Ok(identity)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.as_ref().and_then(|child| raw(child.id())) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `condition` holds; false if it does not within `patience`.
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// The path of a log and its last lines, for an error message.
#[must_use]
pub fn log_tail(log: &Path) -> String {
    let text = last_bytes(log, 4_000).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n    ");
    format!("the end of {}:\n    {tail}", log.display())
}

fn last_bytes(path: &Path, count: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(count)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_hostile_command_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(parse_stat(stat), Some(('S', 777)));
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let me = Identity::of(std::process::id()).expect("this process runs");
        assert!(me.is_alive());
        assert!(
            !Identity {
                started: me.started + 1,
                ..me
            }
            .is_alive()
        );
    }

    #[test]
    fn a_program_that_ends_is_reported_with_its_last_words() {
        let log = std::env::temp_dir().join(format!("bugstream-stack-process-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo last words; exit 3"]);
        let mut process = Process::start("the program", command, &log).expect("sh starts");
        let error = process
            .wait_ready(Duration::from_secs(30), || false)
            .expect_err("it ends");
        fs::remove_file(&log).expect("the log exists");
        assert!(error.to_string().contains("last words"), "{error}");
    }

    #[test]
    fn stop_ends_a_program_that_ignores_the_polite_signal() {
        let log = std::env::temp_dir().join(format!("bugstream-stack-stubborn-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
        let mut process = Process::start("the program", command, &log).expect("sh starts");
        let ready = || fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"));
        process.wait_ready(Duration::from_secs(30), ready).expect("it starts");
        let identity = Identity::of(process.pid()).expect("it runs");
        process.stop(Duration::from_millis(200));
        fs::remove_file(&log).expect("the log exists");
        assert!(!identity.is_alive());
    }
}
