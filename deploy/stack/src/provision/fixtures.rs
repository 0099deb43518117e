//! Recorded truth about GitHub, for tests only: real webhook deliveries, recorded exchanges, the API's description.
//!
//! Fetched by npm at test time and never committed. No script of a package runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::clients::{Client, run_logged};
use super::{Cache, Download};
use crate::progress::Board;

const PACKAGES: [&str; 3] = [
    "@octokit/webhooks-examples@7.6.1",
    "@octokit/fixtures@23.1.2",
    "@octokit/openapi@23.0.2",
];

/// The name changes with the versions, so that new ones are fetched beside the old.
const NAME: &str = "fixtures-7.6.1-23.1.2-23.0.2";

/// The one description that is read; those of GHES releases are ten times its size.
const DESCRIPTION: &str = "api.github.com.json";

pub(super) fn clients(cache: &Cache) -> Vec<Client> {
    if cache.find(NAME).is_some() {
        Vec::new()
    } else {
        vec![Client::Npm]
    }
}

pub(super) fn download(cache: &Cache) -> Option<Download> {
    let missing = cache.find(NAME).is_none();
    missing.then(|| Download {
        what: "GitHub fixtures".to_owned(),
        bytes: 35_000_000,
        disk: 450_000_000,
    })
}

pub(super) fn obtain(cache: &Cache, board: &Board) -> Result<PathBuf> {
    let part = board.part("github fixtures");
    let fetch = |folder: &Path| {
        part.say("downloading", &PACKAGES.join(" "));
        fill(folder)
    };
    let folder = cache
        .obtain(NAME, fetch)
        .context("cannot get the recorded GitHub payloads from npm")?;
    part.say("ready", &folder.display().to_string());
    Ok(folder)
}

fn fill(folder: &Path) -> Result<()> {
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create a folder for npm")?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--no-package-lock",
    ]);
    npm.arg("--prefix")
        .arg(folder)
        .arg("--cache")
        .arg(work.join("cache"))
        .args(PACKAGES)
        .current_dir(&work);
    run_logged(&mut npm, &work.join("npm.log"))?;
    drop_other_descriptions(&folder.join("node_modules/@octokit/openapi/generated"))?;
    fs::remove_dir_all(&work).context("cannot remove npm's own cache")
}

fn drop_other_descriptions(folder: &Path) -> Result<()> {
    fs::metadata(folder.join(DESCRIPTION)).with_context(|| format!("@octokit/openapi has no {DESCRIPTION}"))?;
    for entry in fs::read_dir(folder).context("cannot list @octokit/openapi")? {
        let entry = entry.context("cannot list @octokit/openapi")?;
        if entry.file_name() != DESCRIPTION {
            fs::remove_file(entry.path()).context("cannot remove a description that nobody reads")?;
        }
    }
    Ok(())
}
