//! Templates, indices and aliases.

use bugstream_indexer::bulk::Written;
use bugstream_indexer::indices::IndexError;
use bugstream_testkit::fixtures;
use http::Method;
use serde_json::{Value, json};

use crate::stage::{Installation, ids};

const FIRST: [&str; 4] = [
    "bugstream-issues-private-000001",
    "bugstream-issues-public-000001",
    "bugstream-timelines-private-000001",
    "bugstream-timelines-public-000001",
];

async fn all_indices(here: &Installation) -> Vec<String> {
    let mut indices = here.elastic.indices().await;
    indices.sort();
    indices
}

async fn aliases(here: &Installation) -> Value {
    let path = format!("/{}*/_alias?expand_wildcards=all", here.elastic.prefix());
    here.elastic.call(Method::GET, &path, None).await.1
}

#[tokio::test]
async fn several_indexers_make_the_same_indices_at_once_and_again() {
    let here = Installation::new();
    let made = tokio::join!(here.indices.ensure(), here.ensure_beside(), here.ensure_beside());
    assert_eq!(made, (Ok(()), Ok(()), Ok(())));
    assert_eq!(all_indices(&here).await, FIRST);
    let made = aliases(&here).await;
    here.indices.ensure().await.unwrap();
    assert_eq!(aliases(&here).await, made, "nothing changes where nothing is missing");
    assert_eq!(here.indices.outdated().await.unwrap(), []);
}

#[tokio::test]
async fn wildcards_and_aliases_show_neither_stubs_nor_what_is_private() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let document = |n: u64| json!({"title": "video", "number": n, "bugstream": {"revision": 5}});
    let stub = json!({"bugstream": {"gone": true, "revision": 5}});
    here.write(
        "issues-public",
        &[("a/b/1", 5, document(1)), ("a/b/2", 5, stub.clone())],
    )
    .await;
    here.write("issues-private", &[("a/b/2", 5, document(2)), ("a/b/1", 5, stub)])
        .await;
    let all = || json!({"match_all": {}});
    assert_eq!(ids(&here.elastic, "issues", all()).await, ["a/b/1", "a/b/2"]);
    assert_eq!(ids(&here.elastic, "issues-public", all()).await, ["a/b/1"]);
    assert_eq!(ids(&here.elastic, "issues-private", all()).await, ["a/b/2"]);
    assert_eq!(
        ids(&here.elastic, "bugstream-issues-public-000001-write", all()).await,
        ["a/b/1"]
    );
    for wildcard in ["*", "issues*", "iss*", "*issues*"] {
        assert_eq!(
            ids(&here.elastic, wildcard, all()).await,
            ["a/b/1", "a/b/2"],
            "{wildcard}"
        );
    }
    assert!(
        ids(&here.elastic, "bugstream*", all()).await.is_empty(),
        "indices are hidden"
    );
    assert!(
        ids(&here.elastic, "issues-*", all()).await.is_empty(),
        "write aliases are hidden"
    );
}

#[tokio::test]
async fn what_someone_dropped_is_made_again_in_the_live_generation() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let made = aliases(&here).await;
    let drop_index = async |plain: &str| {
        let (status, _) = here
            .elastic
            .call(Method::DELETE, &format!("/{}", here.elastic.name(plain)), None)
            .await;
        assert_eq!(status, 200);
    };
    let remove = json!({"actions": [
        {"remove": {"index": here.elastic.name("bugstream-issues-public-000001"), "alias": here.elastic.name("issues-public")}},
        {"remove": {"index": here.elastic.name("bugstream-issues-private-000001"), "alias": here.elastic.name("issues")}},
    ]});
    assert_eq!(here.elastic.call(Method::POST, "/_aliases", Some(&remove)).await.0, 200);
    let next = here.elastic.name("bugstream-timelines-public-000002");
    assert_eq!(here.elastic.call(Method::PUT, &format!("/{next}"), None).await.0, 200);
    drop_index("bugstream-timelines-private-000001").await;
    here.indices.ensure().await.unwrap();
    drop_index("bugstream-timelines-public-000002").await;
    assert_eq!(
        aliases(&here).await,
        made,
        "a rebuild under way is no reason to begin its generation"
    );
    for index in FIRST {
        drop_index(index).await;
    }
    here.indices.ensure().await.unwrap();
    assert_eq!(aliases(&here).await, made);
}

#[tokio::test]
async fn an_index_in_the_place_of_an_alias_is_an_error_and_stays() {
    let here = Installation::new();
    let issues = here.elastic.name("issues");
    assert_eq!(here.elastic.call(Method::PUT, &format!("/{issues}"), None).await.0, 200);
    assert_eq!(here.indices.ensure().await, Err(IndexError::InTheWay(issues)));
    assert_eq!(all_indices(&here).await, ["issues"]);
}

#[tokio::test]
async fn an_alias_that_has_someone_elses_index_too_is_an_error() {
    let here = Installation::new();
    let (old, alias) = (here.elastic.name("github-issues"), here.elastic.name("issues"));
    let body = json!({"aliases": {&alias: {}}});
    assert_eq!(
        here.elastic.call(Method::PUT, &format!("/{old}"), Some(&body)).await.0,
        200
    );
    let index = old.clone();
    assert_eq!(
        here.indices.ensure().await,
        Err(IndexError::NotOurs {
            alias: alias.clone(),
            index
        })
    );
    let remove = json!({"actions": [{"remove": {"index": old, "alias": alias}}]});
    assert_eq!(here.elastic.call(Method::POST, "/_aliases", Some(&remove)).await.0, 200);
    here.indices.ensure().await.unwrap();
    assert_eq!(ids(&here.elastic, "issues", json!({"match_all": {}})).await, [""; 0]);
}

