//! Deliveries as a receiver sees them, their signatures checked by an HMAC of the test's own.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bugstream_testkit::fixtures;
use bugstream_testkit::github::{Change, Delivery, Options, Simulator, Storm, Webhook, WebhookRates, sign};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::simulator;

const SECRET: &str = "a secret of the test";

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that keeps what it gets and answers `status`. It ends with the returned task.
async fn receiver(status: StatusCode) -> (String, Seen, JoinSet<()>) {
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    let handler = move |headers: HeaderMap, body: Bytes| async move {
        keep.lock().unwrap().push((headers, body));
        status
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/github/receive", listener.local_addr().unwrap());
    let mut task = JoinSet::new();
    task.spawn(async move {
        axum::serve(listener, Router::new().route("/github/receive", post(handler)))
            .await
            .unwrap()
    });
    (url, seen, task)
}

async fn with_receiver(status: StatusCode) -> (Simulator, Seen, JoinSet<()>) {
    let (url, seen, task) = receiver(status).await;
    let webhook = Some(Webhook {
        url,
        secret: SECRET.into(),
    });
    let (sim, _) = simulator(Options {
        issues: 45,
        webhook,
        ..Options::default()
    })
    .await;
    (sim, seen, task)
}

/// HMAC-SHA256 as RFC 2104 has it, independent of the simulator's.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    hex::encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

fn told(made: &[Delivery]) -> Vec<(&str, &str, Option<u16>)> {
    made.iter()
        .map(|d| (d.event.as_str(), d.action.as_str(), d.status))
        .collect()
}

#[test]
fn the_signature_is_the_one_that_github_documents() {
    let documented = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(
        sign("It's a Secret to Everybody", b"Hello, World!"),
        format!("sha256={documented}")
    );
    assert_eq!(hmac(b"It's a Secret to Everybody", b"Hello, World!"), documented);
}

#[tokio::test]
async fn every_change_is_told_with_githubs_headers_and_a_true_signature() {
    let (sim, seen, _task) = with_receiver(StatusCode::ACCEPTED).await;
    let number = sim.open("t", "b").await.unwrap();
    seen.lock().unwrap().clear();
    let changes = [
        Change::Title("T".into()),
        Change::Body("Ünïcode ✓".into()),
        Change::Label("zebra".into()),
        Change::Comment("c".into()),
        Change::Close("completed".into()),
        Change::Close("completed".into()),
    ];
    let made = sim.edit(number, changes).await.unwrap();
    let expected = [
        ("issues", "edited"),
        ("issues", "labeled"),
        ("issue_comment", "created"),
        ("issues", "closed"),
    ];
    assert_eq!(told(&made), expected.map(|(event, action)| (event, action, Some(202))));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    for ((headers, body), delivery) in seen.iter().zip(&made) {
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(
            header("x-hub-signature-256"),
            format!("sha256={}", hmac(SECRET.as_bytes(), body))
        );
        assert_eq!(
            (header("x-github-delivery"), header("x-github-event")),
            (delivery.id.as_str(), delivery.event.as_str())
        );
        assert!(header("x-github-hook-id").parse::<u64>().is_ok());
        assert_eq!(header("content-type"), "application/json");
        let lengths: Vec<usize> = delivery.id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "a UUID");
        let payload: Value = serde_json::from_slice(body).unwrap();
        let mut issue = sim.issue(number).unwrap();
        issue.as_object_mut().unwrap().remove("closed_by");
        assert_eq!(payload["issue"], issue);
        assert_eq!(payload["repository"]["full_name"], "bugstream-demo/web-bugs");
    }
    let edited: Value = serde_json::from_slice(&seen[0].1).unwrap();
    assert!(edited["changes"]["title"]["from"].is_string() && edited["changes"]["body"]["from"].is_string());
    let ids: std::collections::HashSet<&String> = made.iter().map(|delivery| &delivery.id).collect();
    assert_eq!(ids.len(), 4, "every delivery has an id of its own");
}

#[tokio::test]
async fn deleting_transferring_and_uncommenting_are_told() {
    let (sim, _seen, _task) = with_receiver(StatusCode::OK).await;
    assert_eq!(told(&sim.delete(42).await.unwrap()), [("issues", "deleted", Some(200))]);
    let number = sim.open("t", "b").await.unwrap();
    sim.edit(number, [Change::Comment("c".into())]).await.unwrap();
    sim.remove_events(number, |event| event["event"] == "commented")
        .await
        .unwrap();
    sim.transfer(number, "bugstream-demo/elsewhere").await.unwrap();
    let actions: Vec<String> = _seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap()["action"].to_string())
        .collect();
    assert_eq!(
        actions,
        [
            "\"deleted\"",
            "\"opened\"",
            "\"created\"",
            "\"deleted\"",
            "\"transferred\""
        ]
    );
}

#[tokio::test]
async fn a_refused_or_muted_delivery_does_not_undo_the_change() {
    let (sim, seen, _task) = with_receiver(StatusCode::SERVICE_UNAVAILABLE).await;
    let made = sim.edit(42, [Change::Title("New".into())]).await.unwrap();
    assert_eq!(told(&made), [("issues", "edited", Some(503))]);
    assert_eq!(sim.issue(42).unwrap()["title"], "New");
    sim.mute_webhooks(true);
    assert!(sim.edit(42, [Change::Title("Newer".into())]).await.unwrap().is_empty());
    assert_eq!(seen.lock().unwrap().len(), 1);
    sim.mute_webhooks(false);
    sim.redeliver(&made[0]).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen[0].0["x-github-delivery"], seen[1].0["x-github-delivery"],
        "a redelivery keeps its id"
    );
    assert_eq!(seen[0].1, seen[1].1);
}

