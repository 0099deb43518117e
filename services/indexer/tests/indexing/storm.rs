//! The indexing protocol on the real servers: several indexers follow one log, one of them dies in the middle, and the
//! final state is that of the newest events. Its random schedules in full are in `plan/model.rs`.

use std::collections::BTreeMap;

use bugstream_archive::{Archived, Side};
use bugstream_kit::service::Context;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::stage::{Stage, commented, issue, mentioned_in_private, raw, rules};

/// Visible documents by alias: id and revision.
pub(crate) type Visible = BTreeMap<&'static str, Vec<(String, u64)>>;

pub(crate) struct Newest {
    pub(crate) revision: u64,
    pub(crate) content: Option<(Value, Vec<Value>)>,
}

/// Bits that look random and are the same in every run.
pub(crate) fn scrambled(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

pub(crate) async fn change(stage: &Stage, number: u64, bits: u64) -> Newest {
    let id = issue(number);
    if bits.is_multiple_of(5) {
        return Newest {
            revision: stage.delete(&id).await,
            content: None,
        };
    }
    let title = if bits.is_multiple_of(3) {
        "In the moderation queue."
    } else {
        "An open title"
    };
    let mut timeline: Vec<Value> = (0..bits / 7 % 6).map(commented).collect();
    timeline.insert(timeline.len() / 2, mentioned_in_private());
    let raw = raw(number, title);
    Newest {
        revision: stage.download(&id, &raw, &timeline).await,
        content: Some((raw, timeline)),
    }
}

pub(crate) fn expected(newest: &BTreeMap<u64, Newest>) -> Visible {
    let mut visible: Visible = aliases().map(|(alias, ..)| (alias, Vec::new())).into();
    for (number, newest) in newest {
        let Some((raw, timeline)) = &newest.content else {
            continue;
        };
        let (raw, timeline) = (raw.to_string(), json!(timeline).to_string());
        let classified = Archived::parse(raw.as_bytes(), timeline.as_bytes())
            .unwrap()
            .classify(&rules());
        let id = format!("demo/web-bugs/{number}");
        let positions = classified.timeline().iter().enumerate();
        let mut show = |alias, id| visible.get_mut(alias).unwrap().push((id, newest.revision));
        positions.for_each(|(position, side)| show(alias(*side, false), format!("{id}/{position}")));
        show(alias(classified.issue(), true), id);
    }
    visible.values_mut().for_each(|documents| documents.sort());
    visible
}

pub(crate) fn aliases() -> [(&'static str, Side, bool); 4] {
    [
        ("issues-public", Side::Public, true),
        ("issues-private", Side::Private, true),
        ("timelines-public", Side::Public, false),
        ("timelines-private", Side::Private, false),
    ]
}

fn alias(side: Side, is_issue: bool) -> &'static str {
    aliases()
        .into_iter()
        .find(|(_, s, i)| (*s, *i) == (side, is_issue))
        .unwrap()
        .0
}

/// What readers find now.
pub(crate) async fn visible(stage: &Stage) -> Visible {
    let mut visible = Visible::new();
    for (alias, ..) in aliases() {
        visible.insert(alias, stage.visible(alias).await);
    }
    visible
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_indexers_of_which_one_dies_leave_exactly_the_newest_documents() {
    let stage = Stage::start().await;
    let (doomed, third) = (Context::new("indexer"), Context::new("indexer"));
    let mut others = JoinSet::new();
    for context in [&doomed, &third] {
        others.spawn(bugstream_indexer::run(stage.config.clone(), context.clone()));
    }
    let mut newest = BTreeMap::new();
    for step in 0..60 {
        let bits = scrambled(step);
        let number = 1 + bits % 4;
        // An issue begins with a download: a deletion of what was never there is no event.
        let bits = if newest.contains_key(&number) { bits / 4 } else { 1 };
        newest.insert(number, change(&stage, number, bits).await);
        if step == 40 {
            doomed.stop.hard();
        }
    }
    stage.settled().await;
    assert_eq!(visible(&stage).await, expected(&newest));
    assert_eq!(stage.dead_letters().await, []);
    third.stop.soft();
    while let Some(ended) = others.join_next().await {
        ended.unwrap().unwrap();
    }
    stage.stop().await;
}

/// More than one batch, and more than one bulk where the timeline shrinks.
#[tokio::test]
async fn a_timeline_of_thousands_of_long_events_is_indexed_and_shrinks() {
    let stage = Stage::start().await;
    let long = |n: u64| json!({"event": "commented", "id": n, "body": "a long story ".repeat(300)});
    let timeline: Vec<Value> = (0..3_000).map(long).collect();
    stage.download(&issue(5), &raw(5, "much discussed"), &timeline).await;
    stage.settled().await;
    assert_eq!(stage.visible("timelines-public").await.len(), 3_000);
    let shorter = stage.download(&issue(5), &raw(5, "cleaned up"), &timeline[..3]).await;
    stage.settled().await;
    let kept: Vec<(String, u64)> = (0..3).map(|n| (format!("demo/web-bugs/5/{n}"), shorter)).collect();
    assert_eq!(stage.visible("timelines").await, kept);
    stage.stop().await;
}