/// Every recorded issue and event, and values of types that GitHub's schema allows or a server might send one day.
#[tokio::test]
async fn recorded_and_odd_documents_are_accepted_and_add_no_field() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let before = mappings(&here).await;
    let recorded = fixtures::deliveries();
    let parse = |text: &String| serde_json::from_str::<Value>(text).unwrap();
    let issues: Vec<Value> = recorded.iter().map(|delivery| parse(&delivery.issue)).collect();
    let events = fixtures::timeline_events();
    let mut events: Vec<Value> = events
        .iter()
        .chain(recorded.iter().filter_map(|d| d.commented.as_ref()))
        .map(parse)
        .collect();
    events.extend(
        issues
            .iter()
            .map(|issue| json!({"event": "cross-referenced", "source": {"type": "issue", "issue": issue}})),
    );
    accepted(&here, "issues-public", issues).await;
    accepted(&here, "timelines-public", events).await;
    accepted(&here, "issues-public", odd_issues()).await;
    accepted(&here, "timelines-public", odd_events()).await;
    assert_eq!(mappings(&here).await, before, "no document may add a field");
}

fn odd_issues() -> Vec<Value> {
    let long = "long ".repeat(20_000);
    let unbroken = "x".repeat(40_000);
    vec![
        json!({"title": long, "body": unbroken, "labels": [{"name": unbroken, "id": "no number"}], "html_url": unbroken}),
        json!({"title": 5, "state": true, "number": "12", "locked": "perhaps", "comments": "many", "created_at": "yesterday"}),
        json!({"title": null, "user": null, "labels": null, "milestone": null, "pull_request": null, "closed_at": ""}),
        json!({"title": ["a", ["b"]], "assignees": [], "labels": [[{"name": "nested"}]], "reactions": {"+1": 1e30}}),
        json!({"open_map": {"a.b": 1, "": 2, "..": {" ": []}}, "union": [1, "a", {"b": null}], "milestone": {"due_on": "31.12."}}),
    ]
}

fn odd_events() -> Vec<Value> {
    vec![
        json!({"event": "committed", "author": {"date": "not a date", "name": 5}, "sha": "a".repeat(40_000)}),
        json!({"event": "line-commented", "comments": [{"body": "a"}, {"body": 5}, null], "files": [{"a": [{"b": 1}]}]}),
        json!({"event": "a kind that nobody knows", "source": null, "label": null, "rename": null, "performed_via_github_app": null}),
        json!({"event": null, "actor": null, "id": "text", "project_card": {"column_name": null, "previous": {}}}),
    ]
}

async fn accepted(here: &Installation, alias: &str, documents: Vec<Value>) {
    let ids: Vec<String> = (0..documents.len()).map(|n| format!("a/b/{n}")).collect();
    let documents: Vec<(&str, u64, Value)> = ids
        .iter()
        .zip(documents)
        .map(|(id, document)| (&**id, 1, document))
        .collect();
    let written = here.write(alias, &documents).await;
    for ((_, _, document), written) in documents.iter().zip(written) {
        assert_eq!(written, Written::Written, "{document}");
    }
}

async fn mappings(here: &Installation) -> Value {
    let path = format!("/{}*/_mapping?expand_wildcards=all", here.elastic.prefix());
    here.elastic.call(Method::GET, &path, None).await.1
}

#[tokio::test]
async fn people_find_issues_by_words_names_and_old_paths() {
    let here = Installation::new();
    here.indices.ensure().await.unwrap();
    let issue = json!({"title": "Videos do not play", "body": "The players freeze", "state": "open", "number": 5,
        "labels": [{"name": "browser-firefox"}, {"name": "type media"}], "user": {"login": "Ann-B"},
        "milestone": {"title": "needs diagnosis"}, "assignees": [{"login": "Carl"}], "reactions": {"+1": 3}, "bug_number": 5});
    let event = json!({"event": "labeled", "label": {"name": "type media"}, "actor": {"login": "Ann-B"}, "bug_number": 5,
        "source": {"issue": {"number": 9, "repository": {"full_name": "a/c"}}}});
    here.write("issues-public", &[("a/b/5", 1, issue.clone())]).await;
    here.write("timelines-public", &[("a/b/5/0", 1, event)]).await;
    for (target, query) in [
        ("issues", "video"),
        ("issues", "title:playing"),
        ("issues", "body:player"),
        ("issues", "title.keyword:\"Videos do not play\""),
        ("issues", "labels.name:media AND labels.name.keyword:\"type media\""),
        ("issues", "user.login:ann AND user.login.keyword:\"Ann-B\""),
        (
            "issues",
            "milestone.title:diagnosis AND milestone.title.keyword:\"needs diagnosis\"",
        ),
        (
            "issues",
            "assignees.login.keyword:Carl AND reactions.\\+1:[2 TO *] AND bug_number:5 AND state.keyword:open",
        ),
        (
            "timelines",
            "event.keyword:labeled AND label.name.keyword:\"type media\" AND actor.login.keyword:\"Ann-B\"",
        ),
        (
            "timelines",
            "source.issue.number:9 AND source.issue.repository.full_name.keyword:\"a\\/c\"",
        ),
    ] {
        let found = ids(&here.elastic, target, json!({"query_string": {"query": query}})).await;
        assert_eq!(found.len(), 1, "{target}: {query}");
    }
    let hits = here.elastic.hits("issues", json!({"match_all": {}})).await;
    assert_eq!(hits[0]["_source"], issue, "nothing is dropped or changed");
}
