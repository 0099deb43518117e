//! Lists whose rows are the issues themselves.

use std::collections::BTreeSet;

use bugstream_github::{Client, Cursor, Error, IssueState, ListAnswer, Row, Rows};
use bugstream_proto::RepoName;
use bugstream_testkit::github::{Change, Options, Simulator};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{TOKEN, client, found, issue, repository};

async fn with_issues(issues: u64) -> Simulator {
    let options = Options {
        issues,
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

fn rows(answer: ListAnswer) -> Rows {
    match answer {
        ListAnswer::Rows(rows) => rows,
        ListAnswer::Unchanged { .. } => panic!("unchanged"),
    }
}

async fn created(client: &Client, name: &RepoName) -> Rows {
    rows(client.issues_created(name, None, IssueState::All, None).await.unwrap())
}

/// All pages, going on from a cursor that was written down in between.
async fn walk(client: &Client, first: Rows) -> Vec<Row> {
    let mut all = first.rows;
    let mut next = first.next;
    while let Some(cursor) = next {
        let written = serde_json::to_string(&cursor).unwrap();
        let cursor: Cursor = serde_json::from_str(&written).unwrap();
        let page = rows(client.issues_at(&cursor, None).await.unwrap());
        all.extend(page.rows);
        next = page.next;
    }
    all
}

#[tokio::test]
async fn rows_are_the_issues_the_oldest_first() {
    let github = with_issues(250).await;
    let (client, name) = (client(&github.url()), repository(&github));
    let all = walk(&client, created(&client, &name).await).await;
    assert_eq!(github.requests().total(), 3);
    assert!(all.is_sorted_by_key(|row| row.number));
    assert_eq!(all.iter().map(|row| row.number).collect::<Vec<_>>(), github.numbers());
    for row in [&all[0], &all[120], &all[249]] {
        let issue = found(&client, &issue(&github, row.number)).await;
        assert!(row.complete);
        assert_eq!(
            (&row.raw, row.comments),
            (&issue.bytes, bugstream_github::comments(&issue.bytes))
        );
    }
    assert_eq!(
        client.newest_issue(&name).await.unwrap(),
        github.numbers().last().copied()
    );
}

#[tokio::test]
async fn a_row_that_lacks_a_field_says_so() {
    let github = with_issues(30).await;
    let (client, name) = (client(&github.url()), repository(&github));
    for field in ["closed_by", "body", "assignees"] {
        github.let_rows_lack(field, 3);
        for row in created(&client, &name).await.rows {
            assert_eq!(row.complete, row.number % 3 != 0, "{} without {field}", row.number);
        }
    }
}

#[tokio::test]
async fn lists_by_state_and_by_time() {
    let github = with_issues(40).await;
    let (client, name) = (client(&github.url()), repository(&github));
    let state_of = |row: &Row| serde_json::from_slice::<Value>(&row.raw).unwrap()["state"].clone();
    let mut numbers = BTreeSet::new();
    for state in [IssueState::Open, IssueState::Closed] {
        let page = rows(client.issues_created(&name, None, state, None).await.unwrap());
        assert!(!page.rows.is_empty());
        assert!(page.rows.iter().all(|row| state_of(row) == state.as_str()));
        numbers.extend(page.rows.iter().map(|row| row.number));
    }
    assert_eq!(numbers, github.numbers().into_iter().collect());
    github.edit(7, [Change::Title("new".to_owned())]).await.unwrap();
    let all = rows(
        client
            .issues_updated(&name, OffsetDateTime::UNIX_EPOCH, None)
            .await
            .unwrap(),
    );
    assert!(all.rows.is_sorted_by_key(|row| row.updated_at));
    let newest = all.rows.last().unwrap();
    assert_eq!(newest.number, 7);
    let since = rows(client.issues_updated(&name, newest.updated_at, None).await.unwrap());
    assert_eq!(since.rows, std::slice::from_ref(newest));
}

#[tokio::test]
async fn an_unchanged_part_costs_nothing_and_says_where_it_goes_on() {
    for links in [true, false] {
        let github = with_issues(150).await;
        github.links_on_304(links);
        let (client, name) = (client(&github.url()), repository(&github));
        let first = created(&client, &name).await;
        let cursor = first.next.clone().unwrap();
        let second = rows(client.issues_at(&cursor, None).await.unwrap());
        github.forget_requests();
        let again = client
            .issues_created(&name, None, IssueState::All, first.validator.as_ref())
            .await;
        let next = links.then_some(cursor.clone());
        assert_eq!(again.unwrap(), ListAnswer::Unchanged { next });
        let again = client.issues_at(&cursor, second.validator.as_ref()).await.unwrap();
        assert_eq!(again, ListAnswer::Unchanged { next: None });
        assert_eq!(github.requests().spent(), 0);
        github.edit(120, [Change::Title("new".to_owned())]).await.unwrap();
        let again = rows(client.issues_at(&cursor, second.validator.as_ref()).await.unwrap());
        assert_ne!(again.rows, second.rows);
    }
}

#[tokio::test]
async fn a_cursor_that_leads_elsewhere_is_refused() {
    let github = with_issues(3).await;
    let elsewhere = with_issues(3).await;
    let client = client(&github.url());
    let text = format!("\"{}/repos/{}/issues?page=2\"", elsewhere.url(), repository(&github));
    let cursor: Cursor = serde_json::from_str(&text).unwrap();
    let error = client.issues_at(&cursor, None).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert_eq!(elsewhere.requests().total(), 0);
    assert!(serde_json::from_str::<Cursor>("\"no address\"").is_err());
}
