//! Elasticsearch can be thrown away: what was dropped or deleted by hand comes back from log and objects alone.

use bugstream_testkit::wait;

use crate::stage::{ONLY_WHEN_ASKED, Play, SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn dropped_indices_come_back_without_a_request_to_github() {
    let stage = Stage::set(Play {
        extra: ONLY_WHEN_ASKED.to_owned(),
        ..Play::default()
    })
    .await;
    stage.queue_cli(&["add-range", "download", "1", "20"]).await;
    for number in stage.github.numbers() {
        stage.equals_github(number).await;
    }
    stage.drained().await;
    let before = stage.github.requests().total();
    let indices = format!(
        "{}/{}bugstream-*?expand_wildcards=all",
        stage.elastic.node(),
        stage.elastic.prefix()
    );
    drop_all(&stage, &indices).await;
    assert!(stage.documents("issues", 1).await.is_empty(), "the indices are gone");
    // Old ranges have gaps: numbers that the log never knew are done, not dead letters.
    stage.queue_cli(&["add-range", "index", "1", "40"]).await;
    for number in stage.github.numbers() {
        stage.equals_github(number).await;
    }
    assert_eq!(stage.github.requests().total(), before, "nothing was asked of GitHub");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_deleted_by_hand_come_back_without_a_request_to_github() {
    let stage = Stage::set(Play {
        extra: ONLY_WHEN_ASKED.to_owned(),
        ..Play::default()
    })
    .await;
    stage.queue_cli(&["add", "download", "1"]).await;
    stage.equals_github(1).await;
    stage.drained().await;
    let before = stage.github.requests().total();
    for (kind, id) in [
        ("issues", format!("{}/1", stage.repo)),
        ("timelines", format!("{}/1/0", stage.repo)),
    ] {
        delete_by_hand(&stage, kind, &id).await;
    }
    wait::until_true("the documents are gone", SOON, || async {
        stage.documents("issues", 1).await.is_empty() && stage.difference(1).await.is_some()
    })
    .await;
    stage.queue_cli(&["add-range", "index", "1", "1"]).await;
    stage.equals_github(1).await;
    assert_eq!(stage.github.requests().total(), before, "nothing was asked of GitHub");
    stage.stop().await;
}

async fn drop_all(stage: &Stage, pattern: &str) {
    let prefix = stage.elastic.prefix();
    let found: serde_json::Value = stage.http.get(pattern).send().await.unwrap().json().await.unwrap();
    let names: Vec<String> = found.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 4, "issues and timelines, public and private: {names:?}");
    for name in names {
        assert!(name.starts_with(prefix.trim_end()), "{name}");
        let answer = stage
            .http
            .delete(format!("{}/{name}", stage.elastic.node()))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{name}");
    }
}

/// On whichever side it lies, as an operator's delete-by-query would.
async fn delete_by_hand(stage: &Stage, kind: &str, id: &str) {
    let prefix = stage.elastic.prefix();
    let url = format!(
        "{}/{prefix}{kind}-public,{prefix}{kind}-private/_delete_by_query?refresh=true&conflicts=proceed",
        stage.elastic.node()
    );
    let query = serde_json::json!({"query": {"ids": {"values": [id]}}});
    wait::until_true(&format!("{id} is deleted"), SOON, || async {
        let answer = stage.http.post(&url).json(&query).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["deleted"] == 1
    })
    .await;
}
