//! Lists, asks for the decision, and removes: events first, then objects.

use std::collections::BTreeMap;

use bugstream_proto::{IssueId, RepoName};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{Garbage, Rules, garbage};
use crate::clock::Clock;
use crate::log::{Log, LogError};
use crate::objects::{ObjectError, Objects, Shelf, Stored};

/// Issues of one step.
const STEP: usize = 2_000;
/// Issues under way at once.
const AT_ONCE: usize = 16;
/// Files that are newer than the log, of one step, up to which nobody is asked.
const SUSPECTS: u64 = 4;
/// Of so many files they may be one.
const ONE_OF: u64 = 10;

/// What was collected, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collected {
    /// Issues that were looked at.
    pub issues: u64,
    /// Old events.
    pub events: u64,
    /// The objects that only those named.
    pub objects: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Objects that no event named.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Files that were left because they are no objects of ours.
    pub unknown: u64,
    /// Issues that were left because one of their events cannot be read.
    pub unreadable: u64,
}

impl Collected {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.issues += other.issues;
        self.events += other.events;
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.orphans += other.orphans;
        self.orphan_bytes += other.orphan_bytes;
        self.unknown += other.unknown;
        self.unreadable += other.unreadable;
    }
}

/// How a collection goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// Only says what would go.
    pub dry_run: bool,
    /// Collects however many orphans there are.
    pub accept_orphans: bool,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What went.
    pub collected: Collected,
    /// After which issue the next one begins; `None` at the end.
    pub next: Option<String>,
}

/// Why a step did not come to its end. What it removed until then may go.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The object store does not answer, or refuses.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The log lacks what the store has.
    #[error(
        "{suspects} of {files} objects are newer than what the log knows of their issues: was it lost, or set back? \
         Nothing was collected; restore the log, or say that they may go: queue-cli collect --accept-orphans"
    )]
    TooMany {
        /// Those that are older than a day.
        suspects: u64,
        /// Of so many in the step.
        files: u64,
    },
}

/// Collects in the log and in the object store.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where old events go.
    pub log: Log,
    /// Where objects go.
    pub objects: Objects,
    /// What goes.
    pub rules: Rules,
    /// The time of day.
    pub clock: Clock,
}

