//! Old bytes must decode for ever. Each golden file is one message as it was written when its fields were new, in
//! hexadecimal, with its fields as JSON beside it.
//!
//! A second, independent implementation (rust-protobuf, with its own parser of the `.proto` files) decodes the same
//! bytes, so that a mistake of one encoder cannot pass as the contract. Golden files are only ever added: to make one,
//! write its message into [`messages`] and run the test with `BUGSTREAM_GOLDEN=write`.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::path::{Path, PathBuf};

use bugstream_proto::{Change, Downloaded, Event, RepoName, message, v1};
use prost::Message;
use protobuf::reflect::{FileDescriptor, MessageDescriptor};
use time::macros::datetime;

/// Name of the golden file, full name of the message, its bytes.
fn messages() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let issue = RepoName::new("webcompat", "web-bugs").unwrap().issue(12_345).unwrap();
    let request = v1::DownloadRequested::new(&issue, cause());
    let index = v1::IndexRequested::new(
        &issue,
        v1::Cause::new(v1::Reason::Range, datetime!(2026-11-21 12:00 UTC)),
    );
    vec![
        (
            "download_requested",
            "bugstream.v1.DownloadRequested",
            request.encode_to_vec(),
        ),
        ("index_requested", "bugstream.v1.IndexRequested", index.encode_to_vec()),
        (
            "task_requested",
            "bugstream.v1.TaskRequested",
            task(None).encode_to_vec(),
        ),
        (
            "backfill_requested",
            "bugstream.v1.TaskRequested",
            task(Some(backfill())).encode_to_vec(),
        ),
        ("issue_downloaded", "bugstream.v1.IssueEvent", downloaded().encode()),
        ("issue_deleted", "bugstream.v1.IssueEvent", deleted().encode()),
        ("issue_forgotten", "bugstream.v1.IssueEvent", forgotten().encode()),
        ("dead_letter", "bugstream.v1.DeadLetter", dead_letter().encode_to_vec()),
    ]
}

fn cause() -> v1::Cause {
    let delivery = |id: &str, action: &str| v1::Delivery {
        hook_id: 109_948_940,
        delivery_id: id.to_owned(),
        event: "issues".to_owned(),
        action: action.to_owned(),
    };
    v1::Cause {
        last_delivery: Some(delivery("0b989ba4-242f-11e5-81e1-c7b6966d2516", "labeled")),
        ..v1::Cause::of_delivery(
            delivery("72d3162e-cc78-11e3-81ab-4c9367dc0958", "edited"),
            datetime!(2026-11-21 12:00:00.5 UTC),
        )
    }
}

fn task(backfill: Option<v1::BackfillRequested>) -> v1::TaskRequested {
    let repo = RepoName::new("webcompat", "web-bugs").unwrap();
    v1::TaskRequested {
        backfill,
        ..v1::TaskRequested::new(&repo, datetime!(2026-11-21 15:00:00.25 UTC))
    }
}

fn backfill() -> v1::BackfillRequested {
    v1::BackfillRequested {
        run: "0123456789abcdef".to_owned(),
        since: Some(message::timestamp(datetime!(2026-01-31 00:00 UTC))),
        state: v1::ListState::Open.into(),
        estimated_rows: 198_412,
    }
}

fn downloaded() -> Event {
    let object = |part: &str, compression: v1::Compression, ending: &str| v1::StoredObject {
        key: format!("issues/webcompat/web-bugs/12345/1763726400000-00112233445566ff/{part}.json{ending}"),
        size: 70_000,
        sha256: (0..32).collect(),
        compression: compression.into(),
    };
    Event {
        issue: RepoName::new("webcompat", "web-bugs").unwrap().issue(12_345).unwrap(),
        revision: 1_763_726_400_000,
        occurred_at: datetime!(2026-11-21 12:00:01 UTC),
        marks: v1::Marks {
            public: Some(v1::SideMarks {
                timeline: 41,
                issue: true,
            }),
            private: Some(v1::SideMarks {
                timeline: 7,
                issue: false,
            }),
        },
        cause: cause(),
        change: Change::Downloaded(Downloaded {
            issue: object("issue", v1::Compression::None, ""),
            timeline: object("timeline", v1::Compression::Zstd, ".zst"),
            timeline_events: 40,
        }),
    }
}

fn deleted() -> Event {
    let moved = RepoName::new("webcompat", "elsewhere").unwrap().issue(7).unwrap();
    let change = v1::IssueDeleted {
        status: 301,
        confirmation: v1::Confirmation::SecondLook.into(),
        moved_to: Some(v1::MovedTo {
            repository_id: 1_234_567,
            issue: Some((&moved).into()),
        }),
    };
    Event {
        revision: 1_763_726_400_001,
        change: Change::Deleted(change),
        ..downloaded()
    }
}

