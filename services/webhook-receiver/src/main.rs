//! The webhook-receiver as a process.

use std::process::ExitCode;

use bugstream_kit::service::{self, Service};
use bugstream_webhook_receiver::{Config, run};

const SERVICE: Service = Service {
    name: "webhook-receiver",
    about: "Receives GitHub's webhooks and queues the issues they concern for download",
    version: env!("CARGO_PKG_VERSION"),
    sections: &["nats", "webhook_receiver"],
    examples: "Example:\n  GITHUB_WEBHOOK_SECRET=... GITHUB_ORG=webcompat GITHUB_REPO_PUBLIC=web-bugs webhook-receiver\n\nPoint \
               the repository's webhook at http://<this host>:8080/github/receive, with the same secret.",
};

fn main() -> ExitCode {
    service::main(SERVICE, Config::read, run)
}
