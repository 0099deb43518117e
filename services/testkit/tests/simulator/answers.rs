//! Single answers: shapes, pages, validators, limits, errors, faults.

use bugstream_testkit::github::{Change, Fault, FaultRule, Options, Route};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::simulator;

#[tokio::test]
async fn names_ignore_case_and_ids_work_too() {
    let (sim, client) = simulator(Options::default()).await;
    let by_name = client.get("/repos/Bugstream-DEMO/Web-Bugs/issues/3").await;
    let id = client.get("/repos/bugstream-demo/web-bugs").await.json()["id"]
        .as_u64()
        .unwrap();
    let by_id = client.get(&format!("/repositories/{id}/issues/3")).await;
    assert_eq!((by_name.status, by_id.status), (200, 200));
    assert_eq!(by_name.text, by_id.text);
    assert_eq!(by_name.json(), sim.issue(3).unwrap());
    assert_eq!(
        client.get(&format!("/repositories/{id}")).await.json()["full_name"],
        "bugstream-demo/web-bugs"
    );
}

#[tokio::test]
async fn a_timeline_has_numbered_pages_with_links() {
    let (sim, client) = simulator(Options {
        issues: 1,
        ..Options::default()
    })
    .await;
    let events: Vec<_> = (0..250).map(|i| json!({"event": "commented", "id": i})).collect();
    sim.put_raw(7, r#"{"number":7}"#, &json!(events).to_string())
        .await
        .unwrap();
    let first = client.issue("7/timeline?per_page=100").await;
    let second = client.get(&first.link("next").unwrap()).await;
    let third = client.get(&second.link("next").unwrap()).await;
    let sizes = [&first, &second, &third].map(|page| page.json().as_array().unwrap().len());
    assert_eq!(sizes, [100, 100, 50]);
    let rels = |header: &str| {
        header
            .split(", ")
            .map(|l| l.rsplit("rel=").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rels(first.header("link")), ["\"next\"", "\"last\""]);
    assert_eq!(
        rels(second.header("link")),
        ["\"prev\"", "\"next\"", "\"last\"", "\"first\""]
    );
    assert_eq!(rels(third.header("link")), ["\"prev\"", "\"first\""]);
    assert!(
        first.link("last").unwrap().contains("/repositories/"),
        "GitHub's links name the repository by id"
    );
    assert_eq!(first.link("last"), second.link("last"));
    assert_eq!(
        client
            .walk("/repos/bugstream-demo/web-bugs/issues/7/timeline?per_page=100")
            .await,
        events
    );
}

#[tokio::test]
async fn pages_have_thirty_rows_unless_asked_and_never_more_than_a_hundred() {
    let (sim, client) = simulator(Options {
        issues: 1,
        ..Options::default()
    })
    .await;
    let events: Vec<_> = (0..300).map(|i| json!({"id": i})).collect();
    sim.put_raw(7, r#"{"number":7}"#, &json!(events).to_string())
        .await
        .unwrap();
    for (query, rows) in [
        ("", 30),
        ("?per_page=7", 7),
        ("?per_page=1000", 100),
        ("?per_page=x", 30),
        ("?page=99", 0),
    ] {
        let page = client.issue(&format!("7/timeline{query}")).await;
        assert_eq!(page.json().as_array().unwrap().len(), rows, "{query}");
    }
    let exactly_one = client.issue("7/timeline?per_page=100&page=3").await;
    assert_eq!(
        (exactly_one.json().as_array().unwrap().len(), exactly_one.link("next")),
        (100, None)
    );
}

#[tokio::test]
async fn what_is_put_in_raw_comes_out_byte_for_byte() {
    let (sim, client) = simulator(Options {
        issues: 0,
        ..Options::default()
    })
    .await;
    let issue = "{ \"number\" : 9,\n  \"title\": \"\\u00fc \\/ ü\",  \"big\": 12345678901234567890, \"x\": 1.10 }";
    sim.put_raw(9, issue, "[ {\"b\" : 1, \"a\":2.50} ,\n {\"event\":\"new kind\"}]")
        .await
        .unwrap();
    assert_eq!(client.issue("9").await.text, issue);
    assert_eq!(
        client.issue("9/timeline").await.text,
        "[{\"b\" : 1, \"a\":2.50},{\"event\":\"new kind\"}]"
    );
}

#[tokio::test]
async fn an_entity_tag_saves_body_and_quota_until_the_issue_changes() {
    let (sim, client) = simulator(Options {
        rate_limit: 100,
        ..Options::default()
    })
    .await;
    let token = ("authorization", "Bearer t1");
    let path = "/repos/bugstream-demo/web-bugs/issues/3";
    let first = client.get_with(path, &[token]).await;
    let again = client
        .get_with(path, &[token, ("if-none-match", first.header("etag"))])
        .await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(
        [
            first.header("x-ratelimit-remaining"),
            again.header("x-ratelimit-remaining")
        ],
        ["99", "99"]
    );
    let stranger = client
        .get_with(
            path,
            &[("authorization", "Bearer t2"), ("if-none-match", first.header("etag"))],
        )
        .await;
    assert_eq!(stranger.status, 200, "a tag belongs to the credentials that fetched it");
    sim.edit(3, [Change::Comment("news".into())]).await.unwrap();
    let changed = client
        .get_with(path, &[token, ("if-none-match", first.header("etag"))])
        .await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn an_anonymous_304_costs_a_request() {
    let (_sim, client) = simulator(Options {
        rate_limit: 10,
        ..Options::default()
    })
    .await;
    let path = "/repos/bugstream-demo/web-bugs/issues/3";
    let first = client.get(path).await;
    let again = client.get_with(path, &[("if-none-match", first.header("etag"))]).await;
    assert_eq!((again.status, again.header("x-ratelimit-remaining")), (304, "8"));
}

#[tokio::test]
async fn an_exhausted_quota_is_a_403_until_it_resets() {
    let (sim, client) = simulator(Options {
        rate_limit: 2,
        ..Options::default()
    })
    .await;
    sim.stop_clock();
    for remaining in ["1", "0"] {
        let answer = client.issue("3").await;
        assert_eq!(
            (answer.status, answer.header("x-ratelimit-remaining")),
            (200, remaining)
        );
    }
    let refused = client.issue("3").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("API rate limit exceeded")
    );
    assert!(refused.header("x-ratelimit-reset").parse::<i64>().unwrap() > 1_700_000_000);
    assert_eq!(client.get("/rate_limit").await.json()["rate"]["remaining"], 0);
    let other = client
        .get_with(
            "/repos/bugstream-demo/web-bugs/issues/3",
            &[("authorization", "token other")],
        )
        .await;
    assert_eq!(other.status, 200, "every credential has a quota of its own");
    sim.advance(std::time::Duration::from_secs(3_601));
    let later = client.issue("3").await;
    assert_eq!(later.status, 200);
    let date = |text: &str| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).unwrap();
    let passed = date(later.header("date")) - date(refused.header("date"));
    assert_eq!(passed.whole_seconds(), 3_601, "the date is of the simulator's clock");
    sim.leave_quota("", 1, 60);
    assert_eq!(
        [client.issue("3").await.status, client.issue("3").await.status],
        [200, 403]
    );
}

#[tokio::test]
async fn a_wrong_token_is_a_401_and_a_private_repository_a_404_without_one() {
    let (_sim, client) = simulator(Options {
        tokens: vec!["good".into()],
        ..Options::default()
    })
    .await;
    let ask = async |path: &str, token: &str| {
        client
            .get_with(path, &[("authorization", &format!("Bearer {token}"))])
            .await
    };
    let bad = ask("/repos/bugstream-demo/web-bugs/issues/3", "bad").await;
    assert_eq!(
        (bad.status, bad.json()["message"].as_str()),
        (401, Some("Bad credentials"))
    );
    assert_eq!(ask("/repos/bugstream-demo/web-bugs/issues/3", "good").await.status, 200);
    assert_eq!(ask("/repos/bugstream-demo/web-bugs-private", "good").await.status, 200);
    assert_eq!(client.get("/repos/bugstream-demo/web-bugs-private").await.status, 404);
}

#[tokio::test]
async fn what_is_not_there_says_why_in_githubs_words() {
    let (sim, client) = simulator(Options::default()).await;
    for path in ["999", "0", "x", "1/comments"] {
        let answer = client.issue(path).await;
        assert_eq!(
            (answer.status, answer.json()["message"].as_str()),
            (404, Some("Not Found")),
            "{path}"
        );
        assert_eq!(answer.json()["status"], "404");
    }
    assert_eq!(client.get("/repos/bugstream-demo/other").await.status, 404);
    sim.delete(3).await.unwrap();
    sim.hide(4).await.unwrap();
    for (path, status, message) in [
        ("3", 410, "This issue was deleted"),
        ("3/timeline", 410, "This issue was deleted"),
        ("4", 404, "Not Found"),
    ] {
        let answer = client.issue(path).await;
        assert_eq!(
            (answer.status, answer.json()["message"].as_str()),
            (status, Some(message)),
            "{path}"
        );
    }
    sim.set_issues_enabled(false).await.unwrap();
    let disabled = client.issue("5").await;
    assert_eq!(
        (disabled.status, disabled.json()["message"].as_str()),
        (410, Some("Issues are disabled for this repo"))
    );
    assert_eq!(
        client.get("/repos/bugstream-demo/web-bugs").await.json()["has_issues"],
        false
    );
    sim.set_issues_enabled(true).await.unwrap();
    assert_eq!(client.issue("5").await.status, 200);
}

#[tokio::test]
async fn a_renamed_repository_and_a_transferred_issue_are_followed_by_301() {
    let (sim, client) = simulator(Options::default()).await;
    let before = client.issue("3").await.json();
    sim.rename_repository("bugstream-demo/site-bugs").await.unwrap();
    let moved = client.issue("3/timeline?per_page=100").await;
    assert_eq!(moved.status, 301);
    let followed = client.get(moved.header("location")).await;
    assert_eq!(
        (followed.status, followed.json().as_array().unwrap().len()),
        (200, sim.timeline(3).unwrap().len())
    );
    assert_eq!(
        client.get("/repos/bugstream-demo/site-bugs/issues/3").await.json()["id"],
        before["id"]
    );

    let number = sim.transfer(3, "bugstream-demo/elsewhere").await.unwrap();
    let gone = client.get("/repos/bugstream-demo/site-bugs/issues/3").await;
    assert_eq!(
        (gone.status, gone.json()["message"].as_str()),
        (301, Some("Moved Permanently"))
    );
    let there = client.get(gone.header("location")).await;
    assert_eq!((there.status, there.json()["number"].as_u64()), (200, Some(number)));
    assert_eq!(there.json()["title"], before["title"]);
    assert_eq!(
        there.json()["repository_url"],
        "https://api.github.com/repos/bugstream-demo/elsewhere"
    );
}

#[tokio::test]
async fn faults_meet_whom_they_are_for_and_as_often_as_said() {
    let (sim, client) = simulator(Options::default()).await;
    sim.fault(FaultRule::next(2, Fault::Status(502)).issue(3).route(Route::Timeline));
    assert_eq!(
        [client.issue("3").await.status, client.issue("4/timeline").await.status],
        [200, 200]
    );
    let met = [
        client.issue("3/timeline").await.status,
        client.issue("3/timeline").await.status,
        client.issue("3/timeline").await.status,
    ];
    assert_eq!(met, [502, 502, 200]);

    sim.fault(FaultRule::next(
        1,
        Fault::SecondaryLimit {
            status: 429,
            retry_after_s: Some(7),
        },
    ));
    let limited = client.issue("3").await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "7"));
    sim.fault(FaultRule::next(
        1,
        Fault::SecondaryLimit {
            status: 403,
            retry_after_s: None,
        },
    ));
    let limited = client.issue("3").await;
    assert_eq!((limited.status, limited.headers.get("retry-after")), (403, None));
    assert!(
        limited.json()["message"]
            .as_str()
            .unwrap()
            .contains("secondary rate limit")
    );

    sim.fault(FaultRule::next(1, Fault::NotFound));
    sim.fault(FaultRule::next(1, Fault::IssuesDisabled));
    assert_eq!(
        [
            client.issue("3").await.status,
            client.issue("3").await.status,
            client.issue("3").await.status
        ],
        [404, 410, 200]
    );
    sim.fault(FaultRule::next(9, Fault::Status(500)));
    sim.clear_faults();
    assert_eq!(client.issue("3").await.status, 200);
}

