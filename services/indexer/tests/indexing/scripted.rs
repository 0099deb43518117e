//! What is done about answers that a healthy Elasticsearch cannot be made to give: a server that answers by script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use bugstream_archive::names::Names;
use bugstream_indexer::bulk::{Batch, Bulker, Options, Refused, Written};
use bugstream_indexer::elastic::call;
use bugstream_indexer::indices::Indices;
use bugstream_kit::chance::Chance;
use bugstream_kit::elastic::{Method, Transport};
use bugstream_testkit::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::stage::{PATIENCE, transport};

/// One answer: an HTTP status, and the status of each item where that is 200.
type Answer = (u16, Vec<u16>);

/// A server that gives the answers in their order and notes which ids each bulk had.
struct Script {
    transport: Transport,
    bulker: Bulker,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
    /// Taken by a test that has the server keep its answers to itself for now.
    speech: Arc<tokio::sync::Mutex<()>>,
    _running: JoinSet<()>,
}

impl Script {
    async fn of(answers: &[(u16, &[u16])]) -> Self {
        let answers: VecDeque<Answer> = answers
            .iter()
            .map(|(status, items)| (*status, items.to_vec()))
            .collect();
        let (answers, asked) = (Arc::new(Mutex::new(answers)), Arc::new(Mutex::new(Vec::new())));
        let (noted, speech) = (Arc::clone(&asked), Arc::<tokio::sync::Mutex<()>>::default());
        let free = Arc::clone(&speech);
        let serve = move |body: String| {
            noted.lock().unwrap().push(ids(&body));
            let answer = answers.lock().unwrap().pop_front();
            let free = Arc::clone(&free);
            async move {
                drop(free.lock().await);
                rendered(answer.expect("the script has an answer for every bulk"))
            }
        };
        let introduced = || async { json!({"version": {"number": "9.4.3"}}).to_string() };
        let router = Router::new().route("/", get(introduced)).fallback(serve);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let transport = transport(&format!("http://{}", listener.local_addr().unwrap()));
        let indices = Arc::new(Indices::new(transport.clone(), Names::default(), None, String::new()));
        let options = Options {
            connections: 1,
            bytes: 5_000_000,
            in_flight: 64_000_000,
        };
        let (bulker, senders) = Bulker::new(transport.clone(), indices, options, Chance::seeded(1));
        let mut running = JoinSet::new();
        running.spawn(async move { senders.run().await.unwrap() });
        running.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            transport,
            bulker,
            asked,
            speech,
            _running: running,
        }
    }

    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().unwrap().clone()
    }
}

fn rendered((status, items): Answer) -> (StatusCode, [(header::HeaderName, &'static str); 1], String) {
    let item = |status: u16| match status {
        200..300 => json!({"index": {"status": status}}),
        _ => {
            json!({"index": {"status": status, "error": {"type": "es_rejected_execution_exception", "reason": "busy"}}})
        }
    };
    let body = json!({"errors": true, "items": items.into_iter().map(item).collect::<Vec<_>>()});
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
}

/// The ids of a bulk body's actions.
fn ids(body: &str) -> Vec<String> {
    let actions = body
        .lines()
        .step_by(2)
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions
        .map(|action| action["index"]["_id"].as_str().unwrap().to_owned())
        .collect()
}

fn batch(ids: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for id in ids {
        batch.push("issues-public", id, 1, |out| out.extend_from_slice(b"{}"));
    }
    batch
}

#[tokio::test]
async fn only_the_items_that_were_busy_are_sent_again() {
    let script = Script::of(&[(200, &[201, 429, 201, 503]), (200, &[503, 200]), (200, &[200])]).await;
    let written = script.bulker.write(batch(&["a", "b", "c", "d"])).await.unwrap();
    assert_eq!(written, vec![Written::Written; 4]);
    assert_eq!(script.asked(), [vec!["a", "b", "c", "d"], vec!["b", "d"], vec!["b"]]);
}

#[tokio::test]
async fn a_bulk_that_is_busy_as_a_whole_is_sent_again_as_a_whole() {
    let script = Script::of(&[(429, &[]), (503, &[]), (200, &[200, 200])]).await;
    let written = script.bulker.write(batch(&["a", "b"])).await.unwrap();
    assert_eq!(written, vec![Written::Written; 2]);
    assert_eq!(script.asked(), vec![vec!["a", "b"]; 3]);
}

#[tokio::test]
async fn a_small_request_outlasts_a_node_that_is_too_busy_for_it() {
    let script = Script::of(&[(429, &[]), (429, &[]), (200, &[])]).await;
    let (status, _) = call(&script.transport, Method::Post, "/some/_refresh", None)
        .await
        .unwrap();
    assert_eq!((status, script.asked().len()), (200, 3));
}

#[tokio::test]
async fn a_bulk_that_is_too_large_is_halved_and_one_document_that_is_too_large_is_refused() {
    let script = Script::of(&[(413, &[]), (200, &[200, 200]), (413, &[]), (413, &[]), (200, &[200])]).await;
    let written = script.bulker.write(batch(&["a", "b", "c", "d"])).await.unwrap();
    let too_large = Written::Refused(Refused {
        error_type: "http_413".to_owned(),
        field: String::new(),
    });
    assert_eq!(
        written,
        [Written::Written, Written::Written, too_large, Written::Written]
    );
    assert_eq!(
        script.asked(),
        [
            vec!["a", "b", "c", "d"],
            vec!["a", "b"],
            vec!["c", "d"],
            vec!["c"],
            vec!["d"]
        ]
    );
}

#[tokio::test]
async fn refused_credentials_are_a_reason_to_hold_and_not_to_try_again() {
    let script = Script::of(&[(401, &[])]).await;
    let error = script.bulker.write(batch(&["a"])).await.unwrap_err();
    assert!(error.to_string().contains("credentials"), "{error}");
}

/// A worker whose lease ran out writes nothing more.
#[tokio::test]
async fn what_no_one_waits_for_is_not_sent_again() {
    let script = Script::of(&[(200, &[429]), (200, &[200])]).await;
    let silence = script.speech.lock().await;
    tokio::select! {
        written = script.bulker.write(batch(&["abandoned"])) => panic!("nobody answers, and it got {written:?}"),
        () = wait::until_true("the first bulk", PATIENCE, async || script.asked().len() == 1) => {}
    }
    drop(silence);
    assert_eq!(script.bulker.write(batch(&["next"])).await.unwrap(), [Written::Written]);
    assert_eq!(script.asked(), [vec!["abandoned"], vec!["next"]]);
}

#[tokio::test]
async fn what_waits_while_the_connection_is_busy_goes_out_together() {
    let script = Script::of(&[(200, &[429]), (200, &[200]), (200, &[200, 200, 200])]).await;
    let first = async { script.bulker.write(batch(&["a"])).await.unwrap() };
    let rest = async {
        wait::until_true("the first bulk", PATIENCE, async || script.asked().len() == 1).await;
        tokio::join!(
            script.bulker.write(batch(&["b"])),
            script.bulker.write(batch(&["c", "d"]))
        )
    };
    let (_, (b, c)) = tokio::join!(first, rest);
    assert_eq!((b.unwrap().len(), c.unwrap().len()), (1, 2));
    assert_eq!(script.asked(), [vec!["a"], vec!["a"], vec!["b", "c", "d"]]);
}
