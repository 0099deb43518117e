//! What something cost, by what is left of the quotas before and after. Whatever else used the same credentials
//! meanwhile counts too: GitHub does not tell whose a request was.

use std::collections::HashMap;

use bugstream_github::QuotaState;
use time::OffsetDateTime;

/// What is left of each credential's quota, until when. One that was never used is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Left(HashMap<String, (Option<OffsetDateTime>, u64)>);

impl Left {
    pub(crate) fn of(quotas: &[QuotaState]) -> Self {
        let left = |quota: &QuotaState| Some((quota.label.clone(), (quota.reset, quota.remaining?)));
        Self(quotas.iter().filter_map(left).collect())
    }

    /// What was spent from this moment to the later one. A credential that was reset in between counts from its reset
    /// on, for as much as is known: nothing.
    pub(crate) fn spent(&self, later: &Self) -> u64 {
        let spent = |(label, (reset, before)): (&String, &(Option<OffsetDateTime>, u64))| {
            let (later_reset, after) = later.0.get(label)?;
            (reset == later_reset).then(|| before.saturating_sub(*after))
        };
        self.0.iter().filter_map(spent).sum()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn quota(label: &str, remaining: Option<u64>, reset: Option<OffsetDateTime>) -> QuotaState {
        QuotaState {
            label: label.to_owned(),
            limit: Some(5_000),
            remaining,
            reset,
            closed_until: None,
            set_aside: None,
        }
    }

    #[test]
    fn each_credential_counts_by_itself() {
        let (hour, next) = (
            Some(datetime!(2026-11-21 12:00 UTC)),
            Some(datetime!(2026-11-21 13:00 UTC)),
        );
        let before = [
            quota("a", Some(100), hour),
            quota("b", Some(50), hour),
            quota("c", None, None),
        ];
        let after = [
            quota("a", Some(90), hour),
            quota("b", Some(5_000), next),
            quota("c", Some(4_999), hour),
        ];
        assert_eq!(Left::of(&before).spent(&Left::of(&after)), 10);
        assert_eq!(Left::of(&after).spent(&Left::of(&after)), 0);
    }
}
