//! A repository, an issue, a page of a timeline.

use super::ask::{Ask, Subject};
use super::reply::Reply;
use crate::github::page;
use crate::github::shapes;
use crate::github::state::{Entry, Issue, Repository};

pub(super) fn repository(repository: &Repository) -> Reply {
    let about = shapes::full_repository(&repository.about);
    let updated = about["updated_at"].as_str().unwrap_or_default();
    Reply::json(about.to_string()).modified(updated)
}

/// An issue or its timeline. Of an issue that was transferred GitHub redirects the issue alone: what is below it is not found.
pub(super) fn of(ask: &Ask, repository: &Repository) -> Reply {
    let timeline = matches!(ask.subject, Subject::Timeline(_));
    let entry = ask.subject.issue().and_then(|number| repository.issues.get(&number));
    match entry {
        Some(Entry::Live(issue)) if timeline => page_of_timeline(ask, repository, issue),
        Some(Entry::Live(issue)) => Reply::json(issue.json.get().to_owned()).modified(&issue.row.updated_at),
        Some(Entry::Deleted) => Reply::error(410, "This issue was deleted"),
        Some(Entry::Moved(id, number)) if !timeline => {
            Reply::moved(ask, &format!("/repositories/{id}/issues/{number}"))
        }
        Some(Entry::Moved(..) | Entry::Hidden) | None => Reply::not_found(),
    }
}

fn page_of_timeline(ask: &Ask, repository: &Repository, issue: &Issue) -> Reply {
    let (size, page) = page::asked(&ask.query);
    let events = issue.timeline.iter().skip((page - 1) * size).take(size);
    let events: Vec<&str> = events.map(|event| event.get()).collect();
    let base = format!(
        "{}/repositories/{}/issues/{}/timeline",
        ask.origin,
        repository.about.id,
        ask.subject.issue().unwrap_or(0)
    );
    let links = page::numbered_links(&base, &ask.query, page, issue.timeline.len().div_ceil(size));
    Reply::json(format!("[{}]", events.join(","))).with_links(links)
}
