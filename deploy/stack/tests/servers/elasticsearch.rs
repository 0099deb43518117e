//! Elasticsearch through a crash of the server itself.

use std::time::Duration;

use bugstream_stack::process::Identity;
use bugstream_stack::provision::{self, Cache};
use bugstream_stack::server::{Elasticsearch, ElasticsearchOptions, agent};

use crate::Scratch;

#[test]
fn an_acknowledged_document_survives_a_crash_and_the_value_ends_both_processes() {
    let scratch = Scratch::new("elasticsearch");
    let distribution = provision::elasticsearch(&Cache::open().expect("a cache")).expect("an Elasticsearch");
    let options = ElasticsearchOptions::new(distribution, scratch.path().join("elasticsearch"));
    let mut elasticsearch = Elasticsearch::start(options).expect("it starts");
    let document = format!("{}/crash/_doc/1", elasticsearch.url());
    agent(Duration::from_secs(120))
        .put(&document)
        .send_json(serde_json::json!({"kept": true}))
        .expect("acknowledged");

    let server = Identity::of(elasticsearch.pid().expect("a pid file")).expect("it runs");
    elasticsearch.kill9().expect("it ran");
    assert!(!server.is_alive());
    elasticsearch.restart().expect("it starts again");
    let found = agent(Duration::from_secs(120))
        .get(&document)
        .call()
        .expect("still there");
    assert_eq!(found.status(), 200);

    let server = Identity::of(elasticsearch.pid().expect("a pid file")).expect("it runs again");
    drop(elasticsearch);
    // The server is a grandchild: it was killed with its group, but somebody else reaps it.
    assert!(bugstream_stack::process::wait_until(Duration::from_secs(120), || {
        !server.is_alive()
    }));
}
