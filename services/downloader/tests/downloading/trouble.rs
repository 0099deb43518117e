//! GitHub in trouble, limits, stores that are away, and requests that are none.

use std::time::Instant;

use bugstream_downloader::Config;
use bugstream_kit::clock::Clock;
use bugstream_kit::config::{App, Credentials, Repository};
use bugstream_kit::secret::Secret;
use bugstream_proto::{Lane, RepoName, Verb, topology, v1};
use bugstream_testkit::github::{Change, Fault, FaultRule, Options, Route};
use bugstream_testkit::wait;
use time::Duration;

use crate::stage::{PATIENCE, Stage, downloaded, issue};

#[tokio::test]
async fn an_answer_that_fails_or_is_cut_is_tried_again_and_never_makes_a_shorter_timeline() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let comments = (0..150).map(|n| Change::Comment(format!("comment {n}")));
    stage.github.edit(2, comments).await.unwrap();
    for (number, rule) in [
        (1, FaultRule::next(1, Fault::Status(502)).route(Route::Issue)),
        (2, FaultRule::next(1, Fault::Truncated).route(Route::Timeline)),
    ] {
        stage.github.fault(rule.issue(number));
        let event = stage.download(number).await;
        stage.holds_what_github_has(number, &event).await;
        assert_eq!(stage.github.requests().count(Route::Issue, number), 2, "issue {number}");
    }
    downloader.end().await;
}

#[tokio::test]
async fn what_is_no_answer_of_githubs_waits_and_its_neighbours_go_on() {
    let stage = Stage::set_with(Options {
        issues: 40,
        ..Options::default()
    })
    .await;
    let downloader = stage.start();
    let faults = [
        Fault::Html,
        Fault::HtmlAsJson,
        Fault::WrongType,
        Fault::HalfBody,
        Fault::InvalidUtf8,
        Fault::NoAnswer,
    ];
    let both = faults
        .into_iter()
        .flat_map(|fault| [Route::Issue, Route::Timeline].map(|route| (fault.clone(), route)));
    for (number, (fault, route)) in (1..).zip(both) {
        stage.github.fault(FaultRule::next(1, fault).issue(number).route(route));
        stage.queue(number).await;
        stage.download_live(number + 20).await;
        let event = stage.event_after(number, 0).await;
        stage.holds_what_github_has(number, &event).await;
        assert_eq!(stage.github.requests().count(Route::Issue, number), 2, "issue {number}");
    }
    assert_eq!(stage.dead_letters().await, 0);
    downloader.ready().await;
    downloader.end().await;
}

#[tokio::test]
async fn the_second_page_of_a_timeline_counts_too() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let comments = (0..150).map(|n| Change::Comment(format!("comment {n}")));
    stage.github.edit(1, comments).await.unwrap();
    let before = stage.download(1).await;
    stage
        .github
        .edit(1, [Change::Body("changed".to_owned())])
        .await
        .unwrap();
    stage
        .github
        .fault(FaultRule::next(1, Fault::Slow(1)).route(Route::Timeline));
    stage
        .github
        .fault(FaultRule::next(1, Fault::Status(500)).route(Route::Timeline));
    let event = stage.download(1).await;
    assert_eq!(downloaded(&event).timeline_events, downloaded(&before).timeline_events);
    assert_eq!(stage.github.requests().count(Route::Issue, 1), 3);
    downloader.end().await;
}

#[tokio::test]
async fn nothing_is_sent_before_a_limit_is_over_and_the_service_is_ready_meanwhile() {
    let stage = Stage::set().await;
    // One at a time, so that no answer that was on its way already comes after the refusal.
    let config = Config {
        slots: 1,
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    stage.download(1).await;
    let limit = Fault::SecondaryLimit {
        status: 403,
        retry_after_s: Some(3),
    };
    stage.github.fault(FaultRule::next(1, limit));
    for number in 2..=9 {
        stage.queue(number).await;
    }
    wait::until_true("the limit is told", PATIENCE, || async {
        stage.github.requests().latest().any(|request| request.status == 403)
    })
    .await;
    downloader.ready().await;
    for number in 2..=9 {
        stage.event_after(number, 0).await;
    }
    let requests = stage.github.requests();
    let mut after = requests.latest().skip_while(|request| request.status != 403);
    let limited = after.next().expect("one was refused");
    let waited = after.next().expect("it went on").at - limited.at;
    assert!(waited >= Duration::seconds(3), "the next request came after {waited}");
    assert_eq!(requests.latest().filter(|request| request.status == 403).count(), 1);
    downloader.end().await;
}

#[tokio::test]
async fn an_hourly_quota_that_is_used_up_is_waited_for() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    stage.download(1).await;
    stage.github.leave_quota("", 2, 3);
    for number in 2..=5 {
        stage.queue(number).await;
    }
    for number in 2..=5 {
        let event = stage.event_after(number, 0).await;
        stage.holds_what_github_has(number, &event).await;
    }
    downloader.end().await;
}

