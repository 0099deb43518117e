//! The example configuration is one that every service takes, also with every line that it has commented out.

use std::path::Path;

use bugstream_kit::config::{Settings, Telemetry};

#[test]
fn every_service_takes_the_example_configuration() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/bugstream.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bugstream.toml");
    for text in [text.clone(), with_every_line(&text)] {
        std::fs::write(&file, &text).unwrap();
        let settings = Settings::load(Some(&file), |_| None, &[]).unwrap();
        bugstream_webhook_receiver::Config::read(&settings).unwrap();
        bugstream_downloader::Config::read(&settings).unwrap();
        bugstream_indexer::config::Config::read(&settings).unwrap();
        Telemetry::read(&settings).unwrap();
    }
}

/// With the keys that are commented out.
fn with_every_line(text: &str) -> String {
    let is_key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let line = |line: &str| match line.strip_prefix("# ").filter(|rest| is_key(rest)) {
        Some(key) => format!("{key}\n"),
        None => format!("{line}\n"),
    };
    let all: String = text.lines().map(line).collect();
    assert!(all.lines().filter(|line| is_key(line)).count() >= 30, "{all}");
    all
}
