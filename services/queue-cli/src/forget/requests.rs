//! What waits for the issue, and what was put aside about it. None of it has content; it would ask for it, or name it.

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bugstream_kit::broker::Broker;
use bugstream_kit::dead_letter::StoredLetters;
use bugstream_proto::{IssueId, Subject, v1};
use futures_util::TryStreamExt as _;

use super::failed;
use crate::contents;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::queue::Queue;

/// How many requests wait for the issue.
pub(super) async fn count(issue: &IssueId, broker: &Broker) -> Result<u64, Failure> {
    let mut waiting = 0;
    for queue in Queue::ALL {
        let stream = contents::stream(broker, queue).await?;
        for verb in queue.verbs() {
            let subject = verb.of(issue).to_string();
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(_) => waiting += 1,
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(contents::away(&error)),
            }
        }
    }
    Ok(waiting)
}

/// Takes back every request for the issue; answers how many there were.
pub(super) async fn purge(issue: &IssueId, broker: &Broker) -> Result<u64, Failure> {
    let mut purged = 0;
    for queue in Queue::ALL {
        let stream = contents::stream(broker, queue).await?;
        for verb in queue.verbs() {
            let purge = stream.purge().filter(verb.of(issue).to_string());
            purged += purge.await.map_err(|error| contents::away(&error))?.purged;
        }
    }
    Ok(purged)
}

/// Counts the dead letters about the issue, and removes them if asked.
pub(super) async fn letters(
    issue: &IssueId,
    broker: &Broker,
    remove: bool,
    progress: &mut Progress<'_>,
) -> Result<u64, Failure> {
    let letters = StoredLetters::open(broker).await.map_err(failed)?;
    let last = letters.held().await.map_err(failed)?.last;
    let (mut read, mut found) = (0, 0);
    let mut all = letters.until(last);
    while let Some(one) = all.try_next().await.map_err(failed)? {
        read += 1;
        progress.tell(&format!("{read} dead letters read"));
        if one.letter.as_ref().is_some_and(|letter| is_about(letter, issue)) {
            found += 1;
            if remove {
                letters.remove(one.sequence).await.map_err(failed)?;
            }
        }
    }
    Ok(found)
}

/// Whether the message that was put aside was the issue's, or a document of it was refused.
fn is_about(letter: &v1::DeadLetter, issue: &IssueId) -> bool {
    let of_subject = letter
        .subject
        .parse::<Subject>()
        .is_ok_and(|subject| subject.issue == *issue);
    let id = format!("{}/{}", issue.repo(), issue.number());
    let of_document = letter.refusal.as_ref().is_some_and(|refusal| {
        let rest = refusal.document_id.strip_prefix(&id);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    of_subject || of_document
}

#[cfg(test)]
mod tests {
    use bugstream_proto::RepoName;

    use super::*;

    #[test]
    fn a_letter_is_about_the_issue_of_its_subject_or_of_its_document() {
        let issue = RepoName::new("a", "b")
            .and_then(|repo| repo.issue(7))
            .expect("an issue");
        let letter = |subject: &str, document_id: &str| v1::DeadLetter {
            subject: subject.to_owned(),
            refusal: Some(v1::Refusal {
                document_id: document_id.to_owned(),
                ..v1::Refusal::default()
            }),
            ..v1::DeadLetter::default()
        };
        for (subject, document_id, about) in [
            ("issue.a.b.7", "", true),
            ("retry.backfill.A.B.7", "", true),
            ("odd", "a/b/7", true),
            ("odd", "a/b/7/3", true),
            ("issue.a.b.77", "a/b/77", false),
            ("issue.a.c.7", "a/b/77/7", false),
            ("odd", "", false),
        ] {
            assert_eq!(
                is_about(&letter(subject, document_id), &issue),
                about,
                "{subject} {document_id}"
            );
        }
    }
}
