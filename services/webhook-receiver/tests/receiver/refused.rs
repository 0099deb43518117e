//! What strangers and broken senders get, and that it changes nothing.

use bugstream_testkit::github::sign;
use bugstream_testkit::nats::Nats;
use bugstream_webhook_receiver::serve::LARGEST_BODY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Delivery, Downloads, Receiver, awake, config, issue};

async fn refused(receiver: &Receiver, delivery: &Delivery, status: u16, reason: &str) {
    let answer = receiver.send(delivery).await;
    assert_eq!(answer.status(), status, "{reason}");
    let text = answer.text().await.expect("a body");
    let json: serde_json::Value = serde_json::from_str(&text).expect("a JSON reason");
    let error = json["error"].as_str().expect("a reason");
    assert!(error.contains(reason), "{reason}: {error}");
}

#[tokio::test]
async fn what_is_forged_or_malformed_gets_a_reason_and_publishes_nothing() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let good = || Delivery::of_issue("d1", "edited", 1);
    let body = |text: &str| Delivery::new("d1", "issues", text);
    let number = |number: &str| {
        let text = issue("edited", 1).to_string();
        body(&text.replace("\"number\":1", &format!("\"number\":{number}")))
    };
    let half = &issue("edited", 1).to_string()[..40];
    let mut changed = good();
    changed.body.push(b' ');

    let missing = "x-hub-signature-256 is missing";
    let sha1 = good().without("x-hub-signature-256").with("x-hub-signature", "sha1=00");
    refused(&receiver, &sha1, 401, missing).await;
    refused(
        &receiver,
        &good().with("x-hub-signature-256", "sha256=zz"),
        401,
        missing,
    )
    .await;
    let other = sign("another secret", &good().body);
    refused(
        &receiver,
        &good().with("x-hub-signature-256", &other),
        401,
        "does not match",
    )
    .await;
    refused(&receiver, &changed, 401, "does not match").await;
    let forged_and_broken = body("{").with("x-hub-signature-256", &other);
    refused(&receiver, &forged_and_broken, 401, "does not match").await;
    refused(
        &receiver,
        &good().with("content-type", "text/plain"),
        415,
        "content type",
    )
    .await;
    refused(&receiver, &good().without("x-github-event"), 400, "x-github-event").await;
    refused(
        &receiver,
        &good().with("x-github-delivery", "a b"),
        400,
        "x-github-delivery",
    )
    .await;
    refused(&receiver, &body(half), 400, "not complete JSON").await;
    refused(&receiver, &body(""), 400, "not complete JSON").await;
    refused(&receiver, &body("[{}]"), 400, "not a JSON object").await;
    for impossible in ["\"1\"", "0", "1180591620717411303424", "-1", "null"] {
        refused(&receiver, &number(impossible), 400, "issue.number").await;
    }

    let downloads = Downloads::of(&nats).await;
    assert_eq!(downloads.last_sequence().await, 0, "nothing was ever published");
    assert_eq!(
        receiver.status(&good()).await,
        202,
        "and a good delivery is none the worse"
    );
    receiver.stop().await;
}

#[tokio::test]
async fn a_body_above_githubs_limit_is_refused_signed_or_not_announced_or_not() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let large = Delivery {
        body: vec![b' '; 26_000_000],
        ..Delivery::of_issue("d1", "edited", 1)
    };
    refused(&receiver, &large, 413, "larger than 25 MB").await;
    refused(
        &receiver,
        &large.clone().without("x-hub-signature-256"),
        413,
        "larger than 25 MB",
    )
    .await;
    assert_eq!(unannounced(&receiver, &large).await, 413);
    assert_eq!(receiver.status(&Delivery::of_issue("d2", "edited", 1)).await, 202);
    receiver.stop().await;
}

/// Sends a body in chunks, without saying how long it will be.
async fn unannounced(receiver: &Receiver, delivery: &Delivery) -> u16 {
    let mut stream = connect(receiver).await;
    let signature = &delivery.headers["x-hub-signature-256"];
    let head = format!(
        "POST /github/receive HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signature}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it listens");
    for chunk in delivery.body.chunks(1 << 20) {
        let size = format!("{:x}\r\n", chunk.len());
        stream.write_all(size.as_bytes()).await.expect("it still reads");
        stream.write_all(chunk).await.expect("it still reads");
        stream.write_all(b"\r\n").await.expect("it still reads");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("it still reads");
    status_of(&mut stream).await
}

#[tokio::test]
async fn a_body_that_never_comes_costs_nobody_else_anything() {
    let nats = Nats::start().await;
    let receiver = Receiver::start(config(&nats.url())).await.ready().await;
    let signature = format!("sha256={}", "0".repeat(64));
    let head = format!(
        "POST /github/receive HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGEST_BODY}\r\nx-hub-signature-256: \
         {signature}\r\n\r\n{{"
    );
    let mut idle = Vec::new();
    let ((), first) = awake(async {
        for _ in 0..50 {
            let mut stream = connect(&receiver).await;
            stream.write_all(head.as_bytes()).await.expect("it listens");
            idle.push(stream);
        }
        assert_eq!(receiver.status(&Delivery::of_issue("d1", "edited", 1)).await, 202);
    })
    .await;
    assert!(first.as_secs() < 5, "it did not wait for the others");
    let ((), then) = awake(async {
        for stream in &mut idle {
            assert_eq!(status_of(stream).await, 408);
        }
    })
    .await;
    assert!((first + then).as_secs() < 10, "each was answered in time");
    receiver.stop().await;
}

async fn connect(receiver: &Receiver) -> TcpStream {
    let address = receiver.url.trim_start_matches("http://");
    TcpStream::connect(address).await.expect("it listens")
}

async fn status_of(stream: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.expect("an answer");
    let line = std::str::from_utf8(&line).expect("a status line");
    line["HTTP/1.1 ".len()..].parse().expect("a status")
}
