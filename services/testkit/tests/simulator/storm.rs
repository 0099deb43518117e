//! Faults by chance: as often as said, the same for a seed, and each of them what it is called.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bugstream_testkit::github::{Fault, FaultKind, FaultRule, Options, Route, Simulator, Storm};
use clap::ValueEnum as _;
use serde_json::json;

use super::{Client, simulator};

/// How long a machine may stand still.
const LONG: Duration = Duration::from_secs(120);

/// Those that cost no time.
fn quick() -> Vec<FaultKind> {
    let slow = [FaultKind::Slow, FaultKind::SlowBody];
    let all = FaultKind::value_variants().iter().copied();
    all.filter(|kind| !slow.contains(kind)).collect()
}

async fn stormy(storm: Storm) -> (Simulator, Client) {
    let options = Options {
        issues: 30,
        rate_limit: 1_000_000,
        storm: Some(storm),
        ..Options::default()
    };
    simulator(options).await
}

/// What came of a request: status, content type and length of the body; or that none came.
async fn outcome(client: &Client, path: &str) -> String {
    let Ok(response) = client.http.get(format!("{}{path}", client.base)).send().await else {
        return "no answer".to_owned();
    };
    let status = response.status();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    match response.bytes().await {
        Ok(body) => format!("{status} {kind} {}", body.len()),
        Err(_) => format!("{status} {kind} cut"),
    }
}

async fn outcomes(storm: Storm) -> (Vec<String>, BTreeMap<&'static str, u64>) {
    let (sim, client) = stormy(storm).await;
    sim.stop_clock();
    let mut seen = Vec::new();
    for i in 0..400 {
        // So that a limit is over at the next request, however fast they come.
        sim.advance(Duration::from_secs(4));
        let number = i % 25 + 1;
        let path = match i % 3 {
            0 => format!("/{number}"),
            1 => format!("/{number}/timeline"),
            _ => "?state=all".to_owned(),
        };
        seen.push(outcome(&client, &format!("/repos/bugstream-demo/web-bugs/issues{path}")).await);
    }
    (seen, sim.faults_met())
}

#[tokio::test]
async fn a_seed_repeats_its_faults_at_the_rate_that_was_said() {
    let storm = |seed| Storm::new(0.2, seed).of(quick());
    let (first, met) = outcomes(storm(7)).await;
    let (again, _) = outcomes(storm(7)).await;
    assert_eq!(first, again);
    let (other, _) = outcomes(storm(8)).await;
    assert_ne!(first, other);
    let hit: u64 = met.values().sum();
    assert!((50..=110).contains(&hit), "{hit} of 400 hit: {met:?}");
    assert!(met.len() >= 11, "{met:?}");
    let (calm, none) = outcomes(storm(7).of([FaultKind::EmptyList])).await;
    let lists = |seen: &[String]| seen.iter().skip(2).step_by(3).filter(|one| one.ends_with(" 2")).count();
    assert_eq!(
        lists(&calm),
        usize::try_from(none["empty_list"]).unwrap(),
        "only lists can be empty"
    );
    assert!(calm.iter().all(|one| one.starts_with("200 OK application/json")));
}

#[tokio::test]
async fn requests_that_overtake_each_other_do_not_change_what_befalls_the_others() {
    let path = |number: u64| format!("/repos/bugstream-demo/web-bugs/issues/{number}");
    let storm = || Storm::new(0.5, 3).of([FaultKind::ServerError, FaultKind::HalfBody]);
    let (_forth, client) = stormy(storm()).await;
    let mut forth = Vec::new();
    for number in 1..=25 {
        forth.push(outcome(&client, &path(number)).await);
    }
    let (_back, client) = stormy(storm()).await;
    let mut back = Vec::new();
    for number in (1..=25).rev() {
        back.push(outcome(&client, &path(number)).await);
    }
    back.reverse();
    assert_eq!(forth, back);
}

