//! A backfill: walks the list of all issues, takes each complete row as the issue, and asks for its timeline only.
//!
//! - One page of the list a step, the oldest issue first; where the list goes on is saved when a page is done. A crash
//!   repeats one page at most, and of it only what has no event of this backfill yet.
//! - A row goes the way of every download, in the background and beside live work. One that cannot be done becomes an
//!   ordinary request in the slow lane, so one issue never blocks a page; a limit or a part that is away stops the
//!   page, which is tried again.
//! - A row may be older than what another download stored meanwhile, so where the log has something else GitHub is asked.
//! - Each page's validator is kept with what it stands for: a walk over a repository that did not change costs no quota,
//!   if its credential is a token.

mod pages;

use bugstream_github::{Client, Error as GithubError, IssueState, Priority};
use bugstream_kit::config::Repository;
use bugstream_kit::consume::Outcome;
use bugstream_kit::log::Logged;
use bugstream_kit::validators::stands_for;
use bugstream_kit::watermarks::{Backfill, Marked, Phase};
use bugstream_proto::{Change, RepoName, Task, message, v1};
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;

use crate::cursor;
use crate::download::download;
use crate::failure::Failure;
use crate::fetch::Source;
use crate::request::Request;
use crate::tasks::{Layers, Next, Stopped, is_away};
use pages::{Content, Listed, Page, Pages};

/// Does one page.
pub(crate) async fn step(
    repository: &Repository,
    request: &v1::TaskRequested,
    layers: &Layers,
) -> Result<Next, Stopped> {
    let (repo, deps) = (&repository.name, &layers.deps);
    let Some(named) = named(request, || format!("{:016x}", deps.chance.bits())) else {
        let Marked { record, revision } = deps.watermarks.read::<Backfill>(repo).await?;
        let known = record.run.clone();
        return match under_way(record, request, deps.clock.now()) {
            Some(record) if record.run == known => go_on(record, revision, repository, layers).await,
            // Written down at once, so that whoever asked sees that it has begun, and why it waits.
            Some(record) => {
                let Marked { record, revision } = deps.watermarks.swap(repo, record, revision).await?;
                go_on(record, revision, repository, layers).await
            }
            None => Ok(Next::Asked),
        };
    };
    Ok(Next::As(named))
}

/// The request with a name, if it has none: else its second delivery after a crash would begin a second backfill.
fn named(request: &v1::TaskRequested, name: impl FnOnce() -> String) -> Option<v1::TaskRequested> {
    let asked = request.backfill.clone().unwrap_or_default();
    asked.run.is_empty().then(|| v1::TaskRequested {
        backfill: Some(v1::BackfillRequested { run: name(), ..asked }),
        ..request.clone()
    })
}

/// The backfill to work on: the one under way, whatever was asked for, or a new one; `None` if the one that was asked for
/// has ended.
fn under_way(record: Backfill, request: &v1::TaskRequested, now: OffsetDateTime) -> Option<Backfill> {
    if record.phase == Phase::Running {
        return Some(record);
    }
    let asked = request.backfill.as_ref()?;
    (asked.run != record.run).then(|| Backfill {
        run: asked.run.clone(),
        phase: Phase::Running,
        since: asked.since(),
        listed: state_of(asked.state()).to_string(),
        estimated_rows: asked.estimated_rows,
        began: Some(now),
        ..Backfill::default()
    })
}

fn state_of(state: v1::ListState) -> IssueState {
    match state {
        v1::ListState::Unspecified | v1::ListState::All => IssueState::All,
        v1::ListState::Open => IssueState::Open,
        v1::ListState::Closed => IssueState::Closed,
    }
}

async fn go_on(record: Backfill, revision: u64, repository: &Repository, layers: &Layers) -> Result<Next, Stopped> {
    let (repo, deps) = (&repository.name, &layers.deps);
    let (client, meter) = deps.client(repo, Priority::Background).metered();
    let pages = Pages::open(&layers.broker, repo).await?;
    let listed = list(&record, &client, repo, &pages).await;
    let page = match listed {
        Err(error) if is_final(&error) => return fail(record, revision, &error, repo, layers).await,
        page => page?,
    };
    let queued = do_rows(&page, &record, repository, &client, layers).await?;
    pages.keep(&page).await;
    let mut record = after(record, &page, queued, deps.clock.now());
    record.spent += meter.spent();
    tracing::info!(
        repository = %repo,
        rows = record.rows,
        queued = record.queued,
        spent = record.spent,
        phase = ?record.phase,
        "backfilled a page"
    );
    let next = if record.phase == Phase::Running {
        Next::Now
    } else {
        Next::Asked
    };
    deps.watermarks.swap(repo, record, revision).await?;
    Ok(next)
}

