//! Rebuilds and roll-backs on the real servers, beside a live indexer, edits and searchers, and killed at many moments.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bugstream_archive::names::Kind;
use bugstream_indexer::rebuild::{Options, Progress, RebuildError, Rebuilder, Rebuilt};
use bugstream_kit::service::Context;
use bugstream_proto::{topology, v1};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::stage::{PATIENCE, Stage, commented, issue, mentioned_in_private, raw};
use crate::storm::{Newest, change, expected, scrambled, visible};

/// Issues with numbers from here are never edited: a searcher must find all of them at any moment.
const STILL: u64 = 1_000;
const STILL_ONES: u64 = 20;

async fn rebuilder(stage: &Stage) -> Rebuilder {
    let broker = stage.broker.clone();
    Rebuilder::new(stage.config.clone(), broker, Context::new("queue-cli"))
        .await
        .unwrap()
}

async fn rebuild(stage: &Stage) -> Rebuilt {
    rebuilder(stage)
        .await
        .rebuild(Options::default(), &|_| {})
        .await
        .unwrap()
}

async fn fill(stage: &Stage) -> BTreeMap<u64, Newest> {
    let mut newest = BTreeMap::new();
    for number in 1..=12 {
        newest.insert(number, change(stage, number, 1 + number * 16).await);
    }
    for number in STILL..STILL + STILL_ONES {
        let (raw, timeline) = (raw(number, "nobody touches this"), vec![commented(1), commented(2)]);
        let revision = stage.download(&issue(number), &raw, &timeline).await;
        newest.insert(
            number,
            Newest {
                revision,
                content: Some((raw, timeline)),
            },
        );
    }
    stage.settled().await;
    stage.elastic.refresh().await;
    newest
}

