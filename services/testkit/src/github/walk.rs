//! Long timelines, and timelines that change while somebody walks their pages.

use serde_json::json;

use super::edit::EDITOR;
use super::history::{By, Change, Draft};
use super::state::Issue;
use super::{Simulator, World};

/// What happens to a timeline between two of its pages. Nobody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meanwhile {
    /// A comment appears at this position: what comes after it moves down by one.
    Insert(usize),
    /// The event at this position is gone: what comes after it moves up by one.
    Remove(usize),
    /// The issue changes; events are added at the end.
    Edit(Vec<Change>),
}

/// When it happens.
#[derive(Debug)]
pub(super) struct Turn {
    issue: u64,
    after_page: usize,
    times: u64,
    what: Meanwhile,
}

impl Simulator {
    /// Lets a timeline of the main repository change as soon as this page of it was served (also by a 304), so many times.
    pub fn during_walk(&self, issue: u64, after_page: usize, times: u64, what: Meanwhile) {
        self.inner.world().turns.push(Turn {
            issue,
            after_page,
            times,
            what,
        });
    }

    /// Adds so many events to the end of a timeline of the main repository: half of them comments, the others mentions and
    /// subscriptions. Nobody is told.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub fn lengthen(&self, issue: u64, events: usize) -> anyhow::Result<()> {
        let changes = (0..events).map(|index| match index % 4 {
            0 | 2 => Change::Comment(format!("Comment {index}")),
            1 => Change::Mention("somebody".to_owned()),
            _ => Change::Subscribe("somebody".to_owned()),
        });
        let mut world = self.inner.world();
        world.silently(issue, &Meanwhile::Edit(changes.collect()))
    }
}

impl World {
    /// This page of that timeline was served: what was to happen happens.
    pub(super) fn turn(&mut self, issue: u64, page: usize) {
        let meant = |turn: &&mut Turn| turn.issue == issue && turn.after_page == page && turn.times > 0;
        let Some(turn) = self.turns.iter_mut().find(meant) else {
            return;
        };
        turn.times -= 1;
        let what = turn.what.clone();
        if let Err(error) = self.silently(issue, &what) {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot change the timeline of issue {issue}"
            );
        }
    }

    fn silently(&mut self, issue: u64, what: &Meanwhile) -> anyhow::Result<()> {
        let (repo, mut draft) = self.draft(&issue.into())?;
        match what {
            Meanwhile::Remove(at) => remove(&mut draft, *at),
            Meanwhile::Insert(at) => {
                self.add(&mut draft, &Change::Comment("In between".to_owned()));
                let last = draft.timeline.pop().unwrap_or_default();
                draft.timeline.insert((*at).min(draft.timeline.len()), last);
            }
            Meanwhile::Edit(changes) => changes.iter().for_each(|change| self.add(&mut draft, change)),
        }
        draft.issue.insert("updated_at".into(), json!(self.stamp()));
        self.state.put(repo.id, issue, Issue::of(&draft));
        self.state.save()
    }

    fn add(&mut self, draft: &mut Draft, change: &Change) {
        let (repo, at, id) = (self.main.clone(), self.stamp(), self.state.take_id());
        let by = By {
            repo: &repo,
            actor: EDITOR,
            at: &at,
            id,
        };
        draft.apply(change, by);
    }
}

fn remove(draft: &mut Draft, at: usize) {
    if at >= draft.timeline.len() {
        return;
    }
    let gone = draft.timeline.remove(at);
    if gone["event"] == "commented" {
        draft.add("comments", -1);
    }
}
