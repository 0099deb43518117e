//! How far Elasticsearch is behind the log, and what it has.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{Info, PullConsumer};
use bugstream_archive::names::Names;
use bugstream_indexer::generations::Generation;
use bugstream_indexer::index::fingerprint;
use bugstream_indexer::indices::Indices;
use bugstream_kit::broker::Broker;
use bugstream_kit::config::{Elasticsearch, Repositories};
use bugstream_kit::elastic::Transport;
use bugstream_proto::topology::INDEXER;
use elasticsearch::http::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::screen::Part;
use crate::contents::away;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::report::{counted, thousands};

/// How often one looks for an indexer that asks for events: between two requests of its own it asks for a moment nothing.
const LOOKS: usize = 5;
const BETWEEN: Duration = Duration::from_millis(100);

/// Elasticsearch.
pub(super) struct Search {
    transport: Transport,
    prefix: String,
    /// What they should be; `None` for a configuration that no indexer would take.
    indices: Option<Indices>,
}

/// What it has.
struct Documents {
    count: u64,
    /// The generation that is live; `None` where there is no index yet.
    generation: Option<u64>,
    due: Due,
}

/// Whether the indices are as this version would make them.
#[derive(Clone, Copy)]
enum Due {
    /// That cannot be asked: a part that is away says so by itself.
    Unknown,
    Current,
    /// A rebuild is due, and why.
    Because(&'static str),
}

impl Search {
    /// Nothing is sent yet. `None` where the configuration does not speak of Elasticsearch.
    pub(super) fn open(deps: &Deps) -> Result<Option<Self>, Failure> {
        let said: BTreeMap<String, IgnoredAny> = deps.settings().section("elasticsearch")?;
        if said.is_empty() {
            return Ok(None);
        }
        let section = Elasticsearch::read(deps.settings())?;
        let transport = bugstream_kit::elastic::transport(&section);
        let transport = transport.map_err(|error| Failure::failed(format!("{error:#}")))?;
        Ok(Some(Self {
            indices: indices(transport.clone(), &section.prefix, deps),
            transport,
            prefix: section.prefix,
        }))
    }

    /// What it has, and how far it is behind the log if that can be asked.
    pub(super) async fn part(&self, broker: Result<&Broker, &str>) -> Result<Part, Failure> {
        let documents = self.documents().await?;
        let indexer = match broker {
            Ok(broker) => Some(indexer(broker).await?),
            Err(_) => None,
        };
        Ok(shown(&documents, indexer.as_ref()))
    }

    async fn documents(&self) -> Result<Documents, Failure> {
        let prefix = &self.prefix;
        let read = format!("/{prefix}issues,{prefix}timelines/_count?ignore_unavailable=true");
        let live = format!("/_alias/{prefix}issues-public?expand_wildcards=all");
        Ok(Documents {
            count: self.get(&read).await?["count"].as_u64().unwrap_or_default(),
            generation: generation(&self.get(&live).await?),
            due: self.due().await,
        })
    }

    async fn due(&self) -> Due {
        let Some(indices) = &self.indices else {
            return Due::Unknown;
        };
        indices.outdated().await.map_or(Due::Unknown, |outdated| due(&outdated))
    }

    /// The answer of a GET; null for what is not there.
    async fn get(&self, path: &str) -> Result<Value, Failure> {
        let sent = self.transport.json(Method::Get, path, None).await;
        match sent.map_err(|away| Failure::failed(away.to_string()))? {
            (404, _) => Ok(Value::Null),
            (200, answer) => Ok(answer),
            (status, _) => Err(Failure::failed(format!("Elasticsearch answers {status}"))),
        }
    }
}

fn indices(transport: Transport, prefix: &str, deps: &Deps) -> Option<Indices> {
    let repositories = Repositories::read(deps.settings()).ok()?;
    let names = Names::new(prefix).ok()?;
    Some(Indices::new(transport, names, None, fingerprint(&repositories)))
}

fn due(outdated: &[Generation]) -> Due {
    let mapping = outdated.iter().any(|one| !one.mapping_is_current);
    let privacy = outdated.iter().any(|one| !one.privacy_is_current);
    match (mapping, privacy) {
        (false, false) => Due::Current,
        (true, false) => Due::Because("the mapping changed"),
        (false, true) => Due::Because("the rules of privacy changed"),
        (true, true) => Due::Because("the mapping and the rules of privacy changed"),
    }
}

/// Of the index behind the live alias: `bugstream-issues-public-000001`.
fn generation(aliases: &Value) -> Option<u64> {
    let index = aliases.as_object()?.keys().next()?;
    index.rsplit('-').next()?.parse().ok()
}

async fn indexer(broker: &Broker) -> Result<Info, Failure> {
    let stream = broker.jetstream.get_stream_no_info(INDEXER.stream).await;
    let consumer = stream.map_err(|error| away(&error))?.get_consumer(INDEXER.name).await;
    let mut consumer: PullConsumer = consumer.map_err(|error| Failure::failed(format!("no consumer: {error}")))?;
    for _ in 1..LOOKS {
        let info = consumer.info().await.map_err(|error| away(&error))?;
        if !idle(info) {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(consumer.cached_info().clone())
}

/// An indexer that runs asks for events, or has its hands full.
fn idle(info: &Info) -> bool {
    info.num_waiting == 0 && info.num_ack_pending == 0
}

fn shown(documents: &Documents, indexer: Option<&Info>) -> Part {
    let because = match documents.due {
        Due::Because(why) => Some(why),
        Due::Unknown | Due::Current => None,
    };
    let lag = indexer.map(|info| info.num_pending + info.num_ack_pending as u64);
    let part = Part::new("search").json(json!({
        "generation": documents.generation,
        "lag": lag,
        "documents": documents.count,
        "rebuild_due": because,
    }));
    let part = match documents.generation {
        Some(generation) => part.say(format!("generation {generation}")),
        None => part
            .say("no index yet")
            .wrong("there are no indices: start an indexer, which makes them"),
    };
    let part = match lag {
        Some(lag) => part.say(format!("lag {}", counted(lag, "event"))),
        None => part.say("lag not known"),
    };
    let part = part.say(format!("{} documents", thousands(documents.count)));
    let part = match documents.due {
        Due::Because(why) => part.say(format!("rebuild due: {why} (queue-cli rebuild)")),
        Due::Current if documents.generation.is_some() => part.say("mapping current"),
        Due::Unknown | Due::Current => part,
    };
    part.wrong_if(
        indexer.is_some_and(idle),
        "no indexer asks for events: start one, or look at its log",
    )
}
