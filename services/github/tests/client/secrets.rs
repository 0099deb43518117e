//! No token, key or signature in anything that is printed: logs of every level, errors, debug texts.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bugstream_github::{Client, Config};
use bugstream_kit::config::{self, Credentials};
use bugstream_kit::secret::Secret;
use bugstream_testkit::github::{App, Fault, FaultRule, Options, Simulator, Standing, Token};
use tracing_subscriber::fmt::MakeWriter;

use crate::{TOKEN, clock, config, issue, printed};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn nothing_that_is_printed_has_a_secret_in_it() {
    let log = Log::default();
    // While there is one subscriber alone, a line that a test beside this one comes to first is asked of nobody, and would
    // be missing here for ever.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(log.clone());
    let _everything = tracing::subscriber::set_default(lines.finish());

    let options = Options {
        tokens: vec![TOKEN.to_owned()],
        app: Some(App::default()),
        ..Options::default()
    };
    let github = Simulator::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, App::KEY).unwrap();
    let config = Config {
        credentials: Credentials {
            tokens: vec![Secret::new(TOKEN)],
            app: Some(config::App {
                id: 4711,
                installation_id: Some(815),
                private_key_path: key,
            }),
        },
        ..config(&github.url())
    };
    let mut texts = format!("{config:?}");
    let clock = clock();
    let client = Client::new(config, clock.clone()).unwrap();
    for number in 1..=4 {
        client.issue(&issue(&github, number), None).await.unwrap();
    }
    github.set_token(
        TOKEN,
        Token {
            standing: Standing::Revoked,
            ..Token::default()
        },
    );
    github.revoke_installation_tokens();
    github.change_app(|app| app.suspended = true);
    for fault in [Fault::Html, Fault::Truncated, Fault::Status(500)] {
        github.fault(FaultRule::next(1, fault));
        clock.advance(std::time::Duration::from_secs(300));
        for _ in 0..3 {
            let error = client.issue(&issue(&github, 1), None).await.unwrap_err();
            texts.push_str(&printed(&error));
        }
    }
    texts.push_str(&format!("{client:?}{:?}", client.quotas()));
    texts.push_str(&String::from_utf8(log.0.lock().unwrap().clone()).unwrap());
    assert!(
        texts.contains("not accepted (401)") && texts.contains("suspended"),
        "something was said"
    );
    let key_lines = App::KEY.lines().filter(|line| !line.starts_with("-----"));
    // A JWT begins with its header; the simulator's installation tokens as GitHub's do.
    for secret in key_lines.chain([TOKEN, "eyJ", "ghs_", "Bearer"]) {
        assert!(!texts.contains(secret), "{secret}");
    }
}
