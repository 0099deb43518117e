//! What the real client makes of a GitHub where half of all answers go wrong: the truth or an error, never anything else.

use bugstream_github::{Client, Config, Error, IssueAnswer};
use bugstream_kit::clock::Clock;
use bugstream_proto::{IssueId, RepoName};
use bugstream_testkit::github::{FaultKind, Options, Simulator, Storm};
use serde_json::Value;
use time::macros::datetime;

use super::simulator;

/// Limits are obeyed by waiting, which the second test does.
const LIMITS: &[FaultKind] = &[
    FaultKind::SecondaryLimit,
    FaultKind::SilentSecondaryLimit,
    FaultKind::PrimaryLimit,
];
/// What takes time and is right in the end.
const SLOW: &[FaultKind] = &[FaultKind::Slow, FaultKind::SlowBody];

async fn under(storm: Storm, clock: Clock) -> (Simulator, Client, RepoName) {
    let (sim, _) = simulator(Options {
        issues: 30,
        rate_limit: 1_000_000,
        storm: Some(storm),
        ..Options::default()
    })
    .await;
    let client = Client::new(Config::new(sim.url().parse().unwrap()), clock).unwrap();
    let repository = sim.repository().parse().unwrap();
    (sim, client, repository)
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Whether the truth came.
async fn issue_or_error(sim: &Simulator, client: &Client, id: &IssueId) -> bool {
    match client.issue(id, None).await {
        Ok(IssueAnswer::Found(raw)) => assert_eq!(parsed(&raw.bytes), sim.issue(id.number()).unwrap()),
        Ok(IssueAnswer::NotFound | IssueAnswer::IssuesDisabled) | Err(_) => return false,
        Ok(other) => panic!("{id} is {other:?}"),
    }
    true
}

async fn timeline_or_error(sim: &Simulator, client: &Client, id: &IssueId) -> bool {
    let Ok(timeline) = client.whole_timeline(id).await else {
        return false;
    };
    assert_eq!(parsed(&timeline.bytes), Value::from(sim.timeline(id.number()).unwrap()));
    true
}

#[tokio::test]
async fn under_a_storm_the_client_has_the_truth_or_an_error() {
    let (mut whole, mut failed) = (0, 0);
    for seed in 1..=4 {
        let storm = Storm::new(0.5, seed).without(LIMITS).without(SLOW);
        let clock = Clock::manual(datetime!(2026-01-01 00:00 UTC));
        let (sim, client, repository) = under(storm, clock).await;
        for number in sim.numbers() {
            let id = repository.issue(number).unwrap();
            for came in [
                issue_or_error(&sim, &client, &id).await,
                timeline_or_error(&sim, &client, &id).await,
            ] {
                *(if came { &mut whole } else { &mut failed }) += 1;
            }
        }
        assert!(sim.faults_met().len() >= 8, "{:?}", sim.faults_met());
    }
    assert!(whole >= 60 && failed >= 60, "{whole} whole, {failed} failed");
}

#[tokio::test]
async fn the_client_never_comes_while_told_to_wait() {
    let storm = Storm::new(0.15, 11).of([FaultKind::SecondaryLimit, FaultKind::PrimaryLimit]);
    let (sim, client, repository) = under(storm, Clock::system()).await;
    let (mut limited, mut asked) = (0, 0);
    for number in sim.numbers() {
        let id = repository.issue(number).unwrap();
        while let Err(Error::Limited { after, .. }) = client.issue(&id, None).await {
            limited += 1;
            // Nothing is waited for but the time that GitHub said.
            tokio::time::sleep(after).await;
        }
        asked += 1;
    }
    assert_eq!(asked, 30);
    assert!(limited >= 2, "{:?}", sim.faults_met());
    assert_eq!(sim.requests().while_told_to_wait(), 0);
}
