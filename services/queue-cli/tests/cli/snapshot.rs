//! Snapshots: made, kept, published, put back after everything was lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bugstream_kit::service::Stop;
use bugstream_proto::{Verb, topology};
use bugstream_testkit::disk::Disk;
use bugstream_testkit::minio::Minio;
use bugstream_testkit::wait;
use futures_util::TryStreamExt as _;
use http::Method;
use serde_json::{Value, json};

use crate::mirror::{Mirror, SOON};
use crate::old_system::{Old, PLANTED, Packed, texts, unpacked};
use crate::operator::issue;

/// How many issues the round trip has; more by hand.
fn many() -> u64 {
    let asked = std::env::var("BUGSTREAM_SNAPSHOT_ISSUES").ok();
    asked.map_or(200, |text| text.parse().expect("a number"))
}

impl Mirror {
    /// A mirror that took in what the old system had, with an indexer at work.
    pub(crate) async fn moved_in(count: u64) -> (Self, Old) {
        let mut mirror = Self::empty("").await;
        mirror.start_indexer();
        let old = Old::write(mirror.dir.path(), &mirror.github.repository(), count);
        mirror.did(&format!("import {}", old.path.display())).await;
        let deadline = SOON + Duration::from_millis(100) * u32::try_from(count).expect("not so many");
        mirror.drained_within(deadline).await;
        (mirror, old)
    }

    /// The result of a command that went well.
    async fn done(&self, line: &str) -> Value {
        let ran = self.operator.run(&format!("{line} --output json")).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.report()
    }

    /// Log, objects and documents agree.
    pub(crate) async fn agrees(&self) {
        let (code, found) = self.verify("").await;
        assert_eq!((code, &found["total"]), (0, &json!(0)), "{found}");
    }

    async fn stop(&mut self) {
        self.stops.iter().for_each(Stop::soft);
        while let Some(ended) = self.services.join_next().await {
            ended.expect("it did not panic").expect("it ended well");
        }
    }

    /// Nothing is left of streams, objects and indices.
    async fn lose_everything(&mut self) {
        self.stop().await;
        let jetstream = self.nats.jetstream().await;
        let streams: Vec<String> = jetstream.stream_names().try_collect().await.expect("it answers");
        for stream in streams {
            jetstream.delete_stream(stream).await.expect("it is there");
        }
        std::fs::remove_dir_all(self.dir.path().join("objects")).expect("it is there");
        for index in self.elastic.indices().await {
            let path = format!("/{}", self.elastic.name(&index));
            assert_eq!(self.elastic.call(Method::DELETE, &path, None).await.0, 200);
        }
    }

    /// Lets the log know nothing of an issue.
    async fn log_forgets(&self, number: u64) {
        let issue = issue(&self.github.repository(), number);
        let stream = self.nats.jetstream().await.get_stream(topology::ISSUES).await;
        let subject = Verb::Issue.of(&issue).to_string();
        let purged = stream.expect("it is there").purge().filter(subject).await;
        assert!(purged.expect("it answers").purged > 0);
    }

