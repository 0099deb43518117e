//! Several credentials: each counted by itself, none of them missed.

use std::time::{Duration, Instant};

use bugstream_github::{Client, Clients, Config, Error, IssueAnswer, Limit, QuotaState};
use bugstream_kit::clock::Clock;
use bugstream_kit::config::{Repositories, Repository};
use bugstream_testkit::github::{Fault, FaultRule, Simulator, Standing, Token};

use crate::limits::is_left_of;
use crate::{clock, config, found, issue, repository, tokens, with_tokens};

fn client<const N: usize>(github: &Simulator, of: [&str; N], clock: &Clock) -> Client {
    let config = Config {
        credentials: tokens(of),
        ..config(&github.url())
    };
    Client::new(config, clock.clone()).unwrap()
}

fn standing(standing: Standing) -> Token {
    Token {
        standing,
        ..Token::default()
    }
}

fn secondary(retry_after_s: u64) -> FaultRule {
    FaultRule::next(
        1,
        Fault::SecondaryLimit {
            status: 403,
            retry_after_s: Some(retry_after_s),
        },
    )
}

fn aside(client: &Client) -> Vec<Option<String>> {
    client.quotas().into_iter().map(|quota| quota.set_aside).collect()
}

#[tokio::test]
async fn who_has_most_left_asks() {
    let github = with_tokens(["one", "two"]).await;
    let client = client(&github, ["one", "two"], &clock());
    github.leave_quota("one", 1_000, 600);
    github.leave_quota("two", 1_003, 600);
    for _ in 0..10 {
        found(&client, &issue(&github, 1)).await;
    }
    let requests = github.requests();
    assert_eq!(
        (requests.by("one"), requests.by("two")),
        (4, 6),
        "they are level in the end"
    );
    let left: Vec<_> = client.quotas().into_iter().map(|quota| quota.remaining).collect();
    assert_eq!(left, [Some(996), Some(997)]);
}

#[tokio::test]
async fn the_limit_of_one_is_not_the_limit_of_another() {
    let github = with_tokens(["one", "two"]).await;
    let clock = clock();
    let client = client(&github, ["one", "two"], &clock);
    github.fault(secondary(30));
    found(&client, &issue(&github, 1)).await;
    assert_eq!((github.requests().by("one"), github.requests().by("two")), (1, 1));
    assert!(client.limited().is_none());
    github.fault(secondary(90));
    let Err(Error::Limited { kind, after }) = client.issue(&issue(&github, 1), None).await else {
        panic!("not limited")
    };
    assert_eq!(
        (kind, after),
        (Limit::Secondary, Duration::from_secs(30)),
        "who opens first"
    );
    let asked = github.requests().total();
    clock.advance(Duration::from_secs(29));
    assert!(client.issue(&issue(&github, 1), None).await.is_err());
    assert_eq!(github.requests().total(), asked);
    clock.advance(Duration::from_secs(1));
    found(&client, &issue(&github, 1)).await;
    assert_eq!((github.requests().by("one"), github.requests().by("two")), (2, 2));
}

#[tokio::test]
async fn a_revoked_token_is_set_aside_and_tried_again_later() {
    let github = with_tokens(["one", "two"]).await;
    let clock = clock();
    let client = client(&github, ["one", "two"], &clock);
    github.set_token("one", standing(Standing::Revoked));
    for _ in 0..3 {
        found(&client, &issue(&github, 1)).await;
    }
    assert_eq!(github.requests().by("one"), 1);
    assert!(aside(&client)[0].as_ref().unwrap().contains("401"));
    clock.advance(Duration::from_secs(299));
    found(&client, &issue(&github, 1)).await;
    assert_eq!(github.requests().by("one"), 1);
    clock.advance(Duration::from_secs(1));
    found(&client, &issue(&github, 1)).await;
    assert_eq!(github.requests().by("one"), 2, "one looks");
    github.set_token("one", Token::default());
    clock.advance(Duration::from_secs(300));
    found(&client, &issue(&github, 1)).await;
    assert_eq!((github.requests().by("one"), aside(&client)), (3, vec![None, None]));
}

#[tokio::test]
async fn when_nobody_is_accepted_nothing_is_sent_and_the_error_names_each() {
    let github = with_tokens([]).await;
    github.set_token("one", standing(Standing::Revoked));
    github.set_token("two", standing(Standing::Revoked));
    let clock = clock();
    let client = client(&github, ["one", "two"], &clock);
    for _ in 0..3 {
        let error = client.issue(&issue(&github, 1), None).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }));
        let text = error.to_string();
        assert_eq!(text.matches("token-").count(), 2, "{text}");
        assert!(!text.contains("one") && !text.contains("two"), "{text}");
    }
    assert_eq!(github.requests().total(), 2);
    github.set_token("two", Token::default());
    clock.advance(Duration::from_secs(300));
    found(&client, &issue(&github, 1)).await;
}

#[tokio::test]
async fn who_may_see_less_makes_nothing_look_deleted() {
    for blind in [Standing::Unseeing, Standing::Forbidden, Standing::Sso] {
        let github = with_tokens(["blind", "seeing"]).await;
        let clock = clock();
        let client = client(&github, ["blind", "seeing"], &clock);
        github.set_token("blind", standing(blind));
        found(&client, &issue(&github, 1)).await;
        assert_eq!(github.requests().by("blind"), 1, "it was asked first");
        // The only one that could know has to wait.
        github.leave_quota("seeing", 1, 600);
        found(&client, &issue(&github, 1)).await;
        let error = client.issue(&issue(&github, 1), None).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Limited {
                    kind: Limit::Primary,
                    ..
                }
            ),
            "{error}"
        );
        let gone = client.issue(&issue(&github, 99_999), None).await;
        assert!(matches!(gone, Err(Error::Limited { .. })), "{gone:?}");
        clock.advance(Duration::from_secs(601));
        github.advance(Duration::from_secs(601));
        let gone = client.issue(&issue(&github, 99_999), None).await.unwrap();
        assert_eq!(gone, IssueAnswer::NotFound, "everybody says so");
    }
}

