//! The real servers that the kit hands to tests.

use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::nats::Nats;
use futures_util::StreamExt as _;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_publish_by_hand_arrives_without_headers_or_reply() {
    let nats = Nats::start().await;
    let client = nats.client().await;
    let mut subscription = client.subscribe("download.>").await.unwrap();
    // What comes back on the same connection shows that the server knows the subscription.
    client.publish("download.probe", "".into()).await.unwrap();
    subscription.next().await.unwrap();
    nats.publish_by_hand("download.a.b.1", "").await.unwrap();
    let message = subscription.next().await.unwrap();
    assert_eq!((message.subject.as_str(), message.payload.len()), ("download.a.b.1", 0));
    assert!(message.headers.is_none() && message.reply.is_none());
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_streams() {
    let mut nats = Nats::start().await;
    let config = async_nats::jetstream::stream::Config {
        name: "T".into(),
        subjects: vec!["t".into()],
        ..Default::default()
    };
    let jetstream = nats.jetstream().await;
    jetstream.create_stream(config).await.unwrap();
    jetstream.publish("t", "x".into()).await.unwrap().await.unwrap();
    let url = nats.url();
    nats.kill9();
    assert!(async_nats::connect(&url).await.is_err());
    nats.restart().await;
    assert_eq!(nats.url(), url);
    let mut stream = nats.jetstream().await.get_stream("T").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn what_a_test_leaves_in_elasticsearch_goes_with_its_prefix() {
    let (mine, other) = (Elastic::shared(), Elastic::shared());
    assert_ne!(mine.prefix(), other.prefix());
    for elastic in [&mine, &other] {
        let settings = json!({"settings": {"number_of_replicas": 0, "index.hidden": true}});
        let (status, answer) = elastic
            .call(Method::PUT, &format!("/{}", elastic.name("things")), Some(&settings))
            .await;
        assert_eq!(status, 200, "{answer}");
        let document = format!("/{}/_doc/1", elastic.name("things"));
        assert_eq!(
            elastic.call(Method::PUT, &document, Some(&json!({"a": 1}))).await.0,
            201
        );
        let template = json!({"index_patterns": [elastic.name("*")]});
        assert_eq!(
            elastic
                .call(
                    Method::PUT,
                    &format!("/_index_template/{}", elastic.name("t")),
                    Some(&template)
                )
                .await
                .0,
            200
        );
    }
    assert_eq!(mine.hits("things", json!({"match_all": {}})).await.len(), 1);
    assert_eq!(mine.hits("nothing", json!({"match_all": {}})).await.len(), 0);
    let (things, template) = (
        format!("/{}", mine.name("things")),
        format!("/_index_template/{}", mine.name("t")),
    );
    drop(mine);
    assert_eq!(other.call(Method::GET, &things, None).await.0, 404);
    assert_eq!(other.call(Method::GET, &template, None).await.0, 404);
    assert_eq!(other.indices().await, ["things"]);
}
