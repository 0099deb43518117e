//! What the real Elasticsearch answers to each write of a bulk.

use bugstream_indexer::bulk::{Batch, Refused, Written};
use http::Method;
use serde_json::json;

use crate::stage::{Installation, ids};

#[tokio::test]
async fn a_late_writer_loses_to_a_newer_document_and_to_a_stub() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let title = |title: &str| json!({"title": title});
    let stub = json!({"bugstream": {"gone": true, "revision": 7}});
    let first = here
        .write(
            "issues-public",
            &[("a/b/1", 5, title("old")), ("a/b/2", 7, stub.clone())],
        )
        .await;
    assert_eq!(first, [Written::Written, Written::Written]);
    let late = here
        .write(
            "issues-public",
            &[("a/b/1", 4, title("late")), ("a/b/2", 6, title("late"))],
        )
        .await;
    assert_eq!(late, [Written::Newer, Written::Newer]);
    let again = here
        .write("issues-public", &[("a/b/1", 5, title("again")), ("a/b/2", 7, stub)])
        .await;
    assert_eq!(
        again,
        [Written::Written, Written::Written],
        "a redelivery writes the same revision again"
    );
    let found = here.elastic.hits("issues", json!({"match_all": {}})).await;
    assert_eq!((found.len(), &found[0]["_source"]["title"]), (1, &json!("again")));
}

#[tokio::test]
async fn one_refused_document_does_not_stop_the_others() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let good = json!({"title": "good"});
    let documents = [
        ("a/b/1", 1, good.clone()),
        ("a/b/2", 1, json!({"labels": ["a text where objects are"]})),
        ("a/b/3", 1, json!({"title": {"secret": 1}})),
        ("a/b/4", 1, good),
    ];
    let refused = |field: &str| {
        Written::Refused(Refused {
            error_type: "document_parsing_exception".to_owned(),
            field: field.to_owned(),
        })
    };
    let written = here.write("issues-public", &documents).await;
    assert_eq!(
        written,
        [Written::Written, refused("labels"), refused("title"), Written::Written]
    );
    assert_eq!(
        ids(&here.elastic, "issues", json!({"match_all": {}})).await,
        ["a/b/1", "a/b/4"]
    );
}

#[tokio::test]
async fn what_is_no_json_is_refused_alone() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let mut batch = Batch::default();
    let alias = here.elastic.name("issues-public");
    for (id, source) in [
        ("a/b/1", r#"{"title":"good"}"#),
        ("a/b/2", r#"{"title":"#),
        ("a/b/3", r#"{"title":"good"}"#),
    ] {
        batch.push(&alias, id, 1, |out| out.extend_from_slice(source.as_bytes()));
    }
    let written = here.bulker.write(batch).await.unwrap();
    assert!(
        matches!(&written[..], [Written::Written, Written::Refused(_), Written::Written]),
        "{written:?}"
    );
}

#[tokio::test]
async fn dropped_indices_come_back_while_writing_and_no_index_is_made_by_accident() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let before = here.elastic.indices().await;
    for index in &before {
        here.elastic
            .call(Method::DELETE, &format!("/{}", here.elastic.name(index)), None)
            .await;
    }
    let written = here
        .write("timelines-private", &[("a/b/1/0", 1, json!({"event": "closed"}))])
        .await;
    assert_eq!(written, [Written::Written]);
    let (mut before, mut after) = (before, here.elastic.indices().await);
    before.sort();
    after.sort();
    assert_eq!(after, before);
}

#[tokio::test]
async fn many_batches_at_once_and_one_larger_than_a_bulk_all_get_their_own_answers() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let alias = here.elastic.name("issues-public");
    let batch = |owner: usize, writes: usize, size: usize| {
        let mut batch = Batch::default();
        for n in 0..writes {
            let body = json!({"body": "x ".repeat(size / 2), "number": n});
            let version = if n == 0 { 1 } else { 10 };
            batch.push(&alias, format!("o{owner}/r/{n}"), version, |out| {
                serde_json::to_writer(out, &body).unwrap()
            });
        }
        batch
    };
    for owner in 0..20 {
        here.write("issues-public", &[(&format!("o{owner}/r/0"), 5, json!({"number": 0}))])
            .await;
    }
    let small = (0..20).map(|owner| here.bulker.write(batch(owner, 30, 1_000)));
    let (small, large) = tokio::join!(
        futures_util::future::join_all(small),
        here.bulker.write(batch(99, 12, 600_000))
    );
    assert!(large.unwrap().iter().all(|written| *written == Written::Written));
    for written in small {
        let written = written.unwrap();
        assert_eq!(written[0], Written::Newer);
        assert!(written.len() == 30 && written[1..].iter().all(|written| *written == Written::Written));
    }
}
