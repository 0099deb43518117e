//! Finding a Java runtime that can run Elasticsearch: `JAVA_HOME`, `PATH`, `/usr/lib/jvm`.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{is_root, reachable_by_others};
use super::clients::on_path;

/// The newest Java that Elasticsearch 9.4.3 was tried on: a newer one may lack what it needs, so it is the last choice.
const NEWEST_TRIED: u32 = 25;

/// A Java runtime: `<home>/bin/java` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jdk {
    /// What `ES_JAVA_HOME` is set to.
    pub(super) home: PathBuf,
    /// Major version: 17, 21, 25.
    pub(super) major: u32,
}

/// The Java to use: the newest up to 25, else the oldest above, nothing below 17.
pub(super) fn best() -> Option<Jdk> {
    choose(candidates().into_iter().filter_map(|home| inspect(&home)).collect())
}

fn choose(mut found: Vec<Jdk>) -> Option<Jdk> {
    found.retain(|jdk| jdk.major >= 17);
    found
        .into_iter()
        .min_by_key(|jdk| (jdk.major > NEWEST_TRIED, jdk.major.abs_diff(NEWEST_TRIED)))
}

fn candidates() -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = std::env::var_os("JAVA_HOME").map(PathBuf::from).into_iter().collect();
    // `java` on PATH is usually a chain of links to <home>/bin/java.
    let java = on_path("java").and_then(|java| java.canonicalize().ok());
    homes.extend(java.and_then(|java| Some(java.parent()?.parent()?.to_owned())));
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    homes.extend(installed.map(|entry| entry.path()));
    homes
}

/// Reads the version of a Java home from its `release` file; `None` if it has no `java` or (as root) Elasticsearch's
/// unprivileged user could not run it.
fn inspect(home: &Path) -> Option<Jdk> {
    let home = home.canonicalize().ok()?;
    let java = home.join("bin/java");
    if !java.is_file() || (is_root() && !reachable_by_others(&java)) {
        return None;
    }
    let major = parse_release(&fs::read_to_string(home.join("release")).ok()?)?;
    Some(Jdk { home, major })
}

fn parse_release(release: &str) -> Option<u32> {
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    version.trim_matches('"').split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jdk(major: u32) -> Jdk {
        Jdk {
            home: PathBuf::from(format!("/jvm/{major}")),
            major,
        }
    }

    #[test]
    fn release_files_of_several_vendors_are_understood() {
        assert_eq!(
            parse_release("IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\n"),
            Some(17)
        );
        assert_eq!(parse_release("JAVA_VERSION=\"25\"\n"), Some(25));
        assert_eq!(parse_release("JAVA_VERSION=\"26-ea\"\n"), Some(26));
        assert_eq!(parse_release("OS_NAME=\"Linux\"\n"), None);
    }

    #[test]
    fn the_newest_tried_version_wins_and_old_ones_do_not_count() {
        assert_eq!(choose(vec![jdk(17), jdk(25), jdk(21), jdk(26)]), Some(jdk(25)));
        assert_eq!(choose(vec![jdk(17), jdk(21)]), Some(jdk(21)));
        assert_eq!(choose(vec![jdk(27), jdk(26), jdk(17)]), Some(jdk(17)));
        assert_eq!(choose(vec![jdk(27), jdk(26)]), Some(jdk(26)));
        assert_eq!(choose(vec![jdk(11)]), None);
    }
}
