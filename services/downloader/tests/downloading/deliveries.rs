//! Webhooks that failed to arrive are found in GitHub's record of deliveries, and do what they would have done.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bugstream_downloader::Config;
use bugstream_kit::config;
use bugstream_kit::watermarks::{Deliveries, State};
use bugstream_proto::{Change as Event, Task, v1};
use bugstream_testkit::github::{App, Change, Options, Route, Token, Webhook};
use bugstream_testkit::wait;
use tokio::task::JoinSet;

use crate::layers::{OFTEN, TOKEN, nowhere, repo, set, with};
use crate::stage::{PATIENCE, Stage, deleted};

/// A repository whose webhooks arrive nowhere.
async fn hooked() -> (Stage, Config) {
    set(Options {
        webhook: Some(nowhere()),
        ..Options::default()
    })
    .await
}

/// A receiver that takes everything; it ends with the task.
async fn receiver() -> (Webhook, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it listens"));
    let router = Router::new().route("/", post(async || StatusCode::ACCEPTED));
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (Webhook { url, ..nowhere() }, task)
}

async fn comment(stage: &Stage, number: u64, text: &str) -> String {
    let change = [Change::Comment(text.to_owned())];
    let made = stage.github.edit(number, change).await.expect("the issue is there");
    made.first().expect("there is a hook").id.clone()
}

impl Stage {
    /// Waits until a look that begins after this call has ended.
    async fn looked(&self) -> Deliveries {
        let before = self.mark::<Deliveries>().await.last_run;
        let once = self
            .mark_when::<Deliveries>("a look", |record| record.last_run > before)
            .await
            .last_run;
        self.mark_when("another look", |record: &Deliveries| record.last_run > once)
            .await
    }
}

#[tokio::test]
async fn webhooks_that_nobody_took_are_repaired_once_each_as_if_they_had_arrived() {
    let (stage, config) = hooked().await;
    let downloader = stage.start_with(with(&config, |layers| layers.deliveries = Some(OFTEN)));
    let known = stage.download(2).await;
    let id = comment(&stage, 1, "nobody heard this").await;
    stage.github.delete(2).await.unwrap();

    let event = stage.event_after(1, 0).await;
    assert_eq!(event.event.cause.reason(), v1::Reason::Webhook);
    assert_eq!(
        event.event.cause.last_delivery.as_ref().map(|d| &d.delivery_id),
        Some(&id)
    );
    let gone = stage.event_after(2, known.sequence).await;
    assert!(matches!(gone.event.change, Event::Deleted(_)));
    assert_eq!(
        deleted(&gone).confirmation(),
        v1::Confirmation::Webhook,
        "the payload is a witness"
    );
    stage.idle().await;
    let record = stage.looked().await;
    assert_eq!((record.repaired, record.state), (2, State::On));
    assert_eq!(
        stage.github.requests().of(Route::Delivery),
        2,
        "no payload is asked for twice"
    );
    downloader.end().await;
}

#[tokio::test]
async fn an_event_of_which_one_attempt_arrived_is_not_lost() {
    let (stage, config) = hooked().await;
    let change = [Change::Comment("it will arrive".to_owned())];
    let failed = stage.github.edit(1, change).await.unwrap();
    let (receiver, _task) = receiver().await;
    stage.github.set_webhook(Some(receiver));
    stage.github.redeliver(&failed[0]).await.expect("it is sent again");
    let downloader = stage.start_with(with(&config, |layers| layers.deliveries = Some(OFTEN)));
    let record = stage.looked().await;
    assert_eq!((record.repaired, stage.newest(1).await), (0, None));
    downloader.end().await;
}

#[tokio::test]
async fn the_webhook_of_an_app_is_repaired_too() {
    let app = App {
        webhook: Some(nowhere()),
        ..App::default()
    };
    let (stage, mut config) = set(Options {
        app: Some(app),
        ..Options::default()
    })
    .await;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), App::KEY).unwrap();
    config.github.token = None;
    config.github.app = Some(config::App {
        id: 4711,
        installation_id: Some(815),
        private_key_path: key.path().to_owned(),
    });
    let downloader = stage.start_with(with(&config, |layers| layers.deliveries = Some(OFTEN)));
    let id = comment(&stage, 3, "to the App").await;
    let event = stage.event_after(3, 0).await;
    assert_eq!(event.event.cause.last_delivery.map(|d| d.delivery_id), Some(id));
    let record = stage.looked().await;
    assert_eq!(record.hooks.keys().collect::<Vec<_>>(), ["the App's webhook"]);
    downloader.end().await;
}

#[tokio::test]
async fn who_may_not_look_switches_the_layer_off_and_tries_again_in_an_hour() {
    let (stage, config) = hooked().await;
    let stranger = Token {
        admin: false,
        ..Token::default()
    };
    stage.github.set_token(TOKEN, stranger);
    let downloader = stage.start_with(with(&config, |layers| layers.deliveries = Some(OFTEN)));
    let record = stage
        .mark_when::<Deliveries>("it is off", |record| matches!(record.state, State::Off(_)))
        .await;
    assert_eq!(
        record.state.to_string(),
        "off: the credentials may not see the webhooks of bugstream-demo/web-bugs (github answers 404)"
    );
    // The first look's own schedule may lie there for a moment still.
    let later = downloader.context.clock.now() + Duration::from_secs(3_000);
    wait::until("the next look is scheduled, in an hour", PATIENCE, async || {
        let lying = stage.tasks().lying(&Task::Deliveries.scheduled(&repo())).await;
        lying.expect("the stream answers")?.at.filter(|at| *at > later)
    })
    .await;
    assert_eq!(record.last_run, None);
    downloader.end().await;
}
