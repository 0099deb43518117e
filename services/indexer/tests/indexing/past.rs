//! What was true at a past time, in indices of its own: right, private, out of the way of what serves, and without
//! anything that had to vanish since.

use bugstream_indexer::rebuild::{Options, RebuildError, Rebuilder, Shown};
use bugstream_kit::clock::Clock;
use bugstream_kit::service::Context;
use bugstream_proto::message::Change;
use bugstream_testkit::elastic::Elastic;
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::stage::{Stage, commented, issue, mentioned_in_private, past, raw};
use crate::storm::visible;

const DAY: time::Duration = time::Duration::DAY;

/// A running indexer over a log of a day: of each issue something then, and mostly something now. Answers the time in
/// between.
async fn stage_of_a_day() -> (Stage, OffsetDateTime) {
    let elastic = Elastic::shared();
    let node = elastic.node().to_owned();
    let mut stage = Stage::prepare(elastic, &node).await;
    stage.context.clock = Clock::stepping();
    stage.context.clock.step(-DAY);
    for number in 1..=7 {
        let timeline = [commented(1), mentioned_in_private(), commented(2)];
        stage
            .download(&issue(number), &raw(number, "as it was"), &timeline)
            .await;
    }
    stage.download(&issue(8), &raw(8, "even before"), &[]).await;
    stage.download(&issue(8), &raw(8, "as it was"), &[commented(3)]).await;
    stage.context.clock.step(DAY);
    let between = stage.context.clock.now() - DAY / 2;
    // 1 is as it was.
    stage.download(&issue(2), &raw(2, "as it is"), &[commented(1)]).await;
    stage
        .download(
            &issue(3),
            &raw(3, "In the moderation queue."),
            &[mentioned_in_private()],
        )
        .await;
    stage.delete(&issue(4)).await;
    forget(&stage, 5).await;
    stage.delete(&issue(6)).await;
    stage.download(&issue(6), &raw(6, "back again"), &[]).await;
    stage.download(&issue(9), &raw(9, "new"), &[]).await;
    stage.follow();
    stage.settled().await;
    stage.elastic.refresh().await;
    (stage, between)
}

async fn forget(stage: &Stage, number: u64) {
    let newest = stage.log.newest(&issue(number)).await.unwrap();
    let (revision, marks) = (stage.log.next_revision(newest.as_ref()), past(newest.as_ref()));
    stage
        .publish(&issue(number), newest.as_ref(), revision, marks, Change::Forgotten)
        .await;
}

async fn rebuilder(stage: &Stage) -> Rebuilder {
    let (config, broker) = (stage.config.clone(), stage.broker.clone());
    Rebuilder::new(config, broker, Context::new("queue-cli")).await.unwrap()
}

async fn shown(stage: &Stage, at: OffsetDateTime) -> Result<Shown, RebuildError> {
    rebuilder(stage).await.as_of(at, false, &|_| {}).await
}

/// Title and number of each issue that is found under an alias of the past, in order.
async fn titles(stage: &Stage, alias: &str) -> Vec<(u64, String)> {
    let hits = stage
        .elastic
        .hits(unprefixed(stage, alias), json!({"match_all": {}}))
        .await;
    let title = |hit: &Value| {
        let source = &hit["_source"];
        (
            source["bug_number"].as_u64().unwrap(),
            source["title"].as_str().unwrap().to_owned(),
        )
    };
    let mut titles: Vec<_> = hits.iter().map(title).collect();
    titles.sort();
    titles
}

fn unprefixed<'a>(stage: &Stage, alias: &'a str) -> &'a str {
    alias.strip_prefix(stage.elastic.prefix()).unwrap()
}

fn as_it_was(numbers: &[u64]) -> Vec<(u64, String)> {
    numbers.iter().map(|number| (*number, "as it was".to_owned())).collect()
}

