//! Tokens: what each is good for, switched while the simulator runs, with a quota each.

use bugstream_testkit::github::{Options, Standing, Token};
use serde_json::json;

use super::conformance::fits;
use super::{REPOSITORY, simulator};

fn standing(standing: Standing) -> Token {
    Token {
        standing,
        ..Token::default()
    }
}

#[tokio::test]
async fn every_standing_is_answered_in_githubs_words_and_can_change() {
    let (sim, client) = simulator(Options::default()).await;
    let issue = format!("{REPOSITORY}/issues/3");
    let denied = "Resource not accessible by personal access token";
    for (as_what, repository, of_issue, message) in [
        (Standing::Good, 200, 200, ""),
        (Standing::Revoked, 401, 401, "Bad credentials"),
        (Standing::Unseeing, 404, 404, "Not Found"),
        (Standing::Forbidden, 200, 403, denied),
        (Standing::Good, 200, 200, ""),
    ] {
        sim.set_token("t1", standing(as_what));
        assert_eq!(
            client.as_token(REPOSITORY, "t1").await.status,
            repository,
            "{as_what:?}"
        );
        let answer = client.as_token(&issue, "t1").await;
        assert_eq!(answer.error(), (of_issue, message.to_owned()), "{as_what:?}");
        if of_issue != 200 {
            fits("basic-error", &answer.json());
        }
        assert_eq!(
            client.as_token(&issue, "t2").await.status,
            200,
            "others are as they were"
        );
    }
    sim.set_token("t1", standing(Standing::Sso));
    let answer = client.as_token(&issue, "t1").await;
    assert_eq!(answer.status, 403);
    assert!(
        answer
            .header("x-github-sso")
            .starts_with("required; url=https://github.com/orgs/")
    );
}

#[tokio::test]
async fn a_token_can_have_a_limit_of_its_own() {
    let (sim, client) = simulator(Options::default()).await;
    let limited = Token {
        limit: Some(2),
        ..Token::default()
    };
    sim.set_token("small", limited);
    let issue = format!("{REPOSITORY}/issues/3");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.as_token(&issue, "small").await.status);
    }
    assert_eq!(statuses, [200, 200, 403]);
    let other = client.as_token(&issue, "other").await;
    assert_eq!((other.status, other.header("x-ratelimit-limit")), (200, "5000"));
    sim.set_rate_limit(7);
    let again = client.as_token(&issue, "small").await;
    assert_eq!((again.status, again.header("x-ratelimit-limit")), (200, "7"));
}

#[tokio::test]
async fn a_repository_is_private_to_some_or_gone_for_all() {
    let (sim, client) = simulator(Options::default()).await;
    let outsider = Token {
        sees_private: false,
        ..Token::default()
    };
    sim.set_token("outsider", outsider);
    let issue = format!("{REPOSITORY}/issues/3");
    let statuses = async || {
        [
            client.as_token(&issue, "outsider").await.status,
            client.get(&issue).await.status,
        ]
    };
    assert_eq!(statuses().await, [200, 200]);
    sim.set_private(true).await.unwrap();
    assert_eq!(statuses().await, [404, 200]);
    assert_eq!(client.get(REPOSITORY).await.json()["private"], true);
    sim.hide_repository("bugstream-demo/web-bugs", true);
    assert_eq!(statuses().await, [404, 404]);
    sim.hide_repository("bugstream-demo/web-bugs", false);
    sim.set_private(false).await.unwrap();
    assert_eq!(statuses().await, [200, 200]);
}

#[tokio::test]
async fn by_http_too() {
    let (sim, client) = simulator(Options::default()).await;
    let order = async |path: &str, body: serde_json::Value| {
        let request = client
            .http
            .post(format!("{}/_simulator/{path}", sim.root()))
            .json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let revoked = json!({"token": "t1", "standing": "revoked"});
    assert_eq!(order("tokens", revoked).await, 200);
    assert_eq!(client.as_token(REPOSITORY, "t1").await.status, 401);
    let unknown = json!({"token": "t1", "standing": "revoked", "colour": "red"});
    assert_eq!(order("tokens", unknown).await, 422);
    assert_eq!(order("repository", json!({"hidden": true})).await, 200);
    assert_eq!(client.get(REPOSITORY).await.status, 404);
}

#[tokio::test]
async fn an_enterprise_server_lies_below_its_base_path() {
    let (sim, client) = simulator(Options {
        base_path: "/api/v3".to_owned(),
        ..Options::default()
    })
    .await;
    assert_eq!(client.base, format!("{}/api/v3", sim.root()));
    let list = client.get(&format!("{REPOSITORY}/issues?per_page=2")).await;
    let next = list.link("next").unwrap();
    assert!(next.starts_with(&format!("{}/repositories/", sim.url())), "{next}");
    assert_eq!(client.get(&next).await.status, 200);
    let outside = client.get(&format!("{}{REPOSITORY}", sim.root())).await;
    assert_eq!(outside.status, 404, "nothing lies beside it");
    assert!(!list.header("x-github-enterprise-version").is_empty());
    sim.rename_repository("bugstream-demo/other").await.unwrap();
    let moved = client.get(REPOSITORY).await;
    assert_eq!(client.get(moved.header("location")).await.status, 200);
}
