//! Visible documents that no issue of the log accounts for: a walk over every id, whatever the documents say of
//! themselves. What names an issue that the log knows was compared with it already.

use std::collections::HashMap;

use bugstream_proto::{Event, IssueId, RepoName};

use super::Mirror;
use super::elastic::Found;
use super::findings::{Difference, Fix, Kind};
use super::issue::Newest;
use super::place::{self, Slot};
use crate::failure::Failure;

/// The numbers of the issues that the log knows, sorted: eight bytes an issue.
pub(super) type Known = HashMap<RepoName, Vec<u64>>;

impl Mirror {
    /// Hands every page of strays to `each`.
    pub(super) async fn strays(
        &self,
        known: &Known,
        mut each: impl AsyncFnMut(Vec<Difference>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(view) = self.elastic.open_view().await? else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let page = self.elastic.of_view(&view, after).await?;
            let mut strays = Vec::new();
            for found in page.found.iter().filter(|found| !is_accounted_for(found, known)) {
                strays.extend(self.stray(found, known).await?);
            }
            each(strays).await?;
            if page.next.is_none() {
                return self.elastic.close_view(&view).await;
            }
            after = page.next;
        }
    }

    async fn stray(&self, found: &Found, known: &Known) -> Result<Option<Difference>, Failure> {
        let remove = Fix::Remove(found.handle.clone());
        let Some((issue, slot)) = place::of_id(found.kind, &found.id) else {
            let ours = found.repository.as_ref().is_none_or(|name| known.contains_key(name));
            let why = "its id is no issue's".to_owned();
            let (issue, what) = (None, found.id.clone());
            return Ok(ours.then_some(Difference {
                kind: Kind::StrayDocument,
                issue,
                what,
                why,
                fix: remove,
            }));
        };
        if !known.contains_key(issue.repo()) {
            return Ok(None);
        }
        // An issue may have come since the log was asked.
        Ok(match self.newest(&issue).await? {
            Newest::Unknown => Some(Difference::new(
                Kind::StrayDocument,
                &issue,
                &found.id,
                "the log does not know this issue",
                remove,
            )),
            Newest::Event(logged) if !claims(found, &issue) => Some(contradiction(found, &issue, slot, &logged.event)),
            Newest::Event(_) | Newest::Unreadable { .. } => None,
        })
    }
}

/// What it says of itself is an issue that was compared with it.
fn is_accounted_for(found: &Found, known: &Known) -> bool {
    let numbers = found.repository.as_ref().and_then(|name| known.get(name));
    let number = found.number;
    numbers.is_some_and(|numbers| number.is_some_and(|number| numbers.binary_search(&number).is_ok()))
}

/// Whether it says that it belongs to the issue of its id.
fn claims(found: &Found, issue: &IssueId) -> bool {
    found.repository.as_ref() == Some(issue.repo()) && found.number == Some(issue.number())
}

fn contradiction(found: &Found, issue: &IssueId, slot: Slot, event: &Event) -> Difference {
    let fix = if place::is_covered(&event.marks, found.side, slot) {
        Fix::Index
    } else {
        Fix::Remove(found.handle.clone())
    };
    let why = "does not say that it belongs to the issue of its id";
    Difference::new(Kind::WrongDocument, issue, &found.id, why, fix)
}