/// Its cause is an operator's: nothing in it comes from the events before, except how much was ever written.
fn forgotten() -> Event {
    Event {
        revision: 1_763_726_400_002,
        cause: v1::Cause::new(v1::Reason::Manual, datetime!(2026-11-21 12:00:03 UTC)),
        change: Change::Forgotten,
        ..downloaded()
    }
}

fn dead_letter() -> v1::DeadLetter {
    v1::DeadLetter {
        service: "indexer".to_owned(),
        stream: "ISSUES".to_owned(),
        subject: "issue.webcompat.web-bugs.12345".to_owned(),
        sequence: 99,
        attempts: 3,
        reason: "Elasticsearch refused a document".to_owned(),
        kind: "document".to_owned(),
        rejected_at: Some(message::timestamp(datetime!(2026-11-21 12:00:02 UTC))),
        headers: vec![v1::Header {
            name: "Nats-Msg-Id".to_owned(),
            value: "00112233445566ff".to_owned(),
        }],
        payload_size: 3,
        payload_sha256: (32..64).collect(),
        payload: vec![1, 2, 3],
        refusal: Some(v1::Refusal {
            index: "timelines-public".to_owned(),
            document_id: "webcompat/web-bugs/12345/3".to_owned(),
            error_type: "document_parsing_exception".to_owned(),
            field: "created_at".to_owned(),
        }),
    }
}

#[test]
fn today_writes_the_golden_bytes() {
    for (name, _, bytes) in messages() {
        let file = golden(name, "hex");
        if std::env::var("BUGSTREAM_GOLDEN").is_ok_and(|mode| mode == "write") && !file.exists() {
            std::fs::write(&file, hex::encode(&bytes) + "\n").unwrap();
        }
        assert_eq!(
            hex::encode(bytes),
            read(&file),
            "{name}: the bytes of a message changed"
        );
    }
}

#[test]
fn golden_events_decode_to_what_they_meant() {
    let events = [
        ("issue_downloaded", downloaded()),
        ("issue_deleted", deleted()),
        ("issue_forgotten", forgotten()),
    ];
    for (name, meant) in events {
        let bytes = hex::decode(read(&golden(name, "hex"))).unwrap();
        assert_eq!(Event::decode(&meant.issue, &bytes).as_ref(), Ok(&meant), "{name}");
    }
}

#[test]
fn a_second_implementation_reads_the_same_fields() {
    let files = second_implementation();
    for (name, full_name, _) in messages() {
        let bytes = hex::decode(read(&golden(name, "hex"))).unwrap();
        let message = descriptor(&files, full_name).parse_from_bytes(&bytes).expect(name);
        let json = protobuf_json_mapping::print_to_string(&*message).unwrap();
        let file = golden(name, "json");
        if std::env::var("BUGSTREAM_GOLDEN").is_ok_and(|mode| mode == "write") && !file.exists() {
            std::fs::write(&file, json.clone() + "\n").unwrap();
        }
        assert_eq!(
            json,
            read(&file),
            "{name}: the fields read by the second implementation"
        );
        assert_eq!(
            hex::encode(message.write_to_bytes_dyn().unwrap()),
            read(&golden(name, "hex")),
            "{name}: written again"
        );
    }
}

#[test]
fn every_golden_file_is_one_of_these_messages() {
    let known: Vec<_> = messages().iter().map(|(name, ..)| (*name).to_owned()).collect();
    for entry in std::fs::read_dir(root().join("golden")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            known.contains(&stem),
            "{}: no message is compared with it",
            path.display()
        );
    }
}

fn second_implementation() -> Vec<FileDescriptor> {
    let mut parser = protobuf_parse::Parser::new();
    parser.pure().include(root());
    for file in ["issue", "request", "task", "dead_letter"] {
        parser.input(root().join(format!("bugstream/v1/{file}.proto")));
    }
    let known = [protobuf::well_known_types::timestamp::file_descriptor().clone()];
    let mut files = parser.file_descriptor_set().unwrap().file;
    files.retain(|file| !file.name().starts_with("google/"));
    FileDescriptor::new_dynamic_fds(files, &known).unwrap()
}

fn descriptor(files: &[FileDescriptor], full_name: &str) -> MessageDescriptor {
    let found = files
        .iter()
        .flat_map(FileDescriptor::messages)
        .find(|message| message.full_name() == full_name);
    found.expect("the second parser knows every message")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn golden(name: &str, ending: &str) -> PathBuf {
    root().join(format!("golden/{name}.{ending}"))
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .trim_end()
        .to_owned()
}
