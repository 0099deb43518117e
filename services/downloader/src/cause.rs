//! Why a request exists: what was coalesced into it, and what a webhook claimed.

use bugstream_proto::v1::{Cause, Reason};

/// The cause of a request together with that of the first one since the last download, which its deadline carries.
pub(crate) fn coalesce(cause: Cause, first: Option<&Cause>) -> Cause {
    let Some(first) = first else { return cause };
    let times = [&cause.first_requested_at, &first.first_requested_at];
    let earliest = times
        .into_iter()
        .flatten()
        .min_by_key(|at| (at.seconds, at.nanos))
        .copied();
    Cause {
        first_requested_at: earliest,
        first_delivery: first.first_delivery.clone().or(cause.first_delivery.clone()),
        ..cause
    }
}

/// Whether a signed webhook said that the issue is no longer here.
pub(crate) fn says_gone(cause: &Cause) -> bool {
    cause.last_delivery.as_ref().is_some_and(|delivery| {
        delivery.event == "issues" && matches!(delivery.action.as_str(), "deleted" | "transferred")
    })
}

/// Whether GitHub's answer is not what its webhook or its list said: one of the two is behind, so a second look is worth
/// a request. Without it a 404 that passes would drop an issue that the log does not know yet.
pub(crate) fn contradicts(cause: &Cause, gone: bool) -> bool {
    let github_said = matches!(cause.reason(), Reason::Webhook | Reason::Sweep | Reason::Backfill);
    github_said && says_gone(cause) != gone
}

/// The cause of a second look.
pub(crate) fn confirming(cause: &Cause) -> Cause {
    Cause {
        reason: Reason::Confirm.into(),
        ..cause.clone()
    }
}

#[cfg(test)]
mod tests {
    use bugstream_proto::v1::Delivery;
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::*;

    const EARLY: OffsetDateTime = datetime!(2026-11-21 12:00:00.5 UTC);
    const LATE: OffsetDateTime = datetime!(2026-11-21 12:00:00.75 UTC);

    fn webhook(action: &str, at: OffsetDateTime) -> Cause {
        let delivery = Delivery {
            hook_id: 1,
            delivery_id: action.to_owned(),
            event: "issues".to_owned(),
            action: action.to_owned(),
        };
        Cause::of_delivery(delivery, at)
    }

    #[test]
    fn the_first_of_the_coalesced_is_kept() {
        let cause = coalesce(webhook("closed", LATE), Some(&webhook("opened", EARLY)));
        assert_eq!(cause.first_delivery.as_ref().unwrap().action, "opened");
        assert_eq!(cause.last_delivery.as_ref().unwrap().action, "closed");
        assert_eq!(
            cause.first_requested_at,
            Some(bugstream_proto::message::timestamp(EARLY))
        );
        assert_eq!(coalesce(cause.clone(), None), cause);
        let by_hand = coalesce(Cause::new(Reason::Manual, EARLY), Some(&webhook("opened", LATE)));
        assert_eq!(by_hand.reason(), Reason::Manual);
        assert_eq!(
            by_hand.first_requested_at,
            Some(bugstream_proto::message::timestamp(EARLY))
        );
    }

    #[test]
    fn only_a_webhook_of_the_issue_itself_says_that_it_is_gone() {
        assert!(says_gone(&webhook("deleted", EARLY)));
        assert!(says_gone(&webhook("transferred", EARLY)));
        assert!(!says_gone(&webhook("closed", EARLY)));
        assert!(!says_gone(&Cause::new(Reason::Manual, EARLY)));
        let mut comment = webhook("deleted", EARLY);
        comment.last_delivery.as_mut().unwrap().event = "issue_comment".to_owned();
        assert!(!says_gone(&comment), "a deleted comment is no deleted issue");
    }

    #[test]
    fn a_second_look_is_for_answers_that_a_webhook_contradicts_and_happens_once() {
        let (deleted, edited) = (webhook("deleted", EARLY), webhook("edited", EARLY));
        assert!(contradicts(&deleted, false) && contradicts(&edited, true));
        assert!(!contradicts(&deleted, true) && !contradicts(&edited, false));
        assert!(!contradicts(&confirming(&deleted), false));
        for (reason, listed) in [
            (Reason::Sweep, true),
            (Reason::Backfill, true),
            (Reason::Range, false),
            (Reason::Manual, false),
        ] {
            let cause = Cause::new(reason, EARLY);
            assert_eq!((contradicts(&cause, true), contradicts(&cause, false)), (listed, false));
        }
        assert!(
            says_gone(&confirming(&deleted)),
            "the webhook still counts at the second look"
        );
    }
}