#[tokio::test]
async fn a_past_time_has_indices_of_its_own_and_nothing_that_vanished_since() {
    let (stage, between) = stage_of_a_day().await;
    let before = visible(&stage).await;
    let made = shown(&stage, between).await.unwrap();
    assert_eq!(
        (made.generation, made.without, made.holes.len()),
        (2, 1, 0),
        "issue 9 is new"
    );
    let [issues, timelines] = made.aliases.clone().try_into().unwrap();
    assert!(unprefixed(&stage, &issues).starts_with("issues-as-of-20"), "{issues}");
    assert_eq!(titles(&stage, &issues).await, as_it_was(&[1, 2, 3, 6, 7, 8]));
    let events = stage
        .elastic
        .hits(unprefixed(&stage, &timelines), json!({"term": {"bug_number": 3}}))
        .await;
    assert_eq!(events.len(), 3, "public and private ones beside each other");
    // Beside what serves, and out of its way.
    assert_eq!(visible(&stage).await, before);
    let names = stage.elastic.indices().await;
    let past: Vec<&String> = names.iter().filter(|name| name.ends_with("-as-of")).collect();
    assert!(
        past.len() == 2 && past.iter().all(|name| name.contains("-private-")),
        "{names:?}"
    );
    let (_, found) = stage
        .elastic
        .call(Method::GET, "/_cat/aliases?expand_wildcards=open&format=json", None)
        .await;
    let met = found
        .as_array()
        .unwrap()
        .iter()
        .any(|one| one["alias"] == json!(issues));
    assert!(!met, "no wildcard meets it");

    // What vanishes later vanishes there too.
    stage.delete(&issue(1)).await;
    forget(&stage, 8).await;
    stage.settled().await;
    stage.elastic.refresh().await;
    assert_eq!(titles(&stage, &issues).await, as_it_was(&[2, 3, 6, 7]));
    let left =
        json!({"bool": {"must_not": {"term": {"bugstream.gone": true}}, "filter": {"terms": {"bug_number": [1, 8]}}}});
    for kind in ["issues", "timelines"] {
        let index = format!("bugstream-{kind}-private-000002-as-of");
        assert_eq!(
            stage.elastic.hits(&index, left.clone()).await.len(),
            0,
            "not even in the index itself"
        );
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_shows_the_past_never_serves_and_is_in_nobodys_way() {
    let (stage, between) = stage_of_a_day().await;
    let made = shown(&stage, between).await.unwrap();
    assert_eq!(shown(&stage, between).await.unwrap(), made, "once is enough");
    let rebuilder = rebuilder(&stage).await;
    let refused = rebuilder.roll_back(Some(2), &|_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("shows a past time"), "{refused}");
    let refused = rebuilder.roll_back(None, &|_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("no complete older generation"), "{refused}");
    let before = visible(&stage).await;
    let rebuilt = rebuilder.rebuild(Options::default(), &|_| {}).await.unwrap();
    assert_eq!((rebuilt.generation, visible(&stage).await), (3, before));
    assert_eq!(rebuilder.roll_back(None, &|_| {}).await.unwrap().generation, 1);
    assert_eq!(titles(&stage, &made.aliases[0]).await.len(), 6, "it is there still");
    rebuilder.prune(&[2]).await.unwrap();
    let names = stage.elastic.indices().await;
    assert!(!names.iter().any(|name| name.ends_with("-as-of")), "{names:?}");
    stage.stop().await;
}

#[tokio::test]
async fn one_that_was_killed_goes_on_and_bars_another_meanwhile() {
    let (stage, between) = stage_of_a_day().await;
    let rebuilder = rebuilder(&stage).await;
    let now = tokio::sync::Notify::new();
    let tell = |_| now.notify_one();
    tokio::select! {
        biased;
        () = now.notified() => {}
        made = rebuilder.as_of(between, false, &tell) => panic!("{made:?}"),
    }
    stage.nobody_rebuilds().await;
    let refused = rebuilder
        .rebuild(Options::default(), &|_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("generation 2 is unfinished: queue-cli rebuild --as-of 2"),
        "{refused}"
    );
    let made = shown(&stage, between).await.unwrap();
    assert_eq!((made.generation, made.without), (2, 1));
    assert_eq!(titles(&stage, &made.aliases[0]).await, as_it_was(&[1, 2, 3, 6, 7, 8]));
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shown_is_said() {
    let (stage, between) = stage_of_a_day().await;
    let why = async |at| shown(&stage, at).await.unwrap_err().to_string();
    let now = stage.context.clock.now();
    assert!(why(now + DAY).await.contains("lies in the future"));
    let early = why(now - DAY * 2).await;
    assert!(
        early.contains("the log begins at ") && early.contains("nothing from before"),
        "{early}"
    );
    let names = stage.elastic.indices().await;
    assert!(
        !names.iter().any(|name| name.ends_with("-as-of")),
        "nothing was made: {names:?}"
    );

    // The collector has been here.
    let old = stage.objects.keys(&issue(2)).await.unwrap();
    let newest = stage.log.newest(&issue(2)).await.unwrap().unwrap();
    let old: Vec<String> = old
        .iter()
        .filter(|key| key.revision < newest.event.revision)
        .map(ToString::to_string)
        .collect();
    assert_eq!(old.len(), 2);
    stage.objects.delete(&old).await.unwrap();
    let refused = shown(&stage, between).await.unwrap_err();
    assert!(
        matches!(&refused, RebuildError::NoLongerKept(issues) if issues[..] == ["demo/web-bugs#2".to_owned()]),
        "{refused}"
    );
    let made = rebuilder(&stage).await.as_of(between, true, &|_| {}).await.unwrap();
    assert_eq!((made.generation, made.holes), (2, vec!["demo/web-bugs#2".to_owned()]));
    stage.stop().await;
}
