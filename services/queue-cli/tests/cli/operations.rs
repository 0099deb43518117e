//! Every command of docs/OPERATIONS.md, run in its order against a mirror at work.

use bugstream_kit::config::{Github, Repositories, Settings};

use crate::mirror::{ISSUES, Mirror};
use crate::old_system::Old;

/// Commands that go on until somebody goes away. Their own tests run them.
const ENDLESS: [&str; 1] = ["queue-cli status --watch"];

/// A past time on that page, which no test's log knows: now stands for it.
const PAST: &str = "2026-10-31T12:00:00Z";

/// Directories on that page, in whose place a test has its own.
const OLD: &str = "/data/current";
const KEPT: &str = "/srv/snapshots";

fn document() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md");
    std::fs::read_to_string(file).expect("the document is there")
}

fn commands() -> Vec<String> {
    let document = document();
    let lines = document.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .filter(|line| line.starts_with("queue-cli "))
        .map(str::to_owned)
        .collect()
}

/// The blocks of configuration on that page.
fn configuration() -> Vec<String> {
    let blocks = document();
    let blocks = blocks.split("\n\n").filter(|block| block.starts_with("    ["));
    blocks
        .map(|block| block.lines().map(str::trim).collect::<Vec<_>>().join("\n"))
        .collect()
}

#[test]
fn every_block_of_configuration_is_one() {
    let blocks = configuration();
    assert!(blocks.len() > 3, "{blocks:?}");
    for block in blocks {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &block).expect("written");
        let settings =
            Settings::load(Some(file.path()), |_| None, &[]).unwrap_or_else(|error| panic!("{block}: {error}"));
        Github::read(&settings).unwrap_or_else(|error| panic!("{block}: {error}"));
        if block.contains("[[repositories]]") {
            Repositories::read(&settings).unwrap_or_else(|error| panic!("{block}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_operators_page_works() {
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    let mut mirror = Mirror::empty("").await;
    mirror.start();
    mirror.with_a_letter().await;
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), ISSUES);
    let kept = mirror.dir.path().join("snapshots").display().to_string();
    let old = old.path.display().to_string();
    for command in commands.iter().filter(|command| !ENDLESS.contains(&command.as_str())) {
        let words = command.strip_prefix("queue-cli ").expect("as filtered");
        if ["verify", "status", "snapshot", "history"]
            .iter()
            .any(|first| words.starts_with(first))
        {
            mirror.drained().await;
        }
        let words = words.replace(PAST, &crate::rebuild::now()).replace(OLD, &old);
        let words = words.replace(KEPT, &kept);
        if words.starts_with("status") {
            mirror.healthy(&words).await;
        } else {
            mirror.did(&words).await;
        }
    }
}
