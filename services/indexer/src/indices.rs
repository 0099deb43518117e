//! The indices and aliases that live indexing needs: made at the start, and again when someone dropped them.
//!
//! Invariants:
//! - Every index is hidden, so that no wildcard of an analyst meets it, and every alias filters out what is gone.
//! - What is missing is made; what is there is never changed or deleted here. So any number of indexers may do this at
//!   once, and a rebuild that swaps the aliases meanwhile is not disturbed.
//! - What stands where an alias belongs (an index of the old system, or one made by a writer without `require_alias`; an
//!   alias of someone else's index) is an error with a fix, never deleted: it may hold someone's data.
//!
//! Not here: generations after the first, which a rebuild makes ([`crate::generations`]).

use std::collections::{BTreeMap, BTreeSet};

use bugstream_archive::Side;
use bugstream_archive::names::{Index, Kind, Names};
use bugstream_kit::elastic::Transport;
use elasticsearch::http::Method;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::elastic::{Away, call, error_type};
use crate::generations::{Meta, Purpose, State};

/// Why the indices are not as they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Elasticsearch is away.
    #[error(transparent)]
    Away(#[from] Away),
    /// An index has the name of an alias: of a system before, or made by a writer without `require_alias`.
    #[error(
        "an index is called {0:?}, which must be an alias: keep what you need of it under another name (PUT \
         /{0}/_block/write, then POST /{0}/_clone/old-{0}) and delete it (DELETE /{0}), or set [elasticsearch] prefix"
    )]
    InTheWay(String),
    /// An alias of ours has someone else's index too: readers would find what is not ours, and no write would succeed.
    #[error(
        "the alias {alias:?} belongs to the index {index:?}, which is none of bugstream's: take it away (POST /_aliases with \
         remove) or rename it, or set [elasticsearch] prefix"
    )]
    NotOurs {
        /// The alias.
        alias: String,
        /// The index that has it.
        index: String,
    },
    /// A live generation was to be deleted.
    #[error("generation {0} serves readers: let another serve first (queue-cli rebuild or rollback)")]
    Serves(u32),
    /// A generation that is not there.
    #[error("there is no generation {0}: queue-cli generations list shows those that there are")]
    NoGeneration(u32),
    /// A generation that an earlier rebuild left unfinished is for something else.
    #[error(
        "generation {number} is unfinished: {purpose} goes on with it, queue-cli generations prune {number} gives it up"
    )]
    Unfinished {
        /// Its number.
        number: u32,
        /// What it is for.
        purpose: Purpose,
    },
    /// Elasticsearch refused to make something.
    #[error("Elasticsearch refuses {what}: {status} {error_type}")]
    Refused {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// Elasticsearch's type of the error.
        error_type: String,
    },
}

/// The indices of one installation.
#[derive(Debug)]
pub struct Indices {
    pub(crate) transport: Transport,
    pub(crate) names: Names,
    pub(crate) replicas: Option<u32>,
    /// Stands for the rules of privacy that documents are placed by.
    pub(crate) privacy: String,
    /// One at a time in this process: handlers find a lost alias all at once.
    turn: Mutex<()>,
}

/// The concrete indices under our names, with their aliases.
type Found = BTreeMap<String, BTreeSet<String>>;

impl Indices {
    /// Nothing is sent yet. `replicas` of every new index; without it one where there is a second node, else none.
    /// `privacy` stands for the rules that documents are placed by, as [`crate::index::fingerprint`] has it.
    #[must_use]
    pub fn new(transport: Transport, names: Names, replicas: Option<u32>, privacy: String) -> Self {
        let turn = Mutex::new(());
        Self {
            transport,
            names,
            replicas,
            privacy,
            turn,
        }
    }

    /// The names of this installation.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Makes templates, indices and aliases that are missing. Idempotent, and safe beside others that do the same.
    ///
    /// New indices join the generation that is live, else the highest that exists, else they are the first.
    ///
    /// # Errors
    /// [`IndexError`]; nothing was harmed, and a later call goes on.
    pub async fn ensure(&self) -> Result<(), IndexError> {
        let _turn = self.turn.lock().await;
        let found = self.find().await?;
        if let Some(error) = self.in_the_way(&found) {
            return Err(error);
        }
        self.put_templates().await?;
        let generation = self.generation(&found);
        for (kind, side) in pairs() {
            self.ensure_one(Index { kind, side, generation }, &found).await?;
        }
        Ok(())
    }

    /// Makes the index templates what this version wants. They are for indices that are made afterwards.
    pub(crate) async fn put_templates(&self) -> Result<(), IndexError> {
        try_join_all(Kind::ALL.map(|kind| self.put_template(kind)))
            .await
            .map(drop)
    }