#[tokio::test]
async fn an_issue_that_was_hit_often_enough_is_spared_and_lists_are_not() {
    let (sim, client) = stormy(Storm::new(1.0, 5).of([FaultKind::ServerError]).each_issue_at_most(2)).await;
    let mut seen = Vec::new();
    for path in ["issues/3", "issues/3/timeline", "issues/4", "issues"].repeat(4) {
        let outcome = outcome(&client, &format!("/repos/bugstream-demo/web-bugs/{path}")).await;
        seen.push(outcome.starts_with("200 OK"));
    }
    let rounds: Vec<&[bool]> = seen.chunks(4).collect();
    assert_eq!(rounds[..2], [[false; 4]; 2], "{:?}", sim.faults_met());
    assert_eq!(rounds[2..], [[true, true, true, false]; 2], "{:?}", sim.faults_met());
}

#[tokio::test]
async fn a_404_that_is_not_meant_never_comes_twice_running() {
    let (_sim, client) = stormy(Storm::new(1.0, 5).of([FaultKind::NotFound])).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(client.issue("3").await.status);
    }
    assert_eq!(seen, [404, 200, 404, 200, 404, 200]);
}

#[tokio::test]
async fn each_fault_is_what_it_is_called() {
    let (sim, client) = simulator(Options::default()).await;
    let issue = "/repos/bugstream-demo/web-bugs/issues/3";
    let whole = client.get(issue).await;
    let half = whole.text.len() / 2;
    let expected = [
        (Fault::NoAnswer, "no answer".to_owned()),
        (
            Fault::Truncated,
            "200 OK application/json; charset=utf-8 cut".to_owned(),
        ),
        (
            Fault::HalfBody,
            format!("200 OK application/json; charset=utf-8 {half}"),
        ),
        (
            Fault::WrongType,
            format!("200 OK text/html; charset=utf-8 {}", whole.text.len()),
        ),
        (
            Fault::SlowBody(50),
            format!("200 OK application/json; charset=utf-8 {}", whole.text.len()),
        ),
        (
            Fault::EmptyList,
            format!("200 OK application/json; charset=utf-8 {}", whole.text.len()),
        ),
    ];
    for (fault, seen) in expected {
        sim.fault(FaultRule::next(1, fault.clone()));
        assert_eq!(outcome(&client, issue).await, seen, "{fault:?}");
        assert_eq!(client.get(issue).await.text, whole.text, "after {fault:?}");
    }
    for (fault, kind) in [(Fault::Html, "text/html"), (Fault::HtmlAsJson, "application/json")] {
        sim.fault(FaultRule::next(1, fault));
        let page = client.get(issue).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, format!("{kind}; charset=utf-8").as_str())
        );
        assert!(page.text.starts_with("<!DOCTYPE html>"));
    }
}

#[tokio::test]
async fn a_list_is_empty_now_and_then_and_says_nothing_of_further_pages() {
    let (sim, client) = simulator(Options::default()).await;
    let list = "/repos/bugstream-demo/web-bugs/issues?state=all&per_page=5";
    sim.fault(FaultRule::next(1, Fault::EmptyList).route(Route::List));
    let empty = client.get(list).await;
    assert_eq!(
        (empty.status, empty.text.as_str(), empty.link("next")),
        (200, "[]", None)
    );
    assert_eq!(client.get(list).await.numbers().len(), 5);
}

#[tokio::test]
async fn a_304_is_hit_too() {
    let (sim, client) = simulator(Options::default()).await;
    let path = "/repos/bugstream-demo/web-bugs/issues/3";
    let tag = client.get(path).await.header("etag").to_owned();
    let ask = || {
        client
            .http
            .get(format!("{}{path}", client.base))
            .header("if-none-match", &tag)
            .send()
    };
    assert_eq!(ask().await.unwrap().status(), 304);
    for fault in [Fault::NoAnswer, Fault::Truncated] {
        sim.fault(FaultRule::next(1, fault));
        assert!(ask().await.is_err());
    }
    sim.fault(FaultRule::next(1, Fault::Status(502)));
    assert_eq!(ask().await.unwrap().status(), 502);
    assert_eq!(ask().await.unwrap().status(), 304);
}

