//! Requests that a work queue still has and its consumer will never deliver, because it counts them as acked.
//!
//! Seen with nats-server 2.15.1 after a kill -9: messages whose acks were on their way came back into the stream and not
//! into the consumer. Such a message is delivered to nobody; as the only one of its subject it would keep its queue's
//! length above zero and make every "only if none waits" give way to it for ever. A request is a trigger to read current
//! state, so publishing it once more does no harm: it is what this does when it has seen the same message twice while
//! the consumer had nothing to do.
//!
//! Not for the log: its messages stay there after they were acked.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::stream::Stream;
use bugstream_proto::topology::{self, ConsumerSpec};
use futures_util::TryStreamExt;

use crate::broker::Broker;
use crate::service::Stop;

/// Looks every `pause` until a stop, then never ends.
pub(super) async fn watch(broker: &Broker, spec: &ConsumerSpec, pause: Duration, stop: &Stop) {
    let mut seen = BTreeSet::new();
    while spec.stream != topology::ISSUES && stop.sleep(pause).await {
        match look(broker, spec, &seen).await {
            Ok(ghosts) => seen = ghosts,
            Err(why) => tracing::debug!(
                consumer = spec.name,
                why,
                "could not look for requests that nobody gets"
            ),
        }
    }
    std::future::pending().await
}

/// Publishes again what was seen before; answers what is seen now for the first time.
async fn look(broker: &Broker, spec: &ConsumerSpec, seen: &BTreeSet<u64>) -> Result<BTreeSet<u64>, String> {
    let stream = broker
        .jetstream
        .get_stream_no_info(spec.stream)
        .await
        .map_err(|error| error.to_string())?;
    let consumer = stream
        .consumer_info(spec.name)
        .await
        .map_err(|error| error.to_string())?;
    if consumer.num_pending > 0 || consumer.num_ack_pending > 0 {
        return Ok(BTreeSet::new());
    }
    let mut ghosts = BTreeSet::new();
    for subject in waiting(&stream, spec).await? {
        let Ok(message) = stream.get_last_raw_message_by_subject(&subject).await else {
            continue;
        };
        if message.sequence > consumer.ack_floor.stream_sequence {
            continue;
        }
        if !seen.contains(&message.sequence) {
            ghosts.insert(message.sequence);
            continue;
        }
        tracing::warn!(
            consumer = spec.name,
            subject,
            "publishing again a request that nobody would get"
        );
        let mut headers = without_id(&message.headers);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, message.sequence.to_string());
        let sent = broker
            .jetstream
            .publish_with_headers(subject, headers, message.payload)
            .await;
        sent.map_err(|error| error.to_string())?
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(ghosts)
}

/// Its id may be known still, and would make the next one a duplicate.
fn without_id(headers: &HeaderMap) -> HeaderMap {
    let others = headers.iter().filter(|(name, _)| **name != NATS_MESSAGE_ID);
    let pairs = others.flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
    pairs.collect()
}

async fn waiting(stream: &Stream<()>, spec: &ConsumerSpec) -> Result<Vec<String>, String> {
    let subjects = stream
        .info_with_subjects(spec.filter.wildcard())
        .await
        .map_err(|error| error.to_string())?;
    let subjects: Vec<(String, usize)> = subjects.try_collect().await.map_err(|error| error.to_string())?;
    Ok(subjects.into_iter().map(|(subject, _)| subject).collect())
}