async fn list(record: &Backfill, client: &Client, repo: &RepoName, pages: &Pages) -> Result<Page, Stopped> {
    let cursor = record.cursor.as_deref().and_then(cursor::read);
    let state = match record.listed.as_str() {
        "open" => IssueState::Open,
        "closed" => IssueState::Closed,
        _ => IssueState::All,
    };
    let place = pages::Place {
        cursor,
        since: record.since,
        state,
    };
    pages.list(place, client, repo).await
}

/// Whether asking again would get the same answer.
fn is_final(stopped: &Stopped) -> bool {
    let Stopped::Failure(Failure::Github(error)) = stopped else {
        return false;
    };
    matches!(
        error,
        GithubError::Unexpected {
            status: 404 | 410 | 422
        }
    )
}

async fn fail(
    record: Backfill,
    revision: u64,
    error: &Stopped,
    repo: &RepoName,
    layers: &Layers,
) -> Result<Next, Stopped> {
    let why = format!(
        "{error}: see that {repo} is there with its issues enabled, then begin another one; what is unchanged costs little"
    );
    tracing::error!(repository = %repo, why, "backfill failed");
    let failed = Backfill {
        phase: Phase::Failed,
        why: Some(why),
        ended: Some(layers.deps.clock.now()),
        ..record
    };
    layers.deps.watermarks.swap(repo, failed, revision).await?;
    Ok(Next::Asked)
}

/// Does every row of a page; answers how many became requests.
async fn do_rows(
    page: &Page,
    record: &Backfill,
    repository: &Repository,
    client: &Client,
    layers: &Layers,
) -> Result<u64, Stopped> {
    let rows = stream::iter(page.rows.clone()).map(|row| do_row(row, record, repository, client, layers));
    let done: Vec<Row> = rows.buffer_unordered(layers.rows_at_once).try_collect().await?;
    Ok(done.iter().filter(|row| **row == Row::Queued).count() as u64)
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Done,
    Queued,
}

async fn do_row(
    row: Listed,
    record: &Backfill,
    repository: &Repository,
    client: &Client,
    layers: &Layers,
) -> Result<Row, Stopped> {
    let deps = &layers.deps;
    let Ok(issue) = repository.name.issue(row.number) else {
        return Ok(Row::Done);
    };
    let newest = deps.log.newest(&issue).await;
    let newest = newest.ok().flatten();
    if is_done(newest.as_ref(), &row, record.began) {
        return Ok(Row::Done);
    }
    let cause = v1::Cause::new(v1::Reason::Backfill, deps.clock.now());
    let request = Request {
        issue: &issue,
        repository,
        cause: cause.clone(),
        client: client.clone(),
        message: None,
        lease: None,
    };
    let source = source(&row, newest.as_ref(), layers).await;
    match Box::pin(download(&request, source, deps)).await {
        Ok(Outcome::Done) => return Ok(Row::Done),
        Err(failure) if stops_the_page(&failure) => return Err(failure.into()),
        Ok(other) => tracing::info!(%issue, ?other, "a row becomes a request"),
        Err(failure) => tracing::info!(%issue, %failure, "a row becomes a request"),
    }
    deps.requests.backfill(&issue, cause).await?;
    Ok(Row::Queued)
}

/// Whether this backfill, or a download besides, brought these very bytes since it began: then a crash repeats the page.
fn is_done(newest: Option<&Logged>, row: &Listed, began: Option<OffsetDateTime>) -> bool {
    let since = |newest: &Logged| began.is_some_and(|began| began <= newest.event.occurred_at);
    newest.is_some_and(|newest| since(newest) && names(newest, row))
}

/// Whether an event names the bytes of a row.
fn names(newest: &Logged, row: &Listed) -> bool {
    match &newest.event.change {
        Change::Downloaded(downloaded) => stands_for(&row.sha256, &downloaded.issue),
        Change::Deleted(_) | Change::Forgotten => false,
    }
}

/// Where the issue's JSON comes from: the row, or for a page that did not change the object with the row's bytes.
async fn source(row: &Listed, newest: Option<&Logged>, layers: &Layers) -> Source {
    match (&row.content, newest.map(|newest| &newest.event.change)) {
        (Content::Complete(raw), _) => Source::Row(raw.clone()),
        (Content::Known, Some(Change::Downloaded(known))) if newest.is_some_and(|newest| names(newest, row)) => {
            let stored = layers.deps.objects.get(&known.issue).await;
            stored.map_or(Source::Ask, Source::Row)
        }
        _ => Source::Ask,
    }
}

