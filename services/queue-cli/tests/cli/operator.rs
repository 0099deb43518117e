//! A person at a terminal: runs the program, with nothing in its environment but what a test gives.

use std::process::Stdio;

use bugstream_kit::requests::Requests;
use bugstream_proto::{IssueId, RepoName};
use bugstream_testkit::nats::Nats;

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output of a run that went well and had nothing to complain about.
    pub(crate) fn out(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.out()).expect("one JSON value")
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
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_queue-cli"));
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.args(line.split_whitespace()).envs(self.0.iter().cloned());
        let output = command.output().await.expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran {
            code: output.status.code().expect("it was not killed"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

pub(crate) fn issue(repository: &str, number: u64) -> IssueId {
    let repository: RepoName = repository.parse().expect("owner/name");
    repository.issue(number).expect("a number")
}

pub(crate) async fn requests(nats: &Nats) -> Requests {
    Requests::new(nats.jetstream().await)
}
