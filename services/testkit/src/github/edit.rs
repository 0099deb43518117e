//! Edits by command: each changes the world as GitHub would and says so by signed webhooks, if there is a receiver.
//!
//! An edit returns when its deliveries were answered (or not: GitHub does not try again either).

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::history::{By, Change, Draft};
use super::shapes::{MODERATION_BODY, MODERATION_TITLE, RepoRef};
use super::state::{Entry, Issue};
use super::words::PEOPLE;
use super::{Simulator, World, seed, shapes, webhook};
use crate::github::webhook::Delivery;

/// Who makes live edits.
pub(super) const EDITOR: &str = PEOPLE[0];

/// Event name and body of a webhook to be sent.
pub(super) type Payload = (&'static str, Vec<u8>);

/// An issue, in the simulator's main repository unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    repository: Option<String>,
    number: u64,
}

impl From<u64> for Which {
    fn from(number: u64) -> Self {
        Self {
            repository: None,
            number,
        }
    }
}

impl<S: Into<String>> From<(S, u64)> for Which {
    fn from((repository, number): (S, u64)) -> Self {
        Self {
            repository: Some(repository.into()),
            number,
        }
    }
}

impl Simulator {
    /// Does these things to an issue, in this order.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn edit(
        &self,
        issue: impl Into<Which>,
        changes: impl IntoIterator<Item = Change>,
    ) -> anyhow::Result<Vec<Delivery>> {
        let (issue, changes) = (issue.into(), changes.into_iter().collect::<Vec<_>>());
        self.change(|world| world.edit(&issue, &changes)).await
    }

    /// Opens an issue and returns its number.
    ///
    /// # Errors
    /// If the state file can not be written.
    pub async fn open(&self, title: &str, body: &str) -> anyhow::Result<u64> {
        let mut opened = 0;
        self.change(|world| {
            let repo = world.main.clone();
            opened = world.state.free_number(repo.id);
            let draft = Draft {
                issue: shapes::issue(&repo, opened, title, body, EDITOR, &world.stamp()),
                timeline: Vec::new(),
            };
            world.state.put(repo.id, opened, Issue::of(&draft));
            Ok(vec![webhook::payload(
                &repo,
                EDITOR,
                &draft,
                "issues",
                json!({"action": "opened"}),
            )])
        })
        .await?;
        Ok(opened)
    }

    /// Moves an issue into the moderation queue, as the tracker's moderators do: its content goes to an issue of the
    /// private partner, whose cross-reference appears in the timeline; title and body say that it waits.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn make_private(&self, issue: impl Into<Which>) -> anyhow::Result<Vec<Delivery>> {
        let issue = issue.into();
        self.change(|world| world.make_private(&issue)).await
    }

    /// Takes an issue out of the moderation queue: title and body come back, the cross-reference stays.
    ///
    /// # Errors
    /// If there is no such issue, or no partner's issue shows in its timeline.
    pub async fn make_public(&self, issue: impl Into<Which>) -> anyhow::Result<Vec<Delivery>> {
        let issue = issue.into();
        self.change(|world| world.make_public(&issue)).await
    }

    /// Removes the timeline events that `which` chooses, as when comments are deleted, and returns how many those were.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn remove_events(
        &self,
        issue: impl Into<Which>,
        mut which: impl FnMut(&Value) -> bool,
    ) -> anyhow::Result<usize> {
        let (issue, mut removed) = (issue.into(), 0);
        self.change(|world| {
            let (repo, mut draft) = world.draft(&issue)?;
            let (gone, kept): (Vec<Value>, Vec<Value>) = draft.timeline.drain(..).partition(&mut which);
            removed = gone.len();
            draft.timeline = kept;
            let comments: Vec<Value> = gone
                .iter()
                .filter(|e| e["event"] == "commented")
                .map(webhook::comment)
                .collect();
            draft.add("comments", -i64::try_from(comments.len())?);
            draft.issue.insert("updated_at".into(), json!(world.stamp()));
            world.state.put(repo.id, issue.number, Issue::of(&draft));
            let payload = |comment| {
                webhook::payload(
                    &repo,
                    EDITOR,
                    &draft,
                    "issue_comment",
                    json!({"action": "deleted", "comment": comment}),
                )
            };
            Ok(comments.into_iter().map(payload).collect())
        })
        .await?;
        Ok(removed)
    }

    /// Deletes an issue: 410 from now on.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn delete(&self, issue: impl Into<Which>) -> anyhow::Result<Vec<Delivery>> {
        let issue = issue.into();
        self.change(|world| {
            let (repo, draft) = world.draft(&issue)?;
            world.state.set(repo.id, issue.number, Entry::Deleted);
            Ok(vec![webhook::payload(
                &repo,
                EDITOR,
                &draft,
                "issues",
                json!({"action": "deleted"}),
            )])
        })
        .await
    }

    /// Hides an issue: 404 from now on and no webhook, as where it moved to a place that one may not see.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn hide(&self, issue: impl Into<Which>) -> anyhow::Result<()> {
        let issue = issue.into();
        let hide = |world: &mut World| {
            let (repo, _) = world.draft(&issue)?;
            world.state.set(repo.id, issue.number, Entry::Hidden);
            Ok(vec![])
        };
        self.change(hide).await.map(drop)
    }

    /// Converts an issue to a discussion. The issue is not deleted, as it once was: it stays, closed and locked, with a
    /// `converted_to_discussion` event.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn convert_to_discussion(&self, issue: impl Into<Which>) -> anyhow::Result<Vec<Delivery>> {
        let changes = [
            Change::Close("completed".to_owned()),
            Change::Lock("resolved".to_owned()),
            Change::Discussion,
        ];
        self.edit(issue, changes).await
    }

    /// Transfers an issue to another repository (made if it is new), where it gets a new number, which is returned.
    ///
    /// # Errors
    /// If there is no such issue, or the state file can not be written.
    pub async fn transfer(&self, issue: impl Into<Which>, to: &str) -> anyhow::Result<u64> {
        let (issue, mut arrived) = (issue.into(), 0);
        self.change(|world| {
            let (repo, draft) = world.draft(&issue)?;
            let target = world.state.add_repository(to, false);
            arrived = world.state.free_number(target.id);
            let moved = world.moved(&draft, &target, arrived);
            world.state.put(target.id, arrived, Issue::of(&moved));
            world.state.set(repo.id, issue.number, Entry::Moved(target.id, arrived));
            let changes = json!({"new_issue": moved.issue, "new_repository": shapes::repository(&target)});
            Ok(vec![webhook::payload(
                &repo,
                EDITOR,
                &draft,
                "issues",
                json!({"action": "transferred", "changes": changes}),
            )])
        })
        .await?;
        Ok(arrived)
    }

    /// Serves these texts byte for byte, as an issue and its timeline (an array); the repository is made if it is new.
    ///
    /// # Errors
    /// If a text is not JSON, or the state file can not be written.
    pub async fn put_raw(&self, issue: impl Into<Which>, json: &str, timeline: &str) -> anyhow::Result<()> {
        let (which, issue) = (issue.into(), Issue::from_raw(json, timeline)?);
        let put = |world: &mut World| {
            let repo = match &which.repository {
                Some(name) => world.state.add_repository(name, false),
                None => world.main.clone(),
            };
            world.state.put(repo.id, which.number, issue);
            Ok(vec![])
        };
        self.change(put).await.map(drop)
    }

    /// Changes the world, saves it, and makes the deliveries.
    pub(super) async fn change(
        &self,
        edit: impl FnOnce(&mut World) -> anyhow::Result<Vec<Payload>>,
    ) -> anyhow::Result<Vec<Delivery>> {
        let payloads = {
            let mut world = self.inner.world();
            let payloads = edit(&mut world)?;
            world.state.save()?;
            payloads
        };
        let mut made = Vec::new();
        for (event, body) in payloads {
            made.extend(self.announce(event, body).await);
        }
        Ok(made)
    }
}

