//! `show`: what the archive has of an issue, now or at a past time. Shows content, private content too: that is what it
//! is for.

pub(crate) mod cli;
mod page;

use bugstream_archive::{Archived, Rules, Side, Stamp, issue_document_id, timeline_document_id};
use bugstream_kit::config::Repositories;
use bugstream_proto::IssueId;
use bugstream_proto::message::Change;
use serde_json::{Value, json};

use crate::deps::Deps;
use crate::failure::Failure;
use crate::history::past::{Content, Numbered, Past};
use crate::report::{Report, time_of};
use cli::Show;

pub(crate) async fn run(asked: &Show, deps: &Deps) -> Result<Report, Failure> {
    let past = Past::read(asked.number, deps).await?;
    let found = match past.forgotten() {
        Some(_) => past.at(None)?,
        None => past.at(asked.at)?,
    };
    if let Some(gone) = gone(past.issue(), found) {
        return Ok(gone);
    }
    let content = past.content(found, deps).await?;
    if asked.raw {
        return raw(&content);
    }
    if asked.document {
        return documents(past.issue(), found, &content, &rules(past.issue(), deps)?);
    }
    Ok(page::report(past.issue(), found, &content.parse()?))
}

/// An issue that is not there has no content.
fn gone(issue: &IssueId, found: Numbered<'_>) -> Option<Report> {
    let at = time_of(found.event.occurred_at);
    let what = match &found.event.change {
        Change::Downloaded(_) => return None,
        Change::Forgotten => "forgotten",
        Change::Deleted(deleted) if deleted.status == 0 => {
            "allowed again after it was forgotten, and not downloaded yet"
        }
        Change::Deleted(_) => "deleted",
    };
    let word = what.split_whitespace().next().unwrap_or_default();
    let json = json!({"issue": issue.to_string(), "gone": word, "at": at, "revision": found.event.revision});
    Some(Report::new(format!("{issue} was {what} at {at}"), json).that_differs())
}

/// Both as they were received, spliced and not written anew.
fn raw(content: &Content) -> Result<Report, Failure> {
    let parsed = content.parse()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let human = format!(
        "{{\"issue\":{},\"timeline\":{}}}",
        text(&content.issue),
        text(&content.timeline)
    );
    Ok(Report::new(
        human,
        json!({"issue": parsed.issue, "timeline": parsed.timeline}),
    ))
}

fn rules(issue: &IssueId, deps: &Deps) -> Result<Rules, Failure> {
    let repositories = Repositories::read(deps.settings())?;
    let repository = repositories.of(issue).ok_or_else(|| {
        let problem = format!("what is private in {} is not known: it is not configured", issue.repo());
        Failure::usage(problem, "add it to [[repositories]] in bugstream.toml")
    })?;
    Ok(repository.into())
}

fn documents(issue: &IssueId, found: Numbered<'_>, content: &Content, rules: &Rules) -> Result<Report, Failure> {
    let archived = Archived::parse(&content.issue, &content.timeline);
    let archived = archived.map_err(|error| Failure::failed(error.to_string()))?;
    let classified = archived.classify(rules);
    let stamp = Stamp {
        issue,
        revision: found.event.revision,
        downloaded_at: found.event.occurred_at,
        trace_id: None,
        aside: None,
    };
    let rendered = |render: &dyn Fn(&mut Vec<u8>)| {
        let mut line = Vec::new();
        render(&mut line);
        String::from_utf8(line).map_err(|_| Failure::failed("the stored JSON is not UTF-8"))
    };
    let of_issue = rendered(&|line| archived.issue_document(&classified, &stamp, line))?;
    let mut lines = vec![placed(classified.issue(), issue_document_id(issue), &of_issue)];
    for (position, side) in classified.timeline().iter().enumerate() {
        let document = rendered(&|line| archived.timeline_document(&classified, position, &stamp, line))?;
        lines.push(placed(*side, timeline_document_id(issue, position), &document));
    }
    let json: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("it was rendered as JSON"))
        .collect();
    Ok(Report::new(lines.join("\n"), Value::Array(json)))
}

/// A line with a document, its id and its side. Ids need no escaping.
fn placed(side: Side, id: impl std::fmt::Display, document: &str) -> String {
    format!(r#"{{"id":"{id}","side":"{}","document":{document}}}"#, side.as_str())
}