#[tokio::test]
async fn when_github_fails_several_issues_the_work_stops_and_goes_on_by_itself() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    stage.github.fault(FaultRule::next(1_000_000, Fault::Status(503)));
    for number in 1..=6 {
        stage.queue(number).await;
    }
    let why = downloader.away("downloader-live").await;
    assert!(why.contains("503"), "{why}");
    stage.github.clear_faults();
    for number in 1..=6 {
        let event = stage.event_after(number, 0).await;
        stage.holds_what_github_has(number, &event).await;
    }
    downloader.ready().await;
    downloader.end().await;
}

#[tokio::test]
async fn a_token_that_is_not_accepted_stops_the_work_and_loses_nothing() {
    let stage = Stage::set_with(Options {
        tokens: vec!["good".to_owned()],
        ..Options::default()
    })
    .await;
    let with = |token: &str| {
        let mut config = stage.config();
        config.github.token = Some(Secret::new(token));
        config
    };
    let downloader = stage.start_with(with("revoked"));
    stage.queue(1).await;
    let why = downloader.away("downloader-live").await;
    for part in ["does not accept", "GITHUB_PERSONAL_ACCESS_TOKEN"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(!why.contains("revoked"), "{why}");
    assert_eq!(stage.waiting(Verb::Download).await, 1);
    downloader.stop().await;

    let downloader = stage.start_with(with("good"));
    stage.event_after(1, 0).await;
    downloader.end().await;
}

#[tokio::test]
async fn a_token_that_may_read_no_issue_makes_it_not_ready_and_deletes_nothing() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let before = stage.download(1).await;
    stage
        .github
        .fault(FaultRule::next(1_000_000, Fault::Status(403)).route(Route::Issue));
    for number in 2..=5 {
        stage.queue(number).await;
    }
    stage.webhook(1, "deleted").await;
    let why = downloader.away("issues of bugstream-demo/web-bugs").await;
    assert!(
        why.contains("the right to read the issues of bugstream-demo/web-bugs"),
        "{why}"
    );
    assert_eq!(stage.newest(1).await.unwrap(), before, "nothing is deleted");
    stage.github.clear_faults();
    for number in 2..=5 {
        stage.event_after(number, 0).await;
    }
    stage.idle().await;
    assert_eq!(
        (stage.newest(1).await.unwrap(), stage.dead_letters().await),
        (before, 0)
    );
    downloader.ready().await;
    downloader.end().await;
}

#[tokio::test]
async fn credentials_that_can_be_none_end_the_start_and_say_what_is_wrong() {
    let stage = Stage::set().await;
    let mut malformed = stage.config();
    malformed.github.token = Some(Secret::new("ghp_\u{1}secret"));
    let key = stage.store_directory().join("no-key.pem");
    std::fs::write(&key, "-----BEGIN SECRET-----").unwrap();
    let mut keyless = stage.config();
    keyless.github.app = Some(App {
        id: 1,
        installation_id: Some(2),
        private_key_path: key.clone(),
    });
    for (config, part) in [(malformed, "token"), (keyless, &*key.display().to_string())] {
        let why = stage.start_with(config).failed().await;
        assert!(why.contains(part), "{why}");
        assert!(!why.contains("secret") && !why.contains("SECRET"), "{why}");
    }
    assert_eq!(stage.github.requests().total(), 0);
}

/// Another repository with a token of its own.
fn beside(name: &str, token: &str) -> Repository {
    Repository {
        name: name.parse().expect("a name"),
        private: None,
        public: Vec::new(),
        credentials: Some(Credentials {
            tokens: vec![Secret::new(token)],
            app: None,
        }),
    }
}

