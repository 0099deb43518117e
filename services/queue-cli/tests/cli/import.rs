//! Moving in from the old system: its directory, its snapshots, and what may be wrong with either.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use bugstream_proto::topology;
use bugstream_testkit::wait;
use serde_json::{Value, json};

use crate::mirror::{Mirror, SOON};
use crate::old_system::{Old, PLANTED};
use crate::operator::Ran;

/// Packs a directory as the old system did: entries begin with `./`.
fn packed(directory: &Path, archive: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("czf").arg(archive).arg("-C").arg(directory).arg(".");
    assert!(tar.status().expect("tar is there").success());
}

impl Mirror {
    async fn imports(&self, path: &Path, flags: &str) -> (Ran, Value) {
        let line = format!("import {} {flags} --output json", path.display());
        let ran = self.operator.run(&line).await;
        let report = ran.report();
        (ran, report)
    }
}

/// New, known, broken.
fn counts(report: &Value) -> [u64; 3] {
    ["new", "known", "broken"].map(|name| report[name].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_the_old_system_becomes_the_archive() {
    let mut mirror = Mirror::empty("").await;
    mirror.start_indexer();
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), 200);
    let total = old.issues.len() as u64;
    let (dry, report) = mirror.imports(&old.path, "--dry-run").await;
    assert_eq!((dry.code, counts(&report)), (0, [total, 0, 0]));
    assert_eq!(
        mirror.operator.run("snapshot make").await.code,
        1,
        "a dry run changes nothing"
    );

    let (ran, report) = mirror.imports(&old.path, "").await;
    assert_eq!((ran.code, counts(&report)), (0, [total, 0, 0]), "{}", ran.err);
    assert_eq!(report["private"], json!(old.private()));
    mirror.drained().await;
    mirror.agrees().await;
    let [public, private] = [mirror.side("public").await, mirror.side("private").await];
    assert!(
        private.contains(PLANTED),
        "the private side has it, or this would prove nothing"
    );
    assert!(!public.contains(PLANTED), "a public index");
    let merged = old
        .issues
        .iter()
        .find(|one| one.is_private && one.number % 2 == 0)
        .expect("some");
    let document = mirror.source("issues-private", &mirror.id(merged.number)).await;
    assert_eq!(
        (
            &document["title"],
            &document["__WEBCOMPAT_PRIVATE_ISSUE__"],
            &document["bugstream"]["revision"]
        ),
        (
            &json!(format!("{PLANTED} title")),
            &json!(true),
            &json!(Old::modified_ms(merged.number))
        )
    );
    let (ran, report) = mirror.imports(&old.path, "").await;
    assert_eq!((ran.code, counts(&report)), (0, [0, total, 0]), "it is all there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_the_old_system_is_taken_up_to_where_it_is_whole() {
    let mut mirror = Mirror::empty("").await;
    mirror.start_indexer();
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), 60);
    let (whole, cut) = (
        mirror.dir.path().join("latest.tar.gz"),
        mirror.dir.path().join("cut.tar.gz"),
    );
    packed(&old.path, &whole);
    let bytes = std::fs::read(&whole).expect("packed");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("written");
    let (ran, report) = mirror.imports(&cut, "").await;
    assert_eq!((ran.code, &report["damaged"]), (1, &json!("the archive is cut short")));
    let [first, known, _] = counts(&report);
    assert!(first > 5 && first < 60 && known == 0, "{report}");

    let (ran, report) = mirror.imports(&whole, "").await;
    assert_eq!((ran.code, counts(&report)), (0, [60 - first, first, 0]), "{}", ran.err);
    mirror.drained().await;
    mirror.agrees().await;
    let document = mirror.source("issues", &mirror.id(1)).await;
    assert_eq!(
        document["bugstream"]["revision"],
        json!(Old::modified_ms(1) / 1_000 * 1_000),
        "tar knows seconds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_named_and_does_not_stop_the_rest() {
    let mut mirror = Mirror::empty("").await;
    mirror.start_indexer();
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), 12);
    let file = |path: &str| old.path.join(path);
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(file(path).parent().expect("a folder")).expect("made");
        std::fs::write(file(path), text).expect("written");
    };
    write("1/issue.json", "{\"number\":1,");
    std::fs::copy(file("12/issue.json"), file("2/issue.json")).expect("copied");
    std::fs::remove_file(file("3/timeline.json")).expect("it was there");
    write(
        "4/issue.json",
        r#"{"number":4,"repository_url":"https://api.github.com/repos/a/b"}"#,
    );
    write("5/timeline.json", "{}");
    std::fs::remove_file(file("6/issue.json")).expect("it was there");
    std::os::unix::fs::symlink(file("7/issue.json"), file("6/issue.json")).expect("linked");
    write("007/issue.json", "{}");
    write("readme/read.me", "not ours");
    let (ran, report) = mirror.imports(&old.path, "").await;
    assert_eq!((ran.code, counts(&report)), (1, [6, 0, 7]), "{report}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&report["broken_ones"]).expect("JSON"), @r#"
    {
      "007": "it is no number of an issue",
      "1": "the issue is cut short (after line 1, column 12)",
      "2": "the issue has another number",
      "3": "it has no timeline.json",
      "4": "the issue belongs to another repository",
      "5": "the timeline is an object, not an array",
      "6": "issue.json is a link or no file"
    }
    "#);
    let human = mirror.operator.run(&format!("import {}", old.path.display())).await;
    insta::assert_snapshot!(human.out, @r#"
    0 issues imported (0 private) · 6 known already · 7 broken
      007: it is no number of an issue
      1: the issue is cut short (after line 1, column 12)
      2: the issue has another number
      3: it has no timeline.json
      4: the issue belongs to another repository
      and 2 more
    "#);
    mirror.drained().await;
    mirror.agrees().await;
    let large = mirror.imports(&old.path, "--largest 1").await.1;
    assert_eq!(counts(&large), [0, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_made_to_do_harm_does_none() {
    let mut mirror = Mirror::empty("").await;
    mirror.start_indexer();
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), 6);
    let archive = mirror.dir.path().join("evil.tar.gz");
    let good = |name: &str| std::fs::read(old.path.join(name)).expect("written");
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(&mut zip);
    let mut entry = |kind, path: &str, size: u64, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..4].copy_from_slice(b"/etc");
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mtime(1);
        header.set_cksum();
        tar.append(&header, bytes).expect("into memory");
    };
    let file = tar::EntryType::Regular;
    for path in [
        "../../../9/issue.json",
        "/9/issue.json",
        "../escaped",
        "nine/issue.json",
    ] {
        entry(file, path, 2, b"{}");
    }
    entry(tar::EntryType::Symlink, "9", 0, b"");
    entry(tar::EntryType::Link, "9/issue.json", 0, b"");
    // Two megabytes that are four kilobytes here.
    let bomb = vec![b' '; 2_000_001];
    entry(file, "8/issue.json", bomb.len() as u64, &bomb);
    for name in ["5/timeline.json", "5/issue.json"] {
        let bytes = good(name);
        entry(file, name, bytes.len() as u64, &bytes);
    }
    tar.finish().expect("into memory");
    drop(tar);
    std::fs::write(&archive, zip.finish().expect("into memory")).expect("written");
    let before = everything(mirror.dir.path());
    let (ran, report) = mirror.imports(&archive, "--largest 1").await;
    assert_eq!((ran.code, counts(&report)), (1, [1, 0, 6]), "{report}");
    let after = everything(mirror.dir.path());
    let new: Vec<&String> = after.iter().filter(|path| !before.contains(*path)).collect();
    assert_eq!(new.len(), 2, "an issue's two objects: {new:?}");
    mirror.drained().await;
    mirror.agrees().await;
    for (line, why) in [
        ("import /nowhere", "/nowhere cannot be read"),
        ("import /dev/null", "the archive is cut short"),
        ("import /proc/self/attr", "has no folder of an issue"),
    ] {
        let (code, refused) = mirror.operator.run(line).await.refused();
        assert_eq!((code, refused.contains(why)), (1, true), "{line}: {refused}");
    }
}

