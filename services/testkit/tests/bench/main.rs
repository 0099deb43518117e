//! The bench of webhooks runs and says everything it should. How fast anything is, is no matter of a test.

mod mirrors;

use std::net::SocketAddr;
use std::time::Duration;

use bugstream_kit::config::{Nats as NatsConfig, Repositories, Repository};
use bugstream_kit::secret::Secret;
use bugstream_kit::service::Context;
use bugstream_testkit::bench::{handler, webhooks};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use bugstream_webhook_receiver::Config;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(180);

fn config(nats_url: &str) -> Config {
    let repository = Repository {
        name: webhooks::REPOSITORY.parse().expect("a repository's name"),
        private: None,
        public: Vec::new(),
        credentials: None,
    };
    Config {
        nats: NatsConfig {
            url: nats_url.to_owned(),
            ..NatsConfig::default()
        },
        repositories: Repositories(vec![repository]),
        secrets: vec![Secret::new(webhooks::SECRET)],
        listen: "127.0.0.1:0".parse().expect("an address"),
        inactivity_delay: Duration::from_secs(300),
        longest_wait: Duration::from_secs(1800),
        pull_requests: true,
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("it is bound");
    (listener, at)
}

async fn servers(nats: &Nats, running: &mut JoinSet<anyhow::Result<()>>) -> webhooks::Servers {
    bugstream_kit::tls::install();
    let ((receiver, receiver_at), (handler, handler_at)) = (listener().await, listener().await);
    let context = Context::new("webhook-receiver");
    running.spawn(bugstream_webhook_receiver::run_on(
        receiver,
        config(&nats.url()),
        context,
    ));
    running.spawn(handler::serve(handler, webhooks::SECRET));
    wait::until_true("the receiver is ready", SOON, async || {
        let answer = reqwest::get(format!("http://{receiver_at}/readyz")).await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    webhooks::Servers {
        nats_url: nats.url(),
        receiver: receiver_at,
        handler: handler_at,
        processes: Vec::new(),
    }
}

const FEW: webhooks::Options = webhooks::Options {
    requests: 100,
    rounds: 2,
    connections: 4,
    singles: 20,
};

#[tokio::test(flavor = "multi_thread")]
async fn it_measures_every_part_and_prints_one_object() {
    let nats = Nats::start().await;
    let mut running = JoinSet::new();
    let servers = servers(&nats, &mut running).await;
    let report = webhooks::run(FEW, &servers, |_| {}).await.expect("a report");
    let report = serde_json::to_value(report).expect("a report is JSON");
    assert_eq!(
        (&report["bench"], &report["requests"]),
        (&"webhooks".into(), &100.into())
    );
    assert!(
        report["bodies"]["mean_bytes"].as_u64().expect("a number") > 5_000,
        "{report}"
    );
    assert!(report["met"].is_boolean(), "{report}");
    for load in ["different_issues", "hot_issue"] {
        for figure in [
            "accepted_per_second",
            "bare_handler_per_second",
            "bare_publish_pairs_per_second",
            "limit_per_second",
            "ratio",
        ] {
            in_order(&report[load][figure], ["lowest", "median", "highest"]);
        }
        assert!(
            report[load]["processor"]["receiver_us"]["median"].is_number(),
            "{report}"
        );
    }
    in_order(&report["at_rest"], ["p50_ms", "p99_ms", "highest_ms"]);
}

fn in_order(figures: &Value, names: [&str; 3]) {
    let [low, middle, high] = names.map(|name| figures[name].as_f64().unwrap_or_else(|| panic!("{name}: {figures}")));
    assert!(0.0 < low && low <= middle && middle <= high, "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_accepted_has_no_speed() {
    let nats = Nats::start().await;
    let mut running = JoinSet::new();
    let mut servers = servers(&nats, &mut running).await;
    let (stranger, at) = listener().await;
    running.spawn(handler::serve(stranger, "another secret"));
    servers.handler = at;
    let error = webhooks::run(FEW, &servers, |_| {}).await.expect_err("401s");
    assert!(format!("{error:#}").contains("401"), "{error:#}");
}