    /// Every document of one side, hidden ones too.
    pub(crate) async fn side(&self, side: &str) -> String {
        self.elastic.refresh().await;
        let path = format!(
            "/{}bugstream-*-{side}-*/_search?expand_wildcards=all&size=10000",
            self.elastic.prefix()
        );
        let (status, answer) = self.elastic.call(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{answer}");
        answer.to_string()
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The names of what lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

fn numbers(files: &[Packed]) -> BTreeSet<u64> {
    let number = |file: &Packed| {
        file.path
            .split('/')
            .next()
            .expect("a folder")
            .parse()
            .expect("a number")
    };
    files.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_everything_is_lost_a_snapshot_brings_all_of_it_back() {
    let (mut mirror, old) = Mirror::moved_in(many()).await;
    mirror.agrees().await;
    let (backup, again) = (mirror.folder("backup"), mirror.folder("again"));
    let made = mirror.done(&format!("snapshot make --to {}", backup.display())).await;
    assert_eq!(
        (&made["issues"], &made["holes"]),
        (&json!(old.issues.len()), &json!([]))
    );
    let stamp = made["snapshot"].as_str().expect("a name");
    assert_eq!(names(&backup), [format!("{stamp}.tar.gz"), "latest.tar.gz".to_owned()]);

    mirror.lose_everything().await;
    let restore = format!("snapshot restore latest --in {}", backup.display());
    let looked = mirror.done(&format!("{restore} --dry-run")).await;
    let restored = mirror.done(&restore).await;
    assert_eq!(looked["new"], restored["new"]);
    assert_eq!(
        [&restored["new"], &restored["private"], &restored["broken"]],
        [&json!(old.issues.len()), &json!(old.private()), &json!(0)]
    );
    mirror.did("rebuild").await;
    mirror.agrees().await;
    assert!(!mirror.side("public").await.contains(PLANTED));
    assert_eq!(mirror.done(&restore).await["new"], 0, "once more changes nothing");

    mirror.did(&format!("snapshot make --to {}", again.display())).await;
    let [before, after] = [&backup, &again].map(|folder| unpacked(&folder.join("latest.tar.gz")));
    assert_eq!(before.len(), 2 * old.issues.len());
    assert!(
        before == after,
        "what was restored is what was there, to the byte and the millisecond"
    );
    let first = Old::modified_ms(1);
    assert_eq!(before[0].modified, format!("{}.{:03}", first / 1_000, first % 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_for_everybody_has_nothing_private() {
    let (mirror, old) = Mirror::moved_in(60).await;
    assert!(old.private() > 2, "there is something to hide");
    let (to, repository) = (mirror.folder("to"), mirror.github.repository());
    mirror.did(&format!("snapshot make --to {}", to.display())).await;
    let made = mirror
        .done(&format!("snapshot make --public --to {}", to.display()))
        .await;
    assert_eq!(made["left_out"], json!(old.private()));

    let shown = unpacked(&to.join("public/latest.tar.gz"));
    let all = unpacked(&to.join("latest.tar.gz"));
    let public = old.issues.iter().filter(|one| !one.is_private).map(|one| one.number);
    assert_eq!(numbers(&shown), public.collect());
    assert_eq!(numbers(&all).len(), old.issues.len());
    let told = |files: &[Packed]| files.iter().filter(|file| texts(&file.text).contains(PLANTED)).count();
    assert!(told(&all) > 4 && all.iter().any(|file| file.text.contains("zqpl\\u0061ntedzq")));
    assert_eq!(told(&shown), 0, "no planted word, unescaped");
    let partner = format!("{repository}-private");
    assert!(
        !shown
            .iter()
            .any(|file| texts(&file.text).contains(&format!("/repos/{partner}")))
    );

    // The same as public readers find.
    let events: usize = shown
        .iter()
        .filter(|file| file.path.ends_with("timeline.json"))
        .map(|file| serde_json::from_str::<Vec<Value>>(&file.text).expect("an array").len())
        .sum();
    mirror.elastic.refresh().await;
    let count = format!("/{}/_count", mirror.elastic.name("timelines-public"));
    let (_, found) = mirror.elastic.call(Method::GET, &count, None).await;
    assert_eq!(found["count"], events, "{found}");

    let merged = all.iter().find(|file| {
        let number = file
            .path
            .strip_suffix("/issue.json")
            .and_then(|number| number.parse().ok());
        old.issues
            .iter()
            .any(|one| Some(one.number) == number && one.is_private && one.number % 2 == 1)
    });
    let merged: Value = serde_json::from_str(&merged.expect("a private one as GitHub has it").text).expect("JSON");
    assert_eq!(
        (&merged["title"], &merged["__WEBCOMPAT_PRIVATE_ISSUE__"]),
        (&json!(format!("{PLANTED} title")), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_never_replaces_what_the_log_knows() {
    let (mirror, _) = Mirror::moved_in(10).await;
    let to = mirror.folder("to");
    mirror.did(&format!("snapshot make --to {}", to.display())).await;
    mirror.did("add index 3 4").await;
    mirror.drained().await;
    mirror.log_forgets(7).await;
    let restore = format!("snapshot restore {}", to.join("latest.tar.gz").display());
    let repository = mirror.github.repository();
    for line in [restore.clone(), format!("{restore} --dry-run")] {
        let (code, refused) = mirror.operator.run(&line).await.refused();
        let said =
            format!("the log knows something newer of 2 issues ({repository}#3, {repository}#4): nothing was changed");
        assert_eq!((code, refused.contains(&said)), (1, true), "{refused}");
        assert!(
            refused.contains("--missing-only restores only what the log does not know"),
            "{refused}"
        );
    }
    let restored = mirror.done(&format!("{restore} --missing-only")).await;
    assert_eq!((&restored["new"], &restored["known"]), (&json!(1), &json!(9)));
    mirror.drained().await;
    mirror.agrees().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_not_whole_restores_nothing() {
    let (mut mirror, _) = Mirror::moved_in(10).await;
    let to = mirror.folder("to");
    mirror.did(&format!("snapshot make --to {}", to.display())).await;
    let whole = std::fs::read(to.join("latest.tar.gz")).expect("it is there");
    mirror.lose_everything().await;
    let file = mirror.folder("broken.tar.gz");
    let table = [
        (whole[..whole.len() / 2].to_vec(), "is cut short"),
        (whole[..whole.len() - 1].to_vec(), "is cut short"),
        (b"<html>no archive at all</html>".to_vec(), "cannot be read"),
        (Vec::new(), "is cut short"),
    ];
    for (bytes, why) in table {
        std::fs::write(&file, bytes).expect("written");
        let (code, refused) = mirror
            .operator
            .run(&format!("snapshot restore {}", file.display()))
            .await
            .refused();
        assert_eq!((code, refused.contains(why)), (1, true), "{why}: {refused}");
    }
    assert!(!mirror.folder("objects/issues").exists(), "nothing was stored");
    for (line, why) in [
        ("snapshot restore latest", "there is no "),
        ("snapshot restore 20200101_0000", "there is no "),
        (
            "snapshot restore nothing.tar.gz",
            "there is no snapshot \"nothing.tar.gz\"",
        ),
        ("snapshot restore latest --in /nowhere", "/nowhere cannot be read"),
    ] {
        let (code, refused) = mirror.operator.run(line).await.refused();
        assert_eq!((code, refused.contains(why)), (1, true), "{line}: {refused}");
    }
    let made = mirror.operator.run("snapshot make").await.refused();
    assert!(made.1.contains("the log knows no issue of"), "{}", made.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_object_is_named_and_there_is_no_snapshot_without_it_unless_told_to() {
    let (mirror, _) = Mirror::moved_in(10).await;
    let repository = mirror.github.repository();
    std::fs::remove_file(mirror.file(3, "issue.json")).expect("it was there");
    std::fs::write(mirror.file(5, "timeline.json"), "[]").expect("it was there");
    let to = mirror.folder("to");
    let make = format!("snapshot make --to {}", to.display());
    let (code, refused) = mirror.operator.run(&make).await.refused();
    let said = format!("the objects of 2 issues are lost ({repository}#3, {repository}#5): they are downloaded again");
    assert_eq!((code, refused.contains(&said)), (1, true), "{refused}");
    assert_eq!(names(&to), Vec::<String>::new(), "neither a snapshot nor part of one");
    let waiting = mirror.operator.run("length download").await.out();
    assert_eq!(waiting, "download.length = 2\n");
    let made = mirror.done(&format!("{make} --accept-holes")).await;
    assert_eq!(
        (&made["issues"], made["holes"].as_array().map(Vec::len)),
        (&json!(8), Some(2))
    );
    assert_eq!(numbers(&unpacked(&to.join("latest.tar.gz"))).len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_part_of_a_snapshot_and_keeps_what_is_there() {
    let (mirror, _) = Mirror::moved_in(40).await;
    let disk = Disk::mount(8).expect("mounted");
    let make = format!("snapshot make --to {}", disk.path().display());
    mirror.did(&make).await;
    let before = (names(disk.path()), unpacked(&disk.path().join("latest.tar.gz")));
    assert!(disk.fill().expect("filled") > 0);
    let (code, refused) = mirror.operator.run(&make).await.refused();
    assert_eq!(
        (code, refused.contains("No space left on device")),
        (1, true),
        "{refused}"
    );
    disk.free().expect("it was filled");
    let after = (names(disk.path()), unpacked(&disk.path().join("latest.tar.gz")));
    assert!(before == after, "{:?} {:?}", before.0, after.0);
    mirror.did(&make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_takes_what_is_old_and_nothing_else() {
    let (mirror, _) = Mirror::moved_in(5).await;
    let to = mirror.folder("to");
    mirror.did(&format!("snapshot make --to {}", to.display())).await;
    let copy = |name: &str| std::fs::copy(to.join("latest.tar.gz"), to.join(name)).expect("copied");
    let others = ["20200103_0000.tar", "notes.txt", "web-bugs-20200101_0000.tar.gz"];
    for name in ["20200101_0000.tar.gz", "20200102_0000.tar.gz"].iter().chain(&others) {
        copy(name);
    }
    let prune = format!("snapshot prune --in {}", to.display());
    let dry = mirror.done(&format!("{prune} --dry-run")).await;
    assert_eq!(dry["removed"].as_array().map(Vec::len), Some(2));
    assert_eq!(names(&to).len(), 7, "a dry run removes nothing");
    mirror.did(&prune).await;
    let left = names(&to);
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(
        others.iter().all(|other| left.iter().any(|name| name == other)),
        "{left:?}"
    );
    let nothing = mirror.operator.run(&format!("{prune} --keep-days 0")).await.out();
    assert!(nothing.starts_with("nothing to remove"), "{nothing}");

    let elsewhere = mirror.folder("objects");
    for directory in [elsewhere.display().to_string(), "/nowhere".to_owned()] {
        let ran = mirror
            .operator
            .run(&format!("snapshot prune --in {directory} --keep-days 0"))
            .await;
        assert!(ran.code > 0 && ran.out.is_empty(), "{ran:?}");
    }
    // Which one latest is cannot be told: so nothing goes.
    std::fs::write(to.join("latest.tar.gz"), "damaged").expect("written");
    copy("20200101_0000.tar.gz");
    let (code, refused) = mirror.operator.run(&prune).await.refused();
    assert_eq!(
        (code, refused.contains("does not say which snapshot it is")),
        (1, true),
        "{refused}"
    );
    assert_eq!(names(&to).len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_lie_in_a_bucket_beside_the_objects() {
    let (minio, mut mirror) = (Minio::shared().await, Mirror::empty("").await);
    let (bucket, objects) = (minio.bucket(), mirror.folder("objects"));
    let store = format!(
        "url = '{}/archive'\nendpoint = '{}'\nregion = 'us-east-1'\naccess_key_id = '{}'\nsecret_access_key = '{}'",
        bucket.url, bucket.endpoint, bucket.access_key_id, bucket.secret_access_key
    );
    let text = mirror
        .configuration()
        .replace(&format!("url = '{}'", objects.display()), &store);
    std::fs::write(mirror.folder("bugstream.toml"), text).expect("written");
    mirror.start_indexer();
    let old = Old::write(mirror.dir.path(), &mirror.github.repository(), 30);
    mirror.did(&format!("import {}", old.path.display())).await;
    let made = mirror.done("snapshot make").await;
    mirror.did("snapshot make --public").await;
    let list = mirror.done("snapshot list").await;
    let list = list["snapshots"].as_array().expect("a list");
    assert_eq!(
        (list.len(), &list[0]["latest"], &list[1]["latest"]),
        (2, &json!(true), &json!(true))
    );
    assert_eq!(list[0]["bytes"], made["bytes"]);
    let place = format!(
        "archive/snapshots/{}/{}.tar.gz",
        mirror.github.repository(),
        made["snapshot"].as_str().expect("a name")
    );
    assert_eq!(made["place"], place);
    mirror.log_forgets(7).await;
    let restored = mirror.done("snapshot restore latest").await;
    assert_eq!((&restored["new"], &restored["known"]), (&json!(1), &json!(29)));
    mirror.drained().await;
    mirror.agrees().await;
    assert_eq!(mirror.done("snapshot prune --keep-days 0").await["removed"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_killed_has_no_name_and_is_swept_away_later() {
    let (mirror, _) = Mirror::moved_in(10).await;
    let (to, file) = (mirror.folder("to"), mirror.file(5, "issue.json"));
    let (hidden, make) = (mirror.folder("hidden"), format!("snapshot make --to {}", to.display()));
    std::fs::rename(&file, &hidden).expect("it was there");
    let fifo = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(fifo.expect("mkfifo is there").success());
    // Nobody writes into it, so it is read for ever.
    let making = mirror.operator.start(&make);
    wait::until_true("it has begun to write", SOON, async || {
        to.exists() && !names(&to).is_empty()
    })
    .await;
    making.kill().await;
    let [left] = &names(&to)[..] else {
        panic!("{:?}", names(&to))
    };
    assert!(left.ends_with(".tar.gz#1"), "{left}");
    std::fs::rename(&hidden, &file).expect("it is there");
    mirror.did(&make).await;
    let prune = format!("snapshot prune --in {}", to.display());
    assert_eq!(
        mirror.done(&prune).await["unfinished"],
        json!([]),
        "somebody may write it"
    );
    let unfinished = std::fs::File::options()
        .write(true)
        .open(to.join(left))
        .expect("it is there");
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    unfinished.set_modified(old).expect("it is ours");
    assert_eq!(mirror.done(&prune).await["unfinished"], json!([to.join(left)]));
    assert_eq!(names(&to).len(), 2);
}
