//! Lists: filters, order, cursor, and where numbered pages end.

use bugstream_testkit::github::{Change, Options};
use serde_json::Value;

use super::simulator;

const LIST: &str = "/repos/bugstream-demo/web-bugs/issues";

fn sorted_by(rows: &[Value], key: &str, descending: bool) -> bool {
    rows.windows(2).all(|two| {
        let (a, b) = (two[0][key].to_string(), two[1][key].to_string());
        if descending { a >= b } else { a <= b }
    })
}

#[tokio::test]
async fn open_issues_newest_first_unless_asked_otherwise() {
    let (sim, client) = simulator(Options {
        issues: 60,
        ..Options::default()
    })
    .await;
    let rows = client.walk(LIST).await;
    assert!(rows.iter().all(|row| row["state"] == "open"));
    assert!(sorted_by(&rows, "created_at", true));
    let all = client
        .walk(&format!("{LIST}?state=all&per_page=7&sort=updated&direction=asc"))
        .await;
    assert_eq!(all.len(), 60);
    assert!(sorted_by(&all, "updated_at", false));
    let closed = client.walk(&format!("{LIST}?state=closed")).await;
    assert_eq!(rows.len() + closed.len(), 60);
    assert!(!closed.is_empty() && !rows.is_empty());
    let mut numbers: Vec<u64> = all.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, sim.numbers());
}

#[tokio::test]
async fn a_row_is_the_issue_byte_for_byte_unless_it_is_to_lack_a_field() {
    let (sim, client) = simulator(Options {
        issues: 30,
        ..Options::default()
    })
    .await;
    let odd = r#"{ "number": 31, "title" : "\u00e9", "state": "open" }"#;
    sim.put_raw(31, odd, "[]").await.unwrap();
    let all = client.get(&format!("{LIST}?state=all&per_page=100")).await;
    assert!(all.text.contains(odd));
    for row in all.json().as_array().unwrap() {
        assert_eq!(*row, sim.issue(row["number"].as_u64().unwrap()).unwrap());
    }
    sim.let_rows_lack("closed_by", 10);
    let rows = client.walk(&format!("{LIST}?state=all")).await;
    let lacking = |row: &&Value| row.get("closed_by").is_none() && row["number"] != 31;
    let mut numbers: Vec<u64> = rows
        .iter()
        .filter(lacking)
        .map(|row| row["number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 20, 30]);
    for row in rows.iter().filter(|row| row["number"] == 20) {
        let mut issue = sim.issue(20).unwrap();
        issue.as_object_mut().unwrap().remove("closed_by");
        assert_eq!(*row, issue);
    }
    sim.let_rows_lack("closed_by", 0);
    assert_eq!(
        client.get(&format!("{LIST}?state=all&per_page=100")).await.text,
        all.text
    );
}

#[tokio::test]
async fn since_looks_at_updated_at_and_the_epoch_finds_nothing() {
    let (sim, client) = simulator(Options {
        issues: 30,
        ..Options::default()
    })
    .await;
    sim.edit(5, [Change::Comment("news".into())]).await.unwrap();
    let touched = sim.issue(5).unwrap()["updated_at"].as_str().unwrap().to_owned();
    let found = client.get(&format!("{LIST}?state=all&since={touched}")).await;
    assert_eq!(found.numbers(), [5], "at that very second counts");
    assert_eq!(
        client
            .get(&format!("{LIST}?state=all&since=1970-01-01T00:00:00Z"))
            .await
            .numbers(),
        [] as [u64; 0]
    );
    assert_eq!(
        client
            .walk(&format!("{LIST}?state=all&since=2000-01-01T00:00:00Z"))
            .await
            .len(),
        30
    );
    assert_eq!(client.get(&format!("{LIST}?since=yesterday")).await.status, 422);
    assert_eq!(client.get(&format!("{LIST}?state=ajar")).await.status, 422);
}

#[tokio::test]
async fn labels_are_all_wanted() {
    let (sim, client) = simulator(Options {
        issues: 20,
        ..Options::default()
    })
    .await;
    sim.edit(5, [Change::Label("zebra".into()), Change::Label("gnu".into())])
        .await
        .unwrap();
    sim.edit(6, [Change::Label("zebra".into())]).await.unwrap();
    assert_eq!(
        client
            .get(&format!("{LIST}?state=all&labels=zebra&direction=asc"))
            .await
            .numbers(),
        [5, 6]
    );
    assert_eq!(
        client
            .get(&format!("{LIST}?state=all&labels=zebra,GNU"))
            .await
            .numbers(),
        [5]
    );
}

#[tokio::test]
async fn a_cursor_loses_nothing_when_rows_change_meanwhile() {
    let (sim, client) = simulator(Options {
        issues: 30,
        ..Options::default()
    })
    .await;
    let first = client
        .get(&format!("{LIST}?state=all&sort=created&direction=asc&per_page=10"))
        .await;
    assert_eq!(first.link("last"), None, "a list knows no last page");
    sim.delete(2).await.unwrap();
    let second = client.get(&first.link("next").unwrap()).await;
    assert_eq!(
        second.numbers(),
        (11..=20).collect::<Vec<_>>(),
        "a page number would have skipped issue 11"
    );
    let back = client.get(&second.link("prev").unwrap()).await;
    assert_eq!(back.numbers(), [1, 3, 4, 5, 6, 7, 8, 9, 10]);
    let by_number = client
        .get(&format!("{LIST}?state=all&direction=asc&per_page=10&page=2"))
        .await;
    assert_eq!(by_number.numbers()[0], 12);
}

#[tokio::test]
async fn numbered_pages_end_at_ten_thousand_rows() {
    let (_sim, client) = simulator(Options::default()).await;
    assert_eq!(client.get(&format!("{LIST}?per_page=100&page=100")).await.status, 200);
    let beyond = client.get(&format!("{LIST}?per_page=100&page=101")).await;
    assert_eq!(beyond.status, 422);
    assert!(beyond.json()["message"].as_str().unwrap().contains("cursor"));
}

#[tokio::test]
async fn deleted_hidden_and_transferred_issues_are_in_no_list() {
    let (sim, client) = simulator(Options {
        issues: 10,
        ..Options::default()
    })
    .await;
    sim.delete(2).await.unwrap();
    sim.hide(3).await.unwrap();
    sim.transfer(4, "bugstream-demo/elsewhere").await.unwrap();
    let listed = client.get(&format!("{LIST}?state=all&direction=asc")).await.numbers();
    assert_eq!(listed, [1, 5, 6, 7, 8, 9, 10]);
}
