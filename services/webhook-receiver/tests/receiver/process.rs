//! The binary: what an operator sees who has forgotten something.

use std::process::{Command, Output};

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
