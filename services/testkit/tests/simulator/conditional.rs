//! Conditional requests: what a validator saves, whose it is, what a 304 says, and how all of it is counted.

use bugstream_testkit::github::{Change, Options, Route};

use super::{Answer, Client, REPOSITORY, simulator};

impl Client {
    async fn unless(&self, tag: &str, path: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        self.get_with(path, &[("authorization", &authorization), ("if-none-match", tag)])
            .await
    }
}

#[tokio::test]
async fn everything_that_is_read_has_a_validator_of_its_credential() {
    let (sim, client) = simulator(Options::default()).await;
    sim.edit(3, [Change::Comment("one".into())]).await.unwrap();
    for path in [
        "",
        "/issues?state=all",
        "/issues/3",
        "/issues/3/timeline",
        "/issues/3/timeline?page=99",
    ] {
        let path = format!("{REPOSITORY}{path}");
        let first = client.as_token(&path, "t1").await;
        let tag = first.header("etag");
        let again = client.unless(tag, &path, "t1").await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        assert_eq!(again.header("etag"), tag);
        assert_eq!(again.headers.get("content-type"), None, "a 304 describes no body");
        assert_eq!(
            first.header("x-ratelimit-remaining"),
            again.header("x-ratelimit-remaining"),
            "a 304 is free"
        );
        assert_eq!(client.unless(tag, &path, "t2").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_page_that_got_a_successor_is_unchanged_and_its_link_tells() {
    let (sim, client) = simulator(Options::default()).await;
    let events: Vec<_> = (0..100).map(|id| serde_json::json!({"id": id})).collect();
    let put = async |events: &[serde_json::Value]| {
        let text = serde_json::json!(events).to_string();
        sim.put_raw(7, r#"{"number":7}"#, &text).await.unwrap();
    };
    put(&events).await;
    let path = format!("{REPOSITORY}/issues/7/timeline?per_page=100");
    let full = client.as_token(&path, "t1").await;
    assert_eq!(full.link("next"), None);
    let more = [events, vec![serde_json::json!({"id": 100})]].concat();
    put(&more).await;
    let again = client.unless(full.header("etag"), &path, "t1").await;
    assert_eq!(again.status, 304, "the body of the page is the same");
    assert!(again.link("next").is_some());
    sim.links_on_304(false);
    let bare = client.unless(full.header("etag"), &path, "t1").await;
    assert_eq!((bare.status, bare.header("link")), (304, ""));
}

#[tokio::test]
async fn requests_are_counted_by_status_and_credential_and_by_what_they_cost() {
    let (sim, client) = simulator(Options {
        rate_limit: 3,
        ..Options::default()
    })
    .await;
    let path = format!("{REPOSITORY}/issues/3");
    let tag = client.as_token(&path, "t1").await.header("etag").to_owned();
    client.unless(&tag, &path, "t1").await;
    client.unless(&tag, &path, "t2").await;
    client.as_token(&format!("{REPOSITORY}/issues/999"), "t2").await;
    client.as_token(&format!("{REPOSITORY}/issues/3/timeline"), "t2").await;
    client.as_token(&path, "t2").await;
    client.get("/rate_limit").await;
    let seen = sim.requests();
    assert_eq!([200, 304, 404, 403].map(|status| seen.status(status)), [4, 1, 1, 1]);
    assert_eq!(
        [seen.of_status(Route::Issue, 200), seen.of_status(Route::Issue, 304)],
        [2, 1]
    );
    assert_eq!(["t1", "t2", "", "t3"].map(|token| seen.by(token)), [2, 4, 1, 0]);
    assert_eq!((seen.spent(), seen.spent_by("t1"), seen.spent_by("t2")), (4, 1, 3));
    sim.forget_requests();
    assert_eq!((sim.requests().total(), sim.requests().spent()), (0, 0));
}
