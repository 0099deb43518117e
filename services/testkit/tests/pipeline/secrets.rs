//! Content of a private issue is found in private indices and objects, and nowhere else: not in public indices, streams,
//! buckets, dead letters, logs or traces. The services are real processes, with everything they print and send kept.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use bugstream_telemetry::names;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::{Change, Options, Simulator, Webhook};
use bugstream_testkit::nats::Nats;
use bugstream_testkit::wait;
use futures_util::TryStreamExt;
use http::Method;
use serde_json::{Value, json};

use crate::stage::SOON;

/// No text of the seed holds it, and no encoding in use changes it.
const PLANTED: &str = "zqplantedzq";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_is_found_on_the_private_side_and_nowhere_else() {
    let (nats, elastic) = (Nats::start().await, Elastic::shared());
    let github = Simulator::start(Options::default()).await.unwrap();
    let collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    refuse_what_is_put_aside(&elastic).await;
    let services = Services::start(dir.path(), &nats, &elastic, &github, &collector);
    let jetstream = nats.jetstream().await;
    wait::until_true("the services made their streams", SOON, || async {
        jetstream.get_stream("DOWNLOADS").await.is_ok()
    })
    .await;

    let number = plant(&github).await;
    nats.publish_by_hand(&format!("download.bugstream-demo.web-bugs.{number}"), "")
        .await
        .unwrap();
    let private = |kind: &str| format!("{kind}-private");
    wait::until_true("the planted issue is on the private side", SOON, || async {
        let issues = elastic
            .hits(
                &private("issues"),
                json!({"query_string": {"query": format!("*{PLANTED}*")}}),
            )
            .await;
        let events = elastic
            .hits(&private("timelines"), json!({"term": {"bug_number": number}}))
            .await;
        issues.len() == 1 && !events.is_empty()
    })
    .await;
    wait::until_true("the refused document is a dead letter", SOON, || async {
        messages(&nats).await.iter().any(|(stream, _)| stream == "DEAD_LETTERS")
    })
    .await;
    wait::until_true(
        "spans and metrics were sent, or this test would prove nothing",
        SOON,
        async || {
            let sent = collector.received();
            let metrics = [names::MIRROR_NEWEST, names::REQUESTS_OLDEST, names::GITHUB_LEFT].map(|metric| metric.name);
            ["bulk", "downloader"]
                .iter()
                .chain(&metrics)
                .all(|name| sent.contains(name))
        },
    )
    .await;
    services.stop();

    let private_side = everything_in(&elastic, "private").await;
    assert!(
        private_side.contains(PLANTED),
        "the private side has it, or this test would prove nothing"
    );
    assert!(
        !everything_in(&elastic, "public").await.contains(PLANTED),
        "a public index"
    );
    for (stream, message) in messages(&nats).await {
        assert!(!message.contains(PLANTED), "a message of stream {stream}");
    }
    for service in SERVICES {
        let log = std::fs::read_to_string(dir.path().join(format!("{service}.log"))).unwrap();
        assert!(log.contains("starting"), "{service} logs: {log}");
        assert!(!log.contains(PLANTED), "the log of {service}");
    }
    assert!(!collector.received().contains(PLANTED), "a trace or metric");
}

/// An index whose mapping somebody made by hand: what does not fit cannot be kept beside either, and becomes a dead letter.
async fn refuse_what_is_put_aside(elastic: &Elastic) {
    let by_hand = json!({"settings": {"number_of_replicas": 0}, "mappings": {"dynamic": false, "properties": {
        "body": {"type": "text"},
        "bug_number": {"type": "long"},
        "bugstream": {"properties": {"unindexed": {"type": "long"}}},
    }}});
    let index = format!("/{}", elastic.name("bugstream-timelines-private-000001"));
    assert_eq!(elastic.call(Method::PUT, &index, Some(&by_hand)).await.0, 200);
}

/// A private issue full of the planted word, with one event that Elasticsearch refuses: its error message quotes it.
async fn plant(github: &Simulator) -> u64 {
    let number = github
        .open(&format!("{PLANTED} title"), &format!("{PLANTED} \"body\" \u{1f41b}"))
        .await
        .unwrap();
    github.make_private(number).await.unwrap();
    github
        .edit(
            number,
            [
                Change::Comment(format!("{PLANTED} comment")),
                Change::Label(format!("{PLANTED} label")),
            ],
        )
        .await
        .unwrap();
    let issue = github.issue(number).unwrap();
    let mut timeline = github.timeline(number).unwrap();
    let mut refused = timeline.last().cloned().unwrap();
    refused["event"] = "commented".into();
    refused["body"] = json!({"an object": format!("{PLANTED} where a text belongs")});
    timeline.push(refused);
    github
        .put_raw(number, &issue.to_string(), &Value::from(timeline).to_string())
        .await
        .unwrap();
    number
}