#[tokio::test]
async fn what_no_receiver_took_is_known_whoevers_change_it_came_with() {
    let (sim, _seen, _task) = with_receiver(StatusCode::SERVICE_UNAVAILABLE).await;
    let kept = WebhookRates {
        reordered: 1.0,
        ..WebhookRates::default()
    };
    sim.storm(Storm::new(0.0, 7).webhooks(kept)).unwrap();
    assert!(sim.edit(42, [Change::Title("Kept".into())]).await.unwrap().is_empty());
    sim.clear_faults();
    sim.open("It takes the other along", "").await.unwrap();
    let untaken = sim.untaken();
    let (opened, edited) = (("issues", "opened", Some(503)), ("issues", "edited", Some(503)));
    assert_eq!(told(&untaken), [opened, edited]);
    let (url, _seen, _task) = receiver(StatusCode::ACCEPTED).await;
    let secret = SECRET.into();
    sim.set_webhook(Some(Webhook { url, secret }));
    sim.redeliver(&untaken[1]).await.unwrap();
    assert_eq!(told(&sim.untaken()), [opened]);
}

fn ids(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap();
    seen.iter()
        .map(|(headers, _)| headers["x-github-delivery"].to_str().unwrap().to_owned())
        .collect()
}

/// Titles in the order of their arrival, after 60 edits under these rates.
async fn arrived(rates: WebhookRates, seed: u64) -> Vec<u64> {
    let (sim, seen, _task) = with_receiver(StatusCode::ACCEPTED).await;
    sim.storm(Storm::new(0.0, seed).webhooks(rates)).unwrap();
    for edit in 0..60 {
        sim.edit(42, [Change::Title(edit.to_string())]).await.unwrap();
    }
    sim.release_webhooks().await;
    assert_eq!(
        sim.issue(42).unwrap()["title"],
        "59",
        "the truth is what it is whatever is told"
    );
    let told: u64 = sim.faults_met().values().sum();
    let (all, distinct) = (
        ids(&seen),
        ids(&seen).into_iter().collect::<std::collections::HashSet<_>>(),
    );
    assert!(told > 0 || all.len() == 60);
    assert_eq!(
        all.len() - distinct.len(),
        usize::try_from(sim.faults_met().get("webhook_duplicated").copied().unwrap_or(0)).unwrap()
    );
    let seen = seen.lock().unwrap();
    let title = |body: &Bytes| {
        serde_json::from_slice::<Value>(body).unwrap()["issue"]["title"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    seen.iter().map(|(_, body)| title(body)).collect()
}

#[tokio::test]
async fn webhooks_are_lost_doubled_and_overtaken_by_rate_and_seed() {
    let some = 0.3;
    let lost = arrived(
        WebhookRates {
            lost: some,
            ..WebhookRates::default()
        },
        7,
    )
    .await;
    assert!((30..=52).contains(&lost.len()) && lost.is_sorted(), "{lost:?}");
    let doubled = arrived(
        WebhookRates {
            duplicated: some,
            ..WebhookRates::default()
        },
        7,
    )
    .await;
    assert!((68..=90).contains(&doubled.len()) && doubled.is_sorted(), "{doubled:?}");
    let mixed = arrived(
        WebhookRates {
            reordered: some,
            ..WebhookRates::default()
        },
        7,
    )
    .await;
    assert!(mixed.len() == 60 && !mixed.is_sorted(), "{mixed:?}");
    let all = WebhookRates {
        lost: some,
        duplicated: some,
        reordered: some,
    };
    assert_eq!(arrived(all, 9).await, arrived(all, 9).await, "a seed repeats");
    assert_eq!(arrived(WebhookRates::default(), 7).await, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_issues_payload_has_the_keys_of_recorded_ones() {
    let (sim, _seen, _task) = with_receiver(StatusCode::OK).await;
    let made = sim.edit(42, [Change::Label("zebra".into())]).await.unwrap();
    let ours: Value = serde_json::from_slice(&made[0].body).unwrap();
    let recorded: Vec<_> = fixtures::deliveries()
        .into_iter()
        .filter(|r| r.action == "labeled" && r.source == "api.github.com")
        .collect();
    assert!(!recorded.is_empty());
    for theirs in recorded {
        let theirs: Value = serde_json::from_str(&theirs.payload).unwrap();
        for part in ["", "/issue", "/label", "/sender", "/issue/user"] {
            let keys = theirs.pointer(part).unwrap().as_object().unwrap().keys();
            // Only payloads of a GitHub App carry the first; the second is of pull requests.
            let missing: Vec<_> = keys
                .filter(|k| !["installation", "draft"].contains(&k.as_str()))
                .filter(|k| ours.pointer(part).unwrap().get(k).is_none())
                .collect();
            assert!(missing.is_empty(), "{part} lacks {missing:?}");
        }
    }
}

#[tokio::test]
async fn recorded_issues_are_served_as_recorded() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let all = fixtures::deliveries();
    assert!(all.len() >= 38, "{} recorded deliveries", all.len());
    for recorded in all {
        recorded.serve(&sim).await.unwrap();
        let base = format!("/repos/{}/issues/{}", recorded.repository, recorded.number);
        assert_eq!(client.get(&base).await.text, recorded.issue);
        let timeline = client.get(&format!("{base}/timeline")).await;
        assert_eq!(timeline.text, recorded.timeline());
        assert!(timeline.json().as_array().unwrap().len() >= 4);
    }
}
