//! A GitHub App: signed requests, tokens that end, and everything that can be wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bugstream_github::{Client, Clients, Config, ConfigError, Error, IssueAnswer};
use bugstream_kit::clock::Clock;
use bugstream_kit::config::{self, Credentials, Repositories, Repository};
use bugstream_testkit::github::{App, Fault, FaultRule, Options, Route, Simulator};
use tokio::task::JoinSet;

use crate::{clock, config, found, issue, repository, tokens};

const INSTALLATION: &str = "installation-815";

/// A GitHub with an App, and the App's key in a file.
struct Stage {
    github: Simulator,
    clock: Clock,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let options = Options {
            tokens: vec!["a-token".to_owned()],
            app: Some(App::default()),
            ..Options::default()
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.pem"), App::KEY).unwrap();
        Self {
            github: Simulator::start(options).await.unwrap(),
            // Far from the simulator's: nothing may depend on it.
            clock: clock(),
            folder,
        }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("app.pem")
    }

    fn config(&self, id: u64, installation_id: Option<u64>) -> Config {
        let app = config::App {
            id,
            installation_id,
            private_key_path: self.key(),
        };
        Config {
            credentials: Credentials {
                tokens: Vec::new(),
                app: Some(app),
            },
            ..config(&self.github.url())
        }
    }

    fn client(&self) -> Client {
        Client::new(self.config(4711, Some(815)), self.clock.clone()).unwrap()
    }

    fn clients(&self) -> Clients {
        let repositories = Repositories(vec![Repository {
            name: repository(&self.github),
            private: None,
            public: Vec::new(),
            credentials: None,
        }]);
        Clients::new(&self.config(4711, None), &repositories, self.clock.clone()).unwrap()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.github.advance(by);
    }

    fn tokens_asked(&self) -> u64 {
        self.github.requests().of(Route::AccessToken)
    }
}

