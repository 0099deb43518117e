//! The simulator against what GitHub documents and what was recorded from it: whoever passes here may stand in for GitHub.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, like the tests themselves"
)]

mod answers;
mod apps;
mod client;
mod conditional;
mod conformance;
mod edits;
mod hooks;
mod lists;
mod program;
mod recorded;
mod seed;
mod servers;
mod state;
mod storm;
mod timelines;
mod tokens;
mod webhooks;

use bugstream_testkit::github::{Options, Simulator};
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A client that follows no redirects, as tests want to see them.
struct Client {
    http: reqwest::Client,
    base: String,
}

/// The repository that a simulator has unless told otherwise.
const REPOSITORY: &str = "/repos/bugstream-demo/web-bugs";

/// An answer, read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Status and message of an error.
    fn error(&self) -> (u16, String) {
        let message = self.json()["message"].as_str().unwrap_or_default().to_owned();
        (self.status, message)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The address with this `rel` in the `Link` header.
    fn link(&self, rel: &str) -> Option<String> {
        let wanted = format!("rel=\"{rel}\"");
        let part = self.header("link").split(", ").find(|part| part.ends_with(&wanted))?;
        Some(part.trim_start_matches('<').split('>').next()?.to_owned())
    }

    fn numbers(&self) -> Vec<u64> {
        self.json()
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["number"].as_u64().unwrap())
            .collect()
    }
}

impl Client {
    async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    /// `path` may be a whole address, as `Link` gives it.
    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let address = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let request = headers.iter().fold(self.http.get(address), |request, (name, value)| {
            request.header(*name, *value)
        });
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    async fn as_token(&self, path: &str, token: &str) -> Answer {
        self.get_with(path, &[("authorization", &format!("Bearer {token}"))])
            .await
    }

    async fn issue(&self, rest: &str) -> Answer {
        self.get(&format!("/repos/bugstream-demo/web-bugs/issues/{rest}")).await
    }

    /// Follows `rel="next"` to the end.
    async fn walk(&self, path: &str) -> Vec<Value> {
        let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let answer = self.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            all.extend(answer.json().as_array().unwrap().clone());
            next = answer.link("next");
        }
        all
    }
}

async fn simulator(options: Options) -> (Simulator, Client) {
    let simulator = Simulator::start(options).await.unwrap();
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let base = simulator.url();
    (simulator, Client { http, base })
}
