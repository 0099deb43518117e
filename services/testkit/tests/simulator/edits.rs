//! Edits leave what GitHub would leave: in the issue, in its timeline, in `updated_at`.

use std::time::Duration;

use bugstream_testkit::github::{Change, MODERATION_TITLE, Options, Simulator};
use serde_json::{Value, json};

use super::simulator;

const PARTNER: &str = "bugstream-demo/web-bugs-private";

fn kinds(sim: &Simulator, number: u64) -> Vec<String> {
    sim.timeline(number)
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_change_shows_in_issue_and_timeline() {
    let (sim, _) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let number = sim.open("A title", "A body").await.unwrap();
    let changes = [
        Change::Title("Another title".into()),
        Change::Body("Another body".into()),
        Change::Label("needs-info".into()),
        Change::Label("needs-info".into()),
        Change::Unlabel("never there".into()),
        Change::Comment("Hm 🤔".into()),
        Change::Assign("hana-lee".into()),
        Change::Milestone("fixed".into()),
        Change::Close("completed".into()),
        Change::Lock("spam".into()),
    ];
    sim.edit(number, changes).await.unwrap();
    let issue = sim.issue(number).unwrap();
    assert_eq!(
        (&issue["title"], &issue["body"]),
        (&json!("Another title"), &json!("Another body"))
    );
    assert_eq!(
        (&issue["state"], &issue["state_reason"]),
        (&json!("closed"), &json!("completed"))
    );
    assert_eq!(
        (&issue["comments"], &issue["locked"], &issue["labels"][0]["name"]),
        (&json!(1), &json!(true), &json!("needs-info"))
    );
    assert_eq!(
        (&issue["assignee"]["login"], &issue["milestone"]["title"]),
        (&json!("hana-lee"), &json!("fixed"))
    );
    assert_eq!(issue["closed_at"], issue["updated_at"]);
    assert_eq!(
        kinds(&sim, number),
        [
            "renamed",
            "labeled",
            "commented",
            "assigned",
            "milestoned",
            "closed",
            "locked"
        ]
    );
    sim.edit(
        number,
        [Change::Reopen, Change::Unlabel("needs-info".into()), Change::Unlock],
    )
    .await
    .unwrap();
    let issue = sim.issue(number).unwrap();
    assert_eq!(
        (&issue["state"], &issue["closed_at"], &issue["labels"]),
        (&json!("open"), &Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn an_edit_bumps_updated_at_and_a_cross_reference_does_not() {
    let (sim, _) = simulator(Options::default()).await;
    let updated = |sim: &Simulator| sim.issue(3).unwrap()["updated_at"].as_str().unwrap().to_owned();
    let before = updated(&sim);
    let other = sim.issue(4).unwrap();
    sim.edit(3, [Change::CrossReference(Box::new(other))]).await.unwrap();
    assert_eq!(updated(&sim), before);
    sim.edit(3, [Change::Label("os-android".into())]).await.unwrap();
    let after = updated(&sim);
    assert!(after > before, "{after} > {before}");
    sim.advance(Duration::from_secs(100));
    sim.edit(3, [Change::Body("new".into())]).await.unwrap();
    assert!(updated(&sim) > after);
}

#[tokio::test]
async fn removing_comments_takes_them_out_of_timeline_and_count() {
    let (sim, _) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let number = sim.open("t", "b").await.unwrap();
    let comments = ["one", "two", "three", "four"].map(|text| Change::Comment(text.into()));
    sim.edit(number, comments).await.unwrap();
    let removed = sim.remove_events(number, |event| event["body"] != "two").await.unwrap();
    assert_eq!((removed, kinds(&sim, number).len()), (3, 1));
    assert_eq!(sim.issue(number).unwrap()["comments"], 1);
    assert_eq!(sim.timeline(number).unwrap()[0]["body"], "two");
}

#[tokio::test]
async fn a_private_issue_carries_its_content_in_the_partners_cross_reference_and_gets_it_back() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let number = sim.open("Quokka - real title", "real body").await.unwrap();
    sim.make_private(number).await.unwrap();
    let (issue, timeline) = (sim.issue(number).unwrap(), sim.timeline(number).unwrap());
    assert_eq!(issue["title"], MODERATION_TITLE);
    assert_ne!(issue["body"], "real body");
    let source = &timeline
        .iter()
        .find(|event| event["event"] == "cross-referenced")
        .unwrap()["source"]["issue"];
    assert_eq!(
        (&source["title"], &source["body"]),
        (&json!("Quokka - real title"), &json!("real body"))
    );
    assert_eq!(
        (&source["repository"]["full_name"], &source["repository"]["private"]),
        (&json!(PARTNER), &json!(true))
    );
    let partners = client
        .get(&format!("/repos/{PARTNER}/issues/{}", source["number"]))
        .await
        .json();
    assert_eq!(partners["title"], "Quokka - real title");

    sim.make_public(number).await.unwrap();
    let issue = sim.issue(number).unwrap();
    assert_eq!(
        (&issue["title"], &issue["body"]),
        (&json!("Quokka - real title"), &json!("real body"))
    );

    sim.edit(number, [Change::Body("newer body".into())]).await.unwrap();
    sim.make_private(number).await.unwrap();
    let references: Vec<Value> = sim
        .timeline(number)
        .unwrap()
        .into_iter()
        .filter(|event| event["event"] == "cross-referenced")
        .collect();
    assert_eq!(references.len(), 1, "the partner's issue is used again");
    assert_eq!(references[0]["source"]["issue"]["body"], "newer body");
    sim.make_public(number).await.unwrap();
    assert_eq!(sim.issue(number).unwrap()["body"], "newer body");
}

#[tokio::test]
async fn an_issue_that_is_not_there_can_not_be_edited() {
    let (sim, _) = simulator(Options {
        issues: 2,
        ..Options::default()
    })
    .await;
    sim.delete(2).await.unwrap();
    for number in [2, 77] {
        let error = sim.edit(number, [Change::Reopen]).await.unwrap_err().to_string();
        assert_eq!(error, format!("no issue bugstream-demo/web-bugs#{number}"));
    }
}

#[tokio::test]
async fn the_same_by_http() {
    let (sim, client) = simulator(Options::default()).await;
    let post = async |path: &str, body: Value| {
        let response = client
            .http
            .post(format!("{}/_simulator/{path}", client.base))
            .json(&body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let edit = json!({"title": "Video does not play", "body": "x", "state": "closed", "add_label": "os-android", "comment": "hm"});
    assert_eq!(post("issues/3", edit).await.0, 200);
    let issue = sim.issue(3).unwrap();
    assert_eq!(
        (&issue["title"], &issue["state"]),
        (&json!("Video does not play"), &json!("closed"))
    );
    post("issues/3", json!({"private": true})).await;
    assert_eq!(sim.issue(3).unwrap()["title"], MODERATION_TITLE);
    post(
        "issues/3",
        json!({"private": false, "remove_label": "os-android", "state": "open"}),
    )
    .await;
    let issue = sim.issue(3).unwrap();
    assert_eq!(
        (&issue["title"], &issue["state"]),
        (&json!("Video does not play"), &json!("open"))
    );
    let opened = post("issues", json!({"title": "New"})).await.1["number"]
        .as_u64()
        .unwrap();
    assert_eq!(sim.issue(opened).unwrap()["title"], "New");

    assert_eq!(post("issues/3", json!({"titel": "x"})).await.0, 422);
    assert_eq!(
        post("issues/999", json!({"title": "x"})).await,
        (404, json!({"message": "no issue bugstream-demo/web-bugs#999"}))
    );
    let rule = json!({"fault": {"status": 503}, "times": 2, "issue": 3});
    assert_eq!(post("faults", rule).await.0, 200);
    assert_eq!(
        [client.issue("3").await.status, client.issue("4").await.status],
        [503, 200]
    );
    let deleted = client
        .http
        .delete(format!("{}/_simulator/issues/4", client.base))
        .send()
        .await
        .unwrap();
    assert_eq!((deleted.status().as_u16(), client.issue("4").await.status), (200, 410));
}
