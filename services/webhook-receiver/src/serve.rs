//! The HTTP side: reads a delivery within limits of size, memory and time, and answers it.
//!
//! Everything that a stranger can make it do is bounded here: a body is refused above GitHub's own limit, all bodies
//! together fit [`MEMORY`], and no delivery takes longer than [`ANSWER_WITHIN`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, EXPECT, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bugstream_github::webhook::{self, Decision, Policy, Queue};
use bugstream_kit::service::{self, Context};
use bugstream_proto::v1;
use bugstream_telemetry::{metrics, names};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::config::Config;
use crate::form::{self, Malformed};
use crate::publish::{Publisher, Unavailable};
use crate::verify::{Claim, Verifier};

/// GitHub's own limit of a payload, 25 MB; nothing larger is genuine.
pub const LARGEST_BODY: usize = 25_000_000;

/// All bodies being read together. A further one waits for its share.
pub const MEMORY: usize = 256 * 1024 * 1024;

/// GitHub gives up after 10 seconds.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// What a sender is asked to wait while JetStream is away.
const RETRY_AFTER_S: &str = "10";

/// How much of a refused body is read and thrown away, so that a sender who is still sending can hear why.
const DISCARD: usize = 2 * LARGEST_BODY;

const KIB: usize = 1024;

const NEVER_CLOSED: &str = "the semaphore is never closed";

/// Listens and receives until a soft stop.
///
/// # Errors
/// If the address is taken, or the broker is one that waiting cannot mend.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let listener = service::listen(config.listen).await?;
    run_on(listener, config, context).await
}

/// As [`run`], on a listener that is bound already. Deliveries are answered from the start, with 503 until the broker
/// is there.
///
/// # Errors
/// If the broker is one that waiting cannot mend.
pub async fn run_on(listener: TcpListener, config: Config, context: Context) -> anyhow::Result<()> {
    let publisher = Arc::new(Publisher::new(&config, &context));
    let receiver = Receiver {
        verifier: Verifier::new(&config.secrets),
        policy: Policy {
            repositories: config.repositories.clone(),
            pull_requests: config.pull_requests,
        },
        publisher: Arc::clone(&publisher),
        memory: Semaphore::new(MEMORY / KIB),
    };
    let router = router(receiver).merge(context.health.router());
    tracing::info!(address = %listener.local_addr()?, "receiving webhooks at /github/receive");
    tokio::try_join!(
        service::serve(listener, router, &context.stop),
        publisher.connect(&config.nats)
    )?;
    publisher.flush().await;
    Ok(())
}

struct Receiver {
    verifier: Verifier,
    policy: Policy,
    publisher: Arc<Publisher>,
    /// One permit a KiB.
    memory: Semaphore,
}

fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/github/receive", post(receive))
        .with_state(Arc::new(receiver))
}

/// What became of a delivery.
enum Answer {
    /// Its requests are stored, for the issues of these names, with a space between.
    Queued(Queue, String),
    Ignored(&'static str),
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is larger than 25 MB, which no webhook of GitHub is")]
    TooLarge,
    #[error("the header x-hub-signature-256 is missing or is not sha256= with 64 hexadecimal digits")]
    NotSigned,
    #[error("the signature does not match: the webhook's secret on GitHub and the one configured here differ")]
    Forged,
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the body broke off")]
    BrokeOff,
    #[error("too many bodies arrive at once")]
    Busy,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let span = tracing::info_span!(
        names::span::RECEIVE,
        event = tracing::field::Empty,
        action = tracing::field::Empty,
        delivery = tracing::field::Empty,
        issue = tracing::field::Empty,
        status = tracing::field::Empty,
    );
    async {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let answer = receiver.deliver(request, deadline).await;
        let response = respond(&answer);
        tracing::Span::current().record("status", response.status().as_u16());
        note(&answer);
        response
    }
    .instrument(span)
    .await
}

impl Receiver {
    /// The whole story of a delivery.
    async fn deliver(&self, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
        let (parts, body) = request.into_parts();
        let body = self.genuine_body(&parts.headers, body, deadline).await?;
        let decision = self.decide(&parts.headers, &body)?;
        drop(body);
        match decision {
            Decision::Ignore(why) => Ok(Answer::Ignored(why)),
            Decision::Queue(queue) => {
                let issue = names_of(&queue);
                record(&queue.delivery, &issue);
                self.publisher.publish(&queue, deadline).await?;
                Ok(Answer::Queued(queue, issue))
            }
        }
    }

    fn decide(&self, headers: &HeaderMap, body: &[u8]) -> Result<Decision, Malformed> {
        let (head, payload) = form::unwrap(headers, body)?;
        Ok(webhook::route(head, &payload, &self.policy)?)
    }

    /// The body, once its signature is verified. Until it is dropped it keeps its share of [`MEMORY`].
    async fn genuine_body(
        &self,
        headers: &HeaderMap,
        body: Body,
        deadline: Instant,
    ) -> Result<GenuineBody<'_>, Refusal> {
        let mut stream = body.into_data_stream();
        let read = self.read(headers, &mut stream, deadline).await;
        if matches!(read, Err(Refusal::TooLarge | Refusal::NotSigned)) && !headers.contains_key(EXPECT) {
            discard(stream, deadline).await;
        }
        read
    }

