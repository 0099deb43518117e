//! Which letters a command is about, and how they are read: a few by their numbers, or all one after another.

use bugstream_kit::dead_letter::{LettersAway, StoredLetter, StoredLetters};
use bugstream_proto::RepoName;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use time::OffsetDateTime;

use super::cli::Which;
use super::subject::About;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::since;

/// Letters that are read at once by their numbers.
const AT_ONCE: usize = 64;

/// What is asked for, at one time.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    which: &'a Which,
    repository: Option<&'a RepoName>,
    now: OffsetDateTime,
}

impl<'a> Selection<'a> {
    /// The repository need not be configured: that it is not is why many letters are there.
    pub(super) fn new(which: &'a Which, deps: &'a Deps) -> Self {
        Self {
            which,
            repository: deps.spelled(),
            now: deps.context().clock.now(),
        }
    }

    /// Whether every letter is meant.
    pub(super) fn is_all(&self) -> bool {
        *self.which == Which::default() && self.repository.is_none()
    }

    /// The letters that are meant, oldest first; none that comes after `last`.
    pub(super) fn read<'s>(
        &'s self,
        letters: &'s StoredLetters,
        last: u64,
    ) -> BoxStream<'s, Result<StoredLetter, Failure>> {
        let read = match self.which.named() {
            None => letters.until(last),
            Some(ids) => stream::iter(ids)
                .map(|id| letters.get(id))
                .buffered(AT_ONCE)
                .try_filter_map(async |letter| Ok(letter))
                .boxed(),
        };
        read.try_filter(|letter| std::future::ready(self.holds(letter)))
            .map_err(|error| away(&error))
            .boxed()
    }

    fn holds(&self, letter: &StoredLetter) -> bool {
        let which = self.which;
        let age = since(letter.stored_at, self.now);
        which.service.as_deref().is_none_or(|name| name == letter.service())
            && which.older_than.is_none_or(|longest| age > longest)
            && which.newer_than.is_none_or(|longest| age <= longest)
            && which.reason.iter().all(|text| says(letter, text))
            && self.repository.is_none_or(|repo| is_about(letter, repo))
    }
}

fn says(letter: &StoredLetter, text: &str) -> bool {
    let text = text.to_lowercase();
    letter
        .letter
        .as_ref()
        .is_some_and(|letter| letter.kind.to_lowercase() == text || letter.reason.to_lowercase().contains(&text))
}

fn is_about(letter: &StoredLetter, repo: &RepoName) -> bool {
    let about = letter.letter.as_ref().map(|letter| About::of(&letter.subject));
    about.and_then(|about| about.repository().cloned()).as_ref() == Some(repo)
}

pub(crate) fn away(error: &LettersAway) -> Failure {
    Failure::failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::super::tests::letter;
    use super::*;

    fn holds(which: &Which, repository: Option<&str>) -> bool {
        let repository: Option<RepoName> = repository.map(|name| name.parse().expect("a repository"));
        let selection = Selection {
            which,
            repository: repository.as_ref(),
            now: datetime!(2026-11-21 15:00 UTC),
        };
        selection.holds(&letter(17))
    }

    #[test]
    fn all_that_is_said_must_hold() {
        type Change = fn(&mut Which);
        let table: [(bool, Change); 12] = [
            (true, |_| {}),
            (true, |which| which.reason = vec!["DOCUMENT".into()]),
            (true, |which| {
                which.reason = vec!["document".into(), "field \"body\"".into()]
            }),
            (false, |which| which.reason = vec!["document".into(), "lost".into()]),
            (false, |which| which.reason = vec!["doc".into(), "payload".into()]),
            (true, |which| which.service = Some("indexer".into())),
            (false, |which| which.service = Some("downloader".into())),
            (true, |which| which.older_than = Some(Duration::from_secs(10_799))),
            (false, |which| which.older_than = Some(Duration::from_secs(10_800))),
            (true, |which| which.newer_than = Some(Duration::from_secs(10_800))),
            (false, |which| which.newer_than = Some(Duration::from_secs(10_799))),
            (false, |which| {
                which.reason = vec!["document".into()];
                which.service = Some("downloader".into());
            }),
        ];
        for (position, (wanted, change)) in table.into_iter().enumerate() {
            let mut which = Which::default();
            change(&mut which);
            assert_eq!(holds(&which, None), wanted, "{position}: {which:?}");
        }
        assert!(holds(&Which::default(), Some("WebCompat/web-bugs")));
        assert!(!holds(&Which::default(), Some("webcompat/other")));
    }

    #[test]
    fn what_is_no_letter_has_no_reason_and_no_repository() {
        let nothing = StoredLetter {
            letter: None,
            ..letter(17)
        };
        let which = Which {
            reason: vec![String::new()],
            ..Which::default()
        };
        assert!(!says(&nothing, &which.reason[0]));
        assert!(!is_about(&nothing, &"a/b".parse().expect("a repository")));
    }
}
