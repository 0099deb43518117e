//! `dead-letters`: what was put aside because it could never succeed, and what a person does about it.
//!
//! A letter says what a message was about and why it was refused, never what it held. Once the cause is mended, a retry
//! asks for the same anew; nothing is ever published again as if it were new.

pub(crate) mod cli;

mod again;
mod list;
mod purge;
mod retry;
mod show;
mod subject;
mod which;
mod words;

use bugstream_kit::dead_letter::StoredLetters;

use crate::deps::Deps;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use cli::DeadLetters;

pub(crate) use list::warnings;
pub(crate) use which::away;

pub(crate) async fn run(command: &DeadLetters, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    let broker = deps.broker().await?;
    let letters = StoredLetters::open(&broker).await.map_err(|error| away(&error))?;
    match command {
        DeadLetters::List(asked) => list::run(asked, &letters, deps, progress).await,
        DeadLetters::Show(asked) => show::run(*asked, &letters, deps).await,
        DeadLetters::Retry(asked) => retry::run(asked, &letters, &broker, deps, progress).await,
        DeadLetters::Purge(asked) => purge::run(asked, &letters, deps, progress).await,
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bugstream_kit::dead_letter::StoredLetter;
    use bugstream_proto::v1;
    use time::macros::datetime;

    /// One about a document that Elasticsearch refused, three hours before 15:00.
    pub(super) fn letter(sequence: u64) -> StoredLetter {
        let reason = "Elasticsearch refuses document webcompat/web-bugs/7/1 of bugstream-timelines-public-000001: \
                      document_parsing_exception, field \"body\"";
        let mut letter = letter_from("ISSUES", "issue.webcompat.web-bugs.7", &[]);
        letter.sequence = sequence;
        let own = letter.letter.as_mut().expect("it is one");
        own.kind = "document".to_owned();
        own.reason = reason.to_owned();
        own.payload_size = 212;
        own.headers = vec![v1::Header {
            name: "traceparent".to_owned(),
            value: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01".to_owned(),
        }];
        own.refusal = Some(v1::Refusal {
            index: "bugstream-timelines-public-000001".to_owned(),
            document_id: "webcompat/web-bugs/7/1".to_owned(),
            error_type: "document_parsing_exception".to_owned(),
            field: "body".to_owned(),
        });
        letter
    }

    pub(super) fn letter_from(stream: &str, subject: &str, payload: &[u8]) -> StoredLetter {
        StoredLetter {
            sequence: 17,
            stored_at: datetime!(2026-11-21 12:00 UTC),
            subject: "dead.indexer".to_owned(),
            headers: HeaderMap::new(),
            size: 100,
            letter: Some(v1::DeadLetter {
                service: "indexer".to_owned(),
                stream: stream.to_owned(),
                subject: subject.to_owned(),
                sequence: 1_234,
                attempts: 3,
                kind: "payload".to_owned(),
                reason: "the payload is not one".to_owned(),
                payload: payload.to_vec(),
                payload_size: payload.len() as u64,
                payload_sha256: vec![0xab; 32],
                ..v1::DeadLetter::default()
            }),
        }
    }

    pub(super) fn garbage(sequence: u64) -> StoredLetter {
        StoredLetter {
            sequence,
            letter: None,
            subject: "dead.someone".to_owned(),
            ..letter_from("", "", &[])
        }
    }
}
