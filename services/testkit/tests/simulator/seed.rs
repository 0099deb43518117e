//! The invented tracker: the same every time, distributed as stated, and no contradiction in it.

use std::collections::BTreeSet;

use bugstream_testkit::github::{MODERATION_TITLE, Options, Simulator};
use serde_json::Value;

async fn seeded(issues: u64, seed: u64) -> Vec<(Value, Vec<Value>)> {
    let sim = Simulator::start(Options {
        issues,
        seed,
        ..Options::default()
    })
    .await
    .unwrap();
    sim.numbers()
        .into_iter()
        .map(|n| (sim.issue(n).unwrap(), sim.timeline(n).unwrap()))
        .collect()
}

#[tokio::test]
async fn the_same_seed_is_the_same_tracker() {
    let (one, again, other) = (seeded(60, 1).await, seeded(60, 1).await, seeded(60, 2).await);
    assert!(one == again);
    assert!(one != other);
    let longer = seeded(80, 1).await;
    assert!(longer[..60] == one[..], "more issues leave the first ones as they are");
}

#[tokio::test]
async fn five_hundred_issues_are_distributed_as_stated() {
    let all = seeded(500, 1).await;
    assert_eq!(all.len(), 500);
    let mut sizes: Vec<usize> = all.iter().map(|(_, timeline)| timeline.len()).collect();
    sizes.sort_unstable();
    let events: usize = sizes.iter().sum();
    assert!((5..=8).contains(&sizes[250]), "median {}", sizes[250]);
    assert!((6_000..=10_000).contains(&events), "{events} events");
    let beyond = |size: usize| sizes.iter().filter(|s| **s > size).count();
    assert!(
        (10..=35).contains(&beyond(100)),
        "{} timelines of more than a page",
        beyond(100)
    );
    assert!(
        (3..=12).contains(&beyond(200)),
        "{} timelines of three pages",
        beyond(200)
    );

    let count = |what: &dyn Fn(&Value) -> bool| all.iter().filter(|(issue, _)| what(issue)).count();
    let pulls = count(&|issue| issue.get("pull_request").is_some());
    let private = count(&|issue| issue["title"] == MODERATION_TITLE);
    let closed = count(&|issue| issue["state"] == "closed");
    assert!((40..=80).contains(&pulls), "{pulls} pull requests");
    assert!((12..=40).contains(&private), "{private} private");
    assert!((180..=320).contains(&closed), "{closed} closed");
    let titles: BTreeSet<&str> = all.iter().map(|(issue, _)| issue["title"].as_str().unwrap()).collect();
    assert!(titles.len() > 280, "{} different titles", titles.len());
    assert!(
        all[41].0.get("pull_request").is_none() && all[41].0["title"] != MODERATION_TITLE,
        "number 42 is a report"
    );
}

#[tokio::test]
async fn every_moderated_issue_has_its_content_in_the_first_cross_reference() {
    let mut moderated = 0;
    for (issue, timeline) in seeded(200, 1).await {
        if issue["title"] == MODERATION_TITLE {
            moderated += 1;
            let first = timeline
                .iter()
                .find(|event| event["event"] == "cross-referenced")
                .unwrap();
            assert_eq!(first["source"]["issue"]["repository"]["private"], true);
            assert_ne!(first["source"]["issue"]["title"], MODERATION_TITLE);
        }
    }
    assert!(moderated > 3);
}

#[tokio::test]
async fn an_issue_agrees_with_its_timeline() {
    for (issue, timeline) in seeded(200, 1).await {
        let count = |kind: &str| timeline.iter().filter(|event| event["event"] == kind).count();
        assert_eq!(issue["comments"].as_u64().unwrap(), count("commented") as u64);
        let (labels, balance) = (
            issue["labels"].as_array().unwrap().len(),
            count("labeled") - count("unlabeled"),
        );
        assert_eq!(labels, balance, "issue {}", issue["number"]);
        assert_eq!(issue["state"] == "closed", issue["closed_at"].is_string());
        let ids: Vec<u64> = timeline.iter().filter_map(|event| event["id"].as_u64()).collect();
        assert!(ids.is_sorted());
        let without: BTreeSet<&str> = timeline
            .iter()
            .filter(|event| event.get("id").is_none())
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert!(
            without.is_subset(&BTreeSet::from(["cross-referenced", "committed"])),
            "{without:?}"
        );
    }
}
