//! The sweep finds what no webhook told of, asks for each change once, and moves its watermark over real rows only.

use std::time::Duration;

use bugstream_kit::watermarks::{State, Sweep};
use bugstream_proto::{Task, v1};
use bugstream_testkit::github::{Change, FaultKind, Options, Route, Storm};
use bugstream_testkit::wait;
use time::macros::datetime;

use crate::layers::{OFTEN, repo, set, with};
use crate::stage::{PATIENCE, Stage};

impl Stage {
    async fn sweep_now(&self) {
        let subject = Task::Sweep.due(&repo()).to_string();
        self.publish(&subject, "").await;
    }

    /// Waits until a sweep that begins after this call has ended.
    async fn swept(&self) -> Sweep {
        let before = self.mark::<Sweep>().await.last_run;
        let once = self
            .mark_when::<Sweep>("a sweep", |record| record.last_run > before)
            .await
            .last_run;
        self.mark_when("another sweep", |record: &Sweep| record.last_run > once)
            .await
    }
}

#[tokio::test]
async fn a_change_without_a_webhook_is_found_and_asked_for_once() {
    let (stage, config) = set(Options::default()).await;
    let downloader = stage.start_with(with(&config, |layers| layers.sweep = Some(OFTEN)));
    stage
        .github
        .edit(3, [Change::Title("quietly".to_owned())])
        .await
        .unwrap();
    let event = stage.event_after(3, 0).await;
    assert_eq!(event.event.cause.reason(), v1::Reason::Sweep);
    stage.holds_what_github_has(3, &event).await;
    stage.idle().await;
    for _ in 0..2 {
        stage.swept().await;
    }
    assert_eq!(
        stage.github.requests().count(Route::Issue, 3),
        1,
        "the overlap lists it again"
    );
    stage
        .github
        .edit(3, [Change::Title("once more".to_owned())])
        .await
        .unwrap();
    stage.event_after(3, event.sequence).await;
    let record = stage.swept().await;
    assert_eq!((record.state, record.cursor), (State::On, None));
    downloader.end().await;
}

#[tokio::test]
async fn a_list_that_is_empty_for_no_reason_moves_nothing() {
    let (stage, config) = set(Options::default()).await;
    let downloader = stage.start_with(with(&config, |layers| layers.sweep = Some(OFTEN)));
    stage.github.edit(3, [Change::Title("seen".to_owned())]).await.unwrap();
    stage.event_after(3, 0).await;
    let before = stage.swept().await;
    stage
        .github
        .storm(Storm::new(1.0, 1).of([FaultKind::EmptyList]))
        .unwrap();
    stage
        .github
        .edit(4, [Change::Title("not listed".to_owned())])
        .await
        .unwrap();
    let after = stage.swept().await;
    assert_eq!(after.newest, before.newest);
    assert_eq!(stage.newest(4).await, None);
    stage.github.clear_faults();
    stage.event_after(4, 0).await;
    downloader.end().await;
}

#[tokio::test]
async fn after_a_long_time_it_walks_the_list_by_its_cursor_and_goes_on_where_it_was_killed() {
    let (stage, config) = set(Options {
        issues: 250,
        ..Options::default()
    })
    .await;
    let long_ago = datetime!(2010-01-01 00:00 UTC);
    let since = |record: &mut Sweep| {
        record.newest = Some(long_ago);
        true
    };
    stage.watermarks().await.change(&repo(), since).await.unwrap();
    let config = with(&config, |layers| layers.sweep = Some(Duration::from_secs(3_600)));
    let downloader = stage.start_with(config.clone());
    stage.sweep_now().await;
    stage.mark_when::<Sweep>("a page", |record| record.found >= 100).await;
    stage.kill(downloader).await;
    let downloader = stage.start_with(config);
    let record = stage
        .mark_when::<Sweep>("the end of the list", |record| record.last_run.is_some())
        .await;
    assert_eq!((record.found, record.cursor), (250, None));
    let requests = stage.github.requests();
    let lists: Vec<_> = requests
        .latest()
        .filter(|request| request.route == Route::List)
        .collect();
    let first = lists
        .iter()
        .filter(|request| !request.target.contains("after="))
        .count();
    assert!(
        first == 1 && (3..=4).contains(&lists.len()),
        "one began, the others went on: {lists:?}"
    );
    downloader.end().await;
}

#[tokio::test]
async fn its_schedule_follows_the_configuration_and_is_made_again_when_it_got_lost() {
    let (stage, config) = set(Options::default()).await;
    let scheduled = Task::Sweep.scheduled(&repo());
    let lying = async || stage.tasks().lying(&scheduled).await.expect("the stream answers");
    let there = async || wait::until("a schedule", PATIENCE, async || lying().await).await;

    let hourly = with(&config, |layers| layers.sweep = Some(Duration::from_secs(3_600)));
    let downloader = stage.start_with(hourly.clone());
    let first = there().await.at;
    stage.kill(downloader).await;
    let downloader = stage.start_with(hourly.clone());
    stage.download(1).await;
    assert_eq!(there().await.at, first, "the one that waits keeps its time");
    stage.kill(downloader).await;

    stage.tasks().take_back(&scheduled).await.unwrap();
    let downloader = stage.start_with(hourly);
    assert!(there().await.at > first, "made again");
    stage.kill(downloader).await;

    let downloader = stage.start_with(with(&config, |layers| layers.sweep = Some(OFTEN)));
    stage
        .mark_when::<Sweep>("a sweep", |record| record.last_run.is_some())
        .await;
    stage.kill(downloader).await;

    let downloader = stage.start_with(config);
    let off = stage
        .mark_when::<Sweep>("the layer is off", |record| matches!(record.state, State::Off(_)))
        .await;
    assert_eq!(off.state.to_string(), "off: sweep_interval_s is 0");
    wait::until_true("no schedule is left", PATIENCE, async || lying().await.is_none()).await;
    downloader.end().await;
}

#[tokio::test]
async fn what_is_no_task_becomes_a_dead_letter_and_an_empty_one_is_done_at_once() {
    let (stage, config) = set(Options::default()).await;
    let hourly = with(&config, |layers| layers.sweep = Some(Duration::from_secs(3_600)));
    let downloader = stage.start_with(hourly);
    stage.publish("task.dance.bugstream-demo.web-bugs", "").await;
    let letter = stage.dead_letter().await;
    assert!(letter.reason.contains("write task.<sweep|audit|"), "{}", letter.reason);
    stage.sweep_now().await;
    stage
        .mark_when::<Sweep>("a sweep", |record| record.last_run.is_some())
        .await;
    downloader.end().await;
}