/// Every file below a folder.
fn everything(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(everything(&path)),
            path => all.push(path.display().to_string()),
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_with_the_same_command() {
    let mut mirror = Mirror::empty("").await;
    mirror.start_indexer();
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), 200);
    let jetstream = mirror.nats.jetstream().await;
    let (whole, pipe) = (
        mirror.dir.path().join("whole.tar.gz"),
        mirror.dir.path().join("old.tar.gz"),
    );
    packed(&old.path, &whole);
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    let importing = mirror.operator.start(&format!("import {}", pipe.display()));
    // The other half never comes, so it cannot be done before it is killed.
    let held = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(&whole).expect("packed");
        let mut pipe = std::fs::File::options().write(true).open(pipe).expect("somebody reads");
        pipe.write_all(&bytes[..bytes.len() / 2]).expect("somebody reads");
        pipe
    });
    let held = held.await.expect("no panic");
    wait::until_true("some are in the log", SOON, async || {
        let log = jetstream.get_stream(topology::ISSUES).await;
        log.is_ok_and(|log| log.cached_info().state.messages > 20)
    })
    .await;
    importing.kill().await;
    drop(held);
    let (ran, report) = mirror.imports(&old.path, "").await;
    let [new, known, broken] = counts(&report);
    assert!(new > 0 && known > 20, "it was killed in the middle: {report}");
    assert_eq!((ran.code, new + known, broken), (0, 200, 0), "{report}");
    mirror.drained().await;
    mirror.agrees().await;
}
