//! A reverse proxy as people have it before Elasticsearch: passes everything, or answers with a page for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, extract::State};
use http::HeaderMap;
use tokio::task::JoinSet;

const PAGE: &str = "<!DOCTYPE html><html><head><title>Sorry</title></head><body>Something went wrong.</body></html>";

/// A running proxy.
pub(crate) struct Door {
    url: String,
    /// The status of the page, 0 to pass.
    page: Arc<AtomicU16>,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Behind {
    node: String,
    page: Arc<AtomicU16>,
    client: reqwest::Client,
}

impl Door {
    pub(crate) async fn before(node: &str) -> Self {
        let page = Arc::new(AtomicU16::new(0));
        let behind = Behind {
            node: node.to_owned(),
            page: Arc::clone(&page),
            client: reqwest::Client::new(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(behind);
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            page,
            _serving: serving,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Answers everything with a page of this status, or passes everything.
    pub(crate) fn page(&self, status: Option<u16>) {
        self.page.store(status.unwrap_or(0), Ordering::SeqCst);
    }
}

async fn pass(State(behind): State<Behind>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let status = behind.page.load(Ordering::SeqCst);
    if status != 0 {
        let status = StatusCode::from_u16(status).unwrap();
        return (status, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response();
    }
    let mut request = behind
        .client
        .request(method, format!("{}{uri}", behind.node))
        .body(body);
    for name in [header::CONTENT_TYPE, header::ACCEPT, header::AUTHORIZATION] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let mut response = (status, answer.bytes().await.unwrap()).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
