//! Asks the server for messages, and more of them before the last has come, on one inbox.
//!
//! The client has two ways of its own. Its endless one asks for more than can be worked on, and those wait in its buffer
//! with their ack wait running. Its batches end before the next is asked for, so that nothing comes meanwhile; two at a
//! time would come on two inboxes, and the order between these is lost.
//!
//! Invariant: as many permits lie here as messages may still come. What is asked for ends after [`PULL`], and the server
//! says how much of it is left; if it says nothing it lost the request, and all is begun again.

use std::pin::Pin;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{self, Message};
use async_nats::{StatusCode, Subject, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::broker::Broker;

/// How long one request waits at the server. Short, so that a stop need not strand messages that arrive meanwhile.
const PULL: Duration = Duration::from_secs(2);
/// How much later than that the server may say that it ended.
const LATE: Duration = Duration::from_secs(5);
/// How many of a request's messages had not come when it ended.
const LEFT: &str = "Nats-Pending-Messages";

/// What is asked for.
pub(super) struct Pull {
    consumer: Consumer<pull::Config>,
    jetstream: jetstream::Context,
    inbox: Subject,
    messages: Subscriber,
    /// One for each message that may come.
    asked: Vec<OwnedSemaphorePermit>,
    /// When the server must have said that the last request ended.
    silent: Pin<Box<Sleep>>,
}

impl Pull {
    pub(super) async fn new(broker: &Broker, consumer: Consumer<pull::Config>) -> Result<Self, String> {
        let inbox = Subject::from(broker.client.new_inbox());
        let messages = broker.client.subscribe(inbox.clone()).await;
        Ok(Self {
            consumer,
            jetstream: broker.jetstream.clone(),
            inbox,
            messages: messages.map_err(|error| error.to_string())?,
            asked: Vec::new(),
            silent: Box::pin(tokio::time::sleep(PULL + LATE)),
        })
    }

    /// Asks for as many messages as there are permits, beyond what is asked for already.
    pub(super) async fn ask(&mut self, permits: impl IntoIterator<Item = OwnedSemaphorePermit>) -> Result<(), String> {
        let before = self.asked.len();
        self.asked.extend(permits);
        let request = pull::BatchConfig {
            batch: self.asked.len() - before,
            expires: Some(PULL),
            ..Default::default()
        };
        self.silent.as_mut().reset(Instant::now() + PULL + LATE);
        let sent = self.consumer.request_batch(request, self.inbox.clone()).await;
        sent.map_err(|error| error.to_string())
    }

    /// The next message; `None` when nothing is asked for any more.
    pub(super) async fn next(&mut self) -> Result<Option<(Message, OwnedSemaphorePermit)>, String> {
        while !self.asked.is_empty() {
            let message = tokio::select! {
                biased;
                message = self.messages.next() => message.ok_or("the connection is closed")?,
                () = &mut self.silent => return Err("the server lost a request for messages".to_owned()),
            };
            match message.status {
                None | Some(StatusCode::OK) => {
                    let context = self.jetstream.clone();
                    return Ok(self.asked.pop().map(|permit| (Message { message, context }, permit)));
                }
                Some(StatusCode::TIMEOUT) => {
                    let left = left(&message).ok_or("the server does not say how many messages will not come")?;
                    self.asked.truncate(self.asked.len().saturating_sub(left));
                }
                Some(status) => {
                    let why = message.description.as_deref().unwrap_or_default();
                    return Err(format!("the server refuses messages: {status} {why}"));
                }
            }
        }
        Ok(None)
    }
}

fn left(message: &async_nats::Message) -> Option<usize> {
    message.headers.as_ref()?.get(LEFT)?.as_str().parse().ok()
}
