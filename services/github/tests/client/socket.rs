//! Answers that no GitHub gives: cut, of another kind, from elsewhere; and what is sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bugstream_github::{Client, Config, Error, IssueAnswer};
use bugstream_proto::IssueId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::{TOKEN, clock, config, printed, tokens};

/// Answers each connection with the next of some byte strings, whatever is asked, and closes it.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(answers: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Vec<String> = answers
            .into_iter()
            .map(|answer| answer.replace("{url}", &url))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        let heads = Arc::clone(&asked);
        task.spawn(async move {
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let head = read_head(&mut connection).await;
                heads.lock().unwrap().push(head);
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self {
            url,
            asked,
            _task: task,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

fn json(headers: &str, body: &str) -> String {
    answer("200 OK", &format!("content-type: application/json\r\n{headers}"), body)
}

fn issue() -> IssueId {
    "o/r".parse::<bugstream_proto::RepoName>().unwrap().issue(7).unwrap()
}

fn client(server: &Server) -> Client {
    Client::new(
        Config {
            max_body: 1_000,
            ..config(&server.url)
        },
        clock(),
    )
    .unwrap()
}

#[tokio::test]
async fn requests_carry_version_media_type_agent_and_token() {
    let server = Server::start([json("", r#"{"number":7}"#)]).await;
    let config = Config {
        api_url: format!("{}/api/v3", server.url).parse().unwrap(),
        ..config(&server.url)
    };
    let answer = Client::new(config, clock())
        .unwrap()
        .issue(&issue(), None)
        .await
        .unwrap();
    assert!(matches!(answer, IssueAnswer::Found(raw) if raw.validator.is_none()));
    let head = &server.asked()[0];
    assert!(
        head.starts_with("GET /api/v3/repos/o/r/issues/7 HTTP/1.1\r\n"),
        "{head}"
    );
    for line in [
        "x-github-api-version: 2022-11-28",
        "accept: application/vnd.github+json",
        &format!("authorization: Bearer {TOKEN}"),
        &format!("user-agent: bugstream/{}", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} is not in {head}");
    }
}

#[tokio::test]
async fn what_is_no_whole_json_object_is_no_issue() {
    let long = format!(r#"{{"number":7,"secret":"{}"}}"#, "x".repeat(1_000));
    let chunked = |tail: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nc\r\n{{\"number\":7}}\r\n{tail}"
        )
    };
    let table = [
        (
            answer("200 OK", "content-type: text/html\r\n", "<p>secret"),
            "does not say that it is JSON",
        ),
        (answer("200 OK", "", r#"{"number":7}"#), "does not say that it is JSON"),
        (
            answer("404 Not Found", "content-type: text/html\r\n", "<p>secret"),
            "does not say that it is JSON",
        ),
        (
            answer("410 Gone", "content-type: application/json\r\n", r#"["secret"]"#),
            "a failure without a message",
        ),
        (
            answer(
                "404 Not Found",
                "content-type: application/json\r\n",
                r#"{"message": 5}"#,
            ),
            "a failure without a message",
        ),
        (json("", r#"{"number":7,"title":"secr"#), "the JSON is cut short"),
        (json("", "<p>secret"), "it is not JSON"),
        (json("", r#"{"number":"secret"}"#), "the JSON has another shape"),
        (json("", r#"[7,"https://a/repos/o/r"]"#), "the JSON has another shape"),
        (json("", r#"{"number":8}"#), "another issue's number"),
        (json("", &long), "larger than 1000 bytes"),
        (
            json("", r#"{"number":7}"#).replace("length: 12", "length: 90"),
            "the connection to github failed",
        ),
        (chunked(""), "the connection to github failed"),
        (chunked("zz\r\n"), "the connection to github failed"),
        (String::new(), "the connection to github failed"),
        ("SSH-2.0-x\r\n".to_owned(), "the connection to github failed"),
        (answer("204 No Content", "", ""), "unexpected status (204)"),
        (answer("304 Not Modified", "", ""), "unexpected status (304)"),
        (answer("302 Found", "location: /x\r\n", ""), "unexpected status (302)"),
    ];
    for (bytes, want) in table {
        let server = Server::start([bytes.clone()]).await;
        let error = client(&server).issue(&issue(), None).await.expect_err(&bytes);
        assert!(error.to_string().contains(want), "{bytes}: {error}");
        for hidden in ["secr", TOKEN] {
            assert!(!printed(&error).contains(hidden), "{hidden} is in {}", printed(&error));
        }
    }
}

#[tokio::test]
async fn an_unreachable_github_is_a_transport_error() {
    // Nobody listens on port 1. One that was let go might be another test's a moment later.
    let error = crate::client("http://127.0.0.1:1")
        .issue(&issue(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Transport(_)), "{error}");
    assert!(!printed(&error).contains(TOKEN));
}

#[tokio::test]
async fn the_token_never_leaves_the_origin() {
    let elsewhere = Server::start([json("", "[]")]).await;
    let away = format!(
        "link: <{}/repos/o/r/issues/7/timeline?page=2>; rel=\"next\"\r\n",
        elsewhere.url
    );
    let server = Server::start([json(&away, "[{}]")]).await;
    assert!(matches!(
        client(&server).whole_timeline(&issue()).await,
        Err(Error::Malformed { .. })
    ));
    for status in [
        "301 Moved Permanently",
        "308 Permanent Redirect",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let server = Server::start([answer(status, &format!("location: {}/x\r\n", elsewhere.url), "")]).await;
        assert!(client(&server).issue(&issue(), None).await.is_err(), "{status}");
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn redirects_that_do_not_end_are_an_error() {
    let round = || {
        answer(
            "301 Moved Permanently",
            "location: {url}/repositories/1/issues/7\r\n",
            "",
        )
    };
    let server = Server::start((0..9).map(|_| round())).await;
    let client = client(&server);
    let IssueAnswer::Moved(location) = client.issue(&issue(), None).await.unwrap() else {
        panic!("not moved")
    };
    assert_eq!(location.url().path(), "/repositories/1/issues/7");
    assert!(matches!(
        client.moved_issue(&location).await,
        Err(Error::Malformed { .. })
    ));
    assert!(server.asked().len() < 9);
}

#[tokio::test]
async fn pages_that_are_wrong_spoil_the_timeline() {
    let link = |target: &str| format!("link: <{{url}}{target}>; rel=\"next\"\r\n");
    let path = "/repositories/1/issues/7/timeline?page=";
    let table = [
        (
            vec![
                json(&link(&format!("{path}2")), "[{}]"),
                json(&link(&format!("{path}2")), "[{}]"),
            ],
            "do not end",
        ),
        (
            vec![json(&link("/repositories/1/issues/8/timeline?page=2"), "[{}]")],
            "another list",
        ),
        (
            vec![
                json(&link(&format!("{path}2")), "[{}]"),
                json("", r#"{"message":"secret"}"#),
            ],
            "another shape",
        ),
        (
            vec![json(&link(&format!("{path}2")), "[{}]"), json("", r#"["secret"]"#)],
            "is no object",
        ),
        (
            vec![json(&link(&format!("{path}2")), "[{}]"), json("", "[{},")],
            "cut short",
        ),
        (vec![json("link: rel=next\r\n", "[{}]")], "Link header"),
        (
            (2..5)
                .map(|n| {
                    json(
                        &link(&format!("{path}{n}")),
                        &format!("[{{\"a\":\"{}\"}}]", "x".repeat(400)),
                    )
                })
                .collect(),
            "larger than 1000 bytes",
        ),
    ];
    for (pages, want) in table {
        let server = Server::start(pages).await;
        let error = client(&server).whole_timeline(&issue()).await.unwrap_err();
        assert!(error.to_string().contains(want), "{error} instead of {want}");
        assert!(!printed(&error).contains("secret"));
    }
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // Each answer waits for a second request, so two at once are needed to get on, and three would be seen.
    let pair = Arc::new(Barrier::new(2));
    let mut server = JoinSet::new();
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    server.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let (now, most, pair) = (Arc::clone(&counted), Arc::clone(&highest), Arc::clone(&pair));
            connections.spawn(async move {
                read_head(&mut connection).await;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                pair.wait().await;
                now.fetch_sub(1, Ordering::SeqCst);
                connection
                    .write_all(json("", r#"{"number":7}"#).as_bytes())
                    .await
                    .unwrap();
            });
        }
    });
    let client = Client::new(
        Config {
            concurrency: 2,
            ..config(&url)
        },
        clock(),
    )
    .unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let client = client.clone();
        requests.spawn(async move { client.issue(&issue(), None).await });
    }
    while let Some(answer) = requests.join_next().await {
        assert!(matches!(answer.unwrap(), Ok(IssueAnswer::Found(_))));
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_configuration_that_makes_no_client_says_why() {
    let with = |change: fn(&mut Config)| {
        let mut config = config("https://api.github.com");
        change(&mut config);
        Client::new(config, clock()).map(|_| ()).unwrap_err()
    };
    let table = [
        (with(|c| c.concurrency = 0), "0 requests at once"),
        (with(|c| c.concurrency = 101), "101 requests at once"),
        (with(|c| c.credentials = tokens(["secret\n"])), "no token has"),
        (with(|c| c.api_url = "ftp://api.github.com".parse().unwrap()), "http(s)"),
        (
            with(|c| c.api_url = "https://secret@api.github.com".parse().unwrap()),
            "without credentials",
        ),
        (
            with(|c| c.api_url = "https://api.github.com/?a=secret".parse().unwrap()),
            "without credentials",
        ),
    ];
    for (error, want) in table {
        assert!(error.to_string().contains(want), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    assert!(!format!("{:?}", Client::new(config("https://api.github.com"), clock()).unwrap()).contains(TOKEN));
}
