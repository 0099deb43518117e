//! The list of a repository's issues: filtered, sorted, by number of page or by cursor.

use std::ops::Range;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::ask::Ask;
use super::reply::Reply;
use crate::github::page;
use crate::github::seed;
use crate::github::state::{Entry, Issue, Repository};

/// A row of a list and its place in it.
type Placed<'a> = (Place, &'a Issue);

/// What it is sorted by, and its number.
type Place = (String, u64);

/// Rows that lack a field which the issue itself has, as rows of GitHub's lists do: those whose number this divides.
#[derive(Debug, Clone)]
pub(in crate::github) struct Lacking {
    pub(in crate::github) field: String,
    pub(in crate::github) every: u64,
}

impl Lacking {
    fn meets(&self, number: u64) -> bool {
        self.every > 0 && number.is_multiple_of(self.every)
    }
}

pub(super) fn of(ask: &Ask, repository: &Repository, lacking: Option<&Lacking>) -> Reply {
    let (size, page) = page::asked(&ask.query);
    let rows = match sorted(ask, repository) {
        Ok(rows) => rows,
        Err(reply) => return reply,
    };
    let Some(range) = range(ask, &rows, size, page) else {
        return Reply::error(422, TOO_FAR);
    };
    let shown = &rows[range.clone()];
    let text = |row: Option<&Placed<'_>>| row.map(|((key, number), _)| page::cursor(key, *number));
    let next = text(shown.last().filter(|_| range.end < rows.len()));
    let prev = text(shown.first().filter(|_| range.start > 0));
    let base = format!("{}/repositories/{}/issues", ask.origin, repository.about.id);
    let links = page::cursor_links(&base, &ask.query, page, next.as_deref(), prev.as_deref());
    let bodies: Vec<String> = shown
        .iter()
        .map(|((_, number), issue)| row(issue, lacking.filter(|lacking| lacking.meets(*number))))
        .collect();
    Reply::json(format!("[{}]", bodies.join(","))).with_links(links)
}

const TOO_FAR: &str = "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination (after/before)";

/// Which rows are shown; none for a number of page that GitHub refuses.
fn range(ask: &Ask, rows: &[Placed<'_>], size: usize, page: usize) -> Option<Range<usize>> {
    let cursor = |key: &str| ask.query.get(key).and_then(|text| page::read_cursor(text));
    let place = |cursor: &Place| rows.partition_point(|(at, _)| comes_before(ask, at, cursor));
    let (from, to) = match (cursor("after"), cursor("before")) {
        (Some(cursor), _) => {
            let from = place(&cursor) + usize::from(rows.iter().any(|(at, _)| *at == cursor));
            (from, from + size)
        }
        (None, Some(cursor)) => (place(&cursor).saturating_sub(size), place(&cursor)),
        (None, None) if page * size > page::MAX_ROWS => return None,
        (None, None) => ((page - 1) * size, page * size),
    };
    Some(from.min(rows.len())..to.min(rows.len()))
}

/// A row is the issue as it is, or without a field.
fn row(issue: &Issue, lacking: Option<&Lacking>) -> String {
    let Some(lacking) = lacking else {
        return issue.json.get().to_owned();
    };
    let mut row = issue.draft().issue;
    row.remove(&lacking.field);
    serde_json::Value::Object(row).to_string()
}

fn ascends(ask: &Ask) -> bool {
    ask.query.get("direction").is_some_and(|direction| direction == "asc")
}

fn comes_before(ask: &Ask, a: &Place, b: &Place) -> bool {
    if ascends(ask) { a < b } else { a > b }
}

fn sorted<'a>(ask: &Ask, repository: &'a Repository) -> Result<Vec<Placed<'a>>, Reply> {
    let wanted = Wanted::read(ask)?;
    let sort = parameter(ask, "sort", &["created", "updated", "comments"])?;
    let key = |issue: &Issue| match sort {
        "updated" => issue.row.updated_at.clone(),
        "comments" => format!("{:08}", issue.row.comments),
        _ => issue.row.created_at.clone(),
    };
    let live = repository.issues.iter().filter_map(|(number, entry)| match entry {
        Entry::Live(issue) => Some((*number, issue)),
        _ => None,
    });
    let mut rows: Vec<Placed<'a>> = live
        .filter(|(_, issue)| wanted.takes(issue))
        .map(|(number, issue)| ((key(issue), number), issue))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    if !ascends(ask) {
        rows.reverse();
    }
    Ok(rows)
}

/// The value of a parameter that knows only these, the first of which is the default.
fn parameter<'a>(ask: &'a Ask, name: &str, known: &[&'a str]) -> Result<&'a str, Reply> {
    let value = ask.query.get(name).map_or(known[0], String::as_str);
    if known.contains(&value) {
        Ok(value)
    } else {
        Err(Reply::error(422, "Validation Failed"))
    }
}

/// Which issues are listed.
struct Wanted<'a> {
    state: &'a str,
    since: Option<String>,
    labels: Vec<String>,
}

impl<'a> Wanted<'a> {
    fn read(ask: &'a Ask) -> Result<Self, Reply> {
        let labels = ask.query.get("labels").into_iter().flat_map(|l| l.split(','));
        Ok(Self {
            state: parameter(ask, "state", &["open", "closed", "all"])?,
            since: since(ask)?,
            labels: labels.map(str::to_lowercase).collect(),
        })
    }

    fn takes(&self, issue: &Issue) -> bool {
        (self.state == "all" || (self.state == "open") == issue.row.open)
            && self.since.as_ref().is_none_or(|since| issue.row.updated_at >= *since)
            && self.labels.iter().all(|label| issue.row.labels.contains(label))
    }
}

/// `since` in the form of `updated_at`. The epoch itself finds nothing on GitHub, a malformed time is a 422.
fn since(ask: &Ask) -> Result<Option<String>, Reply> {
    let Some(text) = ask.query.get("since") else {
        return Ok(None);
    };
    let date = if text.contains('T') {
        text.clone()
    } else {
        format!("{text}T00:00:00Z")
    };
    let at = OffsetDateTime::parse(&date, &Rfc3339).map_err(|_| Reply::error(422, "Validation Failed"))?;
    if at.unix_timestamp() <= 0 {
        return Ok(Some("9999".to_owned()));
    }
    Ok(Some(seed::stamp(at.to_offset(time::UtcOffset::UTC))))
}