    async fn find(&self) -> Result<Found, Away> {
        let patterns = pairs().map(|(kind, side)| self.names.index_pattern(kind, side));
        let asked: Vec<String> = self.alias_names().chain(patterns).collect();
        let path = format!(
            "/{}/_alias?expand_wildcards=all&ignore_unavailable=true",
            asked.join(",")
        );
        let (status, answer) = call(&self.transport, Method::Get, &path, None).await?;
        if status != 200 {
            return Err(Away(format!("Elasticsearch answers {status} when asked for aliases")));
        }
        let aliases = |index: &Value| {
            index["aliases"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect()
        };
        Ok(answer
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, index)| (name.clone(), aliases(index)))
            .collect())
    }

    /// What stands where an alias belongs.
    fn in_the_way(&self, found: &Found) -> Option<IndexError> {
        let names: BTreeSet<String> = self.alias_names().collect();
        if let Some(name) = names.iter().find(|name| found.contains_key(*name)) {
            return Some(IndexError::InTheWay(name.clone()));
        }
        let strangers = found
            .iter()
            .filter(|(index, _)| self.names.parse_index(index).is_none());
        let mut taken = strangers.flat_map(|(index, has)| has.intersection(&names).map(move |alias| (index, alias)));
        taken.next().map(|(index, alias)| IndexError::NotOurs {
            alias: alias.clone(),
            index: index.clone(),
        })
    }

    fn alias_names(&self) -> impl Iterator<Item = String> {
        let read = Kind::ALL.into_iter().map(|kind| self.names.read_alias(kind));
        read.chain(pairs().map(|(kind, side)| self.names.live_alias(kind, side)))
    }

    fn generation(&self, found: &Found) -> u32 {
        let ours = || {
            found
                .iter()
                .filter_map(|(name, aliases)| Some((self.names.parse_index(name)?, aliases)))
        };
        let is_live = |(index, aliases): &(Index, &BTreeSet<String>)| {
            aliases.contains(&self.names.live_alias(index.kind, index.side))
        };
        let live = ours().filter(is_live).map(|(index, _)| index.generation).max();
        live.or_else(|| ours().map(|(index, _)| index.generation).max())
            .unwrap_or(1)
    }

    async fn ensure_one(&self, index: Index, found: &Found) -> Result<(), IndexError> {
        let live = self.names.live_alias(index.kind, index.side);
        let of_this = |(name, _): &(&String, &BTreeSet<String>)| {
            self.names
                .parse_index(name)
                .is_some_and(|other| (other.kind, other.side) == (index.kind, index.side))
        };
        let index = found
            .iter()
            .filter(of_this)
            .find(|(_, aliases)| aliases.contains(&live))
            .and_then(|(name, _)| self.names.parse_index(name))
            .unwrap_or(index);
        match found.get(&self.names.index(index)) {
            None => self.create(index).await,
            Some(has) => self.add_aliases(index, has).await,
        }
    }

    async fn create(&self, index: Index) -> Result<(), IndexError> {
        let name = self.names.index(index);
        let aliases: serde_json::Map<String, Value> = self.aliases(index).into_iter().collect();
        let meta = Meta::new(index.kind, State::Complete, &self.privacy);
        let body = json!({"settings": self.replicas(), "aliases": aliases, "mappings": {"_meta": meta}});
        let (status, answer) = call(&self.transport, Method::Put, &format!("/{name}"), Some(body)).await?;
        if error_type(&answer) == "resource_already_exists_exception" {
            return Ok(());
        }
        accepted(format!("the index {name}"), status, &answer)?;
        tracing::info!(index = name, "made an index");
        Ok(())
    }

    /// Settings of an index that serves readers.
    pub(crate) fn replicas(&self) -> Value {
        match self.replicas {
            Some(replicas) => json!({"index.auto_expand_replicas": false, "index.number_of_replicas": replicas}),
            None => json!({"index.auto_expand_replicas": "0-1"}),
        }
    }

    async fn add_aliases(&self, index: Index, has: &BTreeSet<String>) -> Result<(), IndexError> {
        let name = self.names.index(index);
        let missing = self
            .aliases(index)
            .into_iter()
            .filter(|(alias, _)| !has.contains(alias));
        let actions: Vec<Value> = missing
            .map(|(alias, mut properties)| {
                properties["index"] = json!(name);
                properties["alias"] = json!(alias);
                json!({"add": properties})
            })
            .collect();
        if actions.is_empty() {
            return Ok(());
        }
        let (status, answer) = call(
            &self.transport,
            Method::Post,
            "/_aliases",
            Some(json!({"actions": actions})),
        )
        .await?;
        accepted(format!("aliases of {name}"), status, &answer)?;
        tracing::info!(index = name, aliases = actions.len(), "gave an index its aliases back");
        Ok(())
    }

    /// Every alias of a live index, with its properties.
    pub(crate) fn aliases(&self, index: Index) -> [(String, Value); 3] {
        let (hidden, mut read) = (self.hidden(), self.hidden());
        read.as_object_mut().expect("as made").remove("is_hidden");
        [
            (self.names.generation_write_alias(index), hidden.clone()),
            (self.names.live_alias(index.kind, index.side), hidden),
            (self.names.read_alias(index.kind), read),
        ]
    }

    /// Properties of an alias that no wildcard meets, and that does not show what is gone.
    pub(crate) fn hidden(&self) -> Value {
        let filter = json!({"bool": {"must_not": [{"term": {"bugstream.gone": true}}]}});
        json!({"is_hidden": true, "filter": filter})
    }

    /// What the names of a kind's indices begin with.
    fn template_name(&self, kind: Kind) -> String {
        let pattern = self.names.index_pattern(kind, Side::Public);
        pattern.trim_end_matches("-public-*").to_owned()
    }

    async fn put_template(&self, kind: Kind) -> Result<(), IndexError> {
        let mut body = template(kind);
        body["index_patterns"] = json!(Side::ALL.map(|side| self.names.index_pattern(kind, side)));
        let name = self.template_name(kind);
        let path = format!("/_index_template/{name}");
        let (status, answer) = call(&self.transport, Method::Put, &path, Some(body)).await?;
        accepted(format!("the index template {name}"), status, &answer)
    }
}

