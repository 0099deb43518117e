//! A backfill costs what it must and not one request more, survives crashes, waits where GitHub says so, and leaves live
//! work alone.

use std::time::Duration;

use bugstream_kit::requests::Queued;
use bugstream_kit::watermarks::{Backfill, Phase};
use bugstream_proto::{Task, v1};
use bugstream_testkit::github::{Change, Fault, FaultRule, Options, Route};
use bugstream_testkit::wait;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use crate::layers::{TOKEN, repo, set};
use crate::stage::{PATIENCE, Stage, issue};

/// A whole backfill on a busy machine. The longest takes three minutes of GitHub's points.
const LONG: Duration = Duration::from_secs(900);

/// How long a timeline is held up that must not come before a test has done something. Shorter than the downloader waits
/// for an answer.
const HELD: Fault = Fault::Slow(25_000);

impl Stage {
    /// Begins a backfill. The one before is done as soon as its record says so, and acked a moment later: until then its
    /// last step keeps the place.
    async fn ask_for_backfill(&self, run: &str) {
        self.no_step_is_left().await;
        let request = v1::TaskRequested {
            backfill: Some(v1::BackfillRequested {
                run: run.to_owned(),
                ..v1::BackfillRequested::default()
            }),
            ..v1::TaskRequested::new(&repo(), bugstream_kit::clock::Clock::system().now())
        };
        let asked = self.tasks().due(Task::Backfill, &repo(), &request).await;
        assert_eq!(asked.expect("the server takes it"), Queued::New);
    }

    async fn no_step_is_left(&self) {
        wait::until_true("no step is left", PATIENCE, async || {
            let due = self.tasks().lying(&Task::Backfill.due(&repo())).await;
            due.expect("the stream answers").is_none()
        })
        .await;
    }

    async fn backfill_when(&self, what: &str, fits: impl Fn(&Backfill) -> bool) -> Backfill {
        wait::until(what, LONG, async || {
            Some(self.mark::<Backfill>().await).filter(|record| fits(record))
        })
        .await
    }

    async fn backfilled(&self, run: &str) -> Backfill {
        let ended = |record: &Backfill| record.run == run && record.phase != Phase::Running;
        self.backfill_when("the backfill has ended", ended).await
    }

    /// Adds issues without a history, the later the higher their number.
    async fn fill(&self, numbers: std::ops::RangeInclusive<u64>) {
        let model = self.github.issue(1).expect("it is there");
        for number in numbers {
            let mut issue = model.clone();
            let created = datetime!(2026-01-01 00:00 UTC) + Duration::from_secs(number);
            issue["number"] = number.into();
            issue["id"] = (1_000_000_000 + number).into();
            issue["node_id"] = format!("I_{number}").into();
            issue["created_at"] = created.format(&Rfc3339).expect("a year of four digits").into();
            let put = self.github.put_raw(number, &issue.to_string(), "[]").await;
            put.expect("it is JSON");
        }
    }

    /// Holds up the next answer with the timeline of an issue, and so the end of its page of the list.
    fn hold_up(&self, number: u64) {
        self.github
            .fault(FaultRule::next(1, HELD).route(Route::Timeline).issue(number));
    }

    /// The pages of all timelines that are there.
    fn timeline_pages(&self) -> u64 {
        let pages = |number| {
            let events = self.github.timeline(number).expect("it is there").len();
            assert!(
                events == 0 || !events.is_multiple_of(100),
                "a full last page needs a look for one more"
            );
            events.div_ceil(100).max(1) as u64
        };
        self.github.numbers().into_iter().map(pages).sum()
    }
}

#[tokio::test]
async fn it_costs_the_pages_of_the_list_and_of_the_timelines_and_a_second_one_costs_nothing() {
    const ISSUES: u64 = 2_010;
    let (stage, config) = set(Options {
        issues: 10,
        rate_limit: 100_000,
        ..Options::default()
    })
    .await;
    stage.fill(11..=ISSUES).await;
    let comments = (0..150).map(|n| Change::Comment(format!("comment {n}")));
    stage.github.edit(7, comments).await.unwrap();
    stage.github.let_rows_lack("closed_by", 100);
    let (lists, lacking) = (ISSUES.div_ceil(100), ISSUES / 100);
    let must = lists + stage.timeline_pages() + lacking;

    let downloader = stage.start_with(config);
    stage.ask_for_backfill("first").await;
    let record = stage.backfilled("first").await;
    let requests = stage.github.requests();
    assert_eq!((record.phase, record.rows, record.pages), (Phase::Done, ISSUES, lists));
    assert_eq!((record.queued, record.spent), (0, must));
    assert_eq!(requests.of(Route::Issue), lacking, "rows that lack a field");
    assert_eq!(requests.total(), must, "{}", requests.to_json()["routes"]);
    assert_eq!(stage.log.known(&repo()).await.unwrap().len() as u64, ISSUES);
    for number in [1, 7, 100, ISSUES] {
        let event = stage.newest(number).await.expect("it was backfilled");
        stage.holds_what_github_has(number, &event).await;
    }

    stage.github.forget_requests();
    stage.github.links_on_304(false);
    stage.ask_for_backfill("second").await;
    let record = stage.backfilled("second").await;
    let requests = stage.github.requests();
    assert_eq!((record.phase, record.rows, record.spent), (Phase::Done, ISSUES, 0));
    assert_eq!(requests.spent(), 0, "{}", requests.to_json());
    assert_eq!(requests.total(), must);
    downloader.end().await;
}

