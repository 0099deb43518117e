//! What a stranger or a slip sends gets a reason, and nothing else is disturbed.

use bugstream_proto::{topology, v1};
use bugstream_testkit::wait;
use futures_util::StreamExt;
use prost::Message;

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