impl World {
    fn repository(&self, which: &Which) -> anyhow::Result<RepoRef> {
        match &which.repository {
            None => Ok(self.main.clone()),
            Some(name) => Ok(self
                .state
                .by_name(name)
                .with_context(|| format!("no repository {name}"))?
                .about
                .clone()),
        }
    }

    pub(super) fn draft(&self, which: &Which) -> anyhow::Result<(RepoRef, Draft)> {
        let repo = self.repository(which)?;
        let issue = self.state.live(repo.id, which.number);
        let issue = issue.with_context(|| format!("no issue {}#{}", repo.full_name, which.number))?;
        Ok((repo, issue.draft()))
    }

    fn edit(&mut self, which: &Which, changes: &[Change]) -> anyhow::Result<Vec<Payload>> {
        let (repo, before) = self.draft(which)?;
        let (mut after, at) = (before.clone(), self.stamp());
        let mut done = Vec::new();
        for change in changes {
            let id = self.state.take_id();
            if after.apply(
                change,
                By {
                    repo: &repo,
                    actor: EDITOR,
                    at: &at,
                    id,
                },
            ) {
                done.push(change.clone());
            }
        }
        self.state.put(repo.id, which.number, Issue::of(&after));
        Ok(webhook::payloads(&repo, EDITOR, &before, &after, &done))
    }

