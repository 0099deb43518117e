//! The simulator's own endpoints, under `/_simulator`: what [`Simulator`] offers in a program, by HTTP.
//!
//! - `POST /_simulator/issues/{n}`: an [`EditRequest`]; answers the deliveries that it caused
//! - `POST /_simulator/issues`: `{"title", "body"}` opens one
//! - `DELETE /_simulator/issues/{n}`
//! - `GET /_simulator/requests`: counts by route and issue
//! - `POST /_simulator/faults`: a [`FaultRule`] for the next answers (`{"fault": {"status": 502}, "times": 3}`) or a [`Storm`]
//!   from now on (`{"rate": 0.2, "seed": 7, "kinds": ["html"], "webhooks": {"lost": 0.1}}`); `GET` answers how many have met
//!   somebody; `DELETE` ends all and sends the webhooks that were kept back
//! - `POST /_simulator/tokens`: a token and what it is good for (a [`Token`]): `{"token": "t1", "standing": "revoked"}`
//! - `POST /_simulator/repository`: what happens to the main repository: `{"full_name", "private", "has_issues", "hidden"}`,
//!   each if it is there
//! - `POST /_simulator/webhook`: `{"url", "secret"}` from now on

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Simulator;
use super::credentials::Token;
use super::history::Change;
use super::limits::FaultRule;
use super::webhook::{Delivery, Webhook};

/// What to do to an issue. Everything is optional; unknown keys are refused.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EditRequest {
    /// A new title.
    pub title: Option<String>,
    /// A new description.
    pub body: Option<String>,
    /// `open` or `closed`.
    pub state: Option<OpenOrClosed>,
    /// A label to put on.
    pub add_label: Option<String>,
    /// A label to take off.
    pub remove_label: Option<String>,
    /// A comment.
    pub comment: Option<String>,
    /// Into the moderation queue, or out of it.
    pub private: Option<bool>,
}

/// The two states of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenOrClosed {
    /// Open.
    Open,
    /// Closed.
    Closed,
}

impl EditRequest {
    fn changes(self) -> Vec<Change> {
        let state = self.state.map(|state| match state {
            OpenOrClosed::Open => Change::Reopen,
            OpenOrClosed::Closed => Change::Close("completed".into()),
        });
        let texts = [
            self.title.map(Change::Title),
            self.body.map(Change::Body),
            self.add_label.map(Change::Label),
            self.remove_label.map(Change::Unlabel),
            self.comment.map(Change::Comment),
            state,
        ];
        texts.into_iter().flatten().collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenRequest {
    title: String,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookRequest {
    url: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryRequest {
    full_name: Option<String>,
    private: Option<bool>,
    has_issues: Option<bool>,
    hidden: Option<bool>,
}

#[derive(Deserialize)]
struct TokenRequest {
    token: String,
    #[serde(flatten)]
    good_for: Value,
}

/// A failure with its reason, as JSON.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"message": self.1}))).into_response()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self(StatusCode::NOT_FOUND, format!("{error:#}"))
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

type Answer = Result<Json<Value>, Failure>;

pub(super) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/_simulator/issues", post(open))
        .route("/_simulator/issues/{number}", post(edit).delete(delete))
        .route("/_simulator/requests", get(requests))
        .route("/_simulator/faults", post(fault).get(faults).delete(no_faults))
        .route("/_simulator/tokens", post(token))
        .route("/_simulator/repository", post(repository))
        .route("/_simulator/webhook", post(webhook))
}

async fn edit(
    Shared(sim): Shared<Simulator>,
    Path(number): Path<u64>,
    body: Result<Json<EditRequest>, JsonRejection>,
) -> Answer {
    let Json(request) = body?;
    let mut made = match request.private {
        Some(true) => sim.make_private(number).await?,
        Some(false) => sim.make_public(number).await?,
        None => vec![],
    };
    made.extend(sim.edit(number, request.changes()).await?);
    Ok(Json(json!({"number": number, "deliveries": told(&made)})))
}

async fn open(Shared(sim): Shared<Simulator>, body: Result<Json<OpenRequest>, JsonRejection>) -> Answer {
    let Json(request) = body?;
    let number = sim.open(&request.title, &request.body).await?;
    Ok(Json(json!({"number": number})))
}

async fn delete(Shared(sim): Shared<Simulator>, Path(number): Path<u64>) -> Answer {
    let made = sim.delete(number).await?;
    Ok(Json(json!({"number": number, "deliveries": told(&made)})))
}

fn told(made: &[Delivery]) -> Value {
    made.iter()
        .map(|d| json!({"id": d.id, "event": d.event, "action": d.action, "status": d.status}))
        .collect()
}

async fn requests(Shared(sim): Shared<Simulator>) -> Json<Value> {
    Json(sim.requests().to_json())
}

async fn fault(Shared(sim): Shared<Simulator>, body: Result<Json<Value>, JsonRejection>) -> Answer {
    let Json(order) = body?;
    if order.get("fault").is_some() {
        sim.fault(understood::<FaultRule>(order)?);
    } else {
        sim.storm(understood(order)?).map_err(refused)?;
    }
    Ok(Json(json!({})))
}

fn understood<T: DeserializeOwned>(order: Value) -> Result<T, Failure> {
    serde_json::from_value(order).map_err(refused)
}

fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure(StatusCode::UNPROCESSABLE_ENTITY, format!("{:#}", error.into()))
}

async fn faults(Shared(sim): Shared<Simulator>) -> Json<Value> {
    Json(json!({"met": sim.faults_met()}))
}

async fn no_faults(Shared(sim): Shared<Simulator>) -> Json<Value> {
    sim.clear_faults();
    let released = sim.release_webhooks().await;
    Json(json!({"deliveries": told(&released)}))
}

async fn repository(Shared(sim): Shared<Simulator>, body: Result<Json<RepositoryRequest>, JsonRejection>) -> Answer {
    let Json(request) = body?;
    if let Some(full_name) = request.full_name {
        sim.rename_repository(&full_name).await?;
    }
    if let Some(private) = request.private {
        sim.set_private(private).await?;
    }
    if let Some(enabled) = request.has_issues {
        sim.set_issues_enabled(enabled).await?;
    }
    if let Some(hidden) = request.hidden {
        sim.hide_repository(&sim.repository(), hidden);
    }
    Ok(Json(json!({"repository": sim.repository()})))
}

async fn token(Shared(sim): Shared<Simulator>, body: Result<Json<TokenRequest>, JsonRejection>) -> Answer {
    let Json(TokenRequest { token, good_for }) = body?;
    sim.set_token(&token, understood::<Token>(good_for)?);
    Ok(Json(json!({})))
}

async fn webhook(Shared(sim): Shared<Simulator>, body: Result<Json<WebhookRequest>, JsonRejection>) -> Answer {
    let Json(WebhookRequest { url, secret }) = body?;
    sim.set_webhook(Some(Webhook { url, secret }));
    Ok(Json(json!({})))
}
