//! The record of deliveries: what GitHub tells an administrator about webhooks that arrived and that did not.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bugstream_testkit::github::{Change, Options, Simulator, Storm, Token, Webhook, WebhookRates};
use serde_json::Value;
use tokio::task::JoinSet;

use super::conformance::{a_pull_request, changes, fits, mismatches_of, validator};
use super::{Client, REPOSITORY, simulator};

/// A receiver of webhooks that answers with this status; it ends with the task.
async fn receiver(status: StatusCode) -> (Webhook, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = Webhook {
        url: format!("http://{}/", listener.local_addr().unwrap()),
        secret: "a secret".to_owned(),
    };
    let router = Router::new().route("/", post(move || async move { status }));
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (webhook, task)
}

/// Nobody listens there.
fn nowhere() -> Webhook {
    Webhook {
        url: "http://127.0.0.1:1/".to_owned(),
        secret: "a secret".to_owned(),
    }
}

async fn with(webhook: Webhook) -> (Simulator, Client) {
    simulator(Options {
        webhook: Some(webhook),
        ..Options::default()
    })
    .await
}

impl Client {
    /// The address of the deliveries of the repository's only hook.
    async fn deliveries(&self) -> String {
        let hooks = self.get(&format!("{REPOSITORY}/hooks")).await.json();
        assert_eq!(hooks.as_array().unwrap().len(), 1);
        fits("hook", &hooks[0]);
        format!("{REPOSITORY}/hooks/{}/deliveries", hooks[0]["id"])
    }
}

async fn comment(sim: &Simulator, text: &str) {
    sim.edit(3, [Change::Comment(text.to_owned())]).await.unwrap();
}

#[tokio::test]
async fn every_delivery_is_on_record_with_what_was_sent_and_what_came_back() {
    let (webhook, _task) = receiver(StatusCode::ACCEPTED).await;
    let (sim, client) = with(webhook.clone()).await;
    comment(&sim, "it arrives").await;
    let (refusing, _refusing) = receiver(StatusCode::SERVICE_UNAVAILABLE).await;
    sim.set_webhook(Some(refusing));
    comment(&sim, "it is refused").await;
    sim.set_webhook(Some(nowhere()));
    comment(&sim, "nobody is there").await;
    let path = client.deliveries().await;
    let rows = client.walk(&path).await;
    rows.iter().for_each(|row| fits("hook-delivery-item", row));
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["status_code"].as_u64(), row["status"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(502), Some("failed to connect to host")),
            (Some(503), Some("Invalid HTTP Response: 503")),
            (Some(202), Some("OK")),
        ],
        "newest first"
    );
    for (row, text) in rows.iter().zip(["nobody is there", "it is refused", "it arrives"]) {
        let whole = client.get(&format!("{path}/{}", row["id"])).await.json();
        fits("hook-delivery", &whole);
        let (request, payload) = (&whole["request"]["headers"], &whole["request"]["payload"]);
        assert_eq!(payload["comment"]["body"], text);
        assert_eq!(
            (&request["X-GitHub-Delivery"], &request["X-GitHub-Event"]),
            (&row["guid"], &row["event"])
        );
        assert_eq!(request["X-GitHub-Hook-ID"], path.split('/').nth(5).unwrap());
        assert_eq!(row["repository_id"], payload["repository"]["id"]);
    }
    assert_eq!(client.get(&format!("{path}/1")).await.status, 404);
    assert_eq!(
        client.get(&format!("{REPOSITORY}/hooks/1/deliveries")).await.status,
        404
    );
}

