//! `add-updated-since` against a GitHub that can be edited and made to fail.

use bugstream_testkit::github::{Fault, FaultRule, Options, Route, Simulator};
use bugstream_testkit::nats::Nats;

use crate::operator::Operator;

async fn start(options: Options) -> (Nats, Simulator, Operator) {
    let (nats, simulator) = (Nats::start().await, Simulator::start(options).await.expect("it starts"));
    let operator = Operator::of(&nats)
        .with("GITHUB_REPO_PUBLIC", simulator.repository())
        .with("GITHUB_API_URL", simulator.url());
    (nats, simulator, operator)
}

/// Issue numbers that wait in `backfill.…`, in the order in which they were queued.
async fn waiting(nats: &Nats) -> Vec<u64> {
    let jetstream = nats.jetstream().await;
    let stream = jetstream.get_stream("DOWNLOADS").await.expect("the stream exists");
    let state = stream.cached_info().state.clone();
    let mut numbers = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.expect("stored");
        let number = message.subject.rsplit('.').next().expect("a last token");
        numbers.push(number.parse().expect("a number"));
    }
    numbers
}

/// All numbers, the newest update first.
fn newest_first(simulator: &Simulator) -> Vec<u64> {
    let mut numbers = simulator.numbers();
    let updated = |number: &u64| {
        let issue = simulator.issue(*number).expect("listed");
        issue["updated_at"].as_str().expect("a time").to_owned()
    };
    numbers.sort_by_key(|number| std::cmp::Reverse(updated(number)));
    numbers
}

#[tokio::test]
async fn everything_updated_since_a_date_is_queued_once() {
    let (nats, simulator, operator) = start(Options {
        issues: 230,
        ..Options::default()
    })
    .await;
    let expected = format!("queued 230 issues of {} for download\n", simulator.repository());
    assert_eq!(
        operator.run("add-updated-since download 1970-01-01").await.out(),
        expected
    );
    let mut found = waiting(&nats).await;
    found.sort_unstable();
    assert_eq!(found, simulator.numbers());
    assert_eq!(simulator.requests().of(Route::List), 3, "one request a hundred issues");
    assert_eq!(simulator.requests().total(), 3, "and no other");
}

#[tokio::test]
async fn only_what_was_updated_since_is_queued() {
    let (nats, simulator, operator) = start(Options::default()).await;
    let order = newest_first(&simulator);
    let since = simulator.issue(order[4]).expect("listed")["updated_at"].clone();
    let line = format!("add-updated-since index {}", since.as_str().expect("a time"));
    let expected = format!("queued 5 issues of {} for index\n", simulator.repository());
    assert_eq!(operator.run(&line).await.out(), expected);
    assert_eq!(
        operator.run("length").await.out(),
        "download.length = 0\nindex.length = 5\n"
    );
    drop(nats);
}

#[tokio::test]
async fn a_limit_takes_the_newest() {
    let (nats, simulator, operator) = start(Options {
        issues: 230,
        ..Options::default()
    })
    .await;
    let line = "add-updated-since download 2008-01-01 --limit 150 --output json";
    assert_eq!(operator.run(line).await.json()["queued"], 150);
    let (mut found, mut wanted) = (waiting(&nats).await, newest_first(&simulator)[..150].to_vec());
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert_eq!(simulator.requests().of(Route::List), 2, "no page more than needed");
}

#[tokio::test]
async fn a_limit_of_github_is_waited_for_and_trouble_passes() {
    let (_nats, simulator, operator) = start(Options::default()).await;
    let slow_down = Fault::SecondaryLimit {
        status: 429,
        retry_after_s: Some(1),
    };
    simulator.fault(FaultRule::next(1, slow_down));
    simulator.fault(FaultRule::next(1, Fault::Status(502)));
    let ran = operator.run("add-updated-since index 2008-01-01").await;
    assert_eq!(
        ran.out,
        format!("queued 20 issues of {} for index\n", simulator.repository())
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    // Once, unless the machine's clock was set back meanwhile; what is shown every ten seconds may follow on a slow one.
    let first = ran.told.lines().next();
    assert_eq!(first, Some("  GitHub asks to wait 1 s (secondary limit)"));
}

#[tokio::test]
async fn what_github_refuses_is_said_with_the_fix() {
    let tokens = vec!["good".to_owned()];
    let (_nats, simulator, operator) = start(Options {
        tokens,
        ..Options::default()
    })
    .await;
    let line = "add-updated-since download 2008-01-01";
    let bad = operator
        .clone()
        .with("GITHUB_PERSONAL_ACCESS_TOKEN", "expired")
        .run(line)
        .await;
    insta::assert_snapshot!(bad.refused().1, @r#"
    error: github does not accept the credentials: token-fa64ea1e: not accepted (401)
      set a valid token (environment variable GITHUB_PERSONAL_ACCESS_TOKEN)
    "#);
    let missing = operator
        .clone()
        .with("GITHUB_PERSONAL_ACCESS_TOKEN", "good")
        .with("GITHUB_REPO_PUBLIC", "bugstream-demo/elsewhere")
        .run(line)
        .await;
    insta::assert_snapshot!(missing.refused().1, @r#"
    error: GitHub shows no issues of bugstream-demo/elsewhere (404)
      check the name, and that the token may read its issues
    "#);
    simulator.fault(FaultRule::next(9, Fault::Status(503)));
    let trouble = operator
        .clone()
        .with("GITHUB_PERSONAL_ACCESS_TOKEN", "good")
        .run(line)
        .await;
    insta::assert_snapshot!(trouble.refused().1, @r#"
    error: cannot list the issues of bugstream-demo/web-bugs: github is in trouble (503)
      run the same command again later: nothing is queued twice
    "#);
    let away = operator.with("GITHUB_API_URL", "http://127.0.0.1:1").run(line).await;
    let (code, error) = away.refused();
    assert_eq!(code, 1);
    assert!(error.contains("the connection to github failed: "), "{error}");
}
