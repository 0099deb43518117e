//! A rebuild, the way back and the end of what is old, as the operator does them, against the real servers.

use std::path::{Path, PathBuf};

use bugstream_kit::service::Stop;
use bugstream_proto::topology;
use bugstream_testkit::wait;
use http::Method;
use serde_json::{Value, json};

use crate::mirror::{Mirror, SOON};
use crate::operator::{Ran, Running};

impl Mirror {
    /// The result of a command that went well, however it told of its progress.
    async fn report(&self, line: &str) -> Value {
        let ran = self.operator.run(&format!("{line} --output json")).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.report()
    }

    /// Number, kind and state of every generation.
    async fn generations(&self) -> Vec<(u64, String, &'static str)> {
        let found = self.report("generations list").await;
        let list = found["generations"].as_array().expect("a list");
        let state = |one: &Value| match (&one["live"], &one["state"]) {
            (Value::Bool(true), _) => "serves",
            (_, state) if state == "complete" => "kept",
            _ => "unfinished",
        };
        let entry = |one: &Value| {
            let kind = one["kind"].as_str().expect("a word").to_owned();
            (one["number"].as_u64().expect("a number"), kind, state(one))
        };
        list.iter().map(entry).collect()
    }

    /// What serves, and nothing else is there.
    async fn only_serves(&self, number: u64) {
        let both = ["issues", "timelines"].map(|kind| (number, kind.to_owned(), "serves"));
        assert_eq!(self.generations().await, both);
    }

    async fn without_downloader(&mut self) {
        self.stops[0].soft();
        self.one_ended().await;
    }

    async fn without_services(&mut self) {
        self.stops.iter().for_each(Stop::soft);
        self.one_ended().await;
        self.one_ended().await;
    }

    async fn one_ended(&mut self) {
        let ended = self.services.join_next().await.expect("it ran");
        ended.expect("it did not panic").expect("it ended well");
    }
}

/// The table with its sizes left out: they depend on when Elasticsearch merges.
fn without_sizes(table: &str) -> String {
    let shorter = |line: &str| {
        let (before, rest) = line.split_at(46);
        format!("{before}{}", &rest[11..])
    };
    table.lines().map(shorter).collect::<Vec<_>>().join("\n")
}

/// As `--as-of` takes it.
pub(crate) fn now() -> String {
    let now = bugstream_kit::clock::Clock::system().now();
    now.format(&time::format_description::well_known::Rfc3339)
        .expect("a year that can be written")
}

