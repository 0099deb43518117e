//! A person at a terminal: runs the program, with nothing in its environment but what a test gives.

use std::process::Stdio;
use std::time::Duration;

use bugstream_kit::requests::Requests;
use bugstream_proto::{IssueId, RepoName};
use bugstream_testkit::nats::Nats;
use tokio::io::AsyncReadExt as _;

/// Who is not done by then tries for ever, or waits for what does not come: a machine that stands still now and then takes
/// less.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(60);

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    /// How far it was meanwhile, as indented lines. One comes every ten seconds, so on a slow machine short work has some
    /// too.
    pub(crate) told: String,
    /// What it complained about.
    pub(crate) err: String,
}

impl Ran {
    fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let mut told = text(output.stderr);
        // The fix below an error is indented too.
        let progress = told.split_inclusive('\n').take_while(|line| line.starts_with("  "));
        let err = told.split_off(progress.map(str::len).sum());
        Self {
            code: output.status.code().expect("it was not killed"),
            out: text(output.stdout),
            told,
            err,
        }
    }

    /// Standard output of a run that went well and had nothing to complain about.
    pub(crate) fn out(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.out()).expect("one JSON value")
    }

    /// The result of a run for a program, whatever its exit code and however it told of its progress.
    pub(crate) fn report(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Exit code and standard error of a run that went wrong.
    pub(crate) fn refused(self) -> (i32, String) {
        assert_eq!(self.out, "", "a failed command has no result");
        (self.code, self.err)
    }
}

/// The environment of the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operator(Vec<(&'static str, String)>);

impl Operator {
    /// With a NATS server and `a/b` as the repository.
    pub(crate) fn of(nats: &Nats) -> Self {
        Self::default()
            .with("NATS_URL", nats.url())
            .with("GITHUB_REPO_PUBLIC", "a/b")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.into()));
        self
    }

    /// Runs `queue-cli` with the words of a line.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        let output = self.command(line).output().await.expect("the program starts");
        Ran::of(output)
    }

    /// Starts `queue-cli`, which goes on until it is interrupted or done.
    pub(crate) fn start(&self, line: &str) -> Running {
        let mut command = self.command(line);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running(child.expect("the program starts"))
    }

    fn command(&self, line: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_queue-cli"));
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.args(line.split_whitespace()).envs(self.0.iter().cloned());
        command
    }
}

/// The program while it runs.
pub(crate) struct Running(tokio::process::Child);

impl Running {
    /// The next line of standard output.
    pub(crate) async fn line(&mut self) -> String {
        line(self.0.stdout.as_mut().expect("piped")).await
    }

    /// The next line of its progress.
    pub(crate) async fn told(&mut self) -> String {
        line(self.0.stderr.as_mut().expect("piped")).await
    }

    /// Ctrl-C.
    pub(crate) async fn interrupt(&self) {
        let pid = self.0.id().expect("it runs").to_string();
        let sent = tokio::process::Command::new("kill").args(["-INT", &pid]).status().await;
        assert!(sent.expect("kill starts").success());
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) {
        self.0.kill().await.expect("it runs");
    }

    /// What it leaves behind.
    pub(crate) async fn end(self) -> Ran {
        Ran::of(self.0.wait_with_output().await.expect("it ends"))
    }
}

/// Byte by byte: what comes after the line is for who reads the rest.
async fn line(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(from.read_u8().await.expect("it goes on"));
    }
    String::from_utf8(line).expect("text")
}

pub(crate) fn issue(repository: &str, number: u64) -> IssueId {
    let repository: RepoName = repository.parse().expect("owner/name");
    repository.issue(number).expect("a number")
}

pub(crate) async fn requests(nats: &Nats) -> Requests {
    Requests::new(nats.jetstream().await)
}
