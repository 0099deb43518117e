//! What a stranger or a slip sends gets a reason, and nothing else is disturbed.

use std::collections::BTreeMap;
use std::path::Path;

use bugstream_kit::chance::Chance;
use bugstream_kit::clock::Clock;
use bugstream_kit::log::{Log, LogError, Logged};
use bugstream_proto::message::{Change, Downloaded};
use bugstream_proto::{Event, Part, topology, v1};
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::Change as Edit;
use bugstream_testkit::wait;
use futures_util::StreamExt;
use prost::Message;

use crate::door::Door;
use crate::stage::{Play, SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_publishes_become_dead_letters_with_reasons_and_disturb_nothing() {
    let stage = Stage::set(Play::default()).await;
    let ours = stage.repo.to_string().replace('/', ".");
    let bad: Vec<(String, &str, &str)> = vec![
        ("download.a.b.xyz".to_owned(), "", "\"xyz\" is not an issue number"),
        (
            "download.12345".to_owned(),
            "",
            "write download.<owner>.<repo>.<number>",
        ),
        ("download.not.configured.1".to_owned(), "", "not/configured"),
        (
            format!("download.{ours}.1"),
            "a planted secret",
            "not a DownloadRequested message",
        ),
        (
            format!("backfill.{ours}.2"),
            "\u{0}\u{1}",
            "not a DownloadRequested message",
        ),
        ("index.a.b.xyz".to_owned(), "", "\"xyz\" is not an issue number"),
        (
            format!("index.{ours}.1"),
            "a planted secret",
            "not a IndexRequested message",
        ),
        ("issue.a.b.xyz".to_owned(), "", "\"xyz\" is not an issue number"),
        (
            format!("issue.{ours}.15"),
            "a planted secret",
            "not a IssueEvent message",
        ),
    ];
    for (subject, payload, _) in &bad {
        stage.nats_pub(subject, payload).await;
    }
    stage.queue_cli(&["add", "download", "3"]).await;
    stage.equals_github(3).await;
    wait::until_true("every bad message is a dead letter", SOON, || async {
        stage.dead_letters().await >= bad.len() as u64
    })
    .await;
    let letters = letters(&stage).await;
    for (subject, payload, reason) in &bad {
        let letter = letters
            .iter()
            .find(|letter| &letter.subject == subject)
            .unwrap_or_else(|| panic!("{subject}"));
        assert!(letter.reason.contains(reason), "{subject}: {}", letter.reason);
        assert_eq!(letter.payload_size, payload.len() as u64, "{subject}");
        assert!(letter.payload.is_empty(), "{subject}: a stranger's bytes are not kept");
    }
    assert_eq!(letters.len(), bad.len());
    stage.drained().await;
}

async fn letters(stage: &Stage) -> Vec<v1::DeadLetter> {
    let stream = stage.broker.jetstream.get_stream(topology::DEAD_LETTERS).await.unwrap();
    let count = stream.cached_info().state.messages;
    let sequences = stream.cached_info().state.first_sequence..=stream.cached_info().state.last_sequence;
    let read = futures_util::stream::iter(sequences)
        .then(async |sequence| v1::DeadLetter::decode(stream.direct_get(sequence).await.unwrap().payload).unwrap());
    let letters: Vec<_> = read.collect().await;
    assert_eq!(letters.len() as u64, count);
    letters
}

fn log(stage: &Stage) -> Log {
    Log::new(stage.broker.jetstream.clone(), Clock::system())
}

async fn newest(stage: &Stage, number: u64) -> Logged {
    let newest = log(stage).newest(&stage.repo.issue(number).unwrap()).await.unwrap();
    newest.expect("it was downloaded")
}

/// Files of an issue's newest event: the issue's, the timeline's.
async fn files(stage: &Stage, number: u64) -> [std::path::PathBuf; 2] {
    let folder = Path::new(&stage.config).with_file_name("objects");
    let event = newest(stage, number).await.event;
    let Change::Downloaded(downloaded) = event.change else {
        panic!("{number} is there")
    };
    [downloaded.issue, downloaded.timeline].map(|object| folder.join(object.key))
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_gone_cut_short_or_changed_are_downloaded_again_and_disturb_nothing() {
    let stage = Stage::set(Play::default()).await;
    stage.queue_cli(&["add-range", "download", "2", "6"]).await;
    for number in 2..=6 {
        stage.equals_github(number).await;
    }
    stage.drained().await;
    let [gone, _] = files(&stage, 2).await;
    std::fs::remove_file(gone).unwrap();
    let [_, short] = files(&stage, 3).await;
    let file = std::fs::OpenOptions::new().write(true).open(&short).unwrap();
    file.set_len(short.metadata().unwrap().len() / 2).unwrap();
    let [changed, _] = files(&stage, 4).await;
    std::fs::write(
        &changed,
        vec![b'x'; usize::try_from(changed.metadata().unwrap().len()).unwrap()],
    )
    .unwrap();
    let before = newest(&stage, 5).await.event.revision;
    stage.queue_cli(&["add", "index", "2", "3", "4", "5"]).await;
    wait::until_true("three dead letters", SOON, async || stage.dead_letters().await == 3).await;
    for number in 2..=4 {
        wait::until_true("it is downloaded again", SOON, async || {
            newest(&stage, number).await.event.cause.reason() == v1::Reason::Repair
        })
        .await;
    }
    stage.drained().await;
    for number in 2..=6 {
        stage.equals_github(number).await;
    }
    assert!(
        newest(&stage, 5).await.event.revision > before,
        "its neighbour was not skipped"
    );
    let said: BTreeMap<String, String> = letters(&stage)
        .await
        .into_iter()
        .map(|letter| (letter.subject.rsplit('.').next().unwrap().to_owned(), letter.reason))
        .collect();
    for (number, why) in [
        ("2", "does not exist"),
        ("3", "its size differs"),
        ("4", "its hash differs"),
    ] {
        let reason = &said[number];
        assert!(
            reason.contains(why) && reason.ends_with("; it is downloaded again"),
            "{reason}"
        );
    }
    stage.queue_cli(&["verify"]).await;
}

/// Logs an issue as no downloader of ours would.
async fn download(stage: &Stage, number: u64, issue: &'static str, timeline: &'static str) {
    let (log, issue_id) = (log(stage), stage.repo.issue(number).unwrap());
    let (revision, nonce) = (log.next_revision(None), Chance::system().nonce());
    let put = |part, bytes: &'static str| stage.objects.put(&issue_id, revision, &nonce, part, bytes.into());
    let change = Change::Downloaded(Downloaded {
        issue: put(Part::Issue, issue).await.unwrap(),
        timeline: put(Part::Timeline, timeline).await.unwrap(),
        timeline_events: 0,
    });
    let now = Clock::system().now();
    let event = Event {
        issue: issue_id,
        revision,
        occurred_at: now,
        marks: v1::Marks::default(),
        cause: v1::Cause::new(v1::Reason::Import, now),
        change,
    };
    log.publish(&event, None, &nonce).await.unwrap();
}

/// Publishes an event with a change that this version of the contract does not know.
async fn from_the_future(stage: &Stage, number: u64) {
    let now = Clock::system().now();
    let event = v1::IssueEvent {
        issue: Some((&stage.repo.issue(number).unwrap()).into()),
        revision: 1,
        occurred_at: Some(bugstream_proto::message::timestamp(now)),
        marks: Some(v1::Marks::default()),
        cause: Some(v1::Cause::new(v1::Reason::Webhook, now)),
        change: None,
    };
    let mut payload = event.encode_to_vec();
    // Field 99, a message of three bytes.
    payload.extend([0x9a, 0x06, 0x03, 1, 2, 3]);
    let subject = format!("issue.{}.{number}", stage.repo.to_string().replace('/', "."));
    let published = stage.broker.jetstream.publish(subject, payload.into()).await.unwrap();
    published.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_no_array_or_from_a_newer_contract_is_put_aside_with_the_reason_and_its_neighbours_go_on() {
    let stage = Stage::set(Play::default()).await;
    stage.queue_cli(&["add", "download", "2"]).await;
    stage.equals_github(2).await;
    download(&stage, 101, "<html>not an issue</html>", "[]").await;
    download(
        &stage,
        102,
        "{\"number\": 102, \"title\": \"t\"}",
        "{\"message\": \"Not Found\"}",
    )
    .await;
    download(&stage, 103, "[]", "[]").await;
    from_the_future(&stage, 104).await;
    stage.edit(2, [Edit::Title("Right behind them".to_owned())]).await;
    stage.titled(2, "Right behind them").await;
    wait::until_true("each is a dead letter", SOON, async || stage.dead_letters().await == 4).await;
    stage.drained().await;
    let letters = letters(&stage).await;
    for (number, kind, reason) in [
        (101, "object", "issue"),
        (102, "object", "timeline"),
        (103, "object", "issue"),
        (104, "other", "written by a newer version of the contract"),
    ] {
        let of = letters
            .iter()
            .find(|letter| letter.subject.ends_with(&format!(".{number}")));
        let letter = of.unwrap_or_else(|| panic!("{number}: {letters:?}"));
        assert_eq!(letter.kind, kind, "{number}");
        assert!(letter.reason.contains(reason), "{number}: {}", letter.reason);
        assert!(!letter.reason.contains("Not Found"), "no content: {}", letter.reason);
        assert!(stage.documents("issues", number).await.is_empty(), "{number}");
    }
    let future = log(&stage).newest(&stage.repo.issue(104).unwrap()).await;
    assert!(
        matches!(future, Err(LogError::Unreadable { .. })),
        "a newer indexer will find it: {future:?}"
    );
    assert_eq!(letters.len(), 4, "none was tried again for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_proxy_in_the_place_of_elasticsearch_is_waited_for_and_nothing_is_lost() {
    let elastic = Elastic::shared();
    let door = Door::before(elastic.node()).await;
    door.page(Some(502));
    let keys = format!("node = '{}'", door.url());
    let stage = Stage::set_before(Play::default(), elastic, &keys).await;
    says(&stage, "a page (HTML) with status 502").await;
    door.page(None);
    stage.queue_cli(&["add-range", "download", "1", "5"]).await;
    for number in 1..=5 {
        stage.equals_github(number).await;
    }
    for status in [200, 400, 403, 404, 502] {
        door.page(Some(status));
        let title = format!("Edited while the proxy says {status}");
        stage.edit(3, [Edit::Title(title.clone())]).await;
        says(&stage, &format!("a page (HTML) with status {status}")).await;
        let told = stage.queue_cli_output(&["verify"]).await;
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains(&format!("a page (HTML) with status {status}")), "{told}");
        door.page(None);
        stage.titled(3, &title).await;
    }
    stage.queue_cli(&["verify"]).await;
    stage.stop().await;
}

/// Waits until the indexer's readiness says it, of its work and not only of the connection.
async fn says(stage: &Stage, what: &str) {
    wait::until_true(&format!("readiness says {what:?}"), SOON, async || {
        let away = stage.indexer.away().await;
        ["indexer", "indices"]
            .iter()
            .filter_map(|part| away.get(*part))
            .any(|why| why.contains(what))
    })
    .await;
}
