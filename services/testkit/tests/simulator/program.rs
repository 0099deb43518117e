//! The program as the stack runs it: one line when ready, edits by HTTP, an end on SIGTERM, everything kept.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Starts it and waits for its line; returns its address too.
async fn start(state: &Path) -> (Child, String) {
    start_with(state, &[]).await
}

async fn start_with(state: &Path, flags: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_github-simulator"))
        .args(["--listen", "127.0.0.1:0", "--issues", "5", "--state-file"])
        .arg(state)
        .args(flags)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let address = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .unwrap()
        .to_owned();
    assert_eq!(
        line,
        format!("github-simulator ready at {address} with 5 issues of bugstream-demo/web-bugs")
    );
    (child, address)
}

async fn stop(mut child: Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(60), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
}

async fn title(address: &str) -> Value {
    let issue = format!("{address}/repos/bugstream-demo/web-bugs/issues/2");
    reqwest::get(issue).await.unwrap().json::<Value>().await.unwrap()["title"].take()
}

#[tokio::test]
async fn it_says_where_it_is_ends_politely_and_remembers() {
    _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let (child, address) = start(&state).await;
    let edit = reqwest::Client::new()
        .post(format!("{address}/_simulator/issues/2"))
        .json(&json!({"title": "Kept"}));
    assert_eq!(edit.send().await.unwrap().status(), 200);
    stop(child, Signal::TERM).await;
    let (child, address) = start(&state).await;
    assert_eq!(title(&address).await, "Kept");
    stop(child, Signal::INT).await;
}

#[tokio::test]
async fn its_flags_let_things_go_wrong() {
    _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--fault-rate",
        "1",
        "--fault-seed",
        "7",
        "--faults",
        "server_error,html",
        "--webhooks-lost",
        "0.5",
    ];
    let (child, address) = start_with(&folder.path().join("state.json"), &flags).await;
    for _ in 0..4 {
        let answer = reqwest::get(format!("{address}/repos/bugstream-demo/web-bugs/issues/2"))
            .await
            .unwrap();
        let html = answer.headers()["content-type"] == "text/html; charset=utf-8";
        assert!(answer.status().is_server_error() || html);
    }
    stop(child, Signal::TERM).await;
    let output = Command::new(env!("CARGO_BIN_EXE_github-simulator"))
        .args(["--listen", "127.0.0.1:0", "--fault-rate", "2"])
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output)
        .await
        .unwrap()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("a rate is 0 to 1, not 2"));
}
