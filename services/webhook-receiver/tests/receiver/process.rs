//! The binary: what an operator sees who has forgotten something, and what nobody sees.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use bugstream_testkit::nats::Nats;
use bugstream_testkit::process::{Launch, Service};

use crate::harness::{self, Downloads};

fn run(environment: &[(&str, &str)]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_webhook-receiver"))
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

const REPO: (&str, &str) = ("GITHUB_REPO_PUBLIC", "bugstream-test/web-bugs");
const SECRET: (&str, &str) = ("GITHUB_WEBHOOK_SECRET", "very-secret");

#[test]
fn without_a_secret_it_does_not_start_and_says_what_to_set() {
    for environment in [&[REPO][..], &[REPO, ("GITHUB_WEBHOOK_SECRET", "")]] {
        let (output, text) = run(environment);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text.contains("is missing") && text.contains("GITHUB_WEBHOOK_SECRET"),
            "{text}"
        );
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused_without_showing_the_secret() {
    for (name, value, expected) in [
        ("NATS_URL", "127.0.0.1:4222", "is not a NATS URL"),
        ("WEBHOOK_LISTEN", "8080", "is no address to listen on"),
        ("BUG_INACTIVITY_DELAY", "five", "is not a whole number"),
        ("BUG_INACTIVITY_DELAY", "3600", "is less than inactivity_delay_s"),
        ("GITHUB_REPO_PUBLIC", "", "no repository is configured"),
    ] {
        let repo = if name == REPO.0 { (name, value) } else { REPO };
        let (output, text) = run(&[SECRET, repo, (name, value)]);
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        assert!(
            text.contains(expected) && !text.contains("very-secret"),
            "{name}: {text}"
        );
    }
}

#[tokio::test]
async fn what_a_private_partner_says_stands_in_no_log_and_no_message() {
    let nats = Nats::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = ready(&nats, folder.path()).await;

    let names = "planted bugstream-test/web-bugs#7 planted";
    for (id, action, body, status) in [
        ("d1", "edited", names, 202),
        ("d2", "deleted", names, 202),
        ("d3", "edited", "planted", 204),
    ] {
        let url = format!("http://{}", service.address());
        let delivery = harness::partners(id, action, body);
        let answer = delivery.send(&reqwest::Client::new(), &url).await;
        assert_eq!(answer.status(), status);
        assert!(!answer.text().await.expect("a body").contains("planted"));
    }
    service.stop().await.expect("it stops");

    let log = std::fs::read_to_string(service.log()).expect("a log");
    assert!(
        log.contains("bugstream-test/web-bugs#7") && !log.contains("planted"),
        "{log}"
    );
    let downloads = Downloads::of(&nats).await;
    for subject in downloads.subjects().await {
        let message = format!("{:?}", downloads.message(&subject).await);
        assert!(
            message.contains("web-bugs") && !message.contains("planted"),
            "{message}"
        );
    }
}

/// A receiver that is ready. A port that is free now may be somebody else's when it starts: then it takes another.
async fn ready(nats: &Nats, folder: &Path) -> Service {
    let mut service = start(nats, folder);
    for _ in 0..5 {
        if service.ready().await.is_ok() {
            return service;
        }
        service = start(nats, folder);
    }
    service.ready().await.expect("it is ready");
    service
}

fn start(nats: &Nats, folder: &Path) -> Service {
    let health_port = bugstream_stack::ports::free().expect("a free port");
    let environment = [
        ("NATS_URL", nats.url()),
        ("GITHUB_REPO_PUBLIC", harness::REPO.to_owned()),
        ("GITHUB_REPO_PRIVATE", harness::PARTNER.to_owned()),
        ("GITHUB_WEBHOOK_SECRET", harness::SECRET.to_owned()),
        ("WEBHOOK_LISTEN", format!("127.0.0.1:{health_port}")),
        ("RUST_LOG", "debug".to_owned()),
    ];
    let environment: BTreeMap<_, _> = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let log = folder.join("log");
    let name = "webhook-receiver";
    Service::start(Launch {
        name,
        environment,
        health_port,
        log,
    })
    .expect("it starts")
}
