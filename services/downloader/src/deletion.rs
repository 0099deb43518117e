//! Deleting is the most dangerous thing that a mirror does: what is purged here cannot be fetched again.
//!
//! An issue that the log knows counts as deleted only when all of this holds:
//! 1. GitHub answers 404, or 410 that is not about disabled issues, or 301 to another repository;
//! 2. its repository answers, with issues enabled;
//! 3. another issue that the log knows, if there is one, still answers; while none does, `/readyz` says so;
//! 4. a signed webhook said so too; or GitHub says the same again after the confirmation delay, with nothing else in
//!    between; or a person approved it;
//! 5. the fuse is whole: not more than a configured number of deletions an hour. Once blown it stays so until a person
//!    decides, and meanwhile nothing is purged.
//!
//! Never because a list lacks a row.

use std::time::Duration;

use bugstream_github::{Client, IssueAnswer, RepoAnswer};
use bugstream_kit::consume::Outcome;
use bugstream_kit::deletions::{Deletions, Evidence, Fuse, Stage};
use bugstream_kit::log::Logged;
use bugstream_kit::service::Context;
use bugstream_proto::v1::{Cause, Confirmation, DownloadRequested, IssueDeleted};
use bugstream_proto::{Change, Event, IssueId, Lane, RepoName};
use bugstream_telemetry::{metrics, names};
use prost::Message as _;
use time::OffsetDateTime;

use crate::cause::{confirming, contradicts, says_gone};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::fetch::{Followed, Gone, follow};
use crate::publish::{last_look, publish};
use crate::request::{Request, done};

/// How late a second look may come. One that was lost (its queue was purged, say) must not let an answer of months later
/// confirm a sign that nobody remembers.
const BELIEVED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How many other issues are asked until one answers: some of them may have been deleted too.
const WITNESSES: usize = 5;

