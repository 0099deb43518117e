//! A GitHub App: its JSON web token, the tokens of its installation, its own deliveries.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bugstream_testkit::github::{App, Change, Options, Route, Simulator, Standing, Token, Webhook};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::conformance::fits;
use super::{Answer, Client, REPOSITORY, simulator};

/// Signs as GitHub documents it: RS256 over header and claims.
fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let pem: String = App::KEY.lines().filter(|line| !line.contains("-----")).collect();
    let key = ring::signature::RsaKeyPair::from_der(&STANDARD.decode(pem).unwrap()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    let (padding, random) = (&ring::signature::RSA_PKCS1_SHA256, ring::rand::SystemRandom::new());
    key.sign(padding, &random, text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The simulator's clock, for all that a test moves it.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator plays another machine, whose clock is the system's"
)]
fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn jwt_from(begin: i64, end: i64) -> String {
    let claims = json!({"iat": now() + begin, "exp": now() + end, "iss": "4711"});
    signed(&json!({"alg": "RS256", "typ": "JWT"}), &claims)
}

fn jwt() -> String {
    jwt_from(-60, 540)
}

async fn with_app(app: App) -> (Simulator, Client) {
    simulator(Options {
        app: Some(app),
        tokens: vec!["personal".to_owned()],
        rate_limit: 50,
        ..Options::default()
    })
    .await
}

