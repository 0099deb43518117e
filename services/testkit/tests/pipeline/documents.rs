//! What the documents say of the tests is true: every test that they name exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let named: BTreeSet<&str> = rows.flat_map(in_backticks).filter(|name| is_test_name(name)).collect();
    assert!(named.len() >= 20, "the table of faults names its tests: {named:?}");
    let sources: String = ["proto", "services", "observability", "deploy"]
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/ARCHITECTURE.md names tests that do not exist: {missing:?}"
    );
}

fn in_backticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Names of tests are sentences; names of anything else in the table are shorter.
fn is_test_name(name: &str) -> bool {
    name.matches('_').count() >= 3
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| match path {
        path if path.is_dir() && !path.ends_with("target") => rust_files(&path),
        path if path.extension().is_some_and(|ending| ending == "rs") => vec![path],
        _ => Vec::new(),
    });
    nested.flatten().collect()
}
