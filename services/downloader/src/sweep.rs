//! The sweep: what GitHub lists as updated since the last time is requested, so that a webhook which never arrived, and
//! that no delivery tells of, is missed for minutes only.
//!
//! - One page a step, the longest unchanged first, so that an issue which changes meanwhile comes later again.
//! - The watermark moves to the newest `updated_at` of a page after the page's requests have their PubAck. An empty list
//!   moves nothing: lists are now and then empty for no reason.
//! - Each sweep begins a little before the watermark, since what was updated may be listed late. What it asked for there
//!   the last time, with the same `updated_at`, it does not ask for again.

use std::time::Duration;

use bugstream_github::{Client, Error, ListAnswer, Priority, Row, Rows};
use bugstream_kit::config::Repository;
use bugstream_kit::watermarks::{Marked, State, Sweep};
use bugstream_proto::{IssueId, RepoName, v1};
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;

use crate::cursor;
use crate::tasks::{Layers, Next, Stopped};

/// How far before the watermark a sweep begins.
const OVERLAP: Duration = Duration::from_secs(120);
/// How far back the first sweep looks.
const FIRST: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows of the overlap that are remembered. More are asked for again, which costs requests only.
const REMEMBERED: usize = 2_000;
/// Requests published at once.
const AT_ONCE: usize = 64;

/// Requests what one page of the list has.
pub(crate) async fn step(repository: &Repository, layers: &Layers) -> Result<Next, Stopped> {
    let Some(interval) = layers.freshness.sweep else {
        return Ok(Next::Asked);
    };
    let (repo, deps) = (&repository.name, &layers.deps);
    let now = deps.clock.now();
    let Marked { record, revision } = deps.watermarks.read::<Sweep>(repo).await?;
    let client = deps.client(repo, Priority::Background);
    let page = match list(&client, repo, &record, now).await {
        Err(Error::Unexpected {
            status: 404 | 410 | 422,
        }) if record.cursor.is_some() => {
            tracing::info!(repository = %repo, "github no longer knows where the sweep was; beginning it again");
            let again = Sweep { cursor: None, ..record };
            deps.watermarks.swap(repo, again, revision).await?;
            return Ok(Next::Now);
        }
        page => page?,
    };
    let wanted: Vec<u64> = page
        .rows
        .iter()
        .filter(|row| is_news(&record, row))
        .map(|row| row.number)
        .collect();
    ask(&wanted, repo, layers).await?;
    let record = after(record, &page, wanted.len() as u64, now);
    let next = if record.cursor.is_some() {
        Next::Now
    } else {
        Next::In(interval)
    };
    if next != Next::Now {
        tracing::info!(repository = %repo, found = record.found, "swept");
    }
    deps.watermarks.swap(repo, record, revision).await?;
    Ok(next)
}

/// The next page of the sweep under way, or the first one of a new sweep.
async fn list(client: &Client, repo: &RepoName, record: &Sweep, now: OffsetDateTime) -> Result<Rows, Error> {
    let cursor = record.cursor.as_deref().and_then(cursor::read);
    let listed = match cursor {
        Some(cursor) => client.issues_at(&cursor, None).await?,
        None => client.issues_updated(repo, begin(record, now), None).await?,
    };
    match listed {
        ListAnswer::Rows(rows) => Ok(rows),
        ListAnswer::Unchanged { .. } => Err(Error::Malformed {
            why: "unchanged, though nothing was known",
        }),
    }
}

/// From when on issues are listed.
fn begin(record: &Sweep, now: OffsetDateTime) -> OffsetDateTime {
    record.newest.map_or(now - FIRST, |newest| newest - OVERLAP)
}

/// Whether a row was not asked for yet as it is.
fn is_news(record: &Sweep, row: &Row) -> bool {
    record.asked.get(&row.number) != Some(&row.updated_at.unix_timestamp())
}

async fn ask(numbers: &[u64], repo: &RepoName, layers: &Layers) -> Result<(), Stopped> {
    let issues: Vec<IssueId> = numbers.iter().filter_map(|number| repo.issue(*number).ok()).collect();
    let requests = stream::iter(issues).map(|issue| async move {
        let cause = v1::Cause::new(v1::Reason::Sweep, layers.deps.clock.now());
        layers.deps.requests.backfill(&issue, cause).await
    });
    let asked: Vec<_> = requests.buffer_unordered(AT_ONCE).try_collect().await?;
    tracing::debug!(repository = %repo, asked = asked.len(), "asked for a page of the sweep");
    Ok(())
}

/// The record after a page whose requests are stored.
fn after(record: Sweep, page: &Rows, found: u64, now: OffsetDateTime) -> Sweep {
    let begins = record.cursor.is_none();
    let newest = page.rows.iter().map(|row| row.updated_at).chain(record.newest).max();
    let mut asked = record.asked;
    asked.extend(
        page.rows
            .iter()
            .map(|row| (row.number, row.updated_at.unix_timestamp())),
    );
    let oldest = newest.map_or(0, |newest| (newest - OVERLAP).unix_timestamp());
    asked.retain(|_, at| *at >= oldest);
    while asked.len() > REMEMBERED {
        asked.pop_first();
    }
    let cursor = page.next.as_ref().map(cursor::write);
    Sweep {
        state: State::On,
        newest,
        last_run: if cursor.is_none() { Some(now) } else { record.last_run },
        found: if begins { found } else { record.found + found },
        cursor,
        asked,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn page(rows: &[(u64, i64)], next: Option<&str>) -> Rows {
        let row = |(number, seconds): &(u64, i64)| Row {
            number: *number,
            raw: bytes::Bytes::new(),
            complete: true,
            updated_at: NOON + time::Duration::seconds(*seconds),
            comments: None,
        };
        Rows {
            rows: rows.iter().map(row).collect(),
            next: next.map(|url| cursor::read(url).unwrap()),
            validator: None,
        }
    }

    #[test]
    fn an_empty_list_moves_nothing() {
        let before = after(Sweep::default(), &page(&[(1, 0)], None), 1, NOON);
        let empty = after(before.clone(), &page(&[], None), 0, NOON + OVERLAP);
        assert_eq!((empty.newest, empty.asked), (before.newest, before.asked));
        assert_eq!(begin(&Sweep::default(), NOON), NOON - FIRST, "nothing was ever listed");
    }

    #[test]
    fn what_was_asked_for_in_the_overlap_is_not_asked_for_again_unless_it_changed() {
        let record = after(Sweep::default(), &page(&[(1, -500), (2, 0), (3, 0)], None), 3, NOON);
        assert_eq!(record.newest, Some(NOON));
        assert_eq!(begin(&record, NOON), NOON - OVERLAP);
        assert_eq!(
            record.asked.keys().copied().collect::<Vec<_>>(),
            [2, 3],
            "1 is older than the overlap"
        );
        let again = page(&[(2, 0), (3, 30), (4, -60)], None);
        let news: Vec<u64> = again
            .rows
            .iter()
            .filter(|row| is_news(&record, row))
            .map(|row| row.number)
            .collect();
        assert_eq!(news, [3, 4], "4 was listed late");
    }

    #[test]
    fn a_sweep_goes_on_at_its_cursor_and_ends_with_the_list() {
        let next = Some("https://api.github.com/repositories/1/issues?after=x");
        let first = after(Sweep::default(), &page(&[(1, 0)], next), 1, NOON);
        assert!(first.cursor.is_some() && first.last_run.is_none());
        let last = after(first, &page(&[(2, 5)], None), 1, NOON);
        assert_eq!((last.cursor, last.last_run, last.found), (None, Some(NOON), 2));
    }
}