#[tokio::test]
async fn an_issue_behind_a_full_last_page_is_found_though_that_page_did_not_change() {
    let (stage, config) = set(Options::default()).await;
    stage.fill(21..=100).await;
    stage.github.links_on_304(false);
    let downloader = stage.start_with(config);
    stage.ask_for_backfill("first").await;
    assert_eq!(stage.backfilled("first").await.rows, 100);
    stage.fill(101..=101).await;
    stage.ask_for_backfill("second").await;
    let record = stage.backfilled("second").await;
    assert_eq!(
        (record.rows, record.spent),
        (101, 3),
        "the last page once more, the new one, and its timeline"
    );
    stage.event_after(101, 0).await;
    downloader.end().await;
}

#[tokio::test]
async fn killed_three_times_it_goes_on_where_it_was_and_live_work_does_not_wait_for_it() {
    let (stage, mut config) = set(Options::default()).await;
    config.backfill_slots = 4;
    stage.fill(21..=500).await;
    let must = 5 + stage.timeline_pages();
    stage.ask_for_backfill("run").await;
    for kill in 1..=3 {
        // In the middle of the page behind the one that is waited for.
        stage.hold_up(100 * kill + 50);
        let downloader = stage.start_with(config.clone());
        let record = stage
            .backfill_when("another page", |record| record.rows >= 100 * kill)
            .await;
        assert_eq!(record.phase, Phase::Running, "it is not over yet");
        stage.kill(downloader).await;
    }
    stage.hold_up(450);
    let downloader = stage.start_with(config);
    stage
        .github
        .edit(499, [Change::Title("live".to_owned())])
        .await
        .unwrap();
    stage.webhook(499, "edited").await;
    let live = stage.event_after(499, 0).await;
    let phase = stage.mark::<Backfill>().await.phase;
    assert_eq!(phase, Phase::Running, "it did not wait for the backfill's end");
    stage.holds_what_github_has(499, &live).await;
    let record = stage.backfilled("run").await;
    assert_eq!((record.phase, record.rows), (Phase::Done, 500));
    stage.idle().await;
    let newest = stage.newest(499).await.expect("it is there");
    stage.holds_what_github_has(499, &newest).await;
    assert_eq!(stage.log.known(&repo()).await.unwrap().len(), 500);
    let spent = stage.github.requests().total();
    // A crash repeats its page's list and what had no event yet: requests under way. And the live download.
    let repeated = 3 * (1 + 2 * 4) + 10;
    assert!((must..=must + repeated).contains(&spent), "{spent} requests of {must}");
    downloader.end().await;
}

#[tokio::test]
async fn it_waits_where_github_says_so_and_then_goes_on() {
    let (stage, config) = set(Options::default()).await;
    stage.fill(21..=150).await;
    let downloader = stage.start_with(config);
    stage.download_live(1).await;
    // Only now, so that it is not over before anybody works; and long enough to be seen.
    stage.github.leave_quota(TOKEN, 60, 20);
    stage.ask_for_backfill("run").await;
    let waits = stage.backfill_when("it waits", |record| record.why.is_some()).await;
    assert!(waits.why.is_some_and(|why| why.contains("kept for live work")));
    stage.download_live(150).await;
    let record = stage.backfilled("run").await;
    assert_eq!((record.phase, record.rows, record.why), (Phase::Done, 150, None));
    assert_eq!(stage.github.requests().while_told_to_wait(), 0);
    downloader.end().await;
}

#[tokio::test]
async fn one_that_was_cancelled_stops_and_one_that_cannot_go_on_says_what_to_do() {
    let (stage, config) = set(Options::default()).await;
    stage.fill(21..=300).await;
    stage.hold_up(150);
    let downloader = stage.start_with(config);
    stage.ask_for_backfill("first").await;
    stage.backfill_when("a page", |record| record.rows > 0).await;
    let cancel = |record: &mut Backfill| {
        record.phase = Phase::Cancelled;
        true
    };
    stage.watermarks().await.change(&repo(), cancel).await.unwrap();
    stage.no_step_is_left().await;
    assert_eq!(stage.mark::<Backfill>().await.phase, Phase::Cancelled);
    assert_eq!(stage.newest(300).await, None);

    stage.github.hide_repository("bugstream-demo/web-bugs", true);
    stage.ask_for_backfill("second").await;
    let failed = stage.backfilled("second").await;
    assert_eq!(failed.phase, Phase::Failed);
    assert!(
        failed
            .why
            .is_some_and(|why| why.contains("see that bugstream-demo/web-bugs is there"))
    );
    stage.github.hide_repository("bugstream-demo/web-bugs", false);
    stage.publish("task.backfill.bugstream-demo.web-bugs", "").await;
    let by_hand = stage
        .backfill_when("one by hand", |record| record.phase == Phase::Done)
        .await;
    assert_eq!((by_hand.rows, by_hand.run.len()), (300, 16));
    downloader.end().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_done_becomes_a_request_and_blocks_nothing() {
    let (stage, config) = set(Options::default()).await;
    let trouble = Fault::Status(502);
    stage
        .github
        .fault(FaultRule::next(1, trouble).route(Route::Timeline).issue(3));
    let downloader = stage.start_with(config);
    stage.ask_for_backfill("run").await;
    let record = stage.backfilled("run").await;
    assert_eq!((record.phase, record.rows, record.queued), (Phase::Done, 20, 1));
    let late = stage.event_after(3, 0).await;
    stage.holds_what_github_has(3, &late).await;
    assert_eq!(late.event.cause.reason(), v1::Reason::Backfill);
    assert_eq!(late.event.issue, issue(3));
    downloader.end().await;
}