fn told(ran: &Ran) -> Vec<&str> {
    ran.told.lines().map(str::trim).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_a_rollback_and_a_prune_change_nothing_that_is_found() {
    let mirror = Mirror::filled().await;
    let ran = mirror.operator.run("rebuild").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let first = ran.out.lines().next().expect("a line");
    assert!(
        first.starts_with("generation 2 serves ") && first.contains(" documents; live indexing was paused for "),
        "{first}"
    );
    assert!(ran.out.contains("\n  queue-cli rollback 1 ") && ran.out.contains("\n  queue-cli generations prune 1 "));
    let told = told(&ran);
    assert!(
        told[0].contains(" events") && told.iter().any(|line| line.starts_with("handing over")),
        "{told:?}"
    );
    mirror.is_clean().await;
    // The list counts what a search would find.
    mirror.elastic.refresh().await;
    let table = mirror.operator.run("generations list").await.out();
    insta::assert_snapshot!(without_sizes(&table), @r#"
    generation  kind       state         documents  mapping  privacy rules
    1           issues     kept                 21  current  current
    1           timelines  kept                178  current  current
    2           issues     serves               21  current  current
    2           timelines  serves              178  current  current
    "#);

    let back = mirror.report("rollback").await;
    assert_eq!((&back["generation"], &back["before"]), (&json!(1), &json!(2)));
    mirror.is_clean().await;
    assert_eq!(
        mirror.operator.run("generations prune").await.out(),
        "nothing to remove: what serves and what it replaced are kept (queue-cli generations list)\n"
    );
    let (code, refused) = mirror.operator.run("generations prune 1").await.refused();
    assert_eq!(
        (code, refused.contains("generation 1 serves readers")),
        (1, true),
        "{refused}"
    );
    let dry = mirror.report("generations prune --keep 0 --dry-run").await;
    assert_eq!(dry, json!({ "removed": [2], "dry_run": true }));
    assert_eq!(mirror.generations().await.len(), 4, "a dry run removes nothing");
    mirror.did("generations prune --keep 0").await;
    mirror.only_serves(1).await;
    mirror.is_clean().await;
    let (code, refused) = mirror.operator.run("rollback").await.refused();
    assert_eq!(
        (code, refused.contains("no complete older generation")),
        (1, true),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kind_is_rebuilt_and_taken_back_alone() {
    let mirror = Mirror::filled().await;
    let only = mirror.report("rebuild --only issues").await;
    assert_eq!((&only["generation"], &only["before"]), (&json!(2), &json!(1)));
    let (issues, timelines) = ("issues".to_owned(), "timelines".to_owned());
    assert_eq!(
        mirror.generations().await,
        [
            (1, issues.clone(), "kept"),
            (1, timelines.clone(), "serves"),
            (2, issues.clone(), "serves")
        ]
    );
    mirror.is_clean().await;
    mirror.did("rollback").await;
    assert_eq!(
        mirror.generations().await,
        [
            (1, issues.clone(), "serves"),
            (1, timelines, "serves"),
            (2, issues, "kept")
        ]
    );
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_objects_are_named_and_the_same_command_goes_on() {
    let mut mirror = Mirror::filled().await;
    mirror.without_downloader().await;
    std::fs::remove_file(mirror.file(3, "issue.json")).expect("it was there");
    let lost = format!("{}#3", mirror.github.repository());
    let ran = mirror.operator.run("rebuild").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.contains(&format!(
            "the objects of 1 issue are lost ({lost}): they are downloaded again"
        )) && ran.err.contains("queue-cli rebuild goes on once they are there"),
        "{}",
        ran.err
    );
    let (found, _) = mirror.verify("").await;
    assert_eq!(found, 1, "the object is lost");
    assert_eq!(mirror.generations().await[2], (2, "issues".to_owned(), "unfinished"));

    let accepted = mirror.report("rebuild --accept-holes").await;
    assert_eq!(
        (&accepted["generation"], &accepted["holes"]),
        (&json!(2), &json!([lost]))
    );
    mirror.start();
    mirror.drained().await;
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_was_downloaded_again_is_none() {
    let mut mirror = Mirror::filled().await;
    mirror.without_downloader().await;
    std::fs::remove_file(mirror.file(3, "timeline.json")).expect("it was there");
    assert_eq!(mirror.operator.run("rebuild").await.code, 1);
    mirror.start();
    mirror.drained().await;
    let rebuilt = mirror.report("rebuild").await;
    assert_eq!((&rebuilt["generation"], &rebuilt["holes"]), (&json!(2), &json!([])));
    mirror.is_clean().await;
}

fn hidden(file: &Path) -> PathBuf {
    file.with_extension("hidden")
}

/// Keeps a file from being read, as a store does that is away: no rebuild can come to its end meanwhile.
fn hide(file: &Path) {
    std::fs::rename(file, hidden(file)).expect("it was there");
    // A link to itself is neither a file nor missing.
    std::os::unix::fs::symlink(file, file).expect("its place is free");
}

fn show(file: &Path) {
    std::fs::rename(hidden(file), file).expect("it is there");
}

/// Kills a rebuild, and waits until the server knows: whoever asks before is told that it is at work.
async fn kill(mirror: &Mirror, rebuilding: Running) {
    rebuilding.kill().await;
    let jetstream = mirror.nats.jetstream().await;
    let records = jetstream
        .get_key_value(topology::WATERMARKS)
        .await
        .expect("it is there");
    let record = records
        .get("rebuild")
        .await
        .expect("it answers")
        .expect("it has the turn");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let Some(holder) = record["holder"].as_str() else {
        return;
    };
    let client = mirror.nats.client().await;
    wait::until_true("nobody to answer for it", SOON, async || {
        let asked = client.request(holder.to_owned(), "".into()).await;
        asked.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_or_given_up_it_goes_on_or_begins_anew() {
    let mut mirror = Mirror::filled().await;
    mirror.without_downloader().await;
    let file = mirror.file(5, "issue.json");
    hide(&file);
    let mut rebuilding = mirror.operator.start("rebuild");
    let line = rebuilding.told().await;
    assert!(line.contains(" events"), "{line}");
    kill(&mirror, rebuilding).await;
    assert_eq!(mirror.generations().await[2], (2, "issues".to_owned(), "unfinished"));
    let (code, refused) = mirror.operator.run("rollback").await.refused();
    assert_eq!(
        (code, refused.contains("it fills generation 2")),
        (1, true),
        "{refused}"
    );
    show(&file);

    let mut rebuilding = mirror.operator.start("rebuild");
    while !rebuilding.told().await.contains("handing over") {}
    kill(&mirror, rebuilding).await;
    let rebuilt = mirror.report("rebuild").await;
    mirror.drained().await;
    mirror.is_clean().await;

    hide(&file);
    let mut rebuilding = mirror.operator.start("rebuild");
    rebuilding.told().await;
    rebuilding.interrupt().await;
    let ran = rebuilding.end().await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("queue-cli rebuild goes on from here"), "{}", ran.err);
    show(&file);
    let given_up = rebuilt["generation"].as_u64().expect("a number") + 1;
    mirror.did(&format!("generations prune {given_up}")).await;
    assert_eq!(
        mirror.report("rebuild").await["generation"],
        given_up,
        "anew, from the beginning"
    );
    mirror.did("generations prune --keep 0").await;
    mirror.only_serves(given_up).await;
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_elasticsearch_is_made_again_while_no_service_runs() {
    let mut mirror = Mirror::filled().await;
    mirror.without_services().await;
    for index in mirror.elastic.indices().await {
        let path = format!("/{}", mirror.elastic.name(&index));
        assert_eq!(mirror.elastic.call(Method::DELETE, &path, None).await.0, 200);
    }
    let list = mirror.operator.run("generations list").await.out();
    assert_eq!(list, "there are no indices: an indexer makes them\n");
    let rebuilt = mirror.report("rebuild").await;
    assert_eq!((&rebuilt["generation"], &rebuilt["before"]), (&json!(1), &Value::Null));
    mirror.only_serves(1).await;
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_said_and_waited_for() {
    let mirror = Mirror::filled().await;
    let (objects, file) = (mirror.dir.path().join("objects"), mirror.dir.path().join("away.toml"));
    let store = "url = 's3://bucket'\nendpoint = 'http://127.0.0.1:1'\naccess_key_id = 'a'\nsecret_access_key = 'b'";
    let url = format!("url = '{}'", objects.display());
    let text = mirror.configuration().replace(&url, store);
    std::fs::write(&file, text).expect("written");
    let elsewhere = mirror
        .operator
        .clone()
        .with("BUGSTREAM_CONFIG", file.display().to_string());
    let mut rebuilding = elsewhere.start("rebuild");
    while !rebuilding.told().await.contains(" events · waits: ") {}
    rebuilding.interrupt().await;
    assert_eq!(rebuilding.end().await.code, 1);
    assert_eq!(mirror.report("rebuild").await["generation"], 2);
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_of_privacy_make_a_rebuild_due_and_bar_the_way_back() {
    let mut mirror = Mirror::empty("").await;
    mirror.start();
    mirror.did("add-range download 1 3").await;
    mirror.drained().await;
    assert!(!mirror.operator.run("status").await.out.contains("rebuild due"));
    let text = mirror.configuration().replace("private = ", "public = [");
    let text = text.replace("-private'\n", "-private']\n");
    std::fs::write(mirror.dir.path().join("bugstream.toml"), text).expect("written");
    let status = mirror.operator.run("status").await;
    assert!(
        status
            .out
            .contains(" · rebuild due: the rules of privacy changed (queue-cli rebuild)"),
        "{status:?}"
    );
    let rebuilt = mirror.report("rebuild").await;
    assert_eq!(rebuilt["generation"], 2);
    assert!(!mirror.operator.run("status").await.out.contains("rebuild due"));
    let (code, refused) = mirror.operator.run("rollback").await.refused();
    assert_eq!((code, refused.contains("rules of privacy")), (1, true), "{refused}");
}

#[tokio::test]
async fn without_its_configuration_it_says_which_key_is_missing() {
    let operator = crate::operator::Operator::default().with("GITHUB_REPO_PUBLIC", "a/b");
    for line in ["rebuild", "rollback", "generations list", "generations prune"] {
        let (code, refused) = operator.run(line).await.refused();
        assert_eq!(
            (code, refused.contains("OBJECT_STORE_URL")),
            (2, true),
            "{line}: {refused}"
        );
    }
    let operator = operator.with("OBJECT_STORE_URL", "objects");
    let (code, refused) = operator.run("rebuild --repository a/b").await.refused();
    assert_eq!(
        (code, refused.contains("leave --repository out")),
        (2, true),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_true_at_a_past_time_is_read_by_a_name_of_its_own() {
    let mirror = Mirror::filled().await;
    // A past time is a whole second: the one of the last download must be over.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let at = now();
    let ran = mirror.operator.run(&format!("rebuild --as-of {at}")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.starts_with("generation 2 shows what was true at 20"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.ends_with("\n  queue-cli generations prune 2   removes it\n"),
        "{}",
        ran.out
    );
    mirror.is_clean().await;
    let again = mirror.report(&format!("rebuild --as-of {at}")).await;
    let alias = again["aliases"][0].as_str().expect("a name");
    let plain = alias.strip_prefix(mirror.elastic.prefix()).expect("as all names");
    let all = json!({ "match_all": {} });
    let (then, today) = (
        mirror.elastic.hits(plain, all.clone()).await,
        mirror.elastic.hits("issues", all).await,
    );
    assert_eq!(
        (then.len(), &again["generation"], &again["without"]),
        (today.len(), &json!(2), &json!(0))
    );
    let table = mirror.operator.run("generations list").await.out();
    assert!(
        table.contains(&format!("2           issues     kept as {alias} ")),
        "{table}"
    );

    let (code, refused) = mirror.operator.run("rollback 2").await.refused();
    assert_eq!((code, refused.contains("shows a past time")), (1, true), "{refused}");
    for (time, why) in [
        ("2999-01-01", "lies in the future"),
        ("2001-01-01", "the log begins at "),
        ("yesterday", "is not a date"),
    ] {
        let (code, refused) = mirror.operator.run(&format!("rebuild --as-of {time}")).await.refused();
        let wanted = if time == "yesterday" { 2 } else { 1 };
        assert_eq!((code, refused.contains(why)), (wanted, true), "{refused}");
    }
    mirror.did("generations prune --keep 0").await;
    assert_eq!(mirror.generations().await.len(), 4, "only its number removes it");
    mirror.did("generations prune 2").await;
    mirror.only_serves(1).await;
}
