//! What a person may get wrong: exit code 2 with the fix, or 1 for a server that is away.

use std::time::Instant;

use bugstream_testkit::nats::Nats;

use crate::operator::{AT_ONCE, Operator};

/// No server listens there: the port is reserved.
const NOWHERE: &str = "nats://user:secret@127.0.0.1:1";

#[tokio::test]
async fn wrong_use_exits_with_2_and_the_fix() {
    let operator = Operator::default()
        .with("NATS_URL", NOWHERE)
        .with("GITHUB_REPO_PUBLIC", "a/b");
    let lines = [
        "add download abc",
        "add download 0",
        "add downloads 1",
        "add-range download 500 1",
        "add-range index 1 x",
        "add-range index 1 9007199254740991",
        "add-updated-since download 31.01.2026",
        "add-updated-since download 2099-01-01",
        "add download 1 --repository c/d",
        "add download 1 --repository nonsense",
        "length --config /nowhere/bugstream.toml",
    ];
    let mut found = String::new();
    for line in lines {
        let (code, error) = operator.run(line).await.refused();
        found += &format!("$ queue-cli {line}\n{error}[{code}]\n");
    }
    insta::assert_snapshot!(found, @r#"
    $ queue-cli add download abc
    error: "abc" is not an issue number (a whole number from 1 up)
      usage: queue-cli add download <NUMBER>...
    [2]
    $ queue-cli add download 0
    error: "0" is not an issue number (a whole number from 1 up)
      usage: queue-cli add download <NUMBER>...
    [2]
    $ queue-cli add downloads 1
    error: "downloads" is not one of download, index
      usage: queue-cli add download|index <NUMBER>...
    [2]
    $ queue-cli add-range download 500 1
    error: the range ends (1) before it begins (500)
      usage: queue-cli add-range download <FIRST> <LAST>
    [2]
    $ queue-cli add-range index 1 x
    error: "x" is not an issue number (a whole number from 1 up)
      usage: queue-cli add-range index <FIRST> <LAST>
    [2]
    $ queue-cli add-range index 1 9007199254740991
    error: the range has 9,007,199,254,740,991 numbers, and at most 1,000,000 are queued at once
      queue it in parts: queue-cli add-range index 1 1000000
    [2]
    $ queue-cli add-updated-since download 31.01.2026
    error: "31.01.2026" is not a date: write 2026-01-31 or 2026-01-31T12:00:00Z
      usage: queue-cli add-updated-since download <DATE> [--limit <COUNT>]
    [2]
    $ queue-cli add-updated-since download 2099-01-01
    error: 2099-01-01T00:00:00Z lies in the future
      usage: queue-cli add-updated-since download <DATE> [--limit <COUNT>]
    [2]
    $ queue-cli add download 1 --repository c/d
    error: c/d is not a configured repository
      configured: a/b
    [2]
    $ queue-cli add download 1 --repository nonsense
    error: "nonsense" is not a repository: write owner/name
      usage: queue-cli add download <NUMBER>...
    [2]
    $ queue-cli length --config /nowhere/bugstream.toml
    error: /nowhere/bugstream.toml: No such file or directory (os error 2)
      --config or BUGSTREAM_CONFIG names the configuration file (TOML)
    [2]
    "#);
}

#[tokio::test]
async fn a_bad_configuration_exits_with_2_and_names_the_key() {
    let good = Operator::default()
        .with("NATS_URL", NOWHERE)
        .with("GITHUB_REPO_PUBLIC", "a/b");
    let cases = [
        (good.clone().with("NATS_URL", "localhost:4222"), "length"),
        (good.clone().with("GITHUB_REPO_PUBLIC", ""), "add download 1"),
        (good.clone().with("GITHUB_REPO_PUBLIC", "b"), "add download 1"),
        (
            good.clone().with("GITHUB_API_URL", "github"),
            "add-updated-since index 2026-01-31",
        ),
        (good.clone().with("LOG_FORMAT", "yaml"), "length"),
    ];
    let mut found = String::new();
    for (operator, line) in cases {
        let (code, error) = operator.run(line).await.refused();
        found += &format!("$ queue-cli {line}\n{error}[{code}]\n");
    }
    insta::assert_snapshot!(found, @r#"
    $ queue-cli length
    error: NATS_URL is not a NATS URL: "localhost:4222"
      write nats://host:4222 (environment variable NATS_URL, or [nats] url in bugstream.toml)
    [2]
    $ queue-cli add download 1
    error: no repository is configured
      write [[repositories]] name = "owner/name" in bugstream.toml, or set GITHUB_ORG and GITHUB_REPO_PUBLIC; or name one with --repository owner/name
    [2]
    $ queue-cli add download 1
    error: [github] org is missing
      write the owner of the repository (environment variable GITHUB_ORG, or [github] org in bugstream.toml); or name one with --repository owner/name
    [2]
    $ queue-cli add-updated-since index 2026-01-31
    error: GITHUB_API_URL is not a URL: "github"
      write https://api.github.com (environment variable GITHUB_API_URL, or [github] api_url in bugstream.toml)
    [2]
    $ queue-cli length
    error: LOG_FORMAT is neither text nor json: "yaml"
      write text (environment variable LOG_FORMAT, or [telemetry] log_format in bugstream.toml)
    [2]
    "#);
}

#[tokio::test]
async fn an_app_whose_key_is_none_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "not a key").expect("written");
    let operator = Operator::default()
        .with("GITHUB_REPO_PUBLIC", "a/b")
        .with("GITHUB_APP_ID", "12345")
        .with("GITHUB_APP_PRIVATE_KEY_PATH", file.path().display().to_string());
    let (code, error) = operator.run("backfill --dry-run").await.refused();
    assert_eq!(code, 2, "{error}");
    assert!(
        error.starts_with("error: GITHUB_APP_PRIVATE_KEY_PATH cannot be used\n"),
        "{error}"
    );
    assert!(!error.contains("not a key"), "{error}");
}

#[tokio::test]
async fn no_server_exits_with_1_within_seconds_and_shows_no_password() {
    let operator = Operator::default()
        .with("NATS_URL", NOWHERE)
        .with("GITHUB_REPO_PUBLIC", "a/b");
    for line in [
        "length",
        "add download 1",
        "add-range index 1 5",
        "purge index",
        "deletions list",
    ] {
        let begin = Instant::now();
        let (code, error) = operator.run(line).await.refused();
        assert_eq!(code, 1, "{line}: {error}");
        assert!(begin.elapsed() < AT_ONCE, "{line} took {:?}", begin.elapsed());
        insta::allow_duplicates! { insta::assert_snapshot!(error, @r#"
        error: NATS_URL names no server that answers: "nats://127.0.0.1:1" (Connection refused (os error 111))
          start it, or write another as nats://host:4222 (environment variable NATS_URL, or [nats] url in bugstream.toml)
        "#); }
    }
}

#[tokio::test]
async fn a_refused_command_changes_nothing() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    for line in [
        "add download 1 2 x",
        "add-range download 5 1",
        "add index 1 --repository c/d",
    ] {
        let (code, _) = operator.run(line).await.refused();
        assert_eq!(code, 2, "{line}");
    }
    assert_eq!(
        operator.run("length").await.out(),
        "download.length = 0\nindex.length = 0\n"
    );
}
