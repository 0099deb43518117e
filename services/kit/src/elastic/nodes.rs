//! The nodes of one cluster: which of them is there.
//!
//! One node is always used, whatever is known about it. Of several, those are passed over that take no connection, failed
//! or said that they cannot serve; each is looked at again every few seconds, so that a machine that is switched off costs
//! no request a whole time-out. What the cluster's other nodes are is not asked: addresses inside of it are often not ours
//! to reach.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use elasticsearch::http::transport::Transport;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use url::Url;

/// How long what was found out about a node holds.
const HOLDS: Duration = Duration::from_secs(5);
/// How long a connection may take to be accepted.
const ACCEPTED: Duration = Duration::from_secs(2);

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) url: Url,
    pub(super) transport: Transport,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// It said what it is, and nothing has failed since.
    introduced: bool,
    /// Whether it is there, and when that was found out.
    seen: Option<(bool, Instant)>,
}

/// All of them, and whose turn it is.
#[derive(Debug)]
pub(super) struct Nodes {
    all: Vec<Node>,
    turn: AtomicUsize,
}

impl Nodes {
    pub(super) fn new(all: Vec<Node>) -> Self {
        let turn = AtomicUsize::new(0);
        Self { all, turn }
    }

    /// Those that are there, beginning with the one whose turn it is; all of them if none seems to be.
    pub(super) async fn in_turn(&self) -> Vec<&Node> {
        let begin = self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let (late, early) = self.all.split_at(begin);
        let order: Vec<&Node> = early.iter().chain(late).collect();
        if order.len() < 2 {
            return order;
        }
        let looks = futures_util::future::join_all(order.iter().map(|node| node.is_there())).await;
        let there: Vec<&Node> = order
            .iter()
            .zip(looks)
            .filter_map(|(node, there)| there.then_some(*node))
            .collect();
        if there.is_empty() { order } else { there }
    }
}

impl Node {
    pub(super) fn new(url: Url, transport: Transport) -> Self {
        let state = Mutex::default();
        Self { url, transport, state }
    }

    pub(super) fn is_introduced(&self) -> bool {
        self.with(|state| state.introduced)
    }

    pub(super) fn introduced(&self) {
        self.with(|state| state.introduced = true);
        self.saw(true);
    }

    /// Not to be used for a while, where there is another; and to be asked again what it is.
    pub(super) fn rest(&self) {
        self.with(|state| state.introduced = false);
        self.saw(false);
    }

    async fn is_there(&self) -> bool {
        let known = self.with(|state| state.seen.filter(|(_, when)| when.elapsed() < HOLDS));
        if let Some((there, _)) = known {
            return there;
        }
        let there = self.accepts().await;
        self.saw(there);
        there
    }

    /// Whether it takes a connection.
    async fn accepts(&self) -> bool {
        let Some(host) = self.url.host() else { return true };
        let host = host.to_string();
        // An IPv6 address stands in brackets in a URL.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = self.url.port_or_known_default().unwrap_or(9200);
        let connected = timeout(ACCEPTED, TcpStream::connect((host, port))).await;
        connected.is_ok_and(|connected| connected.is_ok())
    }

    fn saw(&self, there: bool) {
        let before = self.with(|state| state.seen.replace((there, Instant::now())));
        let node = self.url.host_str().unwrap_or_default();
        match before {
            Some((true, _)) if !there => tracing::warn!(node, "a node of Elasticsearch is away"),
            Some((false, _)) if there => tracing::info!(node, "a node of Elasticsearch is back"),
            _ => {}
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().expect("no one panics while holding it"))
    }
}

#[cfg(test)]
mod tests {
    use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
    use tokio::net::TcpListener;

    use super::*;

    fn node(port: u16) -> Node {
        crate::tls::install();
        let url: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let transport = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone()));
        Node::new(url, transport.build().unwrap())
    }

    fn ports(nodes: &[&Node]) -> Vec<u16> {
        nodes.iter().filter_map(|node| node.url.port()).collect()
    }

    #[tokio::test]
    async fn nodes_take_turns_and_one_that_is_away_is_passed_over() {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (a, b) = (listen().await, listen().await);
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        // Nobody listens on port 1. One that was let go might be somebody else's a moment later.
        let (one, other, gone) = (port(&a), port(&b), 1);
        let nodes = Nodes::new(vec![node(one), node(gone), node(other)]);
        assert_eq!(ports(&nodes.in_turn().await), [one, other]);
        // What was found out holds for seconds, and a slow machine may take as long for what follows.
        tokio::time::pause();
        assert_eq!(ports(&nodes.in_turn().await), [other, one]);
        nodes.all[0].rest();
        assert_eq!(ports(&nodes.in_turn().await), [other]);
        nodes.all[2].rest();
        assert_eq!(
            nodes.in_turn().await.len(),
            3,
            "where none seems to be there, all are tried"
        );
    }

    #[tokio::test]
    async fn the_only_node_is_always_tried() {
        let nodes = Nodes::new(vec![node(1)]);
        nodes.all[0].rest();
        assert_eq!(ports(&nodes.in_turn().await), [1]);
    }
}
