//! One rebuild or roll-back at a time, and what the one before was about.
//!
//! A record names an inbox on which whoever is at work answers, and the generation that its consumer fills. The server
//! knows within a moment when a process was killed, because nobody listens there any more: so the next one need not wait.
//! Should a connection break for a moment, two may be at work after all: whoever took over changed the record, and the other one
//! finds that before it moves an alias. Until then both write the same documents, which does no harm.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::kv::Store;
use async_nats::{Client, Subscriber};
use bugstream_kit::broker::Broker;
use bugstream_proto::topology;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{RebuildError, away};

/// The record's key, among the others that say how far something got.
const KEY: &str = "rebuild";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(500);
/// Who does not answer is asked again: a busy server may take a while to notice that it was killed. If the server still
/// knows it then, it stands still for now, and may go on.
const QUESTIONS: usize = 6;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// The inbox of who is at work.
    holder: Option<String>,
    /// The generation that the consumer fills.
    fills: Option<u32>,
}

/// The right to fill a generation and to move aliases.
#[derive(Debug)]
pub(super) struct Turn {
    store: Store,
    record: Record,
    revision: u64,
    _answers: JoinSet<()>,
}

impl Turn {
    /// Takes it.
    ///
    /// # Errors
    /// [`RebuildError::Another`] if somebody has it.
    pub(super) async fn take(broker: &Broker) -> Result<Self, RebuildError> {
        let store = broker
            .jetstream
            .get_key_value(topology::WATERMARKS)
            .await
            .map_err(away)?;
        let holder = broker.client.new_inbox();
        let questions = broker.client.subscribe(holder.clone()).await.map_err(away)?;
        let mut answers = JoinSet::new();
        answers.spawn(answer(broker.client.clone(), questions));
        // Heard of before the record names it.
        broker.client.flush().await.map_err(away)?;
        let entry = store.entry(KEY).await.map_err(away)?;
        let (revision, record) = entry.map_or_else(Default::default, |entry| {
            (
                entry.revision,
                serde_json::from_slice::<Record>(&entry.value).unwrap_or_default(),
            )
        });
        if let Some(other) = &record.holder
            && is_there(broker, other).await?
        {
            return Err(RebuildError::Another);
        }
        let mut turn = Self {
            store,
            record,
            revision,
            _answers: answers,
        };
        turn.record.holder = Some(holder);
        turn.write().await?;
        Ok(turn)
    }

    /// The generation that a consumer fills, if one is there.
    pub(super) fn fills(&self) -> Option<u32> {
        self.record.fills
    }

    /// Notes the generation that the consumer fills from now on.
    pub(super) async fn note(&mut self, fills: Option<u32>) -> Result<(), RebuildError> {
        self.record.fills = fills;
        self.write().await
    }

    /// Looks whether somebody took over.
    pub(super) async fn still_holds(&self) -> Result<(), RebuildError> {
        let entry = self.store.entry(KEY).await.map_err(away)?;
        let ours = entry.is_some_and(|entry| entry.revision == self.revision);
        if ours { Ok(()) } else { Err(RebuildError::Another) }
    }

    /// Lets the next one come. Should that fail, it comes all the same when this process is gone.
    pub(super) async fn release(mut self) {
        self.record.holder = None;
        if let Err(error) = self.write().await {
            tracing::debug!(%error, "the turn was not given back");
        }
    }

    async fn write(&mut self) -> Result<(), RebuildError> {
        let bytes = serde_json::to_vec(&self.record).expect("text and numbers");
        let written = self.store.update(KEY, bytes.into(), self.revision).await;
        self.revision = written.map_err(|error| match error.kind() {
            async_nats::jetstream::kv::UpdateErrorKind::WrongLastRevision => RebuildError::Another,
            _ => away(error),
        })?;
        Ok(())
    }
}

/// Says that somebody is at work.
async fn answer(client: Client, mut questions: Subscriber) {
    while let Some(question) = questions.next().await {
        if let Some(asker) = question.reply {
            // An error says that the connection is gone for good.
            _ = client.publish(asker, Bytes::new()).await;
        }
    }
}

async fn is_there(broker: &Broker, inbox: &str) -> Result<bool, RebuildError> {
    for _ in 0..QUESTIONS {
        let question = async_nats::Request::new().timeout(Some(ANSWER));
        let answer = broker.client.send_request(inbox.to_owned(), question).await;
        match answer.map_err(|error| error.kind()) {
            Ok(_) => return Ok(true),
            Err(RequestErrorKind::NoResponders) => return Ok(false),
            Err(RequestErrorKind::TimedOut) => {}
            Err(other) => return Err(away(other)),
        }
    }
    Ok(true)
}
