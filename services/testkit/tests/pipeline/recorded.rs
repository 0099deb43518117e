//! Real input: every recorded `issues` and `issue_comment` delivery, signed and posted as GitHub would, with its issue
//! served as recorded and a timeline of recorded events, is searchable afterwards with GitHub's own field values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bugstream_testkit::fixtures::{self, Recorded};
use bugstream_testkit::wait;
use serde_json::{Value, json};

use crate::stage::{Play, SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_delivery_is_searchable_with_githubs_own_values() {
    let recorded = fixtures::deliveries();
    assert!(
        recorded.len() >= 20,
        "only {} recorded deliveries were found",
        recorded.len()
    );
    let stage = Stage::set(Play {
        inactivity_delay_s: 0,
        extra: repositories(&recorded),
        ..Play::default()
    })
    .await;
    for delivery in &recorded {
        delivery.serve(&stage.github).await.unwrap();
        let sent = stage
            .github
            .send(&delivery.event, delivery.payload.clone().into_bytes())
            .await
            .unwrap();
        stage.taken(&[sent]).await;
        let what = format!(
            "{} {} of {} is searchable",
            delivery.event, delivery.action, delivery.source
        );
        wait::until_true(&what, SOON, || async { is_searchable(&stage, delivery).await }).await;
    }
    stage.stop().await;
}

fn repositories(recorded: &[Recorded]) -> String {
    let names: BTreeSet<String> = recorded
        .iter()
        .map(|delivery| delivery.repository.to_lowercase())
        .collect();
    names.iter().fold(String::new(), |mut toml, name| {
        writeln!(toml, "[[repositories]]\nname = '{name}'").expect("writing to a String cannot fail");
        toml
    })
}

async fn is_searchable(stage: &Stage, delivery: &Recorded) -> bool {
    let repository = delivery.repository.to_lowercase();
    let ours = json!({"bool": {"filter": [
        {"term": {"bugstream.repository": repository}},
        {"term": {"bug_number": delivery.number}},
    ]}});
    let issues = stage.search("issues", ours.clone()).await;
    let Some(document) = issues.get(&format!("{repository}/{}", delivery.number)) else {
        return false;
    };
    let issue: Value = serde_json::from_str(&delivery.issue).unwrap();
    let timeline: Vec<Value> = serde_json::from_str(&delivery.timeline()).unwrap();
    let events = stage.search("timelines", ours).await;
    as_github_has_it(document) == issue
        && events.len() == timeline.len()
        && timeline.iter().enumerate().all(|(position, event)| {
            let id = format!("{repository}/{}/{position}", delivery.number);
            events
                .get(&id)
                .is_some_and(|document| &as_github_has_it(document) == event)
        })
}

/// A document without what is added to GitHub's own fields.
fn as_github_has_it(document: &Value) -> Value {
    let mut document = document.clone();
    for ours in ["bugstream", "bug_number", "__WEBCOMPAT_PRIVATE_ISSUE__"] {
        document.as_object_mut().unwrap().remove(ours);
    }
    document
}