#[tokio::test]
async fn what_is_wrong_with_one_repository_or_its_credentials_holds_up_no_other() {
    let stage = Stage::set_with(Options {
        tokens: vec!["good".to_owned(), "spent".to_owned()],
        ..Options::default()
    })
    .await;
    let mut config = stage.config();
    config.github.token = Some(Secret::new("good"));
    config.repositories.0.extend([
        beside("bugstream-demo/misspelt", "good"),
        beside("bugstream-demo/unread", "revoked"),
        beside("bugstream-demo/limited", "spent"),
    ]);
    stage.github.leave_quota("spent", 0, 3000);
    let downloader = stage.start_with(config);
    for name in ["misspelt", "unread", "limited"] {
        let subject = format!("download.bugstream-demo.{name}.1");
        stage.publish(&subject, "").await;
    }
    for (name, part) in [("misspelt", "is not there"), ("unread", "does not accept")] {
        let why = downloader.away(&format!("issues of bugstream-demo/{name}")).await;
        assert!(why.contains(part), "{why}");
    }
    // The others wait there too, once they have failed a few times.
    let limited: RepoName = "bugstream-demo/limited".parse().unwrap();
    let again = Verb::Retry(Lane::Download).of(&limited.issue(1).unwrap()).to_string();
    wait::until_true("the limited one waits for its reset", PATIENCE, || async {
        let downloads = stage.stream(topology::DOWNLOADS).await;
        downloads.get_last_raw_message_by_subject(&again).await.is_ok()
    })
    .await;
    for number in 1..=3 {
        stage.download_live(number).await;
    }
    assert_eq!(
        (stage.dead_letters().await, stage.github.requests().by("spent")),
        (0, 1)
    );
    let away = downloader.context.health.away().await;
    assert!(!away.contains_key("downloader-live"), "{away:?}");
    downloader.end().await;
}

#[tokio::test]
async fn a_repository_that_is_not_there_stops_the_work_and_loses_nothing() {
    let stage = Stage::set().await;
    let mut config = stage.config();
    config.repositories.0[0].name = "bugstream-demo/misspelt".parse().unwrap();
    let downloader = stage.start_with(config);
    let subject = "download.bugstream-demo.misspelt.1";
    stage.publish(subject, "").await;
    let why = downloader.away("downloader-live").await;
    for part in ["bugstream-demo/misspelt is not there", "[[repositories]]"] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(stage.waiting(Verb::Download).await, 1);
    downloader.end().await;
}

#[tokio::test]
async fn an_object_store_that_is_away_is_waited_for() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    stage.download(1).await;
    let (store, aside) = (stage.store_directory(), stage.store_directory().with_extension("aside"));
    std::fs::rename(&store, &aside).unwrap();
    std::fs::write(&store, "in the way").unwrap();
    stage.queue(2).await;
    let why = downloader.away("downloader-live").await;
    assert!(why.contains("object store"), "{why}");
    assert_eq!(stage.newest(2).await, None, "no event without its objects");
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    let event = stage.event_after(2, 0).await;
    stage.holds_what_github_has(2, &event).await;
    downloader.ready().await;
    downloader.end().await;
}

/// The repository was asked for, and not more often than once a minute.
fn once_a_minute(stage: &Stage, began: Instant) {
    let (asked, minutes) = (
        stage.github.requests().of(Route::Repository),
        began.elapsed().as_secs() / 60,
    );
    assert!((1..=1 + minutes).contains(&asked), "{asked} times in {minutes} minutes");
}

#[tokio::test]
async fn a_number_that_nobody_knows_is_done_without_an_event_or_a_dead_letter() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let began = Instant::now();
    for number in 9_001..=9_005 {
        stage.ask(number).await;
        assert_eq!(stage.github.requests().count(Route::Issue, number), 1);
        assert_eq!(stage.newest(number).await, None);
        assert_eq!(stage.deletions.evidence(&issue(number)).await.unwrap(), None);
    }
    once_a_minute(&stage, began);
    assert_eq!(stage.dead_letters().await, 0);
    downloader.end().await;
}

#[tokio::test]
async fn a_new_issue_that_github_does_not_show_yet_is_looked_for_again() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    for number in [1, 2] {
        let not_yet = FaultRule::next(1, Fault::NotFound).issue(number);
        stage.github.fault(not_yet.route(Route::Issue));
    }
    stage.webhook(1, "opened").await;
    let listed = v1::Cause::new(v1::Reason::Backfill, Clock::system().now());
    stage.requests.backfill(&issue(2), listed).await.unwrap();
    for number in [1, 2] {
        let event = stage.event_after(number, 0).await;
        stage.holds_what_github_has(number, &event).await;
    }
    downloader.end().await;
}

