//! What people do to issues, about twenty times a second.

use std::time::Duration;

use async_nats::jetstream;
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Book;
use crate::github::{Change, Simulator};

/// Edits whose webhooks may be unanswered at once.
const AT_ONCE: usize = 16;

/// How long a request by hand may take until the broker has it: longer than any fault.
const BY_HAND: Duration = Duration::from_secs(120);

/// Who edits.
#[derive(Debug, Clone)]
pub(crate) struct Editor {
    pub(crate) github: Simulator,
    /// Straight to the broker.
    pub(crate) jetstream: jetstream::Context,
    pub(crate) repository: String,
}

/// What is done.
#[derive(Debug, Clone)]
enum Edit {
    Change(Change),
    RemoveComments,
    Open,
    Private,
    Public,
    Delete,
    Transfer,
    /// GitHub says nothing of it; somebody asks by hand.
    Hide,
    /// A request that can never succeed.
    Plant,
}

impl Edit {
    fn random(chance: &mut StdRng, step: u64) -> Self {
        let text = format!("Edit {step}");
        match chance.random_range(0..100) {
            0..=24 => Self::Change(Change::Title(text)),
            25..=34 => Self::Change(Change::Body(text)),
            35..=54 => Self::Change(Change::Comment(text)),
            55..=62 => Self::Change(Change::Label(format!("label-{}", step % 7))),
            63..=67 => Self::Change(Change::Unlabel(format!("label-{}", step % 7))),
            68..=72 => Self::Change(Change::Close("completed".to_owned())),
            73..=77 => Self::Change(Change::Reopen),
            78..=81 => Self::RemoveComments,
            82..=84 => Self::Open,
            85..=89 => Self::Private,
            90..=94 => Self::Public,
            95 => Self::Delete,
            96 => Self::Transfer,
            97 => Self::Hide,
            _ => Self::Plant,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Change(Change::Title(_)) => "titles",
            Self::Change(Change::Body(_)) => "bodies",
            Self::Change(Change::Comment(_)) => "comments",
            Self::Change(Change::Label(_) | Change::Unlabel(_)) => "labels",
            Self::Change(_) => "states",
            Self::RemoveComments => "comments removed",
            Self::Open => "opened",
            Self::Private => "made private",
            Self::Public => "made public",
            Self::Delete => "deleted",
            Self::Transfer => "transferred",
            Self::Hide => "hidden",
            Self::Plant => "bad requests planted",
        }
    }
}

/// Edits until it is told to stop, then waits for what is under way.
pub(super) async fn edit(editor: Editor, mut chance: StdRng, book: Book, stopped: watch::Receiver<bool>) {
    let mut under_way = JoinSet::new();
    let mut step = 0;
    while !*stopped.borrow() {
        step += 1;
        let numbers = editor.github.numbers();
        let number = numbers[chance.random_range(0..numbers.len())];
        let edit = Edit::random(&mut chance, step);
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        under_way.spawn(apply(editor.clone(), number, edit, step, book.clone()));
        tokio::time::sleep(Duration::from_millis(chance.random_range(20..80))).await;
    }
    under_way.join_all().await;
}

async fn apply(editor: Editor, number: u64, edit: Edit, step: u64, book: Book) {
    let name = edit.name();
    let done = match edit {
        Edit::Plant => {
            editor.plant(step, &book).await;
            Ok(())
        }
        Edit::Hide => editor.hide(number).await,
        other => editor.change(number, other, step).await,
    };
    // Another edit may have deleted the issue since it was chosen, or there is nothing to make public.
    if done.is_ok() {
        book.edit(name);
    }
}

impl Editor {
    /// GitHub's record tells in the end which webhooks of it the receiver did not take.
    async fn change(&self, number: u64, edit: Edit, step: u64) -> anyhow::Result<()> {
        let github = &self.github;
        match edit {
            Edit::Change(change) => github.edit(number, [change]).await.map(drop),
            Edit::RemoveComments => {
                github
                    .remove_events(number, |event| event["event"] == "commented")
                    .await?;
                let tidied = github.edit(number, [Change::Body(format!("Tidied {step}"))]);
                tidied.await.map(drop)
            }
            Edit::Open => {
                let number = github.open(&format!("Opened {step}"), "For the first time").await?;
                let commented = github.edit(number, [Change::Comment("At once".to_owned())]);
                commented.await.map(drop)
            }
            Edit::Private => github.make_private(number).await.map(drop),
            Edit::Public => github.make_public(number).await.map(drop),
            Edit::Delete => github.delete(number).await.map(drop),
            Edit::Transfer => {
                github.transfer(number, "bugstream-demo/elsewhere").await?;
                self.request(number).await
            }
            Edit::Hide | Edit::Plant => Ok(()),
        }
    }

    async fn hide(&self, number: u64) -> anyhow::Result<()> {
        self.github.hide(number).await?;
        self.request(number).await
    }

    /// Asks for a download by hand, until the broker has the request.
    async fn request(&self, number: u64) -> anyhow::Result<()> {
        let subject = format!("download.{}.{number}", self.repository.replace('/', "."));
        let publish = async { while !self.publish(&subject).await {} };
        Ok(tokio::time::timeout(BY_HAND, publish).await?)
    }

    async fn plant(&self, step: u64, book: &Book) {
        let subject = format!("download.{step}");
        // If the answer is lost, it may be there all the same.
        book.open().planted.insert(subject.clone(), false);
        if self.publish(&subject).await {
            book.open().planted.insert(subject, true);
        }
    }

    async fn publish(&self, subject: &str) -> bool {
        match self.jetstream.publish(subject.to_owned(), "".into()).await {
            Ok(stored) => stored.await.is_ok(),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn every_kind_of_edit_happens_within_two_thousand() {
        let mut chance = StdRng::seed_from_u64(1);
        let names: BTreeSet<_> = (0..2_000).map(|step| Edit::random(&mut chance, step).name()).collect();
        assert_eq!(names.len(), 13, "{names:?}");
    }
}