const SERVICES: [&str; 3] = ["webhook-receiver", "downloader", "indexer"];

struct Services(Vec<Child>);

impl Services {
    fn start(dir: &Path, nats: &Nats, elastic: &Elastic, github: &Simulator, collector: &Collector) -> Self {
        let (receiver, config) = (bugstream_stack::ports::free().unwrap(), dir.join("bugstream.toml"));
        let text = format!(
            "[nats]\nurl = '{}'\n[object_store]\nurl = '{}'\n[elasticsearch]\nnode = '{}'\nprefix = '{}'\n\
             [github]\napi_url = '{}'\n[[repositories]]\nname = 'bugstream-demo/web-bugs'\nprivate = 'bugstream-demo/web-bugs-private'\n\
             [webhook_receiver]\nsecrets = ['s']\ninactivity_delay_s = 0\nlisten = '127.0.0.1:{receiver}'\n\
             [downloader]\nhealth_listen = '127.0.0.1:0'\n[indexer]\nhealth_listen = '127.0.0.1:0'\nreplicas = 0\n\
             [telemetry]\notlp_endpoint = '{}'\nlog_filter = 'debug'\n",
            nats.url(),
            dir.join("objects").display(),
            elastic.node(),
            elastic.prefix(),
            github.url(),
            collector.url,
        );
        std::fs::write(&config, text).unwrap();
        let hook = Webhook {
            url: format!("http://127.0.0.1:{receiver}/github/receive"),
            secret: "s".to_owned(),
        };
        github.set_webhook(Some(hook));
        Self(SERVICES.iter().map(|service| start(service, dir, &config)).collect())
    }

    /// Ends them softly, so that telemetry is flushed.
    fn stop(mut self) {
        for child in &self.0 {
            let pid = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        for child in &mut self.0 {
            assert!(child.wait().unwrap().success());
        }
        self.0.clear();
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(service: &str, dir: &Path, config: &Path) -> Child {
    let log = File::create(dir.join(format!("{service}.log"))).unwrap();
    let test = std::env::current_exe().unwrap();
    let binary = test.ancestors().nth(2).unwrap().join(service);
    let mut command = Command::new(&binary);
    command
        .arg("--config")
        .arg(config)
        // Soon, and not only within the few seconds that an end has for it.
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; build it first", binary.display()))
}

/// Keeps whatever is sent to it by OTLP.
struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<u8>>>,
    _server: tokio::task::JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        let router = Router::new().fallback(move |body: Bytes| {
            kept.lock().unwrap().extend_from_slice(&body);
            std::future::ready(())
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            bodies,
            _server: server,
        }
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.bodies.lock().unwrap()).into_owned()
    }
}

/// Every document of one side, hidden and stubs included.
async fn everything_in(elastic: &Elastic, side: &str) -> String {
    elastic.refresh().await;
    let path = format!(
        "/{}bugstream-*-{side}-*/_search?expand_wildcards=all&size=10000",
        elastic.prefix()
    );
    let (status, answer) = elastic.call(http::Method::GET, &path, None).await;
    assert_eq!(status, 200, "{answer}");
    answer.to_string()
}

/// Every message of every stream, buckets included: its stream, and subject, headers and payload as text.
async fn messages(nats: &Nats) -> Vec<(String, String)> {
    let jetstream = nats.jetstream().await;
    let names: Vec<String> = jetstream.stream_names().try_collect().await.unwrap();
    assert!(
        names.len() >= 6,
        "the log, the queues, the dead letters and the buckets: {names:?}"
    );
    let mut all = Vec::new();
    for name in names {
        let stream = jetstream.get_stream(&name).await.unwrap();
        let state = &stream.cached_info().state;
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                let payload = String::from_utf8_lossy(&message.payload);
                all.push((
                    name.clone(),
                    format!("{} {:?} {payload}", message.subject, message.headers),
                ));
            }
        }
    }
    all
}
