//! The directory that the old system left: `data/current`, as its downloader wrote it.
//!
//! Everything private in it has a planted word: titles and bodies of private issues, in some of them with escapes, and
//! events of public issues that tell of the private partner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bugstream_testkit::github::{Invented, invent};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// No text of the seed has it.
pub(crate) const PLANTED: &str = "zqplantedzq";

/// What a directory has.
pub(crate) struct Old {
    /// `data/current`.
    pub(crate) path: PathBuf,
    pub(crate) issues: Vec<Invented>,
}

impl Old {
    /// Writes a directory with so many issues. Of the private ones every second is as GitHub has it, not merged: so the
    /// archive has both kinds.
    pub(crate) fn write(within: &Path, repository: &str, count: u64) -> Self {
        let path = within.join("data/current");
        let mut issues = invent(repository, &format!("{repository}-private"), 1..=count, 7);
        moderate(&mut issues, &format!("{repository}-private"));
        for one in &issues {
            write(&path, one);
        }
        std::fs::write(path.join("index.html"), "<!doctype html>").expect("written");
        std::fs::write(path.join(".gitkeep"), "").expect("written");
        Self { path, issues }
    }

    pub(crate) fn private(&self) -> usize {
        self.issues.iter().filter(|one| one.is_private).count()
    }

    /// When the files of an issue were written, in milliseconds since 1970.
    pub(crate) fn modified_ms(number: u64) -> u64 {
        1_700_000_000_089 + number * 1_000
    }
}

/// Lets every fifth issue wait for a moderator, and every seventh tell of the partner.
fn moderate(issues: &mut [Invented], partner: &str) {
    for one in issues.iter_mut().filter(|one| one.private_events.is_empty()) {
        let (fifth, seventh) = (one.number.is_multiple_of(5), one.number.is_multiple_of(7));
        if !fifth && !seventh {
            continue;
        }
        let (api, number) = (format!("https://api.github.com/repos/{partner}"), 100_000 + one.number);
        let event = json!({
            "event": "cross-referenced",
            "created_at": "2026-01-31T12:00:00Z",
            "source": {"type": "issue", "issue": {
                "number": number, "title": "", "body": "",
                "url": format!("{api}/issues/{number}"), "repository_url": api,
                "repository": {"full_name": partner, "private": true, "url": api},
            }},
        });
        one.private_events
            .push(u32::try_from(one.timeline.len()).expect("short"));
        one.timeline.push(event.to_string().into_bytes());
        if fifth {
            let mut issue: Value = serde_json::from_slice(&one.issue).expect("JSON");
            issue["title"] = json!("In the moderation queue.");
            one.issue = issue.to_string().into_bytes();
            one.is_private = true;
        }
    }
}

fn write(path: &Path, one: &Invented) {
    let mut issue: Value = serde_json::from_slice(&one.issue).expect("JSON");
    let events = one
        .timeline
        .iter()
        .map(|event| serde_json::from_slice(event).expect("JSON"));
    let mut timeline: Vec<Value> = events.collect();
    for position in &one.private_events {
        plant(&mut timeline[usize::try_from(*position).expect("small")]);
    }
    if one.is_private && one.number.is_multiple_of(2) {
        merge(&mut issue, &timeline);
    }
    // What a parser takes for the same word.
    let escaped = |json: String| json.replace(PLANTED, "zqpl\\u0061ntedzq");
    let files = [
        ("issue.json", issue.to_string()),
        ("timeline.json", json!(timeline).to_string()),
    ];
    let folder = path.join(one.number.to_string());
    std::fs::create_dir_all(&folder).expect("made");
    for (name, text) in files {
        let text = if one.number.is_multiple_of(3) {
            escaped(text)
        } else {
            text
        };
        std::fs::write(folder.join(name), text).expect("written");
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(Old::modified_ms(one.number));
        let file = File::options()
            .write(true)
            .open(folder.join(name))
            .expect("it is there");
        file.set_modified(modified).expect("it is ours");
    }
}

/// Puts the word where the event tells what is private.
fn plant(event: &mut Value) {
    let nested = &mut event["source"]["issue"];
    if nested.is_object() {
        nested["title"] = json!(format!("{PLANTED} title"));
        nested["body"] = json!(format!("{PLANTED} \"body\"\n\u{1f41b}"));
    }
}

/// As the old system did it.
fn merge(issue: &mut Value, timeline: &[Value]) {
    let link = timeline.iter().find(|event| event["event"] == "cross-referenced");
    let real = &link.expect("a private issue has one")["source"]["issue"];
    issue["title"] = real["title"].clone();
    issue["body"] = real["body"].clone();
    issue["__WEBCOMPAT_PRIVATE_ISSUE__"] = json!(true);
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packed {
    /// Without the folder that everything is in.
    pub(crate) path: String,
    /// As the archive says it to the millisecond, or in seconds.
    pub(crate) modified: String,
    pub(crate) text: String,
}

/// The files of a `tar.gz` archive, read as any program reads it.
pub(crate) fn unpacked(archive: &Path) -> Vec<Packed> {
    let file = File::open(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut files = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("whole");
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let path = entry.path().expect("text").display().to_string();
        let mut modified = entry.header().mtime().expect("a time").to_string();
        for extension in entry.pax_extensions().expect("whole").into_iter().flatten() {
            let extension = extension.expect("whole");
            if extension.key() == Ok("mtime") {
                extension.value().expect("text").clone_into(&mut modified);
            }
        }
        let text = std::io::read_to_string(&mut entry).expect("text");
        files.push(Packed {
            path: path.split_once('/').expect("a folder").1.to_owned(),
            modified,
            text,
        });
    }
    files
}

/// Every text of some JSON, unescaped, names of members too.
pub(crate) fn texts(json: &str) -> String {
    fn of(value: &Value, texts: &mut String) {
        match value {
            Value::String(text) => *texts += text,
            Value::Array(all) => all.iter().for_each(|one| of(one, texts)),
            Value::Object(all) => all.iter().for_each(|(name, one)| {
                *texts += name;
                of(one, texts);
            }),
            _ => {}
        }
    }
    let mut texts = String::new();
    of(&serde_json::from_str(json).expect("JSON"), &mut texts);
    texts
}