/// Whether no other row would fare better.
fn stops_the_page(failure: &Failure) -> bool {
    let credentials = matches!(failure, Failure::Github(GithubError::Unauthorized { .. }));
    let repository = matches!(failure, Failure::NoRepository(_) | Failure::IssuesDisabled(_));
    failure.limit().is_some() || is_away(failure) || credentials || repository
}

/// The record after a page.
fn after(record: Backfill, page: &Page, queued: u64, now: OffsetDateTime) -> Backfill {
    let cursor = page.next.as_ref().map(cursor::write);
    let ended = cursor.is_none();
    Backfill {
        phase: if ended { Phase::Done } else { Phase::Running },
        why: None,
        cursor,
        pages: record.pages + 1,
        rows: record.rows + page.rows.len() as u64,
        queued: record.queued + queued,
        last_run: Some(now),
        ended: ended.then_some(now),
        ..record
    }
}

/// Makes a backfill due that its record says is under way and that nobody works on.
pub(crate) async fn keep(repo: &RepoName, layers: &Layers) -> Result<(), Stopped> {
    let record = layers.deps.watermarks.read::<Backfill>(repo).await?.record;
    if record.phase != Phase::Running || layers.tasks.lying(&Task::Backfill.due(repo)).await?.is_some() {
        return Ok(());
    }
    tracing::warn!(repository = %repo, "a backfill is under way and nobody works on it; going on");
    let request = v1::TaskRequested {
        backfill: Some(v1::BackfillRequested {
            run: record.run.clone(),
            since: record.since.map(message::timestamp),
            ..v1::BackfillRequested::default()
        }),
        ..v1::TaskRequested::new(repo, layers.deps.clock.now())
    };
    layers.tasks.due(Task::Backfill, repo, &request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn request(run: &str) -> v1::TaskRequested {
        let repo: RepoName = "a/b".parse().unwrap();
        v1::TaskRequested {
            backfill: Some(v1::BackfillRequested {
                run: run.to_owned(),
                state: v1::ListState::Closed.into(),
                estimated_rows: 7,
                ..v1::BackfillRequested::default()
            }),
            ..v1::TaskRequested::new(&repo, NOON)
        }
    }

    #[test]
    fn one_that_was_asked_for_by_hand_gets_a_name_first() {
        let repo: RepoName = "a/b".parse().unwrap();
        let named = |request| named(&request, || "0001".to_owned());
        let given = named(v1::TaskRequested::new(&repo, NOON)).and_then(|request| request.backfill);
        assert_eq!(given.map(|asked| asked.run), Some("0001".to_owned()));
        assert_eq!(named(request("mine")), None);
    }

    #[test]
    fn one_at_a_time_and_each_only_once() {
        let first = under_way(Backfill::default(), &request("one"), NOON).unwrap();
        assert_eq!(
            (first.phase, first.listed.as_str(), first.estimated_rows),
            (Phase::Running, "closed", 7)
        );
        let same = under_way(first.clone(), &request("two"), NOON).unwrap();
        assert_eq!(same.run, "one", "the one under way goes on");
        let done = Backfill {
            phase: Phase::Done,
            ..first
        };
        assert_eq!(under_way(done.clone(), &request("one"), NOON), None, "delivered again");
        assert_eq!(under_way(done, &request("two"), NOON).unwrap().rows, 0);
    }

    #[test]
    fn the_last_page_ends_it() {
        let running = under_way(Backfill::default(), &request("one"), NOON).unwrap();
        let page = |next: Option<&str>| Page {
            rows: (1..=3).map(|number| Listed::known(number, String::new())).collect(),
            next: next.map(|url| cursor::read(url).unwrap()),
            ..Page::default()
        };
        let more = after(running, &page(Some("https://api.github.com/x?after=y")), 1, NOON);
        assert_eq!(
            (more.phase, more.rows, more.queued, more.ended),
            (Phase::Running, 3, 1, None)
        );
        let done = after(more, &page(None), 0, NOON);
        assert_eq!(
            (done.phase, done.rows, done.pages, done.ended),
            (Phase::Done, 6, 2, Some(NOON))
        );
        assert_eq!(done.cursor, None);
    }
}