#[tokio::test]
async fn a_truncated_body_is_an_error_to_its_reader() {
    let (sim, client) = simulator(Options::default()).await;
    sim.fault(FaultRule::next(1, Fault::Truncated));
    let response = client
        .http
        .get(format!("{}/repos/bugstream-demo/web-bugs/issues/3", client.base))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn requests_are_counted_by_kind_and_issue() {
    let (sim, client) = simulator(Options::default()).await;
    client.issue("3").await;
    client.issue("3/timeline").await;
    client.issue("3/timeline?page=2").await;
    client.issue("999").await;
    client.get("/repos/bugstream-demo/web-bugs").await;
    let seen = sim.requests();
    assert_eq!(
        [
            seen.count(Route::Issue, 3),
            seen.count(Route::Timeline, 3),
            seen.count(Route::Issue, 999)
        ],
        [1, 2, 1]
    );
    assert_eq!(
        [seen.of(Route::Issue), seen.of(Route::Repository), seen.total()],
        [2, 1, 5]
    );
    let statuses: Vec<u16> = seen.latest().map(|request| request.status).collect();
    assert_eq!(statuses, [200, 200, 200, 404, 200]);
    let told = client.get("/_simulator/requests").await.json();
    assert_eq!(
        told,
        json!({"total": 5, "spent": 5, "while_told_to_wait": 0, "statuses": {"200": 4, "404": 1}, "routes": {"issue": 2, "timeline": 2, "repository": 1},
        "issues": {"3": {"issue": 1, "timeline": 2}, "999": {"issue": 1}}})
    );
}