#[tokio::test]
async fn requests_that_are_none_become_dead_letters_and_disturb_nothing() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    for (subject, payload, kind, reason) in [
        (
            "download.not.configured.1",
            "",
            "subject",
            "known: bugstream-demo/web-bugs",
        ),
        ("download.a.b.xyz", "", "subject", "not an issue number"),
        ("download.12345", "", "subject", "write download.<owner>"),
        (
            "download.bugstream-demo.web-bugs.1",
            "\u{7f}garbage with a secret",
            "payload",
            "DownloadRequested",
        ),
    ] {
        stage.publish(subject, payload).await;
        stage.idle().await;
        let letter = stage.dead_letter().await;
        assert_eq!((letter.kind.as_str(), letter.subject.as_str()), (kind, subject));
        assert!(letter.reason.contains(reason), "{}", letter.reason);
        assert!(letter.payload.is_empty() && !letter.reason.contains("secret"));
    }
    assert_eq!(stage.dead_letters().await, 4);
    assert_eq!(stage.github.requests().total(), 0);
    stage.download(1).await;
    downloader.end().await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_put_aside_with_the_fix() {
    let stage = Stage::set().await;
    let config = Config {
        max_body: 100,
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    stage.ask(1).await;
    let letter = stage.dead_letter().await;
    assert!(letter.reason.contains("max_body_mb"), "{}", letter.reason);
    downloader.end().await;
}

#[tokio::test]
async fn one_answer_that_is_far_too_large_is_put_aside_and_its_neighbours_go_on() {
    let stage = Stage::set().await;
    let config = Config {
        max_body: 1 << 20,
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    let huge = Fault::Huge(100 << 20);
    stage
        .github
        .fault(FaultRule::next(1, huge).issue(1).route(Route::Issue));
    stage.queue(1).await;
    stage.download_live(2).await;
    let letter = stage.dead_letter().await;
    assert_eq!(letter.subject, "download.bugstream-demo.web-bugs.1");
    downloader.ready().await;
    downloader.end().await;
}

#[tokio::test]
async fn several_answers_in_a_row_that_are_far_too_large_are_githubs_trouble_and_no_issues() {
    let stage = Stage::set().await;
    let config = Config {
        slots: 1,
        max_body: 1 << 20,
        ..stage.config()
    };
    let downloader = stage.start_with(config);
    stage.github.fault(FaultRule::next(1_000_000, Fault::Huge(4 << 20)));
    for number in 1..=9 {
        stage.queue(number).await;
    }
    let why = downloader.away("downloader-live").await;
    assert!(why.contains("larger"), "{why}");
    // What is put aside leaves the queue a moment after its letter is written.
    wait::until_true("seven wait", PATIENCE, || async {
        stage.waiting(Verb::Download).await == 7
    })
    .await;
    assert_eq!(stage.dead_letters().await, 2);
    stage.github.clear_faults();
    stage.event_after(9, 0).await;
    downloader.ready().await;
    downloader.end().await;
}

#[tokio::test]
async fn one_issue_that_may_not_be_read_stops_no_other() {
    let stage = Stage::set().await;
    let downloader = stage.start();
    let began = Instant::now();
    stage.github.fault(FaultRule::next(2, Fault::Status(403)).issue(1));
    stage.queue(1).await;
    wait::until_true("it is refused", PATIENCE, || async {
        stage.github.requests().count(Route::Issue, 1) > 0
    })
    .await;
    stage.queue(2).await;
    stage.event_after(2, 0).await;
    downloader.ready().await;
    stage.event_after(1, 0).await;
    once_a_minute(&stage, began);
    downloader.end().await;
}

#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_is_waited_for() {
    let mut stage = Stage::set().await;
    let downloader = stage.start();
    stage.download(1).await;
    stage.nats.kill9();
    downloader.away("nats").await;
    stage.nats.restart().await;
    wait::until_true("the test's own connection is back", PATIENCE, || async {
        stage.log.newest(&issue(2)).await.is_ok()
    })
    .await;
    let event = stage.download(2).await;
    stage.holds_what_github_has(2, &event).await;
    downloader.ready().await;
    downloader.end().await;
}