#[tokio::test]
async fn what_is_forbidden_says_why() {
    let github = with_tokens([]).await;
    let client = client(&github, ["one"], &clock());
    for (how, why) in [
        (Standing::Sso, "single sign-on"),
        (Standing::Forbidden, "lacks a permission"),
    ] {
        github.set_token("one", standing(how));
        let error = client.issue(&issue(&github, 1), None).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { status: 403, .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn background_work_leaves_a_share_of_the_hour() {
    let github = with_tokens(["one"]).await;
    let clock = clock();
    let live = client(&github, ["one"], &clock);
    let background = live.background();
    let began = Instant::now();
    github.leave_quota("one", 1_002, 600);
    found(&background, &issue(&github, 1)).await;
    found(&background, &issue(&github, 1)).await;
    let error = background.issue(&issue(&github, 1), None).await.unwrap_err();
    let Error::Limited {
        kind: Limit::Reserve,
        after,
    } = error
    else {
        panic!("{error}")
    };
    assert!(is_left_of(600, after.as_secs(), began), "{after:?}");
    assert!(background.limited().is_some() && live.limited().is_none());
    found(&live, &issue(&github, 1)).await;
    assert_eq!(github.requests().total(), 3);
    clock.advance(after);
    github.advance(after);
    found(&background, &issue(&github, 1)).await;
}

#[tokio::test]
async fn what_one_process_was_told_the_next_one_obeys() {
    let github = with_tokens(["one", "two"]).await;
    let clock = clock();
    let first = client(&github, ["one"], &clock);
    github.leave_quota("one", 700, 600);
    found(&first, &issue(&github, 1)).await;
    github.fault(secondary(30));
    assert!(first.issue(&issue(&github, 1), None).await.is_err());
    let stored = serde_json::to_string(&first.quotas()).unwrap();
    let stored: Vec<QuotaState> = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored, first.quotas());

    let second = client(&github, ["one"], &clock);
    second.restore(&stored);
    assert_eq!(second.quotas(), first.quotas());
    let asked = github.requests().total();
    let error = second.issue(&issue(&github, 1), None).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limited {
                kind: Limit::Secondary,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(github.requests().total(), asked);
    clock.advance(Duration::from_secs(30));
    let error = second.background().issue(&issue(&github, 1), None).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limited {
                kind: Limit::Reserve,
                ..
            }
        ),
        "{error}"
    );
    found(&second, &issue(&github, 1)).await;
    let other = client(&github, ["two"], &clock);
    other.restore(&stored);
    found(&other, &issue(&github, 1)).await;
}

#[tokio::test]
async fn a_repository_may_have_its_own_credentials_and_each_is_counted_once() {
    let github = with_tokens(["shared", "own"]).await;
    let name = repository(&github);
    let mirrored = |name: &str, own: Option<&str>| Repository {
        name: name.parse().unwrap(),
        private: Some(format!("{name}-private").parse().unwrap()),
        public: Vec::new(),
        credentials: own.map(|own| tokens([own])),
    };
    let repositories = Repositories(vec![
        mirrored("a/b", None),
        mirrored(&name.to_string(), Some("own")),
        mirrored("c/d", Some("shared")),
    ]);
    let config = Config {
        credentials: tokens(["shared"]),
        ..config(&github.url())
    };
    let clients = Clients::new(&config, &repositories, clock()).unwrap();
    found(clients.of(&name), &issue(&github, 1)).await;
    assert_eq!((github.requests().by("own"), github.requests().by("shared")), (1, 0));
    for other in ["a/b", "a/b-private", "c/d", "else/where"] {
        found(clients.of(&other.parse().unwrap()), &issue(&github, 1)).await;
    }
    assert_eq!((github.requests().by("own"), github.requests().by("shared")), (1, 4));
    let partner = format!("{name}-private").parse().unwrap();
    found(clients.of(&partner), &issue(&github, 1)).await;
    assert_eq!(github.requests().by("own"), 2);
    let mut left: Vec<_> = clients.quotas().iter().map(|quota| quota.remaining.unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, [4_996, 4_998]);
}

#[tokio::test]
async fn asking_for_quotas_costs_none() {
    let github = with_tokens(["one", "two"]).await;
    github.leave_quota("two", 123, 600);
    let client = client(&github, ["one", "two"], &clock());
    let (metered, meter) = client.metered();
    let left: Vec<_> = client
        .ask_quotas()
        .await
        .unwrap()
        .iter()
        .map(|quota| quota.remaining)
        .collect();
    assert_eq!(left, [Some(5_000), Some(123)]);
    assert_eq!(github.requests().spent(), 0);
    let raw = found(&metered, &issue(&github, 1)).await;
    found(&client, &issue(&github, 1)).await;
    let again = metered
        .background()
        .issue(&issue(&github, 1), raw.validator.as_ref())
        .await;
    assert_eq!(again.unwrap(), IssueAnswer::Unchanged);
    assert_eq!(meter.spent(), 1, "unchanged is free, and others do not count");
}