    async fn read(
        &self,
        headers: &HeaderMap,
        stream: &mut BodyDataStream,
        deadline: Instant,
    ) -> Result<GenuineBody<'_>, Refusal> {
        if declared_length(headers).is_some_and(|length| length > LARGEST_BODY) {
            return Err(Refusal::TooLarge);
        }
        let mut check = self.verifier.begin(Claim::read(headers).ok_or(Refusal::NotSigned)?);
        let mut body = GenuineBody {
            bytes: Bytes::new(),
            memory: self.memory.acquire_many(0).await.expect(NEVER_CLOSED),
        };
        while let Some(chunk) = timeout_at(deadline, stream.next()).await.map_err(|_| Refusal::Slow)? {
            let chunk = chunk.map_err(|_| Refusal::BrokeOff)?;
            let grown = body.bytes.len() + chunk.len();
            if grown > LARGEST_BODY {
                return Err(Refusal::TooLarge);
            }
            self.share_memory(&mut body.memory, grown, deadline).await?;
            check.update(&chunk);
            body.bytes = joined(body.bytes, chunk);
        }
        if check.is_genuine() {
            Ok(body)
        } else {
            Err(Refusal::Forged)
        }
    }

    /// Takes what a body of `bytes` needs beyond what it has. Only what has arrived counts, never what is announced:
    /// else a few idle connections of a stranger could hold all of it.
    async fn share_memory<'a>(
        &'a self,
        held: &mut SemaphorePermit<'a>,
        bytes: usize,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let more = bytes.div_ceil(KIB).saturating_sub(held.num_permits());
        let more = u32::try_from(more).expect("at most the largest body");
        let permit = timeout_at(deadline, self.memory.acquire_many(more)).await;
        held.merge(permit.map_err(|_| Refusal::Busy)?.expect(NEVER_CLOSED));
        Ok(())
    }
}

/// A body on its way in, and then bytes that someone with the secret has signed.
struct GenuineBody<'a> {
    bytes: Bytes,
    memory: SemaphorePermit<'a>,
}

impl std::ops::Deref for GenuineBody<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What has arrived, in one piece. Most bodies arrive so, and are not copied.
fn joined(arrived: Bytes, chunk: Bytes) -> Bytes {
    if arrived.is_empty() {
        return chunk;
    }
    let mut both = BytesMut::from(arrived);
    both.extend_from_slice(&chunk);
    both.freeze()
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a refused body to nowhere: closing at once would reset the connection before the sender reads the answer.
async fn discard(mut stream: BodyDataStream, deadline: Instant) {
    let mut seen = 0;
    while let Ok(Some(Ok(chunk))) = timeout_at(deadline, stream.next()).await {
        seen += chunk.len();
        if seen > DISCARD {
            return;
        }
    }
}

/// Tells the span what was found. The log line at the end stands in it, and so has it too.
fn record(delivery: &v1::Delivery, issue: &str) {
    let v1::Delivery {
        event,
        action,
        delivery_id,
        ..
    } = delivery;
    tracing::record_all!(tracing::Span::current(), event, action, delivery = delivery_id, issue);
}

fn names_of(queue: &Queue) -> String {
    let names: Vec<_> = queue.issues.iter().map(ToString::to_string).collect();
    names.join(" ")
}

#[derive(Serialize)]
struct Queued<'a> {
    queued: Vec<&'a str>,
}

fn respond(answer: &Result<Answer, Refusal>) -> Response {
    match answer {
        Ok(Answer::Queued(_, issue)) => {
            let queued = issue.split(' ').collect();
            (StatusCode::ACCEPTED, Json(Queued { queued })).into_response()
        }
        Ok(Answer::Ignored(_)) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => {
            let mut response = (refusal.status(), Json(json!({"error": refusal.to_string()}))).into_response();
            if refusal.is_ours() {
                let later = axum::http::HeaderValue::from_static(RETRY_AFTER_S);
                response.headers_mut().insert(RETRY_AFTER, later);
            }
            response
        }
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotSigned | Self::Forged => StatusCode::UNAUTHORIZED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(Malformed::ContentType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BrokeOff | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Busy | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the sender did nothing wrong and should come back.
    fn is_ours(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable(_))
    }
}

/// Logs and counts a delivery, once.
fn note(answer: &Result<Answer, Refusal>) {
    let result = match answer {
        Ok(Answer::Queued(queue, issue)) => {
            tracing::info!(issue, when = ?queue.when, "queued a webhook");
            names::WebhookResult::Accepted
        }
        Ok(Answer::Ignored(why)) => {
            tracing::debug!(why, "ignored a webhook");
            names::WebhookResult::Ignored
        }
        Err(refusal) if refusal.is_ours() => {
            tracing::warn!(why = %refusal, "could not take a webhook; the sender must send it again");
            names::WebhookResult::Unavailable
        }
        Err(refusal) => {
            tracing::info!(why = %refusal, "refused a webhook");
            names::WebhookResult::Refused
        }
    };
    metrics::count(names::WEBHOOKS_RECEIVED, 1, &[result.into()]);
}