#[tokio::test]
async fn what_a_storm_loses_failed_and_what_is_muted_is_not_known() {
    let (webhook, _task) = receiver(StatusCode::ACCEPTED).await;
    let (sim, client) = with(webhook).await;
    let lost = WebhookRates {
        lost: 1.0,
        ..WebhookRates::default()
    };
    sim.storm(Storm::new(0.0, 1).webhooks(lost)).unwrap();
    assert_eq!(sim.edit(3, [Change::Comment("lost".into())]).await.unwrap().len(), 0);
    sim.clear_faults();
    sim.mute_webhooks(true);
    comment(&sim, "muted").await;
    sim.mute_webhooks(false);
    comment(&sim, "sent").await;
    let path = client.deliveries().await;
    let rows = client.walk(&path).await;
    let codes: Vec<_> = rows.iter().map(|row| row["status_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [202, 502]);
    let ids = async |query: &str| {
        let rows = client.get(&format!("{path}?{query}")).await.json();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("status=failure").await, [rows[1]["id"].clone()]);
    assert_eq!(ids("status=success").await, [rows[0]["id"].clone()]);
    assert_eq!(client.get(&format!("{path}?status=so-so")).await.status, 422);
}

#[tokio::test]
async fn a_redelivery_keeps_its_id_and_pages_go_by_cursor_three_days_back() {
    let (webhook, _task) = receiver(StatusCode::ACCEPTED).await;
    let (sim, client) = with(webhook).await;
    sim.stop_clock();
    let path = client.deliveries().await;
    comment(&sim, "old").await;
    sim.advance(Duration::from_secs(3 * 24 * 3_600 - 60));
    for number in 0..4 {
        comment(&sim, &number.to_string()).await;
    }
    let made = sim.edit(3, [Change::Comment("twice".into())]).await.unwrap();
    sim.redeliver(&made[0]).await.unwrap();
    let rows = client.walk(&path).await;
    assert_eq!(rows.len(), 7);
    assert_eq!(
        (&rows[0]["guid"], &rows[1]["guid"]),
        (&made[0].id.clone().into(), &made[0].id.clone().into())
    );
    assert_eq!(
        (&rows[0]["redelivery"], &rows[1]["redelivery"]),
        (&true.into(), &false.into())
    );
    assert_eq!(client.walk(&format!("{path}?per_page=2")).await, rows);
    let first = client.get(&format!("{path}?per_page=2")).await;
    comment(&sim, "meanwhile").await;
    let second = client.get(&first.link("next").unwrap()).await.json();
    assert_eq!(second[0], rows[2], "a new delivery moves no page");
    assert_eq!(client.get(&format!("{path}?cursor=7")).await.status, 422);
    sim.advance(Duration::from_secs(120));
    let left = client.walk(&path).await;
    assert_eq!(left.len(), 7, "the old one is forgotten");
    assert!(client.get(&format!("{path}/{}", rows[6]["id"])).await.status == 404);
}

#[tokio::test]
async fn hooks_are_for_administrators() {
    let (sim, client) = with(nowhere()).await;
    let reader = Token {
        admin: false,
        ..Token::default()
    };
    sim.set_token("reader", reader);
    let path = client.deliveries().await;
    for path in [format!("{REPOSITORY}/hooks"), path] {
        assert_eq!(client.as_token(&path, "reader").await.status, 404);
        assert_eq!(client.as_token(&path, "admin").await.status, 200);
    }
    let (_sim, client) = simulator(Options {
        tokens: vec!["known".to_owned()],
        webhook: Some(nowhere()),
        ..Options::default()
    })
    .await;
    assert_eq!(
        client.get(&format!("{REPOSITORY}/hooks")).await.status,
        404,
        "nobody is no administrator"
    );
}

/// Every payload against the published schema of its event and action.
#[tokio::test]
async fn payloads_fit_the_published_webhooks() {
    let (sim, _client) = simulator(Options {
        issues: 60,
        webhook: Some(nowhere()),
        ..Options::default()
    })
    .await;
    let other = sim.issue(1).unwrap();
    let opened = sim.open("Opened", "").await.unwrap();
    let mut made = Vec::new();
    for number in [opened, a_pull_request(&sim).await] {
        for change in changes(&other) {
            made.extend(sim.edit(number, [change]).await.unwrap());
        }
    }
    made.extend(sim.make_private(opened).await.unwrap());
    made.extend(sim.make_public(opened).await.unwrap());
    made.extend(sim.delete(opened).await.unwrap());
    let (mut wrong, mut kinds) = (std::collections::BTreeMap::new(), std::collections::BTreeSet::new());
    for delivery in made {
        let schema = format!("webhook-{}-{}", delivery.event, delivery.action).replace('_', "-");
        let payload: Value = serde_json::from_slice(&delivery.body).unwrap();
        if kinds.insert(schema.clone()) {
            let found = mismatches_of(&validator(&schema), &schema, &payload);
            wrong.extend((!found.is_empty()).then_some((schema, found)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(kinds.len() >= 18, "{kinds:?}");
}
