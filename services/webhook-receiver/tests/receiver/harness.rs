//! A receiver on a free port with a NATS server of its own, and a sender that signs as GitHub does.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use bugstream_kit::config::{Nats as NatsConfig, Repositories, Repository};
use bugstream_kit::secret::Secret;
use bugstream_kit::service::Context;
use bugstream_proto::{header, topology, v1};
use bugstream_testkit::github::sign;
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use bugstream_webhook_receiver::Config;
use futures_util::TryStreamExt;
use prost::Message;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::task::JoinSet;

pub(crate) const SECRET: &str = "the secret of the test's webhook";
pub(crate) const REPO: &str = "Bugstream-Test/web-bugs";
pub(crate) const PARTNER: &str = "bugstream-test/web-bugs-private";
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// How long some work takes of the time in which this process runs, to a fiftieth of a second each second. What the machine
/// stands still meanwhile counts for a moment: that is no fault of a receiver in the same process.
pub(crate) async fn awake<T>(work: impl Future<Output = T>) -> (T, Duration) {
    const TICK: Duration = Duration::from_millis(20);
    let mut work = std::pin::pin!(work);
    let mut ran = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, ran),
            () = tokio::time::sleep(TICK) => ran += TICK,
        }
    }
}

pub(crate) fn config(nats_url: &str) -> Config {
    let repository = |name: &str| Repository {
        name: name.parse().expect("a repository's name"),
        private: Some(PARTNER.parse().expect("a repository's name")),
        public: Vec::new(),
        credentials: None,
    };
    Config {
        nats: NatsConfig {
            url: nats_url.to_owned(),
            ..NatsConfig::default()
        },
        repositories: Repositories(vec![repository(REPO)]),
        secrets: vec![Secret::new(SECRET)],
        listen: "127.0.0.1:0".parse().expect("an address"),
        inactivity_delay: Duration::from_secs(300),
        longest_wait: Duration::from_secs(1800),
        pull_requests: true,
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) context: Context,
    client: reqwest::Client,
    running: JoinSet<anyhow::Result<()>>,
}

impl Receiver {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_in(config, Context::new("webhook-receiver")).await
    }

    pub(crate) async fn start_in(config: Config, context: Context) -> Self {
        bugstream_kit::tls::install();
        let listener = tokio::net::TcpListener::bind(config.listen).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let mut running = JoinSet::new();
        running.spawn(bugstream_webhook_receiver::run_on(listener, config, context.clone()));
        let client = reqwest::Client::new();
        Self {
            url,
            context,
            client,
            running,
        }
    }

    pub(crate) async fn ready(self) -> Self {
        wait::until_true("the receiver is ready", SOON, || async {
            self.get("/readyz").await.status() == 200
        })
        .await;
        self
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.url);
        self.client.get(url).send().await.expect("an answer")
    }

    pub(crate) async fn send(&self, delivery: &Delivery) -> reqwest::Response {
        delivery.send(&self.client, &self.url).await
    }

    pub(crate) async fn status(&self, delivery: &Delivery) -> u16 {
        self.send(delivery).await.status().as_u16()
    }

    /// Stops it; it must end well.
    pub(crate) async fn stop(mut self) {
        self.context.stop.soft();
        let ended = tokio::time::timeout(SOON, self.running.join_next()).await;
        let ended = ended.expect("it ends").expect("it ran");
        ended.expect("no panic").expect("no error");
    }
}

/// A delivery as it goes over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// Signed with [`SECRET`].
    pub(crate) fn new(id: &str, event: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", event),
            ("x-github-delivery", id),
            ("x-github-hook-id", "77"),
            ("x-hub-signature-256", &sign(SECRET, &body)),
        ];
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self { headers, body }
    }

    /// An issue's delivery.
    pub(crate) fn of_issue(id: &str, action: &str, number: u64) -> Self {
        Self::new(id, "issues", issue(action, number).to_string())
    }

    pub(crate) fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, header: &str) -> Self {
        self.headers.remove(header);
        self
    }

    /// Sends it to the receiver at a URL.
    pub(crate) async fn send(&self, client: &reqwest::Client, url: &str) -> reqwest::Response {
        let mut request = client.post(format!("{url}/github/receive"));
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), value);
        }
        request.body(self.body.clone()).send().await.expect("an answer")
    }
}

pub(crate) fn issue(action: &str, number: u64) -> Value {
    json!({"action": action, "issue": {"number": number, "title": "t"}, "repository": {"full_name": REPO}})
}

/// A delivery about an issue of the private partner, with this body.
pub(crate) fn partners(id: &str, action: &str, body: &str) -> Delivery {
    let mut payload = issue(action, 99);
    payload["issue"]["body"] = json!(body);
    payload["repository"]["full_name"] = json!(PARTNER);
    Delivery::new(id, "issues", payload.to_string())
}

/// What lies in `DOWNLOADS`.
pub(crate) struct Downloads(async_nats::jetstream::stream::Stream);

impl Downloads {
    pub(crate) async fn of(nats: &Nats) -> Self {
        let stream = nats.jetstream().await.get_stream(topology::DOWNLOADS).await;
        Self(stream.expect("the receiver has made the streams"))
    }

    pub(crate) async fn subjects(&self) -> Vec<String> {
        let subjects = self.0.info_with_subjects(">").await.expect("an answer");
        let subjects: BTreeMap<String, usize> = subjects.try_collect().await.expect("an answer");
        assert!(subjects.values().all(|count| *count == 1), "one message a subject");
        subjects.into_keys().collect()
    }

    pub(crate) async fn last_sequence(&self) -> u64 {
        self.0.get_info().await.expect("an answer").state.last_sequence
    }

    pub(crate) async fn message(&self, subject: &str) -> StreamMessage {
        self.0
            .get_last_raw_message_by_subject(subject)
            .await
            .unwrap_or_else(|error| panic!("nothing on {subject}: {error}"))
    }

    /// The cause of the request on a subject, and when it fires.
    pub(crate) async fn request(&self, subject: &str) -> (v1::Cause, Option<OffsetDateTime>) {
        let message = self.message(subject).await;
        let request = v1::DownloadRequested::decode(message.payload).expect("a request");
        let cause = request.cause.expect("every request of a webhook has a cause");
        (cause, header::scheduled_at(&message.headers))
    }
}