    fn make_private(&mut self, which: &Which) -> anyhow::Result<Vec<Payload>> {
        let (repo, mut draft) = self.draft(which)?;
        if draft.issue["title"] == MODERATION_TITLE {
            return Ok(vec![]);
        }
        let source = self.partner_issue(&draft);
        let mut changes = vec![
            Change::Title(MODERATION_TITLE.into()),
            Change::Body(MODERATION_BODY.into()),
        ];
        match partner_event(&mut draft, &self.partner) {
            Some(event) => {
                event["source"]["issue"] = source;
                self.state.put(repo.id, which.number, Issue::of(&draft));
            }
            None => changes.insert(0, Change::CrossReference(Box::new(source))),
        }
        self.edit(which, &changes)
    }

    /// The partner's issue with this content: the one that the timeline names already, or a new one.
    fn partner_issue(&mut self, draft: &Draft) -> Value {
        let partner = self.partner.clone();
        let known =
            partner_event(&mut draft.clone(), &partner).and_then(|event| event["source"]["issue"]["number"].as_u64());
        let number = known.unwrap_or_else(|| self.state.free_number(partner.id));
        let text = |key: &str| draft.issue[key].as_str().unwrap_or_default().to_owned();
        let at = self.stamp();
        let issue = shapes::issue(&partner, number, &text("title"), &text("body"), EDITOR, &at);
        let copy = Draft {
            issue,
            timeline: Vec::new(),
        };
        self.state.put(partner.id, number, Issue::of(&copy));
        seed::nested(&copy, &partner)
    }

    fn make_public(&mut self, which: &Which) -> anyhow::Result<Vec<Payload>> {
        let (_, mut draft) = self.draft(which)?;
        if draft.issue["title"] != MODERATION_TITLE {
            return Ok(vec![]);
        }
        let Some(event) = partner_event(&mut draft, &self.partner) else {
            bail!("issue {} names no issue of {}", which.number, self.partner.full_name)
        };
        let text = |key: &str| event["source"]["issue"][key].as_str().unwrap_or_default().to_owned();
        let changes = [Change::Title(text("title")), Change::Body(text("body"))];
        self.edit(which, &changes)
    }

    /// A transferred issue in its new place: its history comes along.
    fn moved(&self, draft: &Draft, to: &RepoRef, number: u64) -> Draft {
        let text = |key: &str| draft.issue[key].as_str().unwrap_or_default().to_owned();
        let mut issue = shapes::issue(to, number, &text("title"), &text("body"), EDITOR, &text("created_at"));
        for key in [
            "state",
            "state_reason",
            "closed_at",
            "closed_by",
            "labels",
            "user",
            "comments",
            "assignee",
            "assignees",
        ] {
            if let Some(value) = draft.issue.get(key) {
                issue.insert(key.to_owned(), value.clone());
            }
        }
        issue.insert("updated_at".into(), json!(self.stamp()));
        Draft {
            issue,
            timeline: draft.timeline.clone(),
        }
    }

    /// Now, as GitHub writes it.
    pub(super) fn stamp(&self) -> String {
        seed::stamp(self.now())
    }
}

/// The first event by which an issue of the private partner shows.
fn partner_event<'a>(draft: &'a mut Draft, partner: &RepoRef) -> Option<&'a mut Value> {
    let names = |event: &Value| event["source"]["issue"]["repository"]["full_name"] == partner.full_name;
    draft
        .timeline
        .iter_mut()
        .find(|event| event["event"] == "cross-referenced" && names(event))
}
