//! `verify` against a mirror that the real services made, and against what hands did to it afterwards.

use std::collections::BTreeSet;

use bugstream_proto::message::timestamp;
use bugstream_proto::{Verb, v1};
use bugstream_testkit::fixtures;
use bugstream_testkit::github::Change;
use prost::Message as _;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::mirror::Mirror;
use crate::operator::issue;

/// Kind and what of every difference, without the repository's name and the revision in a key.
fn listed(found: &Value, mirror: &Mirror) -> BTreeSet<String> {
    let name = mirror.github.repository();
    let differences = found["differences"].as_array().expect("a list").iter();
    let what = |one: &Value| one["what"].as_str().expect("a text").replace(&name, "");
    let line = |one: &Value| {
        let what = what(one);
        let parts: Vec<_> = what.split('/').filter(|part| part.len() < 20).collect();
        format!("{} {}", one["kind"].as_str().expect("a text"), parts.join("/"))
    };
    differences.map(line).collect()
}

fn lines(text: &[&str]) -> BTreeSet<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hands_did_to_the_mirror_is_found_and_repaired() {
    let mirror = Mirror::filled().await;
    mirror.is_clean().await;
    mirror.github.delete(9).await.expect("there is a 9");
    let before = (
        mirror.source("issues-public", &mirror.id(9)).await,
        mirror.file(9, "issue.json"),
    );
    mirror.did("add download 9").await;
    mirror.drained().await;
    mirror.is_clean().await;

    std::fs::remove_file(mirror.file(1, "issue.json")).expect("removed");
    std::fs::write(mirror.file(2, "timeline.json"), "[]").expect("written");
    mirror.remove("issues-public", &mirror.id(3)).await;
    mirror
        .change("issues-public", &mirror.id(4), |it| {
            it["bugstream"]["revision"] = json!(1)
        })
        .await;
    mirror
        .change("issues-public", &mirror.id(5), |it| it["title"] = json!("edited"))
        .await;
    let event = mirror.source("timelines-public", &mirror.id("6/0")).await;
    mirror.put("timelines-public", &mirror.id("6/999"), &event).await;
    mirror
        .put(
            "issues-public",
            &mirror.id(7),
            &mirror.source("issues-private", &mirror.id(7)).await,
        )
        .await;
    mirror
        .put(
            "issues-private",
            &mirror.id(8),
            &mirror.source("issues-public", &mirror.id(8)).await,
        )
        .await;
    mirror.put("issues-public", &mirror.id(9), &before.0).await;
    std::fs::create_dir_all(before.1.parent().expect("a folder")).expect("made");
    std::fs::write(&before.1, "{}").expect("written");
    mirror
        .change("issues-public", &mirror.id(10), |it| {
            it["parent_issue_url"] = json!("https://x/bugstream-demo/web-bugs-private/1")
        })
        .await;
    mirror
        .change("timelines-public", &mirror.id("11/0"), |it| {
            it["bug_number"] = json!(4711)
        })
        .await;
    mirror
        .change("issues-public", &mirror.id(12), |it| {
            it["bugstream"]["error"] = json!("mapper_parsing_exception: x")
        })
        .await;
    mirror
        .put(
            "issues-public",
            &mirror.id(4711),
            &json!({"bug_number": 4711, "bugstream": {"repository": mirror.github.repository()}}),
        )
        .await;
    mirror
        .put("timelines-private", "whatever", &json!({"title": "nobody knows"}))
        .await;

    let planted = lines(&[
        "missing-object issues//1/issue.json",
        "damaged-object issues//2/timeline.json",
        "missing-document /3",
        "stale-document /4",
        "wrong-document /5",
        "extra-document /6/999",
        "leaked-document /7",
        "misplaced-document /8",
        "extra-document /9",
        "leftover-object issues//9/issue.json",
        "leaked-document /10",
        "missing-document /11/0",
        "wrong-document /11/0",
        "refused-document /12",
        "stray-document /4711",
        "stray-document whatever",
    ]);
    let (code, found) = mirror.verify("").await;
    assert_eq!((code, listed(&found, &mirror)), (1, planted.clone()), "{found}");
    assert_eq!(found["counts"]["stray-document"], 2);
    assert!(!found.to_string().contains("nobody knows"), "findings quote no content");
    assert_eq!(mirror.verify("").await.1, found, "looking changes nothing");

    let (code, repaired) = mirror.verify("--repair").await;
    assert_eq!((code, listed(&repaired, &mirror)), (1, planted), "{repaired}");
    mirror.drained().await;
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_github_went_on_without_a_webhook_is_found_and_repaired() {
    let mirror = Mirror::filled().await;
    mirror
        .github
        .edit(1, [Change::Title("another".to_owned())])
        .await
        .expect("edited");
    mirror
        .github
        .edit(2, [Change::Mention("someone".to_owned())])
        .await
        .expect("edited");
    mirror.github.delete(3).await.expect("deleted");
    let new = mirror.github.open("new", "body").await.expect("opened");
    let (issue, timeline) = (
        mirror.github.issue(4).expect("there is a 4"),
        mirror.github.timeline(4).expect("there is a 4"),
    );
    mirror.github.delete(4).await.expect("deleted");
    mirror.did("add download 4").await;
    mirror.drained().await;
    let (issue, timeline) = (issue.to_string(), Value::Array(timeline).to_string());
    mirror.github.put_raw(4, &issue, &timeline).await.expect("it is back");
    assert_eq!(mirror.verify("").await.0, 0, "the parts of the mirror agree");
    let (code, found) = mirror.verify("--against-github --repair").await;
    let name = mirror.github.repository();
    let differences = found["differences"].as_array().expect("a list").iter();
    let kinds: BTreeSet<_> = differences
        .map(|one| {
            (
                one["kind"].as_str().expect("a text"),
                one["issue"].as_str().expect("an issue").to_owned(),
            )
        })
        .collect();
    let wanted = [
        ("differs-from-github", 1),
        ("differs-from-github", 2),
        ("gone-from-github", 3),
        ("missing-from-log", 4),
        ("missing-from-log", new),
    ];
    let wanted = wanted.map(|(kind, number)| (kind, format!("{name}#{number}")));
    assert_eq!((code, kinds), (1, BTreeSet::from(wanted)), "{found}");
    mirror.drained().await;
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_lines_and_the_next_step() {
    let mirror = Mirror::filled().await;
    let clean = mirror.operator.run("verify").await;
    assert!(
        clean
            .out
            .ends_with("documents of bugstream-demo/web-bugs: no difference\n"),
        "{clean:?}"
    );
    mirror.remove("issues-public", &mirror.id(3)).await;
    let ran = mirror.operator.run("verify").await;
    let (last, found) = (
        ran.out.lines().last().expect("lines"),
        ran.out.lines().next().expect("lines"),
    );
    assert_eq!(ran.code, 1);
    assert_eq!(
        found,
        "missing-document     bugstream-demo/web-bugs/3: is not visible on the public side"
    );
    assert_eq!(
        last,
        "  queue-cli verify --repair   queues what is needed and removes strays"
    );
    let other = mirror.operator.run("verify --repository a/b").await.refused();
    assert_eq!(
        other,
        (
            2,
            "error: a/b is not a configured repository\n  configured: bugstream-demo/web-bugs\n".to_owned()
        )
    );
    let away = mirror
        .operator
        .clone()
        .with("ELASTIC_NODE", "http://127.0.0.1:1")
        .run("verify")
        .await
        .refused();
    assert_eq!(away.0, 1);
    assert!(
        away.1.starts_with("error: Elasticsearch cannot be reached\n"),
        "{}",
        away.1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_repository_is_the_same() {
    let mirror = Mirror::filled().await;
    mirror
        .github
        .rename_repository("bugstream-demo/bugs")
        .await
        .expect("renamed");
    mirror.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_issues_and_long_timelines_are_compared_whole() {
    let recorded = fixtures::deliveries();
    let names: BTreeSet<String> = recorded.iter().map(|one| one.repository.to_lowercase()).collect();
    let numbers: BTreeSet<_> = recorded
        .iter()
        .map(|one| (one.repository.to_lowercase(), one.number))
        .collect();
    let tables = names.iter().map(|name| format!("[[repositories]]\nname = '{name}'\n"));
    let mut mirror = Mirror::empty(&tables.collect::<String>()).await;
    mirror.start();
    let comments = (0..620).map(|n| Change::Comment(format!("comment {n}")));
    mirror.github.edit(1, comments).await.expect("edited");
    mirror.did("add download 1").await;
    for delivery in &recorded {
        delivery.serve(&mirror.github).await.expect("served");
    }
    for delivery in &recorded {
        mirror
            .did(&format!(
                "add download {} --repository {}",
                delivery.number, delivery.repository
            ))
            .await;
    }
    mirror.drained().await;
    let (code, found) = mirror.verify("").await;
    assert_eq!((code, &found["total"]), (0, &json!(0)), "{found}");
    assert_eq!(found["issues"], 1 + numbers.len(), "{found}");
    assert!(found["documents"].as_u64() > Some(620), "{found}");
    mirror.remove("timelines-public", &mirror.id("1/600")).await;
    let (_, found) = mirror.verify("--repository bugstream-demo/web-bugs").await;
    assert_eq!(listed(&found, &mirror), lines(&["missing-document /1/600"]), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_contract_is_a_difference_that_nothing_repairs() {
    let mirror = Mirror::empty("").await;
    let issue = issue("bugstream-demo/web-bugs", 5);
    assert_eq!(
        mirror.operator.run("length download").await.out(),
        "download.length = 0\n",
        "the streams are made"
    );
    let event = v1::IssueEvent {
        issue: Some((&issue).into()),
        revision: 1,
        occurred_at: Some(timestamp(OffsetDateTime::UNIX_EPOCH)),
        marks: Some(v1::Marks::default()),
        ..v1::IssueEvent::default()
    };
    mirror
        .nats
        .publish_by_hand("issue.bugstream-demo.web-bugs.5", "no event")
        .await
        .expect("published");
    let jetstream = mirror.nats.jetstream().await;
    let published = jetstream
        .publish(Verb::Issue.of(&issue).to_string(), event.encode_to_vec().into())
        .await;
    published.expect("sent").await.expect("stored");
    let (code, found) = mirror.verify("--repair").await;
    assert_eq!((code, found["total"].as_u64()), (1, Some(1)), "{found}");
    assert_eq!(found["differences"][0]["kind"], "unreadable-event");
    assert_eq!(found["differences"][0]["repair"], json!(null));
    assert_eq!(
        mirror.operator.run("length download").await.out(),
        "download.length = 0\n"
    );
}