/// The template of a kind, without the patterns, which depend on the installation's prefix.
pub(crate) fn template(kind: Kind) -> Value {
    let text = match kind {
        Kind::Issues => include_str!("../mappings/issues.json"),
        Kind::Timelines => include_str!("../mappings/timelines.json"),
    };
    serde_json::from_str(text).expect("a test parses the mappings")
}

pub(crate) fn pairs() -> impl Iterator<Item = (Kind, Side)> {
    Kind::ALL
        .into_iter()
        .flat_map(|kind| Side::ALL.into_iter().map(move |side| (kind, side)))
}

/// 5xx and 429 pass by themselves; everything else that is no success wants a person.
pub(crate) fn accepted(what: String, status: u16, answer: &Value) -> Result<(), IndexError> {
    match status {
        200..300 => Ok(()),
        429 | 500.. => Err(Away(format!("Elasticsearch answers {status} when asked for {what}")).into()),
        _ => Err(IndexError::Refused {
            what,
            status,
            error_type: error_type(answer).to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths of an object's leaves, with their definitions.
    fn leaves(properties: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
        for (name, field) in properties.as_object().unwrap() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match field.get("properties") {
                Some(inner) => leaves(inner, &path, out),
                None => drop(out.insert(path, field.clone())),
            }
        }
    }

    fn fields(kind: Kind) -> BTreeMap<String, Value> {
        let mut out = BTreeMap::new();
        leaves(&template(kind)["template"]["mappings"]["properties"], "", &mut out);
        out
    }

    #[test]
    fn mappings_are_bounded_and_ignore_what_they_cannot_parse() {
        for kind in Kind::ALL {
            let template = &template(kind)["template"];
            assert_eq!(template["mappings"]["dynamic"], json!(false));
            assert_eq!(template["settings"]["index.hidden"], json!(true));
            assert_eq!(template["settings"]["index.refresh_interval"], json!("500ms"));
            assert_eq!(template["settings"]["index.mapping.ignore_malformed"], json!(true));
            assert!(template["mappings"]["_meta"]["mapping_version"].as_u64() > Some(0));
            assert!(fields(kind).len() < 200, "far below Elasticsearch's limit of 1,000");
        }
    }

    #[test]
    fn no_keyword_can_refuse_a_long_value_and_no_body_has_one() {
        for kind in Kind::ALL {
            for (path, field) in fields(kind) {
                let keyword = if field["type"] == "keyword" {
                    Some(&field)
                } else {
                    field.get("fields").map(|f| &f["keyword"])
                };
                let bounded =
                    |k: &Value| k["ignore_above"].is_u64() || (k["index"] == false && k["doc_values"] == false);
                assert!(
                    keyword.is_none_or(bounded),
                    "{path} of {kind} refuses values over 32,766 bytes"
                );
                assert!(path != "body" || keyword.is_none(), "bodies get no keyword");
            }
        }
    }

    #[test]
    fn old_dashboards_find_their_paths() {
        let text_and_keyword = |kind, path: &str| {
            let field = fields(kind)
                .remove(path)
                .unwrap_or_else(|| panic!("{path} of {kind} is not mapped"));
            assert_eq!(
                (&field["type"], &field["fields"]["keyword"]["type"]),
                (&json!("text"), &json!("keyword")),
                "{path}"
            );
        };
        for path in [
            "title",
            "state",
            "state_reason",
            "labels.name",
            "user.login",
            "assignees.login",
            "milestone.title",
        ] {
            text_and_keyword(Kind::Issues, path);
        }
        for path in [
            "event",
            "actor.login",
            "label.name",
            "milestone.title",
            "rename.from",
            "assignee.login",
        ] {
            text_and_keyword(Kind::Timelines, path);
        }
    }
}