#[tokio::test]
async fn an_app_asks_with_a_token_that_is_renewed_before_it_ends() {
    let stage = Stage::set().await;
    let (client, issue) = (stage.client(), issue(&stage.github, 1));
    found(&client, &issue).await;
    assert_eq!(client.quotas()[0].label, "app-4711-815");
    let first = stage.tokens_asked();
    stage.advance(Duration::from_secs(54 * 60));
    found(&client, &issue).await;
    assert_eq!(stage.tokens_asked(), first);
    stage.advance(Duration::from_secs(90));
    found(&client, &issue).await;
    assert_eq!(stage.tokens_asked(), first + 1, "renewed five minutes before its end");
    assert_eq!(stage.github.requests().by(INSTALLATION), 3);
    assert_eq!(
        stage.github.requests().status(401),
        first - 1,
        "only for the wrong clock"
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_breaks_no_signature() {
    for off in [-86_400, -700, -50, 50, 700, 86_400] {
        let stage = Stage::set().await;
        let clock = Clock::manual(Clock::system().now() + time::Duration::seconds(off));
        let client = Client::new(stage.config(4711, Some(815)), clock).unwrap();
        found(&client, &issue(&stage.github, 1)).await;
        let refused = stage.github.requests().status(401);
        assert!(refused <= 1, "{off} s: {refused} refused");
    }
}

#[tokio::test]
async fn the_installation_is_looked_up_by_the_repository() {
    let stage = Stage::set().await;
    let clients = stage.clients();
    let client = clients.of(&repository(&stage.github));
    found(client, &issue(&stage.github, 1)).await;
    found(client, &issue(&stage.github, 2)).await;
    assert_eq!(
        (
            stage.github.requests().of(Route::App) - stage.github.requests().status(401),
            stage.tokens_asked()
        ),
        (1, 1)
    );
    assert_eq!(client.quotas()[0].label, "app-4711-bugstream-demo");
    let alone = Client::new(stage.config(4711, None), clock());
    assert!(matches!(alone, Err(ConfigError::Installation)));
}

#[tokio::test]
async fn many_requests_at_once_ask_for_one_token() {
    let stage = Stage::set().await;
    let client = stage.client();
    let mut requests = JoinSet::new();
    for number in 1..=15 {
        let (client, issue) = (client.clone(), issue(&stage.github, number));
        requests.spawn(async move { client.issue(&issue, None).await });
    }
    while let Some(answer) = requests.join_next().await {
        assert!(matches!(answer.unwrap(), Ok(IssueAnswer::Found(_))));
    }
    assert_eq!(stage.tokens_asked() - stage.github.requests().status(401), 1);
}

#[tokio::test]
async fn a_token_that_was_revoked_before_its_end_is_renewed() {
    let stage = Stage::set().await;
    let client = stage.client();
    let first = found(&client, &issue(&stage.github, 1)).await;
    stage.github.revoke_installation_tokens();
    let again = client
        .issue(&issue(&stage.github, 1), first.validator.as_ref())
        .await
        .unwrap();
    assert!(matches!(again, IssueAnswer::Found(_) | IssueAnswer::Unchanged));
    assert!(client.quotas()[0].set_aside.is_none());
}

#[tokio::test]
async fn what_was_unchanged_is_asked_for_once_more_after_each_renewal() {
    let stage = Stage::set().await;
    let (client, issue) = (stage.client(), issue(&stage.github, 1));
    let mut known = found(&client, &issue).await.validator;
    for _ in 0..3 {
        let spent = stage.github.requests().spent_by(INSTALLATION);
        for _ in 0..5 {
            let again = client.issue(&issue, known.as_ref()).await.unwrap();
            assert_eq!(again, IssueAnswer::Unchanged);
        }
        assert_eq!(
            stage.github.requests().spent_by(INSTALLATION),
            spent,
            "free within the hour"
        );
        stage.advance(Duration::from_secs(56 * 60));
        let IssueAnswer::Found(raw) = client.issue(&issue, known.as_ref()).await.unwrap() else {
            panic!("etags are the token's")
        };
        known = raw.validator;
        assert_eq!(stage.github.requests().spent_by(INSTALLATION), spent + 1);
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_to_its_end() {
    let stage = Stage::set().await;
    let client = stage.client();
    found(&client, &issue(&stage.github, 1)).await;
    stage.clock.advance(Duration::from_secs(56 * 60));
    stage
        .github
        .fault(FaultRule::next(1_000, Fault::Status(503)).route(Route::AccessToken));
    let asked = stage.tokens_asked();
    found(&client, &issue(&stage.github, 1)).await;
    found(&client, &issue(&stage.github, 1)).await;
    assert_eq!(stage.tokens_asked(), asked + 1, "not tried all the time");
    stage.clock.advance(Duration::from_secs(5 * 60));
    let error = client.issue(&issue(&stage.github, 1), None).await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 503 }), "{error}");
    stage.github.clear_faults();
    found(&client, &issue(&stage.github, 1)).await;
}

#[tokio::test]
async fn an_app_that_may_not_says_so() {
    let stage = Stage::set().await;
    let error = async |client: &Client| {
        client
            .issue(&issue(&stage.github, 1), None)
            .await
            .unwrap_err()
            .to_string()
    };
    stage.github.change_app(|app| app.suspended = true);
    let client = stage.client();
    let text = error(&client).await;
    assert!(text.contains("app-4711-815") && text.contains("suspended"), "{text}");
    let asked = stage.github.requests().total();
    assert_eq!(error(&client).await, text);
    assert_eq!(stage.github.requests().total(), asked, "not asked all the time");
    stage.github.change_app(|app| app.suspended = false);
    stage.advance(Duration::from_secs(300));
    found(&client, &issue(&stage.github, 1)).await;
    let nowhere = Client::new(stage.config(4711, Some(99)), clock()).unwrap();
    let text = error(&nowhere).await;
    assert!(text.contains("no such installation"), "{text}");
    let unknown = Client::new(stage.config(99, Some(815)), clock()).unwrap();
    let text = error(&unknown).await;
    assert!(
        text.contains("app-99-815: the App") && text.contains("no App of this id"),
        "{text}"
    );
}

#[tokio::test]
async fn an_app_and_tokens_help_each_other() {
    let stage = Stage::set().await;
    let mut both = stage.config(4711, Some(815));
    both.credentials.tokens = tokens(["a-token"]).tokens;
    let client = Client::new(both, stage.clock.clone()).unwrap();
    for _ in 0..10 {
        found(&client, &issue(&stage.github, 1)).await;
    }
    let requests = stage.github.requests();
    assert_eq!((requests.by("a-token"), requests.by(INSTALLATION)), (5, 5));
    stage.github.change_app(|app| app.suspended = true);
    stage.advance(Duration::from_secs(3_600));
    for _ in 0..10 {
        found(&client, &issue(&stage.github, 1)).await;
    }
}

#[test]
fn a_key_that_is_none_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let with = |name: &str, text: Option<&str>| {
        let path = folder.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        refused(&path)
    };
    // An elliptic curve's key, made for this test.
    let curve = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\nAwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q\nEKTcWGekdmdDPsHloRNtsiCa697B2O9IFA==\n-----END EC PRIVATE KEY-----\n";
    let halved = &App::KEY[..App::KEY.len() / 2];
    let damaged = App::KEY.replacen("MII", "MIA", 1);
    let public = App::KEY.replace("RSA PRIVATE", "PUBLIC");
    for (name, text, want) in [
        ("missing.pem", None, "missing.pem cannot be read"),
        ("empty.pem", Some(""), "empty.pem holds no private key in PEM"),
        ("secret.pem", Some("secret"), "holds no private key in PEM"),
        ("half.pem", Some(halved), "holds no private key in PEM"),
        ("public.pem", Some(&public), "holds no private key in PEM"),
        ("damaged.pem", Some(&damaged), "holds no RSA private key"),
        ("curve.pem", Some(curve), "holds no RSA private key"),
    ] {
        let error = with(name, text);
        assert!(
            error.contains("the GitHub App's private key: ") && error.contains(want),
            "{error}"
        );
        assert!(!error.contains("MII"), "{error}");
    }
}

fn refused(path: &Path) -> String {
    let app = config::App {
        id: 1,
        installation_id: Some(2),
        private_key_path: path.to_owned(),
    };
    let config = Config {
        credentials: Credentials {
            tokens: Vec::new(),
            app: Some(app),
        },
        ..config("https://api.github.com")
    };
    let error = Client::new(config, clock()).unwrap_err();
    assert!(matches!(error, ConfigError::Key(_)));
    error.to_string()
}
