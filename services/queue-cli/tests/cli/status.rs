//! `status` of what works, of what does not, and of what cannot be asked.

use std::time::Instant;

use bugstream_kit::broker::Broker;
use bugstream_kit::config;
use bugstream_kit::watermarks::{State, Sweep, Watermarks};
use bugstream_testkit::nats::Nats;
use serde_json::{Value, json};

use crate::mirror::{ISSUES, Mirror, SOON};
use crate::operator::{AT_ONCE, Operator, Ran, issue, requests};
use bugstream_proto::v1;
use bugstream_testkit::wait;
use time::macros::datetime;

/// A port on which nothing listens: it is reserved.
const NOWHERE: &str = "127.0.0.1:1";

fn lines(ran: &Ran) -> Vec<&str> {
    ran.out.lines().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_at_work_is_healthy() {
    let (begin, mut mirror) = (Instant::now(), Mirror::empty("").await);
    mirror.start();
    mirror.did("add-range download 1 20").await;
    mirror.drained().await;
    // The downloader keeps its quotas every few seconds.
    let healthy = async || {
        let ran = mirror.operator.run("status --output json").await;
        (ran.code == 0 && ran.report()["github"][0].is_object()).then(|| ran.report())
    };
    let found = wait::until("it is healthy", SOON, healthy).await;
    assert_eq!(
        (&found["healthy"], &found["wrong"]),
        (&json!(true), &json!([])),
        "{found}"
    );
    let repository = &found["repositories"][mirror.github.repository()];
    assert_eq!(repository["mirror"]["issues"], ISSUES);
    assert!(
        repository["mirror"]["newest_change_s"].as_u64() <= Some(begin.elapsed().as_secs() + 1),
        "no older than this mirror: {repository}"
    );
    assert_eq!(repository["waiting"]["download"]["download"], 0);
    assert_eq!(found["downloader"]["leads"], true);
    assert_eq!(
        (&found["search"]["lag"], &found["search"]["generation"]),
        (&json!(0), &json!(1))
    );
    assert!(found["search"]["documents"].as_u64() > Some(ISSUES), "{found}");
    let credential = &found["github"][0];
    assert_eq!(credential["limit"], 5_000, "{found}");
    assert!(
        !found.to_string().contains("a-token"),
        "a name that is no secret: {found}"
    );
    let text = mirror.healthy("status").await.out();
    let first = text.lines().next().expect("a line");
    assert!(
        first.starts_with(&mirror.github.repository()) && first.ends_with("  healthy"),
        "{text}"
    );
    let names: Vec<_> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        ["mirror", "waiting", "fresh", "github", "search", "downloader", "dead"],
        "{text}"
    );
}

#[tokio::test]
async fn what_does_not_run_is_said() {
    let nats = Nats::start().await;
    let ran = Operator::of(&nats).run("status").await;
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    insta::assert_snapshot!(ran.out, @r#"
    a/b                                                       not healthy
      mirror      no change seen yet · nothing waits · 0 issues
      waiting     download 0 · debounce 0 · backfill 0 · index 0 · retry 0
      fresh       sweep not run yet · audit not run yet · deliveries not run yet
      github      nothing sent yet
      search      not configured
      downloader  none leads
      dead        no letters
      !           downloader: nothing is downloaded: start one, or look at its log
    "#);
}

#[tokio::test]
async fn what_waits_and_what_fails_is_said() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    assert_eq!(operator.run("add-range download 1 3").await.code, 0);
    assert_eq!(operator.run("add index 1").await.code, 0);
    let long_ago = v1::Cause::new(v1::Reason::Webhook, datetime!(2026-01-01 00:00 UTC));
    requests(&nats)
        .await
        .download(&issue("a/b", 7), long_ago)
        .await
        .expect("queued");
    let section = config::Nats {
        url: nats.url(),
        ..config::Nats::default()
    };
    let broker = Broker::connect_once(&section, "test").await.expect("it answers");
    let sweep = Sweep {
        state: State::Failing("github is in trouble (503)".to_owned()),
        ..Sweep::default()
    };
    let marks = Watermarks::open(&broker).await.expect("the bucket is there");
    marks.swap(issue("a/b", 1).repo(), sweep, 0).await.expect("written");
    nats.publish_by_hand("dead.downloader", "a letter")
        .await
        .expect("stored");
    let ran = operator.run("status").await;
    let text = lines(&ran);
    assert!(
        text[1].contains("oldest waiting request ") && text[1].contains(" days (download)"),
        "{text:?}"
    );
    assert_eq!(
        text[2],
        "  waiting     download 1 · debounce 0 · backfill 3 · index 1 · retry 0"
    );
    assert!(
        ran.out
            .contains("  !           fresh: the sweep fails: github is in trouble (503)\n"),
        "{text:?}"
    );
    assert!(ran.out.contains("  dead        1 letter, oldest "), "{text:?}");
}

#[tokio::test]
async fn a_part_that_is_away_hides_no_other_and_is_not_waited_for() {
    let nats = Nats::start().await;
    let begin = Instant::now();
    let no_search = Operator::of(&nats).with("ELASTIC_NODE", format!("http://user:secret@{NOWHERE}"));
    let found = no_search.run("status --output json").await;
    assert_eq!(found.code, 1);
    assert_eq!(
        found.report()["search"],
        json!({ "error": "Elasticsearch cannot be reached" })
    );
    assert_eq!(found.report()["repositories"]["a/b"]["mirror"]["issues"], 0);
    let nothing = no_search
        .with("NATS_URL", format!("nats://{NOWHERE}"))
        .run("status")
        .await;
    assert_eq!(nothing.code, 1);
    assert!(!nothing.out.contains("secret"), "{}", nothing.out);
    insta::assert_snapshot!(nothing.out, @r#"
    a/b                                                       not healthy
      nats        cannot be asked
      search      cannot be asked
      !           nats: NATS_URL names no server that answers: "nats://127.0.0.1:1" (Connection refused (os error 111))
      !           search: Elasticsearch cannot be reached
    "#);
    assert!(begin.elapsed() < AT_ONCE, "it took {:?}", begin.elapsed());
}

#[tokio::test]
async fn several_repositories_have_a_block_each() {
    let nats = Nats::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("bugstream.toml");
    let text = "[[repositories]]\nname = 'a/b'\n[[repositories]]\nname = 'a/c'\n";
    std::fs::write(&file, text).expect("written");
    let operator = Operator::default()
        .with("NATS_URL", nats.url())
        .with("BUGSTREAM_CONFIG", file.display().to_string());
    let ran = operator.run("status").await;
    let titles = |ran: &Ran| {
        let title = |line: &&str| !line.starts_with(' ');
        lines(ran)
            .into_iter()
            .filter(title)
            .map(|line| line.split("  ").next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let named = |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>();
    assert_eq!(titles(&ran), named(&["a/b", "a/c", "all repositories"]));
    assert_eq!(titles(&operator.run("status --repository a/c").await), named(&["a/c"]));
}

#[tokio::test]
async fn it_is_watched_until_someone_goes_away() {
    let nats = Nats::start().await;
    let operator = Operator::of(&nats);
    let mut watching = operator.start("status --watch --output json");
    let waiting = |line: &str| {
        let found: Value = serde_json::from_str(line).expect("one JSON value a line");
        found["repositories"]["a/b"]["waiting"]["index"]["index"].as_u64()
    };
    assert_eq!(waiting(&watching.line().await), Some(0));
    assert_eq!(operator.run("add index 7").await.code, 0);
    while waiting(&watching.line().await) != Some(1) {}
    watching.interrupt().await;
    let ran = watching.end().await;
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "no downloader leads");
}
