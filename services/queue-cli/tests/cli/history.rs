//! `history` and `show`: what happened to an issue, and what the archive has of it at any time.

use bugstream_kit::clock::Clock;
use bugstream_testkit::github::Change;
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::mirror::{Mirror, SOON};
use crate::operator::Operator;

const FIRST: &str = "The first title of it";
const SECOND: &str = "A quokka's second title\u{1b}[2J";
const BODY: &str = "The body that nobody must see in a list of events";

/// Downloads number 5 when something has been done to it.
async fn download(mirror: &Mirror) {
    mirror.did("add download 5").await;
    mirror.drained().await;
}

async fn edit<const N: usize>(mirror: &Mirror, changes: [Change; N]) {
    mirror.github.edit(5, changes).await.expect("there is a 5");
    download(mirror).await;
}

async fn events(mirror: &Mirror) -> Vec<Value> {
    let told = mirror.operator.run("history 5 --output json").await.json();
    told["events"].as_array().expect("a list").clone()
}

/// What the events say happened, without any content.
async fn story(mirror: &Mirror) -> (String, Vec<String>) {
    let human = mirror.operator.run("history 5").await.out();
    let events = events(mirror).await;
    let everything = format!("{human}{events:?}");
    for content in [FIRST, "quokka", BODY, "moderation"] {
        assert!(!everything.contains(content), "{content}: {everything}");
    }
    let what = events
        .iter()
        .map(|event| event["what"].as_str().expect("a word").to_owned());
    (human, what.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_was_edited_made_private_deleted_and_forgotten_tells_that_and_no_more() {
    let mut mirror = Mirror::empty("").await;
    mirror.start();
    edit(&mirror, [Change::Title(FIRST.to_owned())]).await;
    let between = Clock::system().now();
    let comment = Change::Comment(BODY.to_owned());
    edit(
        &mirror,
        [Change::Title(SECOND.to_owned()), Change::Body(BODY.to_owned()), comment],
    )
    .await;
    edited(&mirror).await;
    differs(&mirror).await;
    shown(&mirror, between).await;
    mirror.github.make_private(5).await.expect("there is a 5");
    download(&mirror).await;
    private(&mirror).await;
    mirror.github.delete(5).await.expect("there is a 5");
    mirror.did("add download 5").await;
    wait::until_true("it is deleted", SOON, async || {
        events(&mirror)
            .await
            .last()
            .is_some_and(|last| last["what"] == "deleted")
    })
    .await;
    deleted(&mirror, between).await;
    mirror.did("forget 5").await;
    forgotten(&mirror).await;
}

async fn edited(mirror: &Mirror) {
    let (human, what) = story(mirror).await;
    assert_eq!(what, ["downloaded", "downloaded"]);
    assert!(human.contains("because of a request by hand, asked for at "), "{human}");
    let events = events(mirror).await;
    let (first, second) = (&events[0], &events[1]);
    let grown = |of: &str| {
        second[of]["size"]
            .as_i64()
            .zip(first[of]["size"].as_i64())
            .map(|(new, old)| new - old)
    };
    for part in ["issue", "timeline"] {
        assert_eq!(second[part]["change"].as_i64(), grown(part), "{part}");
        let key = second[part]["key"].as_str().expect("a key");
        assert!(mirror.dir.path().join("objects").join(key).exists(), "{key}");
        assert!(human.contains(key), "{human}");
    }
    let added = mirror.github.timeline(5).expect("it is there").len() as u64;
    let count = |event: &Value| event["timeline"]["events"].as_u64();
    assert_eq!(count(second), Some(added));
    assert_eq!(
        second["timeline"]["events_change"].as_u64(),
        count(first).map(|before| added - before)
    );
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
}

async fn differs(mirror: &Mirror) {
    let human = mirror.operator.run("history 5 --diff 1 2").await.out();
    let title = format!("\n  title: \"{FIRST}\" → \"A quokka's second title\\u{{1b}}[2J\"");
    assert!(human.contains(&title) && !human.contains('\u{1b}'), "{human}");
    assert!(
        human.contains(&format!("+ {BODY}")) || human.contains(&format!("→ \"{BODY}\"")),
        "{human}"
    );
    assert!(
        human
            .lines()
            .any(|line| line.starts_with("+ ") && line.contains(" renamed")),
        "{human}"
    );
    assert!(
        human
            .lines()
            .any(|line| line.starts_with("+ ") && line.contains(" commented") && line.contains(BODY))
    );
    let revisions: Vec<u64> = events(mirror)
        .await
        .iter()
        .filter_map(|event| event["revision"].as_u64())
        .collect();
    let by_revision = format!("history 5 --diff {} {} --output json", revisions[0], revisions[1]);
    let found = mirror.operator.run(&by_revision).await.json();
    let changes = found["changes"].as_array().expect("a list");
    let title = changes
        .iter()
        .find(|change| change["field"] == "title")
        .expect("the title differs");
    assert_eq!((&title["before"], &title["after"]), (&FIRST.into(), &SECOND.into()));
    assert!(!found["timeline"]["added"].as_array().expect("a list").is_empty());
    let same = mirror.operator.run("history 5 --diff 2 2").await.out();
    assert!(same.ends_with("nothing differs\n"), "{same}");
    let (code, error) = mirror.operator.run("history 5 --diff 1 9").await.refused();
    assert_eq!(code, 1);
    assert!(
        error.contains("has no event 9") && error.contains("queue-cli history 5 lists its events, 1 to 2"),
        "{error}"
    );
}

async fn shown(mirror: &Mirror, between: OffsetDateTime) {
    let now = mirror.operator.run("show 5").await.out();
    assert!(
        now.contains("A quokka's second title\\u{1b}[2J") && now.contains(&format!("| {BODY}")),
        "{now}"
    );
    assert!(!now.contains('\u{1b}'), "what strangers write moves no cursor");
    let between = between.format(&Rfc3339).expect("a time");
    let then = mirror.operator.run(&format!("show 5 --at {between}")).await.out();
    assert!(then.contains(FIRST) && !then.contains("quokka"), "{then}");
    let raw = mirror.operator.run("show 5 --raw").await.json();
    assert_eq!(raw["issue"]["title"], SECOND);
    assert_eq!(
        raw["timeline"].as_array().map(Vec::len),
        mirror.github.timeline(5).map(|all| all.len())
    );
    let stored = std::fs::read_to_string(mirror.files(5, "issue.json").pop().expect("stored")).expect("text");
    assert!(
        mirror.operator.run("show 5 --raw").await.out().contains(stored.trim())
            || mirror.files(5, "issue.json").len() > 1
    );
    let documents = mirror.operator.run("show 5 --document").await.out();
    let first: Value = serde_json::from_str(documents.lines().next().expect("a line")).expect("JSON");
    let indexed = mirror.source("issues", &mirror.id(5)).await;
    assert_eq!((&first["id"], &first["side"]), (&mirror.id(5).into(), &"public".into()));
    assert_eq!(without_trace(&first["document"]), without_trace(&indexed));
    let (code, error) = mirror.operator.run("show 5 --at 2020-01-01").await.refused();
    assert!(code == 1 && error.contains("knows nothing of"), "{error}");
    assert!(error.contains("its oldest event that is kept is of"), "{error}");
}

fn without_trace(document: &Value) -> Value {
    let mut document = document.clone();
    document["bugstream"]
        .as_object_mut()
        .expect("an object")
        .remove("trace_id");
    document
}

async fn private(mirror: &Mirror) {
    let (human, what) = story(mirror).await;
    assert_eq!(what.len(), 3);
    assert!(human.contains("downloaded, private from here on"), "{human}");
    assert_eq!(events(mirror).await[2]["became"], "private");
    let documents = mirror.operator.run("show 5 --document --output json").await.json();
    let documents = documents.as_array().expect("a list");
    assert!(documents.iter().all(|one| one["side"] == "private"), "{documents:?}");
}

async fn deleted(mirror: &Mirror, between: OffsetDateTime) {
    let (human, what) = story(mirror).await;
    assert_eq!(what, ["downloaded", "downloaded", "downloaded", "deleted"]);
    assert!(
        human.contains("deleted: GitHub answered 4") && human.contains(", twice"),
        "{human}"
    );
    let gone = mirror.operator.run("show 5").await;
    assert_eq!(
        (gone.code, gone.out.contains("was deleted at ")),
        (1, true),
        "{}",
        gone.out
    );
    mirror.drained().await;
    let between = between.format(&Rfc3339).expect("a time");
    for line in [format!("show 5 --at {between}"), "history 5 --diff 1 2".to_owned()] {
        let (code, error) = mirror.operator.run(&line).await.refused();
        assert!(
            code == 1 && error.contains("the content of event 1 is not kept any more"),
            "{line}: {error}"
        );
    }
    let (_, error) = mirror.operator.run("history 5 --diff 1 4").await.refused();
    assert!(
        error.contains("is not kept any more") || error.contains("event 4"),
        "{error}"
    );
}

async fn forgotten(mirror: &Mirror) {
    let told = mirror.operator.run("history 5").await.out();
    assert!(
        told.contains("#5 was forgotten at ") && told.lines().count() == 1,
        "{told}"
    );
    let (_, what) = story(mirror).await;
    assert_eq!(what, ["forgotten"]);
    for line in ["show 5", "show 5 --at 2020-01-01", "show 5 --raw"] {
        let shown = mirror.operator.run(line).await;
        assert_eq!(
            (shown.code, shown.out.contains("#5 was forgotten at ")),
            (1, true),
            "{line}"
        );
    }
    let (code, error) = mirror.operator.run("history 5 --diff 1 1").await.refused();
    assert!(
        code == 1 && error.contains("was forgotten at") && error.contains("nothing of it is kept"),
        "{error}"
    );
}

#[tokio::test]
async fn what_cannot_be_told_says_why() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    let mut found = String::new();
    for line in [
        "history 7",
        "show 7",
        "history 0",
        "history 7 --diff 1",
        "history 7 --diff 1 x",
        "show 7 --at yesterday",
        "show 7 --raw --document",
    ] {
        let (code, error) = operator.run(line).await.refused();
        found += &format!("$ queue-cli {line}\n{error}[{code}]\n");
    }
    insta::assert_snapshot!(found, @r#"
    $ queue-cli history 7
    error: the log does not know a/b#7
      queue-cli add download 7 fetches it, if GitHub has it
    [1]
    $ queue-cli show 7
    error: the log does not know a/b#7
      queue-cli add download 7 fetches it, if GitHub has it
    [1]
    $ queue-cli history 0
    error: "0" is not an issue number (a whole number from 1 up)
      usage: queue-cli history <NUMBER> [--diff <FROM> <TO>]
    [2]
    $ queue-cli history 7 --diff 1
    error: 2 values required for '--diff <FROM> <TO>' but 1 was provided
      usage: queue-cli history <NUMBER> [--diff <FROM> <TO>]
    [2]
    $ queue-cli history 7 --diff 1 x
    error: "x" is not the number of an event (a whole number from 1 up) or its revision
      usage: queue-cli history <NUMBER> [--diff <FROM> <TO>]
    [2]
    $ queue-cli show 7 --at yesterday
    error: "yesterday" is not a date: write 2026-01-31 or 2026-01-31T12:00:00Z
      usage: queue-cli show <NUMBER> [--at <TIME>] [--raw|--document]
    [2]
    $ queue-cli show 7 --raw --document
    error: --raw and --document do not go together
      usage: queue-cli show <NUMBER> [--at <TIME>] [--raw|--document]
    [2]
    "#);
}