impl Client {
    async fn access_token(&self, jwt: &str) -> Answer {
        let path = format!("{}/app/installations/815/access_tokens", self.base);
        let response = self.http.post(path).bearer_auth(jwt).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    async fn token(&self) -> String {
        self.access_token(&jwt()).await.json()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[tokio::test]
async fn the_app_knows_itself_and_its_installation() {
    let (_sim, client) = with_app(App::default()).await;
    fits("integration", &client.as_token("/app", &jwt()).await.json());
    let all = client.as_token("/app/installations", &jwt()).await.json();
    fits("installation", &all[0]);
    for path in [
        "/app/installations/815".to_owned(),
        format!("{REPOSITORY}/installation"),
    ] {
        assert_eq!(client.as_token(&path, &jwt()).await.json(), all[0]);
    }
    assert_eq!(client.as_token("/app/installations/816", &jwt()).await.status, 404);
    assert_eq!(
        client.as_token("/repos/no/where/installation", &jwt()).await.status,
        404
    );
    for token in ["personal", &client.token().await] {
        assert_eq!(
            client.as_token("/app", token).await.status,
            401,
            "only the App's own token opens this"
        );
    }
}

#[tokio::test]
async fn a_json_web_token_is_checked_as_github_does() {
    let (_sim, client) = with_app(App::default()).await;
    let rs256 = json!({"alg": "RS256"});
    let claims = |issuer: Value| json!({"iat": now() - 60, "exp": now() + 500, "iss": issuer});
    let good = jwt();
    let (signed_part, _) = good.rsplit_once('.').unwrap();
    let other = signed(&rs256, &claims(json!(4711)));
    let forged = format!("{signed_part}.{}", other.rsplit_once('.').unwrap().1);
    let undecodable = "A JSON web token could not be decoded";
    let must_be_future = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
    for (token, status, message) in [
        (forged, 401, undecodable),
        (format!("{signed_part}."), 401, undecodable),
        ("a.b.c".to_owned(), 401, undecodable),
        (signed(&json!({"alg": "HS256"}), &claims(json!(4711))), 401, undecodable),
        (signed(&rs256, &claims(json!(4712))), 404, "Integration not found"),
        (
            jwt_from(-60, 700),
            401,
            "'Expiration time' claim ('exp') is too far in the future",
        ),
        (jwt_from(-700, -1), 401, must_be_future),
        (
            jwt_from(100, 500),
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ),
    ] {
        let answer = client.access_token(&token).await;
        assert_eq!(answer.error(), (status, message.to_owned()));
        fits("basic-error", &answer.json());
    }
    for issuer in [json!(4711), json!("4711")] {
        assert_eq!(client.access_token(&signed(&rs256, &claims(issuer))).await.status, 201);
    }
}

#[tokio::test]
async fn tokens_of_an_installation_end_and_share_a_quota() {
    let (sim, client) = with_app(App::default()).await;
    sim.stop_clock();
    let answer = client.access_token(&jwt()).await;
    assert_eq!(answer.status, 201);
    fits("installation-token", &answer.json());
    let (first, second) = (
        answer.json()["token"].as_str().unwrap().to_owned(),
        client.token().await,
    );
    assert_ne!(first, second);
    let issue = format!("{REPOSITORY}/issues/3");
    let came = client.as_token(&issue, &first).await;
    assert_eq!(came.header("x-ratelimit-remaining"), "49");
    let headers = [
        ("authorization", format!("Bearer {first}")),
        ("if-none-match", came.header("etag").to_owned()),
    ];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(client.get_with(&issue, &headers).await.status, 304);
    let other = [
        ("authorization", format!("Bearer {second}")),
        ("if-none-match", came.header("etag").to_owned()),
    ];
    let other = other.each_ref().map(|(name, value)| (*name, value.as_str()));
    let again = client.get_with(&issue, &other).await;
    assert_eq!(
        (again.status, again.header("x-ratelimit-remaining")),
        (200, "48"),
        "a validator ends with its token"
    );
    let counted = sim.requests();
    assert_eq!(
        (counted.by("installation-815"), counted.spent_by("installation-815")),
        (3, 2)
    );
    assert_eq!((counted.of(Route::AccessToken), counted.by("app-4711")), (2, 2));
    sim.advance(Duration::from_secs(3_590));
    assert_eq!(client.as_token(&issue, &second).await.status, 200);
    sim.advance(Duration::from_secs(20));
    assert_eq!(
        client.as_token(&issue, &second).await.error(),
        (401, "Bad credentials".to_owned())
    );
}

#[tokio::test]
async fn an_installation_can_be_revoked_suspended_or_short_lived() {
    let (sim, client) = with_app(App::default()).await;
    let issue = format!("{REPOSITORY}/issues/3");
    let token = client.token().await;
    sim.revoke_installation_tokens();
    assert_eq!(client.as_token(&issue, &token).await.status, 401);
    let token = client.token().await;
    assert_eq!(client.as_token(&issue, &token).await.status, 200);
    assert_eq!(
        client.as_token(&format!("{REPOSITORY}/hooks"), &token).await.status,
        403
    );
    sim.change_app(|app| app.suspended = true);
    let suspended = (403, "This installation has been suspended".to_owned());
    assert_eq!(client.as_token(&issue, &token).await.error(), suspended);
    assert_eq!(client.access_token(&jwt()).await.error(), suspended);
    fits(
        "installation",
        &client.as_token("/app/installations/815", &jwt()).await.json(),
    );
    sim.change_app(|app| app.suspended = false);
    let forbidden = Token {
        standing: Standing::Forbidden,
        ..Token::default()
    };
    sim.set_token("installation-815", forbidden);
    assert_eq!(
        client.as_token(&issue, &token).await.error(),
        (403, "Resource not accessible by integration".to_owned())
    );
    sim.set_token("installation-815", Token::default());
    sim.set_installation_token_life(Duration::ZERO);
    let token = client.token().await;
    assert_eq!(client.as_token(&issue, &token).await.status, 401);
}

#[tokio::test]
async fn the_app_has_deliveries_of_its_own_beside_those_of_the_repository() {
    let nowhere = |secret: &str| Webhook {
        url: "http://127.0.0.1:1/".to_owned(),
        secret: secret.to_owned(),
    };
    let (sim, client) = with_app(App {
        webhook: Some(nowhere("the App's")),
        ..App::default()
    })
    .await;
    sim.set_webhook(Some(nowhere("the repository's")));
    let made = sim.edit(3, [Change::Comment("told twice".into())]).await.unwrap();
    assert_eq!(made.len(), 1);
    let rows = client.as_token("/app/hook/deliveries", &jwt()).await.json();
    fits("hook-delivery-item", &rows[0]);
    assert_eq!(
        (rows.as_array().unwrap().len(), &rows[0]["guid"]),
        (1, &json!(made[0].id))
    );
    let whole = client
        .as_token(&format!("/app/hook/deliveries/{}", rows[0]["id"]), &jwt())
        .await;
    fits("hook-delivery", &whole.json());
    let request = &whole.json()["request"];
    assert_eq!(request["payload"]["installation"]["id"], 815);
    assert_eq!(
        request["headers"]["X-GitHub-Hook-Installation-Target-Type"],
        "integration"
    );
    assert_eq!(client.as_token("/app/hook/deliveries", "personal").await.status, 401);
    let hooks = client.as_token(&format!("{REPOSITORY}/hooks"), "personal").await.json();
    let path = format!("{REPOSITORY}/hooks/{}/deliveries", hooks[0]["id"]);
    let of_repository = client.as_token(&path, "personal").await.json();
    assert_eq!(of_repository[0]["guid"], rows[0]["guid"]);
    assert_ne!(of_repository[0]["id"], rows[0]["id"]);
    assert_eq!(of_repository[0]["installation_id"], Value::Null);
}
