//! The simulator beside exchanges that were recorded from GitHub.

use std::collections::BTreeSet;

use bugstream_testkit::fixtures::{self, Exchange, exchanges};
use bugstream_testkit::github::{Options, Simulator};
use serde_json::{Value, json};

use super::{Answer, Client, simulator};

/// The connection's own, and what tells of a token's scopes.
const NOT_OURS: &[&str] = &["connection", "x-accepted-oauth-scopes", "x-oauth-scopes"];

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

/// The names of all recorded scenarios.
fn scenarios() -> Vec<String> {
    let folder = std::env::var(fixtures::FOLDER).unwrap();
    let folder = format!("{folder}/node_modules/@octokit/fixtures/scenarios/api.github.com");
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Whether the simulator answers requests of this kind.
fn is_served(exchange: &Exchange) -> bool {
    let path = exchange.path.split('?').next().unwrap();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = match parts.as_slice() {
        ["repos", _, _, rest @ ..] | ["repositories", _, rest @ ..] => rest,
        _ => return false,
    };
    exchange.method == "get" && matches!(rest, [] | ["issues"] | ["issues", _] | ["issues", _, "timeline"])
}

/// What depends on the reader's rights is not simulated.
fn is_of_rights(key: &str) -> bool {
    let others = [
        "permissions",
        "temp_clone_token",
        "delete_branch_on_merge",
        "use_squash_pr_title_as_default",
    ];
    key.starts_with("allow_") || others.contains(&key)
}

/// The keys of an object, or of the first object of a list.
fn keys(body: &Value) -> BTreeSet<String> {
    let object = body.get(0).unwrap_or(body).as_object().unwrap();
    object.keys().filter(|key| !is_of_rights(key)).cloned().collect()
}

/// A simulator in which a scenario's repository has invented issues, renamed if it was renamed there.
async fn like(exchanges: &[Exchange]) -> (Simulator, Client) {
    let named = |exchange: &Exchange| {
        let (owner, rest) = exchange.path.strip_prefix("/repos/")?.split_once('/')?;
        Some(format!("{owner}/{}", rest.split(['/', '?']).next()?))
    };
    let repository = exchanges.iter().find_map(named).unwrap();
    let (sim, client) = simulator(Options {
        issues: 50,
        repository: repository.clone(),
        ..Options::default()
    })
    .await;
    sim.put_repository(&repository, 1000, false).await.unwrap();
    if exchanges.iter().any(|exchange| exchange.status == 301) {
        sim.rename_repository(&format!("{repository}-renamed")).await.unwrap();
    }
    (sim, client)
}

#[tokio::test]
async fn every_recorded_request_that_is_served_gets_the_recorded_status_headers_and_keys() {
    let mut compared = 0;
    for scenario in scenarios() {
        let served: Vec<Exchange> = exchanges(&scenario).into_iter().filter(is_served).collect();
        if served.is_empty() {
            continue;
        }
        let (_sim, client) = like(&served).await;
        for recorded in served {
            let ours = client.get(&recorded.path).await;
            assert_eq!(ours.status, recorded.status, "{}", recorded.path);
            headers_are_there(&ours, &recorded);
            assert_eq!(ours.header("content-type"), recorded.headers["content-type"]);
            let missing: Vec<String> = keys(&recorded.response)
                .difference(&keys(&ours.json()))
                .cloned()
                .collect();
            assert!(missing.is_empty(), "{}: no {missing:?}", recorded.path);
            compared += 1;
        }
    }
    assert!(compared >= 8, "{compared} exchanges");
}