/// Edits, deletions and flips of the wall, until told to stop.
async fn edit(stage: &Stage, newest: &mut BTreeMap<u64, Newest>, stop: &AtomicUsize) -> u64 {
    let mut step = 0;
    while stop.load(Ordering::Relaxed) == 0 {
        let bits = scrambled(step);
        let number = 1 + bits % 12;
        newest.insert(number, change(stage, number, bits / 12).await);
        step += 1;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    step
}

/// Counts what nobody touches, through the alias that analysts use, and looks for private words on the public side.
async fn search(stage: &Stage, stop: &AtomicUsize) -> u64 {
    let still = json!({"query": {"range": {"bug_number": {"gte": STILL}}}});
    let private = json!({"query": {"query_string": {"query": "\"The real title\" OR \"The real body\""}}});
    let mut looks = 0;
    while stop.load(Ordering::Relaxed) == 0 {
        for (alias, body, wanted) in [
            ("issues", &still, STILL_ONES),
            ("timelines", &still, 2 * STILL_ONES),
            ("issues-public", &private, 0),
            ("timelines-public", &private, 0),
        ] {
            let path = format!("/{}/_count", stage.elastic.name(alias));
            let (status, answer) = stage.elastic.call(Method::POST, &path, Some(body)).await;
            assert_eq!((status, &answer["count"]), (200, &json!(wanted)), "{alias}: {answer}");
        }
        looks += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    looks
}

/// Runs `work` while issues are edited and searched; all is right afterwards.
async fn amid_everything<T>(stage: &Stage, newest: &mut BTreeMap<u64, Newest>, work: impl Future<Output = T>) -> T {
    let stop = AtomicUsize::new(0);
    let work = async {
        let worked = work.await;
        stop.store(1, Ordering::Relaxed);
        worked
    };
    let (worked, edits, looks) = tokio::join!(work, edit(stage, newest, &stop), search(stage, &stop));
    assert!(edits > 0 && looks > 0, "{edits} edits, {looks} looks");
    stage.settled().await;
    assert_eq!(visible(stage).await, expected(newest));
    worked
}

/// The indices that readers see, without side.
async fn serving(stage: &Stage) -> Vec<String> {
    let path = format!("/{}/_alias", stage.elastic.name("issues"));
    let (_, answer) = stage.elastic.call(Method::GET, &path, None).await;
    let mut names: Vec<String> = answer.as_object().unwrap().keys().cloned().collect();
    names
        .iter_mut()
        .for_each(|name| *name = name[stage.elastic.prefix().len()..].to_owned());
    names
}

async fn is_paused(stage: &Stage) -> bool {
    let stream = stage.broker.jetstream.get_stream(topology::ISSUES).await.unwrap();
    stream.consumer_info(topology::INDEXER.name).await.unwrap().paused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_and_a_roll_back_amid_edits_and_searches_lose_nothing_and_show_nothing_private() {
    let stage = Stage::start().await;
    let mut newest = fill(&stage).await;
    let rebuilt = amid_everything(&stage, &mut newest, Box::pin(rebuild(&stage))).await;
    assert_eq!((rebuilt.generation, rebuilt.holes.len()), (2, 0));
    assert_eq!(
        serving(&stage).await,
        ["bugstream-issues-private-000002", "bugstream-issues-public-000002"]
    );
    let rebuilder = rebuilder(&stage).await;
    let back = amid_everything(&stage, &mut newest, Box::pin(rebuilder.roll_back(None, &|_| {})))
        .await
        .unwrap();
    assert_eq!(back.generation, 1);
    assert_eq!(
        serving(&stage).await,
        ["bugstream-issues-private-000001", "bugstream-issues-public-000001"]
    );
    assert!(!is_paused(&stage).await);
    assert_eq!(stage.dead_letters().await, []);
    stage.stop().await;
}

/// Runs a rebuild and drops it, with everything that it has under way, at a moment.
async fn killed(stage: &Stage, options: Options, moment: impl Fn(Progress) -> bool + Sync) -> Option<Rebuilt> {
    let now = Notify::new();
    let tell = |progress: Progress| {
        if moment(progress) {
            now.notify_one();
        }
    };
    let rebuilder = rebuilder(stage).await;
    let rebuilt = tokio::select! {
        biased;
        () = now.notified() => None,
        rebuilt = rebuilder.rebuild(options, &tell) => Some(rebuilt.unwrap()),
    };
    stage.nobody_rebuilds().await;
    rebuilt
}

/// Everything is written, and nothing serves yet.
fn is_filled(progress: Progress) -> bool {
    matches!(progress, Progress::Replaying { left: 0, .. })
}

fn only(kind: Kind) -> Options {
    Options {
        only: Some(kind),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_killed_goes_on_with_the_same_command() {
    let stage = Stage::start().await;
    let mut newest = fill(&stage).await;
    let moments: [fn(Progress) -> bool; 4] = [
        |_| true,
        // All may be written before anybody looks.
        |progress| matches!(progress, Progress::Replaying { done: 1.., .. } | Progress::HandingOver),
        |progress| progress == Progress::HandingOver,
        |progress| progress == Progress::Following,
    ];
    for moment in moments {
        let rebuilt = amid_everything(
            &stage,
            &mut newest,
            Box::pin(killed(&stage, Options::default(), moment)),
        )
        .await;
        assert_eq!(rebuilt, None, "killed before its end");
    }
    assert_eq!(
        serving(&stage).await.len(),
        2,
        "it was killed after all aliases had moved"
    );
    let rebuilt = amid_everything(&stage, &mut newest, Box::pin(rebuild(&stage))).await;
    assert_eq!(
        rebuilt.generation, 3,
        "the first one was complete, and finished before the next began"
    );
    assert!(!is_paused(&stage).await);
    stage.stop().await;
}

#[tokio::test]
async fn lost_objects_are_named_downloaded_again_and_not_served() {
    let stage = Stage::start().await;
    fill(&stage).await;
    let lost = stage.log.newest(&issue(STILL + 3)).await.unwrap().unwrap();
    let keys: Vec<String> = lost.event.objects().iter().map(|object| object.key.clone()).collect();
    stage.objects.delete(&keys).await.unwrap();
    let rebuilder = rebuilder(&stage).await;
    let refused = rebuilder.rebuild(Options::default(), &|_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, RebuildError::Holes(issues) if issues[..] == ["demo/web-bugs#1003".to_owned()]),
        "{refused}"
    );
    assert_eq!(
        serving(&stage).await,
        ["bugstream-issues-private-000001", "bugstream-issues-public-000001"]
    );
    assert_eq!(asked_for(&stage, STILL + 3).await, Some(v1::Reason::Repair));
    // The downloader answers.
    stage
        .download(
            &issue(STILL + 3),
            &raw(STILL + 3, "nobody touches this"),
            &[commented(1)],
        )
        .await;
    let rebuilt = rebuilder.rebuild(Options::default(), &|_| {}).await.unwrap();
    assert_eq!(
        (rebuilt.generation, rebuilt.holes),
        (2, Vec::new()),
        "it goes on with the same generation"
    );
    stage.settled().await;
    assert_eq!(
        stage
            .visible("issues")
            .await
            .iter()
            .filter(|(id, _)| id.ends_with("/1003"))
            .count(),
        1
    );
    stage.stop().await;
}

/// Why an issue waits for a download, if it does.
async fn asked_for(stage: &Stage, number: u64) -> Option<v1::Reason> {
    use prost::Message as _;
    let stream = stage.broker.jetstream.get_stream(topology::DOWNLOADS).await.unwrap();
    let subject = format!("backfill.demo.web-bugs.{number}");
    let message = stream.get_last_raw_message_by_subject(&subject).await.ok()?;
    let request = v1::DownloadRequested::decode(message.payload).unwrap();
    Some(request.cause?.reason())
}

#[tokio::test]
async fn a_deletion_reaches_the_generation_that_is_kept() {
    let stage = Stage::start().await;
    let (raw, timeline) = (raw(5, "to be deleted"), [commented(1), mentioned_in_private()]);
    stage.download(&issue(5), &raw, &timeline).await;
    stage.settled().await;
    rebuild(&stage).await;
    let kept = json!({"bool": {"must_not": [{"term": {"bugstream.gone": true}}]}});
    let indices = ["issues-public", "timelines-public", "timelines-private"];
    let left = async |index: &str| {
        stage
            .elastic
            .hits(&format!("bugstream-{index}-000001"), kept.clone())
            .await
            .len()
    };
    for index in indices {
        assert_eq!(left(index).await, 1, "{index}");
    }
    stage.delete(&issue(5)).await;
    stage.settled().await;
    for index in indices {
        assert_eq!(left(index).await, 0, "{index}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn one_kind_may_be_rebuilt_and_what_serves_is_never_dropped() {
    let stage = Stage::start().await;
    stage.download(&issue(5), &raw(5, "title"), &[commented(1)]).await;
    stage.settled().await;
    let before = visible(&stage).await;
    let rebuilder = rebuilder(&stage).await;
    let rebuilt = rebuilder.rebuild(only(Kind::Timelines), &|_| {}).await.unwrap();
    assert_eq!(rebuilt.generation, 2);
    assert_eq!(visible(&stage).await, before);
    let (_, indices) = bugstream_indexer::rebuild::indices(&stage.config).unwrap();
    let generations = indices.generations().await.unwrap();
    let live: Vec<(Kind, u32)> = generations
        .iter()
        .filter(|g| g.live)
        .map(|g| (g.kind, g.number))
        .collect();
    assert_eq!(live, [(Kind::Issues, 1), (Kind::Timelines, 2)]);
    assert_eq!(indices.outdated().await.unwrap(), []);
    assert!(
        indices
            .drop_generation(2)
            .await
            .unwrap_err()
            .to_string()
            .contains("serves")
    );
    assert!(indices.drop_generation(1).await.is_err(), "its issues serve");
    // The next rebuild of everything leaves both behind.
    rebuild(&stage).await;
    indices.drop_generation(1).await.unwrap();
    let names: Vec<Value> = stage.elastic.indices().await.into_iter().map(Value::from).collect();
    assert!(!names.contains(&json!("bugstream-issues-public-000001")), "{names:?}");
    stage.stop().await;
}

#[tokio::test]
async fn an_unfinished_rebuild_is_for_what_it_was_begun_for_and_says_so() {
    let stage = Stage::start().await;
    let newest = fill(&stage).await;
    let rebuilder = rebuilder(&stage).await;
    let table = [
        (
            Options::default(),
            only(Kind::Timelines),
            "queue-cli rebuild goes on",
            2,
        ),
        (
            only(Kind::Issues),
            Options::default(),
            "queue-cli rebuild --only issues goes on",
            3,
        ),
        (
            only(Kind::Issues),
            only(Kind::Timelines),
            "queue-cli rebuild --only issues goes on",
            4,
        ),
    ];
    for (begun, other, fix, number) in table {
        assert_eq!(killed(&stage, begun, is_filled).await, None);
        let refused = rebuilder.rebuild(other, &|_| {}).await.unwrap_err().to_string();
        let whole = format!(
            "generation {number} is unfinished: {fix} with it, queue-cli generations prune {number} gives it up"
        );
        assert_eq!(refused, whole);
        let rebuilt = rebuilder.rebuild(begun, &|_| {}).await.unwrap();
        assert_eq!(rebuilt.generation, number);
        assert_eq!(visible(&stage).await, expected(&newest));
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_was_given_up_or_lost_while_it_was_filled_is_filled_from_the_beginning() {
    let stage = Stage::start().await;
    let newest = fill(&stage).await;
    let rebuilder = rebuilder(&stage).await;
    let give_up = async |lose: &str| match lose {
        "pruned" => rebuilder.prune(&[2]).await.unwrap(),
        index => {
            let path = format!("/{}", stage.elastic.name(index));
            assert_eq!(stage.elastic.call(Method::DELETE, &path, None).await.0, 200);
        }
    };
    for lost in ["pruned", "bugstream-timelines-public-000002"] {
        assert_eq!(killed(&stage, Options::default(), is_filled).await, None);
        give_up(lost).await;
    }
    assert_eq!(killed(&stage, Options::default(), is_filled).await, None);
    for side in ["public", "private"] {
        give_up(&format!("bugstream-issues-{side}-000002")).await;
        give_up(&format!("bugstream-timelines-{side}-000002")).await;
    }
    // Of other documents than before, and with the same number.
    let one = rebuilder.rebuild(only(Kind::Issues), &|_| {}).await.unwrap();
    assert_eq!(one.generation, 2);
    assert_eq!(visible(&stage).await, expected(&newest));
    rebuild(&stage).await;
    assert_eq!(visible(&stage).await, expected(&newest));
    stage.stop().await;
}

#[tokio::test]
async fn a_rebuild_of_one_kind_that_was_killed_after_the_swap_does_not_hold_up_the_next() {
    let stage = Stage::start().await;
    let mut newest = fill(&stage).await;
    let at_the_end = |progress| progress == Progress::Following;
    assert_eq!(killed(&stage, only(Kind::Timelines), at_the_end).await, None);
    newest.insert(1, change(&stage, 1, 1).await);
    let next = tokio::time::timeout(PATIENCE, rebuild(&stage)).await;
    assert_eq!(next.expect("it ends").generation, 3);
    stage.settled().await;
    assert_eq!(visible(&stage).await, expected(&newest));
    stage.stop().await;
}

#[tokio::test]
async fn of_two_rebuilds_at_once_one_is_refused_and_the_other_does_its_work() {
    let stage = Stage::start().await;
    let newest = fill(&stage).await;
    let (one, other) = (rebuilder(&stage).await, rebuilder(&stage).await);
    let refused = |error: &RebuildError| matches!(error, RebuildError::Another);
    for round in 0..2 {
        // Neither can end before the other was refused.
        let held = Cell::new(Some(stage.hold(&issue(STILL)).await));
        let rebuilt = async |rebuilder: &Rebuilder| {
            let rebuilt = rebuilder.rebuild(Options::default(), &|_| {}).await;
            if let Some(held) = held.take() {
                held.let_go();
            }
            rebuilt
        };
        let both = async { tokio::join!(rebuilt(&one), rebuilt(&other)) };
        let both = tokio::time::timeout(PATIENCE, both).await.expect("one is refused");
        let done = match &both {
            (Ok(done), Err(error)) | (Err(error), Ok(done)) if refused(error) => done,
            both => panic!("{both:?}"),
        };
        assert_eq!(done.generation, 2 + round);
    }
    // And in the middle of one.
    let (begun, held) = (Notify::new(), stage.hold(&issue(STILL)).await);
    let tell = |_| begun.notify_one();
    let beside = async {
        begun.notified().await;
        let back = other.roll_back(None, &|_| {}).await;
        let pruned = other.prune(&[1]).await;
        assert!(refused(&back.unwrap_err()) && refused(&pruned.unwrap_err()));
        held.let_go();
    };
    let (rebuilt, ()) = tokio::join!(one.rebuild(Options::default(), &tell), beside);
    assert_eq!(rebuilt.unwrap().generation, 4);
    assert_eq!(visible(&stage).await, expected(&newest));
    stage.stop().await;
}
