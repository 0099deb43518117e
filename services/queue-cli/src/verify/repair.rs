//! Puts right what was found: requests for what the services mend, exact deletions for what they cannot know of.
//!
//! Nothing is written to the log or to a document. Repairing twice does no harm, and what changed since it was seen is
//! left alone.

use bugstream_kit::clock::Clock;
use bugstream_kit::publish::PublishError;
use bugstream_kit::requests::{Queued, Requests};
use bugstream_proto::{IssueId, v1};

use super::Mirror;
use super::findings::{Difference, Fix};
use super::issue::store_away;
use crate::failure::Failure;

/// Where requests go.
#[derive(Debug, Clone)]
pub(super) struct Repair {
    pub(super) requests: Requests,
    pub(super) clock: Clock,
}

impl Mirror {
    /// Repairs differences of one issue, or of none: each once, and a download writes all documents too.
    pub(super) async fn mend(&self, repair: &Repair, differences: &[Difference]) -> Result<(), Failure> {
        for difference in differences {
            match (&difference.fix, &difference.issue) {
                (Fix::Remove(seen), _) => self.elastic.remove(seen).await?,
                (Fix::Purge(below), Some(issue)) => {
                    let purged = self.objects.purge_below(issue, *below).await;
                    purged.map_err(|error| store_away(&error))?;
                }
                _ => {}
            }
        }
        for issue in issues(differences) {
            let fixes = || {
                differences
                    .iter()
                    .filter(|one| one.issue.as_ref() == Some(issue))
                    .map(|one| &one.fix)
            };
            repair
                .request(issue, fixes)
                .await
                .map_err(|error| Failure::failed(error.to_string()))?;
        }
        Ok(())
    }
}

impl Repair {
    async fn request<'f, I>(&self, issue: &IssueId, fixes: impl Fn() -> I) -> Result<(), PublishError>
    where
        I: Iterator<Item = &'f Fix>,
    {
        let reasons = fixes().filter_map(|fix| match fix {
            Fix::Download(reason) => Some(*reason),
            _ => None,
        });
        // A repair does more than any other reason: it stores all objects anew.
        let strongest = reasons.max_by_key(|reason| *reason == v1::Reason::Repair);
        match strongest {
            Some(reason) => self.download(issue, reason).await,
            None if fixes().any(|fix| *fix == Fix::Index) => {
                self.requests.index(issue, self.cause(v1::Reason::Repair)).await
            }
            None => Ok(()),
        }
    }

    /// Behind webhooks, since there may be very many. A request that waits there already need not be a repair, so that a
    /// repair goes before it then.
    async fn download(&self, issue: &IssueId, reason: v1::Reason) -> Result<(), PublishError> {
        let queued = self.requests.backfill(issue, self.cause(reason)).await?;
        if queued == Queued::Waiting && reason == v1::Reason::Repair {
            self.requests.download(issue, self.cause(reason)).await?;
        }
        Ok(())
    }

    fn cause(&self, reason: v1::Reason) -> v1::Cause {
        v1::Cause::new(reason, self.clock.now())
    }
}

fn issues(differences: &[Difference]) -> Vec<&IssueId> {
    let mut issues: Vec<_> = differences
        .iter()
        .filter_map(|difference| difference.issue.as_ref())
        .collect();
    issues.sort_unstable();
    issues.dedup();
    issues
}
