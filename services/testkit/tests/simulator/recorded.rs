//! The simulator beside exchanges that were recorded from GitHub.

use bugstream_testkit::fixtures::{Exchange, exchanges};
use bugstream_testkit::github::Options;
use serde_json::{Value, json};

use super::{Answer, simulator};

/// Headers that a browser or a person with a token's scopes reads, and the connection's own.
const NOT_OURS: &[&str] = &[
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "connection",
    "content-security-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-accepted-oauth-scopes",
    "x-content-type-options",
    "x-frame-options",
    "x-oauth-scopes",
    "x-xss-protection",
];

fn headers_are_there(answer: &Answer, recorded: &Exchange) {
    let wanted = recorded
        .headers
        .keys()
        .filter(|name| !NOT_OURS.contains(&name.as_str()));
    let missing: Vec<_> = wanted.filter(|name| answer.header(name).is_empty()).collect();
    assert!(missing.is_empty(), "{}: no {missing:?}", recorded.path);
}

#[tokio::test]
async fn numbered_links_are_those_of_a_recorded_walk() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let events: Vec<Value> = (1..=13).map(|id| json!({"id": id})).collect();
    sim.put_raw(1, r#"{"number":1}"#, &json!(events).to_string())
        .await
        .unwrap();
    let id = client.get("/repos/bugstream-demo/web-bugs").await.json()["id"].to_string();
    let walk = exchanges("paginate-issues");
    assert_eq!(walk.len(), 5);
    for recorded in walk {
        let query = recorded.path.split_once('?').unwrap().1;
        let ours = client
            .get(&format!("/repositories/{id}/issues/1/timeline?{query}"))
            .await;
        let base = format!("{}/repositories/{id}/issues/1/timeline", client.base);
        let theirs = recorded.headers["link"].as_str().unwrap();
        assert_eq!(
            ours.header("link")
                .replace(&base, "https://api.github.com/repositories/1000/issues"),
            theirs
        );
        headers_are_there(&ours, &recorded);
    }
}

#[tokio::test]
async fn recorded_rows_are_listed_as_recorded() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let rows: Vec<Value> = exchanges("paginate-issues")
        .iter()
        .flat_map(|page| page.response.as_array().unwrap().clone())
        .collect();
    assert_eq!(rows.len(), 13);
    for row in &rows {
        sim.put_raw(row["number"].as_u64().unwrap(), &row.to_string(), "[]")
            .await
            .unwrap();
    }
    let listed = client.walk("/repos/bugstream-demo/web-bugs/issues?per_page=3").await;
    assert_eq!(listed, rows);
}

#[tokio::test]
async fn a_rename_answers_as_recorded() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    sim.put_repository("bugstream-demo/web-bugs", 1000, false)
        .await
        .unwrap();
    sim.rename_repository("bugstream-demo/renamed").await.unwrap();
    let recorded = exchanges("rename-repository")
        .into_iter()
        .find(|exchange| exchange.status == 301)
        .unwrap();
    let ours = client.get("/repos/bugstream-demo/web-bugs").await;
    assert_eq!(ours.status, recorded.status);
    let there = |address: &str| address.split_once("/repositories/").unwrap().1.to_owned();
    assert_eq!(
        there(ours.header("location")),
        there(recorded.headers["location"].as_str().unwrap())
    );
    let keys = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut theirs = keys(&recorded.response);
    theirs.sort_unstable();
    assert_eq!(keys(&ours.json()), theirs);
    assert_eq!(ours.json()["message"], recorded.response["message"]);
}

#[tokio::test]
async fn a_repository_answers_with_the_recorded_headers() {
    let (_sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let recorded = &exchanges("get-repository")[0];
    let ours = client.get("/repos/bugstream-demo/web-bugs").await;
    headers_are_there(&ours, recorded);
    // What depends on the reader's rights is not simulated.
    let rights = |key: &str| {
        key.starts_with("allow_")
            || [
                "permissions",
                "temp_clone_token",
                "delete_branch_on_merge",
                "use_squash_pr_title_as_default",
            ]
            .contains(&key)
    };
    let wanted = recorded.response.as_object().unwrap().keys().filter(|key| !rights(key));
    let body = ours.json();
    let missing: Vec<_> = wanted.filter(|key| body.get(key.as_str()).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
