//! The state file: everything survives a restart, and a reader never sees a half.

use bugstream_testkit::github::{Change, Options};

use super::simulator;

#[tokio::test]
async fn edits_deletions_transfers_and_raw_bytes_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state_file: Some(folder.path().join("state.json")),
        ..Options::default()
    };
    let raw = "{ \"number\": 50, \"odd\" : 1.0 }";
    let before = {
        let (sim, _) = simulator(options.clone()).await;
        sim.edit(3, [Change::Title("Kept".into())]).await.unwrap();
        sim.delete(4).await.unwrap();
        sim.transfer(5, "bugstream-demo/elsewhere").await.unwrap();
        sim.put_raw(50, raw, "[]").await.unwrap();
        sim.timeline(3).unwrap()
    };
    let (sim, client) = simulator(Options {
        seed: 99,
        issues: 500,
        ..options
    })
    .await;
    assert_eq!(sim.issue(3).unwrap()["title"], "Kept");
    assert_eq!(sim.timeline(3).unwrap(), before);
    assert_eq!(client.issue("50").await.text, raw);
    assert_eq!(
        [client.issue("4").await.status, client.issue("5").await.status],
        [410, 301]
    );
    assert_eq!(
        sim.numbers().len(),
        19,
        "twenty, one deleted, one moved, one put in: the file goes before the seed"
    );
    let next = sim.edit(3, [Change::Comment("later".into())]).await;
    next.unwrap();
    let ids: Vec<u64> = sim
        .timeline(3)
        .unwrap()
        .iter()
        .filter_map(|event| event["id"].as_u64())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "ids go on where they were: {ids:?}");
}

#[tokio::test]
async fn a_file_that_is_no_state_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    std::fs::write(&file, "{}").unwrap();
    let options = Options {
        state_file: Some(file.clone()),
        ..Options::default()
    };
    let error = bugstream_testkit::github::Simulator::start(options).await.unwrap_err();
    assert!(error.to_string().ends_with("is not a simulator's state"), "{error:#}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
}