impl Collector {
    /// Looks at some issues of a repository, those whose numbers come after `after` as texts, and removes what may go.
    ///
    /// # Errors
    /// [`CollectError`]. The same step may be done again.
    pub async fn step(&self, repo: &RepoName, after: Option<&str>, manner: Manner) -> Result<Step, CollectError> {
        let shelves = self.objects.shelves(repo, after, STEP).await?;
        // Read after the objects were listed, here and for each issue below.
        let known = self.log.known(repo).await?;
        let Page { issues, next } = page(shelves, &known, after, STEP);
        let looks = issues.into_iter().map(|(name, files)| self.look(repo, name, files));
        let found: Vec<Looked> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
        if !manner.accept_orphans {
            believe(&found)?;
        }
        let mut collected = Collected::default();
        found.iter().for_each(|looked| collected.add(looked.collected()));
        if !manner.dry_run {
            let removals = found.into_iter().map(|looked| self.remove(looked));
            stream::iter(removals)
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        Ok(Step { collected, next })
    }

    async fn look(&self, repo: &RepoName, name: String, files: Vec<Stored>) -> Result<Looked, CollectError> {
        let all = files.len() as u64;
        let number = IssueId::parse_number(&name).ok();
        let Some(issue) = number.and_then(|number| repo.issue(number).ok()) else {
            let garbage = Garbage {
                unknown: all,
                ..Garbage::default()
            };
            return Ok(Looked {
                issue: None,
                files: all,
                garbage,
            });
        };
        let history = self.log.history(&issue).await?;
        let garbage = garbage(&issue, &files, &history, self.rules, self.clock.now());
        Ok(Looked {
            issue: Some(issue),
            files: all,
            garbage,
        })
    }

    /// First the events, so that none ever names what is not there.
    async fn remove(&self, looked: Looked) -> Result<(), CollectError> {
        let Looked { issue, garbage, .. } = looked;
        if let (Some(issue), Some(sequence)) = (issue, garbage.drop_before) {
            self.log.drop_before(&issue, sequence).await?;
        }
        let objects = garbage.revisions.into_iter().chain(garbage.orphans);
        let keys: Vec<String> = objects.map(|file| file.key).collect();
        if !keys.is_empty() {
            self.objects.delete(&keys).await?;
        }
        Ok(())
    }
}

/// What was found about one folder.
struct Looked {
    /// `None` for a folder that is no issue's.
    issue: Option<IssueId>,
    files: u64,
    garbage: Garbage,
}

impl Looked {
    fn collected(&self) -> Collected {
        let garbage = &self.garbage;
        let count = |files: &[Stored]| (files.len() as u64, files.iter().map(|file| file.bytes).sum());
        let (objects, bytes) = count(&garbage.revisions);
        let (orphans, orphan_bytes) = count(&garbage.orphans);
        Collected {
            issues: self.issue.is_some().into(),
            events: garbage.events,
            objects,
            bytes,
            orphans,
            orphan_bytes,
            unknown: garbage.unknown,
            unreadable: garbage.unreadable.into(),
        }
    }
}

/// Whether the log can be believed, or lacks too much of what was stored.
fn believe(found: &[Looked]) -> Result<(), CollectError> {
    let suspects = found.iter().map(|looked| looked.garbage.suspects).sum();
    let files = found.iter().map(|looked| looked.files).sum();
    if suspects > SUSPECTS && suspects * ONE_OF > files {
        return Err(CollectError::TooMany { suspects, files });
    }
    Ok(())
}

/// The issues of one step, by number as text, each with its files.
struct Page {
    issues: Vec<(String, Vec<Stored>)>,
    next: Option<String>,
}

/// Brings together what lies in the store and what the log knows: either may know issues that the other does not.
fn page(shelves: Vec<Shelf>, known: &[IssueId], after: Option<&str>, most: usize) -> Page {
    // Behind the last of a full listing there may be files that were not listed.
    let until = shelves.last().filter(|_| shelves.len() == most);
    let until = until.map(|shelf| shelf.name.clone());
    let known = known.iter().map(|issue| issue.number().to_string());
    let known = known.filter(|name| after.is_none_or(|after| name.as_str() > after));
    let mut all: BTreeMap<String, Vec<Stored>> = known.map(|name| (name, Vec::new())).collect();
    all.extend(shelves.into_iter().map(|shelf| (shelf.name, shelf.files)));
    let is_more = all.len() > most || until.is_some();
    let is_listed = |name: &String| until.as_ref().is_none_or(|until| name <= until);
    let listed = all.into_iter().take_while(|(name, _)| is_listed(name));
    let issues: Vec<_> = listed.take(most).collect();
    let next = issues.last().filter(|_| is_more).map(|(name, _)| name.clone());
    Page { issues, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(name: &str) -> Shelf {
        Shelf {
            name: name.to_owned(),
            files: Vec::new(),
        }
    }

    /// Walks everything in steps of two.
    fn walk(stored: &[&str], known: &[u64]) -> Vec<Vec<String>> {
        let repo = RepoName::new("a", "b").unwrap();
        let known: Vec<IssueId> = known.iter().map(|number| repo.issue(*number).unwrap()).collect();
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let rest = stored
                .iter()
                .filter(|name| after.as_deref().is_none_or(|after| **name > after));
            let shelves = rest.take(2).map(|name| shelf(name)).collect();
            let page = page(shelves, &known, after.as_deref(), 2);
            pages.push(page.issues.into_iter().map(|(name, _)| name).collect());
            match page.next {
                None => return pages,
                next => after = next,
            }
        }
    }

    #[test]
    fn a_walk_meets_every_issue_of_the_store_and_of_the_log_once() {
        let cases: [(&[&str], &[u64]); 6] = [
            (&[], &[]),
            (&["1", "10", "2"], &[1, 2, 10]),
            (&["1", "10", "2", "3", "9"], &[]),
            (&[], &[1, 2, 3, 4, 5, 10, 11]),
            (&["10", "7", "odd"], &[1, 2, 3, 8, 9, 11]),
            (&["5"], &[1, 2, 3]),
        ];
        for (stored, known) in cases {
            let pages = walk(stored, known);
            assert!(pages.iter().all(|page| page.len() <= 2), "{pages:?}");
            let mut all: Vec<String> = stored.iter().map(ToString::to_string).collect();
            all.extend(known.iter().map(ToString::to_string));
            all.sort_unstable();
            all.dedup();
            assert_eq!(pages.concat(), all);
        }
    }

    #[test]
    fn a_log_that_lacks_much_is_not_believed() {
        let looked = |files, suspects| Looked {
            issue: None,
            files,
            garbage: Garbage {
                suspects,
                ..Garbage::default()
            },
        };
        assert!(
            believe(&[looked(4, 4)]).is_ok(),
            "a few may be of a mirror that just began"
        );
        assert!(believe(&[looked(1_000, 0), looked(60, 60)]).is_ok());
        let error = believe(&[looked(10, 10)]).unwrap_err().to_string();
        assert!(error.starts_with("10 of 10 objects are newer"), "{error}");
    }
}