/// Decides what an answer means that says that the issue is not there.
pub(crate) async fn gone(
    gone: &Gone,
    newest: Option<Logged>,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Outcome, Failure> {
    let Some(newest) = newest else {
        return never_known(request, deps).await;
    };
    if let Change::Deleted(_) = newest.event.change {
        return purge(newest.event.revision, request, deps).await;
    }
    check_surroundings(request, deps).await?;
    deps.trouble.over();
    let evidence = deps.deletions.evidence(request.issue).await?;
    let now = deps.clock.now();
    match judge(gone.status, evidence.as_ref(), &request.cause, now, deps.confirm_delay) {
        Verdict::FirstSign => {
            note_first_sign(gone.status, now, request, deps).await?;
            look_again(request, now + deps.confirm_delay, deps).await?;
            Ok(Outcome::Done)
        }
        Verdict::Early(due) => {
            look_again(request, due, deps).await?;
            Ok(Outcome::Done)
        }
        Verdict::Confirmed(confirmation) => {
            delete_if_allowed(gone, confirmation, evidence, &newest, request, deps).await
        }
    }
}

async fn note_first_sign(
    status: u16,
    first_seen: OffsetDateTime,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<(), Failure> {
    tracing::info!(issue = %request.issue, status, "first sign of a deletion");
    let stage = Stage::Seen;
    let evidence = Evidence {
        status,
        first_seen,
        stage,
    };
    Ok(deps.deletions.record(request.issue, &evidence).await?)
}

/// The issue is there: whatever spoke for its deletion is void.
pub(crate) async fn is_there(request: &Request<'_>, deps: &Deps) -> Result<(), Failure> {
    deps.refused.over();
    deps.doubts.lift(request.issue);
    if deps.deletions.evidence(request.issue).await?.is_some() {
        tracing::info!(issue = %request.issue, "the issue is there after all");
        deps.deletions.clear(request.issue).await?;
    }
    look_again_if_contradicted(request, false, deps).await
}

/// What the evidence amounts to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    FirstSign,
    /// The second look is due then.
    Early(OffsetDateTime),
    Confirmed(Confirmation),
}

fn judge(status: u16, evidence: Option<&Evidence>, cause: &Cause, now: OffsetDateTime, delay: Duration) -> Verdict {
    if evidence.is_some_and(|evidence| evidence.stage == Stage::Approved) {
        return Verdict::Confirmed(Confirmation::Operator);
    }
    if says_gone(cause) {
        return Verdict::Confirmed(Confirmation::Webhook);
    }
    let due = |evidence: &Evidence| evidence.first_seen + delay;
    // Another kind of answer is not "the same again", nor is one long after the second look was due. A sign from the
    // future was written down by a clock that was wrong, so nobody knows how old it is.
    let in_time = |evidence: &Evidence| evidence.first_seen <= now && now < due(evidence) + BELIEVED_FOR;
    let counts = |evidence: &&Evidence| evidence.status == status && in_time(evidence);
    let Some(due) = evidence.filter(counts).map(due) else {
        return Verdict::FirstSign;
    };
    if now < due {
        Verdict::Early(due)
    } else {
        Verdict::Confirmed(Confirmation::SecondLook)
    }
}

/// Schedules another look, on a subject of its own so that it overwrites no waiting webhook.
async fn look_again(request: &Request<'_>, at: OffsetDateTime, deps: &Deps) -> Result<(), Failure> {
    let payload = DownloadRequested::new(request.issue, confirming(&request.cause)).encode_to_vec();
    let trace = request.message.and_then(|message| message.headers);
    let again = deps
        .requests
        .retry(Lane::Download, request.issue, payload.into(), 0, at, trace);
    Ok(again.await?)
}

/// One more look after the confirmation delay where GitHub's answer is not what its webhook said.
async fn look_again_if_contradicted(request: &Request<'_>, gone: bool, deps: &Deps) -> Result<(), Failure> {
    if contradicts(&request.cause, gone) {
        tracing::info!(issue = %request.issue, gone, "github's answer is not what its webhook said; looking again later");
        look_again(request, deps.clock.now() + deps.confirm_delay, deps).await?;
    }
    Ok(())
}

/// A 404 says something about an issue only where its repository and another of its issues answer.
async fn check_surroundings(request: &Request<'_>, deps: &Deps) -> Result<(), Failure> {
    let issue = request.issue;
    check_repository(issue.repo(), &request.client, deps).await?;
    let mut asked = Vec::new();
    while let Some(witness) = next_witness(issue, &asked, deps).await? {
        if answers(&witness, &request.client, deps).await? {
            deps.doubts.lift(&witness);
            return Ok(());
        }
        deps.doubts.silent(&witness);
        asked.push(witness);
    }
    if asked.is_empty() {
        return Ok(());
    }
    Err(Failure::NoWitness(issue.repo().clone()))
}

/// First the one that answered last: where very many are gone at once, those that the log names may all be among them.
async fn next_witness(issue: &IssueId, asked: &[IssueId], deps: &Deps) -> Result<Option<IssueId>, Failure> {
    let last = deps.doubts.answered_last(issue.repo());
    if let Some(last) = last.filter(|last| last != issue && asked.is_empty()) {
        return Ok(Some(last));
    }
    if asked.len() >= WITNESSES {
        return Ok(None);
    }
    Ok(deps.log.another_known(issue, asked).await?)
}

async fn answers(witness: &IssueId, client: &Client, deps: &Deps) -> Result<bool, Failure> {
    Ok(match client.issue(witness, None).await? {
        IssueAnswer::Found(_) | IssueAnswer::Unchanged => true,
        IssueAnswer::Moved(location) => {
            matches!(follow(witness, &location, client, deps).await?, Followed::Renamed(_))
        }
        IssueAnswer::NotFound | IssueAnswer::Gone => false,
        IssueAnswer::IssuesDisabled => return Err(Failure::IssuesDisabled(witness.repo().clone())),
    })
}

async fn check_repository(name: &RepoName, client: &Client, deps: &Deps) -> Result<(), Failure> {
    match client.repository(name).await? {
        RepoAnswer::Found(repository) if repository.has_issues => {
            deps.seen.note(name);
            Ok(())
        }
        RepoAnswer::Found(_) => Err(Failure::IssuesDisabled(name.clone())),
        RepoAnswer::NotFound => Err(Failure::NoRepository(name.clone())),
    }
}

/// A number that the log never knew, as ranges have by the thousand. Still, where the repository is not there either,
/// every number looks like that.
async fn never_known(request: &Request<'_>, deps: &Deps) -> Result<Outcome, Failure> {
    if !deps.seen.lately(request.issue.repo()) {
        check_repository(request.issue.repo(), &request.client, deps).await?;
    }
    deps.trouble.over();
    look_again_if_contradicted(request, true, deps).await?;
    done(names::Download::Unknown)
}

async fn delete_if_allowed(
    gone: &Gone,
    confirmation: Confirmation,
    evidence: Option<Evidence>,
    newest: &Logged,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Outcome, Failure> {
    let now = deps.clock.now();
    if confirmation != Confirmation::Operator
        && deps
            .deletions
            .count_one(request.issue, deps.deletions_per_hour, now)
            .await?
            == Fuse::Blown
    {
        let first_seen = evidence.map_or(now, |evidence| evidence.first_seen);
        return block(gone.status, first_seen, request, deps).await;
    }
    delete(gone, confirmation, newest, request, deps).await
}

/// Leaves the decision to a person. The request is done: the evidence waits, and approving asks again.
async fn block(
    status: u16,
    first_seen: OffsetDateTime,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Outcome, Failure> {
    if !deps.deletions.hold_back(request.issue, status, first_seen).await? {
        return Ok(Outcome::retry("a person approved it just now"));
    }
    if deps.deletions.fuse().await?.blown_at.is_none() {
        // Mended since it was counted, so whoever mended it may not have seen this one.
        return Ok(Outcome::retry("the fuse was mended just now"));
    }
    metrics::count(names::DELETIONS_BLOCKED, 1, &[]);
    tracing::error!(
        issue = %request.issue,
        status,
        per_hour = deps.deletions_per_hour,
        "too many deletions: the fuse is blown and nothing is purged; see queue-cli deletions list"
    );
    Ok(Outcome::Done)
}

/// Publishes the tombstone, then purges what it buries.
async fn delete(
    gone: &Gone,
    confirmation: Confirmation,
    newest: &Logged,
    request: &Request<'_>,
    deps: &Deps,
) -> Result<Outcome, Failure> {
    let deleted = IssueDeleted {
        status: gone.status.into(),
        confirmation: confirmation.into(),
        moved_to: gone.moved_to.clone(),
    };
    let event = Event {
        issue: request.issue.clone(),
        revision: deps.log.next_revision(Some(newest)),
        occurred_at: deps.clock.now(),
        marks: newest.event.marks,
        cause: request.cause.clone(),
        change: Change::Deleted(deleted),
    };
    publish(&event, Some(newest), &deps.chance.nonce(), request, deps).await?;
    last_look(request, deps).await?;
    purge(event.revision, request, deps).await
}

/// Deletes every object below the tombstone. On a redelivery again, since the first time may have been cut short.
async fn purge(revision: u64, request: &Request<'_>, deps: &Deps) -> Result<Outcome, Failure> {
    request.check()?;
    let purged = deps.objects.purge_below(request.issue, revision).await?;
    deps.deletions.clear(request.issue).await?;
    deps.validators.forget(request.issue).await?;
    tracing::info!(issue = %request.issue, revision, purged, "deleted");
    done(names::Download::Deleted)
}

/// Shows a blown fuse in `/readyz`, asked anew each time, so that mending it shows at once.
pub(crate) fn watch_fuse(deletions: &Deletions, context: &Context) {
    let deletions = deletions.clone();
    context.health.probe("deletions", move || {
        let deletions = deletions.clone();
        async move {
            let fuse = deletions.fuse().await.map_err(|error| error.to_string())?;
            fuse.blown_at.map_or(Ok(()), |at| {
                Err(format!(
                    "the fuse is blown since {at}: queue-cli deletions list, then approve or discard"
                ))
            })
        }
    });
}

#[cfg(test)]
mod tests {
    use bugstream_proto::v1::{Delivery, Reason};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
    const DELAY: Duration = Duration::from_secs(600);

    fn evidence(status: u16, ago: Duration, stage: Stage) -> Evidence {
        Evidence {
            status,
            first_seen: NOW - ago,
            stage,
        }
    }

    fn verdict(status: u16, evidence: Option<&Evidence>, cause: &Cause) -> Verdict {
        judge(status, evidence, cause, NOW, DELAY)
    }

    #[test]
    fn one_answer_alone_is_never_enough() {
        let cause = Cause::new(Reason::Manual, NOW);
        for status in [404, 410, 301] {
            assert_eq!(verdict(status, None, &cause), Verdict::FirstSign);
        }
    }

    #[test]
    fn the_same_again_after_the_delay_confirms() {
        let cause = Cause::new(Reason::Confirm, NOW);
        let early = evidence(404, DELAY / 2, Stage::Seen);
        assert_eq!(verdict(404, Some(&early), &cause), Verdict::Early(NOW + DELAY / 2));
        let due = evidence(404, DELAY, Stage::Seen);
        assert_eq!(
            verdict(404, Some(&due), &cause),
            Verdict::Confirmed(Confirmation::SecondLook)
        );
        assert_eq!(verdict(301, Some(&due), &cause), Verdict::FirstSign, "not the same");
        let forgotten = evidence(404, DELAY + BELIEVED_FOR, Stage::Seen);
        assert_eq!(verdict(404, Some(&forgotten), &cause), Verdict::FirstSign);
        let mut ahead = evidence(404, Duration::ZERO, Stage::Seen);
        ahead.first_seen = NOW + Duration::from_secs(24 * 60 * 60);
        assert_eq!(verdict(404, Some(&ahead), &cause), Verdict::FirstSign, "not in a day");
    }

    #[test]
    fn a_signed_webhook_confirms_at_once() {
        let delivery = |action: &str| Delivery {
            event: "issues".to_owned(),
            action: action.to_owned(),
            ..Delivery::default()
        };
        for action in ["deleted", "transferred"] {
            let cause = Cause::of_delivery(delivery(action), NOW);
            assert_eq!(verdict(410, None, &cause), Verdict::Confirmed(Confirmation::Webhook));
        }
        let cause = Cause::of_delivery(delivery("edited"), NOW);
        assert_eq!(verdict(410, None, &cause), Verdict::FirstSign);
    }

    #[test]
    fn a_person_has_the_last_word_and_a_blocked_one_is_judged_anew() {
        let cause = Cause::new(Reason::Confirm, NOW);
        let approved = evidence(404, Duration::ZERO, Stage::Approved);
        assert_eq!(
            verdict(410, Some(&approved), &cause),
            Verdict::Confirmed(Confirmation::Operator)
        );
        let blocked = evidence(404, DELAY, Stage::Blocked);
        assert_eq!(
            verdict(404, Some(&blocked), &cause),
            Verdict::Confirmed(Confirmation::SecondLook)
        );
    }
}