#[tokio::test]
async fn a_slow_body_begins_at_once_and_ends_late() {
    let (sim, client) = simulator(Options::default()).await;
    let issue = format!("{}/repos/bugstream-demo/web-bugs/issues/3", client.base);
    // A head that came with the body would come tomorrow.
    sim.fault(FaultRule::next(1, Fault::SlowBody(24 * 3_600_000)));
    let response = client.http.get(&issue).timeout(LONG).send().await.unwrap();
    assert!(response.headers().contains_key("content-length"));
    drop(response);
    sim.fault(FaultRule::next(1, Fault::SlowBody(600)));
    let asked = Instant::now();
    let response = client.http.get(&issue).send().await.unwrap();
    response.bytes().await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(600));
}

#[tokio::test]
async fn an_exhausted_primary_limit_says_when_it_ends() {
    let (sim, client) = simulator(Options::default()).await;
    sim.stop_clock();
    sim.fault(FaultRule::next(1, Fault::PrimaryLimit { resets_in_s: 1_000 }));
    let refused = client.issue("3").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert_eq!(client.issue("3").await.status, 403, "until then");
    sim.advance(Duration::from_secs(1_001));
    assert_eq!(client.issue("3").await.status, 200);
}

#[tokio::test]
async fn who_comes_while_told_to_wait_is_counted() {
    let (sim, client) = simulator(Options::default()).await;
    sim.stop_clock();
    let limits = [
        (
            Fault::SecondaryLimit {
                status: 429,
                retry_after_s: Some(7),
            },
            7,
        ),
        (
            Fault::SecondaryLimit {
                status: 403,
                retry_after_s: None,
            },
            60,
        ),
        (Fault::PrimaryLimit { resets_in_s: 9 }, 10),
    ];
    for (i, (limit, wait)) in (0..).zip(limits) {
        sim.fault(FaultRule::next(1, limit));
        client.issue("3").await;
        client.issue("4").await;
        assert_eq!(
            sim.requests().while_told_to_wait(),
            i,
            "what was under way is not counted"
        );
        sim.advance(Duration::from_secs(wait - 2));
        let path = "/repos/bugstream-demo/web-bugs/issues/5";
        assert_eq!(
            client.get_with(path, &[("authorization", "Bearer other")]).await.status,
            200
        );
        assert_eq!(sim.requests().while_told_to_wait(), i, "another's limit binds nobody");
        client.issue("5").await;
        assert_eq!(sim.requests().while_told_to_wait(), i + 1);
        sim.advance(Duration::from_secs(3));
        client.issue("6").await;
        assert_eq!(sim.requests().while_told_to_wait(), i + 1, "the wait is over");
    }
}

#[tokio::test]
async fn faults_are_ordered_by_http_too() {
    let (sim, client) = simulator(Options::default()).await;
    let faults = format!("{}/_simulator/faults", client.base);
    let order = async |order: serde_json::Value| {
        let answer = client.http.post(&faults).json(&order).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(
        order(json!({"rate": 1.0, "seed": 7, "kinds": ["html_as_json"]}))
            .await
            .0,
        200
    );
    assert!(client.issue("3").await.text.starts_with("<!DOCTYPE"));
    assert_eq!(
        order(json!({"fault": {"status": 502}, "route": "timeline"})).await.0,
        200
    );
    assert_eq!(
        client.issue("3/timeline").await.status,
        502,
        "what was ordered goes before chance"
    );
    for (wrong, why) in [
        (json!({"rate": 1.5}), "0 to 1"),
        (json!({"rate": 0.5, "kinds": []}), "of no kind"),
        (json!({"rate": 0.5, "kinds": ["hail"]}), "hail"),
        (json!({"rates": 0.5}), "unknown field"),
        (json!({"fault": "hail"}), "hail"),
    ] {
        let (status, text) = order(wrong).await;
        assert!(status == 422 && text.contains(why), "{status} {text}");
    }
    let met = client.get("/_simulator/faults").await.json();
    assert_eq!(met, json!({"met": {"html_as_json": 1, "status": 1}}));
    client.http.delete(&faults).send().await.unwrap();
    assert_eq!(client.issue("3").await.json(), sim.issue(3).unwrap());
}
