//! nats-server over its own protocol: what `nats pub` sends is a line over TCP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use bugstream_stack::process::Identity;
use bugstream_stack::provision::{self, Cache};
use bugstream_stack::server::{Nats, NatsOptions};

use crate::Scratch;

fn start(scratch: &Scratch) -> Nats {
    let binary = provision::nats_server(&Cache::open().expect("a cache")).expect("a NATS server");
    Nats::start(NatsOptions::new(binary, scratch.path().join("nats"))).expect("it starts")
}

/// Asks JetStream's API and returns the JSON reply.
fn request(nats: &Nats, subject: &str, payload: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", nats.port())).expect("it accepts clients");
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .expect("a timeout can be set");
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB reply 1\r\n";
    write!(
        &stream,
        "{connect}PUB {subject} reply {}\r\n{payload}\r\n",
        payload.len()
    )
    .expect("it reads");
    lines
        .by_ref()
        .map(|line| line.expect("an answer in time"))
        .skip_while(|line| !line.starts_with("MSG reply"))
        .nth(1)
        .expect("a payload follows its header")
}

#[test]
fn a_stream_survives_a_crash_and_a_restart_on_the_same_port() {
    let scratch = Scratch::new("nats-crash");
    let mut nats = start(&scratch);
    let made = request(
        &nats,
        "$JS.API.STREAM.CREATE.TEST",
        "{\"name\":\"TEST\",\"subjects\":[\"test.>\"]}",
    );
    assert!(made.contains("\"did_create\":true"), "{made}");
    assert!(request(&nats, "test.one", "hello").contains("\"seq\":1"));
    let (url, first) = (nats.url(), Identity::of(nats.pid()).expect("it runs"));
    nats.kill9();
    assert!(!first.is_alive());
    nats.restart().expect("it starts again");
    assert_eq!(nats.url(), url);
    let info = request(&nats, "$JS.API.STREAM.INFO.TEST", "");
    assert!(info.contains("\"messages\":1"), "{info}");
}

#[test]
fn a_server_ends_with_its_value_and_on_a_polite_stop() {
    let scratch = Scratch::new("nats-end");
    let mut nats = start(&scratch);
    let first = Identity::of(nats.pid()).expect("it runs");
    nats.stop();
    assert!(!first.is_alive());
    nats.restart().expect("it starts again");
    let second = Identity::of(nats.pid()).expect("it runs");
    drop(nats);
    assert!(!second.is_alive());
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let scratch = Scratch::new("nats-taken");
    let nats = start(&scratch);
    let binary = provision::nats_server(&Cache::open().expect("a cache")).expect("a NATS server");
    let options = NatsOptions {
        port: nats.port(),
        ..NatsOptions::new(binary, scratch.path().join("second"))
    };
    let error = Nats::start(options).expect_err("the port is taken");
    assert!(error.to_string().contains("address already in use"), "{error}");
}
