//! The example configuration is one that every service takes, also with every line that it has commented out.

use std::path::Path;

use bugstream_kit::config::{Settings, Telemetry};

#[test]
fn every_service_takes_the_example_configuration() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/bugstream.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bugstream.toml");
    // The CA's file is not on this machine, and is read at once.
    let by_password = with_every_line(&text, &["ca_path", "api_key"]);
    let by_key = with_every_line(&text, &["ca_path", "username", "password"]);
    for text in [text.clone(), by_password, by_key] {
        std::fs::write(&file, &text).unwrap();
        let settings = Settings::load(Some(&file), |_| None, &[]).unwrap();
        bugstream_webhook_receiver::Config::read(&settings).unwrap();
        bugstream_downloader::Config::read(&settings).unwrap();
        bugstream_indexer::config::Config::read(&settings).unwrap();
        Telemetry::read(&settings).unwrap();
    }
}

/// With the keys that are commented out, but those that others exclude.
fn with_every_line(text: &str, excluded: &[&str]) -> String {
    let key = |line: &str| {
        line.split_once(" = ")
            .map(|(key, _)| key.to_owned())
            .filter(|key| !key.contains(' '))
    };
    let is_key = |line: &str| key(line).is_some();
    let is_wanted = |line: &&str| key(line).is_some_and(|key| !excluded.contains(&key.as_str()));
    let line = |line: &str| match line.strip_prefix("# ").filter(is_wanted) {
        Some(key) => format!("{key}\n"),
        None => format!("{line}\n"),
    };
    let all: String = text.lines().map(line).collect();
    assert!(all.lines().filter(|line| is_key(line)).count() >= 30, "{all}");
    all
}
