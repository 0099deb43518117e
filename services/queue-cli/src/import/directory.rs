//! Reads a directory of the old system: a folder for each issue, `index.html` and `.gitkeep` among them.
//!
//! Links are not followed: what they lead to is not what somebody archived.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bugstream_proto::Part;
use bytes::Bytes;

use super::archive::{Seen, shown, too_large};
use super::layout::{file_name, number};
use super::pairs::{Broken, File};

/// The folders of a directory.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    root: PathBuf,
    /// In their order.
    pub(crate) numbers: Vec<u64>,
    broken: Vec<Broken>,
}

impl Folders {
    /// Whether nothing of an issue is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.broken.is_empty()
    }
}

/// Lists a directory.
///
/// # Errors
/// It cannot be read.
pub(crate) fn list(root: &Path) -> io::Result<Folders> {
    let mut folders = Folders {
        root: root.to_owned(),
        ..Folders::default()
    };
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let kind = entry.file_type()?;
        match std::str::from_utf8(name).ok().and_then(number) {
            Some(number) if kind.is_dir() => folders.numbers.push(number),
            Some(number) => folders.broken.push(Broken::issue(number, "it is a link or no folder")),
            None if kind.is_dir() && holds_an_issue(&entry.path()) => folders.broken.push(Broken {
                number: None,
                path: shown(name),
                why: "it is no number of an issue".to_owned(),
            }),
            None => {}
        }
    }
    folders.numbers.sort_unstable();
    folders
        .broken
        .sort_by(|a, b| (a.number, &a.path).cmp(&(b.number, &b.path)));
    Ok(folders)
}

fn holds_an_issue(folder: &Path) -> bool {
    [Part::Issue, Part::Timeline]
        .into_iter()
        .any(|part| folder.join(file_name(part)).symlink_metadata().is_ok())
}

/// Reads the files of a directory and tells what it has, as of an archive.
pub(crate) fn read(folders: Folders, largest: u64, wanted: impl Fn(u64) -> bool, mut tell: impl FnMut(Seen) -> bool) {
    for broken in folders.broken {
        if !tell(Seen::Broken(broken)) {
            return;
        }
    }
    for number in folders.numbers {
        if !wanted(number) {
            if !tell(Seen::Unwanted(number)) {
                return;
            }
            continue;
        }
        let folder = folders.root.join(number.to_string());
        for part in [Part::Issue, Part::Timeline] {
            let seen = match file(&folder, part, largest) {
                Ok((bytes, modified_ms)) => Seen::File(File {
                    number,
                    part,
                    modified_ms,
                    bytes,
                }),
                Err(why) => Seen::Broken(Broken::issue(number, why)),
            };
            if !tell(seen) {
                return;
            }
        }
    }
}

fn file(folder: &Path, part: Part, largest: u64) -> Result<(Bytes, u64), String> {
    let (path, name) = (folder.join(file_name(part)), file_name(part));
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("it has no {name}"),
        _ => format!("{name}: {error}"),
    };
    let about = path.symlink_metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(format!("{name} is a link or no file"));
    }
    if about.len() > largest {
        return Err(format!("{name}: {}", too_large(about.len(), largest)));
    }
    let bytes = fs::read(&path).map_err(failed)?;
    Ok((bytes.into(), modified_ms(&about)))
}

fn modified_ms(about: &Metadata) -> u64 {
    let since = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
