//! Webhooks and what became of their deliveries.

use std::time::Duration;

use bugstream_github::{Allowed, Client, Config, Deliveries, Hook};
use bugstream_kit::config::{self, Credentials};
use bugstream_testkit::github::{App, Change, Options, Simulator, Token, Webhook};
use serde_json::Value;

use crate::{TOKEN, client, clock, config, repository};

/// Nobody listens there.
fn lost() -> Webhook {
    Webhook {
        url: "http://user:secret@127.0.0.1:9/github/receive?key=secret".to_owned(),
        secret: "secret".to_owned(),
    }
}

async fn with_lost_webhooks() -> Simulator {
    let app = App {
        webhook: Some(lost()),
        ..App::default()
    };
    let options = Options {
        tokens: vec![TOKEN.to_owned()],
        webhook: Some(lost()),
        app: Some(app),
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

fn yes<T>(answer: Allowed<T>) -> T {
    match answer {
        Allowed::Yes(it) => it,
        Allowed::No { status } => panic!("not allowed: {status}"),
    }
}

async fn all(client: &Client, hook: &Hook) -> Deliveries {
    let mut all = yes(client.deliveries(hook, None).await.unwrap());
    while let Some(cursor) = all.next.take() {
        let page = yes(client.deliveries(hook, Some(&cursor)).await.unwrap());
        all.deliveries.extend(page.deliveries);
        all.next = page.next;
    }
    all
}

#[tokio::test]
async fn failed_deliveries_are_listed_with_what_they_carried() {
    let github = with_lost_webhooks().await;
    let (client, name) = (client(&github.url()), repository(&github));
    let hooks = yes(client.hooks(&name).await.unwrap());
    let [hook] = hooks.as_slice() else { panic!("{hooks:?}") };
    assert!(hook.active && hook.events.contains(&"issues".to_owned()));
    assert_eq!(hook.url.as_ref().unwrap().as_str(), "http://127.0.0.1:9/github/receive");
    let hook = Hook::Repository {
        repo: name,
        id: hook.id,
    };
    // Of this machine's clock nobody promises that it only goes on.
    github.stop_clock();
    let mut made = Vec::new();
    for n in 0..120 {
        github.advance(Duration::from_secs(1));
        made.extend(github.edit(1, [Change::Title(format!("title {n}"))]).await.unwrap());
    }
    let all = all(&client, &hook).await.deliveries;
    assert!(all.is_sorted_by_key(|delivery| std::cmp::Reverse(delivery.delivered_at)));
    let listed: Vec<_> = all.iter().rev().map(|delivery| delivery.guid.as_str()).collect();
    let sent: Vec<_> = made.iter().map(|delivery| delivery.id.as_str()).collect();
    assert!(listed.ends_with(&sent) && listed.len() >= 120);
    assert!(all.iter().all(|delivery| !delivery.succeeded()));
    let (newest, body) = (&all[0], &made.last().unwrap().body);
    assert_eq!(
        (newest.event.as_str(), newest.action.as_deref()),
        ("issues", Some("edited"))
    );
    let delivered = yes(client.delivery(&hook, newest.id).await.unwrap());
    assert_eq!((&delivered.guid, &delivered.event), (&newest.guid, &newest.event));
    let payload: Value = serde_json::from_slice(&delivered.payload.unwrap()).unwrap();
    assert_eq!(payload, serde_json::from_slice::<Value>(body).unwrap());
    assert_eq!(newest.repository_id, payload["repository"]["id"].as_u64());
}

#[tokio::test]
async fn who_may_not_look_is_told_so() {
    let github = with_lost_webhooks().await;
    let (client, name) = (client(&github.url()), repository(&github));
    let nobody = Token {
        admin: false,
        ..Token::default()
    };
    github.set_token(TOKEN, nobody);
    assert_eq!(client.hooks(&name).await.unwrap(), Allowed::No { status: 404 });
    let hook = Hook::Repository { repo: name, id: 1 };
    assert_eq!(
        client.deliveries(&hook, None).await.unwrap(),
        Allowed::No { status: 404 }
    );
    assert_eq!(client.delivery(&hook, 5).await.unwrap(), Allowed::No { status: 404 });
    let asked = github.requests().total();
    assert_eq!(
        client.deliveries(&Hook::App, None).await.unwrap(),
        Allowed::No { status: 0 }
    );
    assert_eq!(github.requests().total(), asked, "there is no App");
}

#[tokio::test]
async fn the_apps_own_webhook_is_asked_about_by_the_app() {
    let github = with_lost_webhooks().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, App::KEY).unwrap();
    let app = config::App {
        id: 4711,
        installation_id: Some(815),
        private_key_path: key,
    };
    let config = Config {
        credentials: Credentials {
            tokens: Vec::new(),
            app: Some(app),
        },
        ..config(&github.url())
    };
    let client = Client::new(config, clock()).unwrap();
    assert!(client.has_app());
    github.edit(1, [Change::Title("new".to_owned())]).await.unwrap();
    let all = all(&client, &Hook::App).await.deliveries;
    let delivered = yes(client.delivery(&Hook::App, all[0].id).await.unwrap());
    let payload: Value = serde_json::from_slice(&delivered.payload.unwrap()).unwrap();
    assert_eq!(payload["issue"]["number"], 1);
    assert_eq!(github.requests().by("installation-815"), 0);
    assert_eq!(
        client.delivery(&Hook::App, 1).await.unwrap(),
        Allowed::No { status: 404 }
    );
}
