//! `/livez`: the process runs. `/readyz`: every part it needs answers, with the reason where one does not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

/// How long a probe may take before its part counts as away.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the service knows about the parts it needs. Clones share it.
#[derive(Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Result<(), String>>>>,
    probes: Arc<Mutex<BTreeMap<String, Probe>>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("parts", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl Health {
    /// Says that a part works.
    pub fn up(&self, part: &str) {
        self.set(part, Ok(()));
    }

    /// Says that a part does not work, and why. Readiness turns false until [`Self::up`].
    pub fn down(&self, part: &str, why: impl Into<String>) {
        self.set(part, Err(why.into()));
    }

    /// Adds a question asked anew at every `/readyz`.
    ///
    /// # Panics
    /// If another thread panicked while holding the lock.
    pub fn probe<F, Fut>(&self, part: &str, ask: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let probe: Probe = Arc::new(move || Box::pin(ask()));
        self.probes
            .lock()
            .expect("no one panics while holding it")
            .insert(part.to_owned(), probe);
    }

    /// What is away right now, by part; empty if the service is ready.
    ///
    /// # Panics
    /// If another thread panicked while holding the lock.
    pub async fn away(&self) -> BTreeMap<String, String> {
        let probes: Vec<_> = self
            .probes
            .lock()
            .expect("no one panics while holding it")
            .iter()
            .map(|(n, p)| (n.clone(), p.clone()))
            .collect();
        let asked = join_all(probes.into_iter().map(|(part, probe)| async move {
            let answer = tokio::time::timeout(PROBE_TIMEOUT, probe()).await;
            (part, answer.unwrap_or_else(|_| Err("does not answer".to_owned())))
        }));
        let mut states = self.snapshot();
        for (part, answer) in asked.await {
            let known = states.remove(&part).unwrap_or(Ok(()));
            states.insert(part, answer.and(known));
        }
        states
            .into_iter()
            .filter_map(|(part, state)| state.err().map(|why| (part, why)))
            .collect()
    }

    /// The two endpoints, to be merged into a service's own router or served alone.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { Json(json!({"status": "live"})) }))
            .route("/readyz", get(readyz))
            .with_state(self.clone())
    }

    fn set(&self, part: &str, state: Result<(), String>) {
        let mut parts = self.parts.lock().expect("no one panics while holding it");
        let before = parts.get(part);
        if before != Some(&state) {
            match &state {
                Ok(()) => tracing::info!(part, "part is up"),
                // At the start nothing is wrong yet.
                Err(why) if before.is_none() => tracing::info!(part, why, "waiting for a part"),
                Err(why) => tracing::warn!(part, why, "part is away"),
            }
            parts.insert(part.to_owned(), state);
        }
    }

    fn snapshot(&self) -> BTreeMap<String, Result<(), String>> {
        self.parts.lock().expect("no one panics while holding it").clone()
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, Json<serde_json::Value>) {
    let away = health.away().await;
    if away.is_empty() {
        return (StatusCode::OK, Json(json!({"status": "ready"})));
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"status": "not ready", "away": away})),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_part_away_makes_it_not_ready_and_says_why() {
        let health = Health::default();
        assert!(health.away().await.is_empty());
        health.down("github", "the token was revoked");
        health.probe("nats", || async { Err("no route".to_owned()) });
        let away = health.away().await;
        assert_eq!(away.get("github").map(String::as_str), Some("the token was revoked"));
        assert_eq!(away.get("nats").map(String::as_str), Some("no route"));
        health.up("github");
        health.probe("nats", || async { Ok(()) });
        assert!(health.away().await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_a_part_that_is_away() {
        let health = Health::default();
        health.probe("store", std::future::pending);
        assert_eq!(
            health.away().await.get("store").map(String::as_str),
            Some("does not answer")
        );
    }
}
