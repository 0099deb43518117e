//! Generations of indices: a rebuild makes one, fills it, and lets it serve in place of the one before.
//!
//! Invariants:
//! - Only one generation of a kind is live; readers move from one to the next in a single change of all aliases.
//! - What a generation is (still being filled, placed by which rules, followed up to where) stands in its mappings'
//!   `_meta`, so that it cannot be told apart from its indices and survives whoever made it.
//! - A live generation is never dropped.

use std::collections::BTreeMap;

use bugstream_archive::names::{Index, Kind};
use elasticsearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::elastic::call;
use crate::indices::{IndexError, Indices, accepted, pairs, template};
use crate::target::Target;

/// How long Elasticsearch may take until an index can be searched.
const SEARCHABLE_WITHIN: &str = "30s";

/// Whether a generation may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A rebuild fills it.
    Building,
    /// It serves, or did.
    Complete,
}

/// What an index says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    #[serde(default)]
    mapping_version: u64,
    #[serde(default = "complete")]
    state: State,
    #[serde(default)]
    privacy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    followed_to: Option<u64>,
}

fn complete() -> State {
    State::Complete
}

impl Meta {
    pub(crate) fn new(kind: Kind, state: State, privacy: &str) -> Self {
        Self {
            mapping_version: mapping_version(kind),
            state,
            privacy: privacy.to_owned(),
            followed_to: None,
        }
    }
}

fn mapping_version(kind: Kind) -> u64 {
    let meta = &template(kind)["template"]["mappings"]["_meta"];
    meta["mapping_version"].as_u64().expect("a test looks for it")
}

/// The indices of one kind in one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// What its documents are.
    #[serde(serialize_with = "as_word")]
    pub kind: Kind,
    /// Its number.
    pub number: u32,
    /// Whether readers see it.
    pub live: bool,
    /// Whether it may serve.
    pub state: State,
    /// Whether this version maps its documents in the same way.
    pub mapping_is_current: bool,
    /// Whether its documents were placed by the rules of privacy that hold now.
    pub privacy_is_current: bool,
    /// The sequence of the log up to which it has everything; absent while it follows the log.
    pub followed_to: Option<u64>,
    /// Documents, stubs included.
    pub documents: u64,
    /// Bytes on disk, without replicas.
    pub bytes: u64,
}

fn as_word<S: serde::Serializer>(kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.as_str())
}

#[derive(Debug, Deserialize)]
struct Described {
    #[serde(default)]
    aliases: BTreeMap<String, Value>,
    #[serde(default)]
    mappings: Mappings,
}

#[derive(Debug, Default, Deserialize)]
struct Mappings {
    #[serde(rename = "_meta")]
    meta: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Size {
    index: String,
    #[serde(rename = "docs.count")]
    documents: Option<String>,
    #[serde(rename = "pri.store.size")]
    bytes: Option<String>,
}

impl Indices {
    /// Every generation, oldest first; both sides of the privacy wall count as one.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn generations(&self) -> Result<Vec<Generation>, IndexError> {
        let mut generations: BTreeMap<(u32, Kind), Generation> = BTreeMap::new();
        let sizes = self.sizes().await?;
        for (name, described) in self.described().await? {
            let Some(index) = self.names.parse_index(&name) else {
                continue;
            };
            let found = self.generation_of(index, &described);
            let (documents, bytes) = sizes.get(&name).copied().unwrap_or_default();
            let generation = generations.entry((index.generation, index.kind)).or_insert(found);
            generation.documents += documents;
            generation.bytes += bytes;
        }
        Ok(generations.into_values().collect())
    }

    fn generation_of(&self, index: Index, described: &Described) -> Generation {
        let meta = described.mappings.meta.clone().unwrap_or(Value::Null);
        let meta = serde_json::from_value::<Meta>(meta).ok();
        let is = |test: &dyn Fn(&Meta) -> bool| meta.as_ref().is_some_and(test);
        let live = described
            .aliases
            .contains_key(&self.names.live_alias(index.kind, index.side));
        Generation {
            kind: index.kind,
            number: index.generation,
            live,
            state: meta
                .as_ref()
                .filter(|_| !live)
                .map_or(State::Complete, |meta| meta.state),
            mapping_is_current: is(&|meta| meta.mapping_version >= mapping_version(index.kind)),
            privacy_is_current: is(&|meta| meta.privacy == self.privacy),
            followed_to: meta.as_ref().and_then(|meta| meta.followed_to),
            documents: 0,
            bytes: 0,
        }
    }

    async fn described(&self) -> Result<BTreeMap<String, Described>, IndexError> {
        let path = format!(
            "/{}?expand_wildcards=all&features=aliases,mappings&filter_path=*.aliases,*.mappings._meta",
            self.patterns()
        );
        let (status, answer) = call(&self.transport, Method::Get, &path, None).await?;
        accepted("the list of generations".to_owned(), status, &answer)?;
        Ok(serde_json::from_value(answer).unwrap_or_default())
    }

    async fn sizes(&self) -> Result<BTreeMap<String, (u64, u64)>, IndexError> {
        let path = format!(
            "/_cat/indices/{}?expand_wildcards=all&format=json&bytes=b&h=index,docs.count,pri.store.size",
            self.patterns()
        );
        let (status, answer) = call(&self.transport, Method::Get, &path, None).await?;
        accepted("the sizes of indices".to_owned(), status, &answer)?;
        let sizes: Vec<Size> = serde_json::from_value(answer).unwrap_or_default();
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let sizes = sizes.into_iter();
        Ok(sizes
            .map(|size| (size.index, (number(size.documents), number(size.bytes))))
            .collect())
    }

    fn patterns(&self) -> String {
        let patterns = pairs().map(|(kind, side)| self.names.index_pattern(kind, side));
        patterns.collect::<Vec<_>>().join(",")
    }

    /// The live generations that this version would make otherwise: they serve, and a rebuild is due.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn outdated(&self) -> Result<Vec<Generation>, IndexError> {
        let is_due = |one: &Generation| one.live && !(one.mapping_is_current && one.privacy_is_current);
        Ok(self.generations().await?.into_iter().filter(is_due).collect())
    }

    /// Where deletions must be written besides the live generation: every other one.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn kept(&self) -> Result<Vec<Target>, IndexError> {
        let kept = self.generations().await?.into_iter().filter(|one| !one.live);
        Ok(kept
            .map(|one| Target::generation(self.names.clone(), one.number, Some(one.kind)))
            .collect())
    }

    /// The generation that a rebuild fills: the one that an earlier rebuild left unfinished, or a new one. `only` one
    /// kind, else all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn begin(&self, only: Option<Kind>) -> Result<u32, IndexError> {
        let generations = self.generations().await?;
        let unfinished = generations.iter().filter(|one| one.state == State::Building);
        let number = match unfinished.map(|one| one.number).max() {
            Some(number) => number,
            None => generations.iter().map(|one| one.number).max().unwrap_or(0) + 1,
        };
        self.put_templates().await?;
        for (kind, side) in pairs().filter(|(kind, _)| only.is_none_or(|only| only == *kind)) {
            let generation = number;
            self.create_unseen(Index { kind, side, generation }).await?;
        }
        Ok(number)
    }

    /// An index that nobody reads yet: without refreshes and replicas, which cost while it is filled.
    async fn create_unseen(&self, index: Index) -> Result<(), IndexError> {
        let name = self.names.index(index);
        let [write_alias, ..] = self.aliases(index);
        let body = json!({
            "settings": {
                "index.refresh_interval": "-1",
                "index.auto_expand_replicas": false,
                "index.number_of_replicas": 0,
            },
            "aliases": serde_json::Map::from_iter([write_alias]),
            "mappings": {"_meta": Meta::new(index.kind, State::Building, &self.privacy)},
        });
        let (status, answer) = call(&self.transport, Method::Put, &format!("/{name}"), Some(body)).await?;
        if crate::elastic::error_type(&answer) == "resource_already_exists_exception" {
            return Ok(());
        }
        accepted(format!("the index {name}"), status, &answer)
    }

    /// Gives a generation the settings of one that serves, and makes everything in it searchable.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn make_ready(&self, number: u32) -> Result<(), IndexError> {
        let names = self.indices_of(number).await?.join(",");
        let mut settings = self.replicas();
        settings["index.refresh_interval"] = json!("500ms");
        for (method, path, body) in [
            (Method::Put, format!("/{names}/_settings"), Some(settings)),
            (Method::Post, format!("/{names}/_refresh"), None),
            (
                Method::Get,
                format!("/_cluster/health/{names}?wait_for_status=yellow&timeout={SEARCHABLE_WITHIN}"),
                None,
            ),
        ] {
            let (status, answer) = call(&self.transport, method, &path, body).await?;
            accepted(format!("{path} of generation {number}"), status, &answer)?;
        }
        Ok(())
    }

    /// Makes everything in a generation searchable now.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn refresh(&self, number: u32) -> Result<(), IndexError> {
        let path = format!("/{}/_refresh", self.indices_of(number).await?.join(","));
        let (status, answer) = call(&self.transport, Method::Post, &path, None).await?;
        accepted(format!("a refresh of generation {number}"), status, &answer)
    }

    /// Lets a generation serve in place of those of the same kinds that do: all aliases in one change. Notes before that
    /// the ones which give way have everything of the log up to `followed_to`.
    ///
    /// # Errors
    /// [`IndexError`]; then either all aliases moved or none, and calling again finds out.
    pub async fn swap(&self, number: u32, followed_to: u64) -> Result<(), IndexError> {
        let generations = self.generations().await?;
        let comes: Vec<Kind> = generations
            .iter()
            .filter(|one| one.number == number)
            .map(|one| one.kind)
            .collect();
        let goes = generations
            .iter()
            .filter(|one| one.live && one.number != number && comes.contains(&one.kind));
        let mut actions = Vec::new();
        for gone in goes {
            self.describe(gone.kind, gone.number, State::Complete, Some(followed_to))
                .await?;
            actions.extend(self.alias_actions("remove", gone.kind, gone.number));
        }
        for kind in &comes {
            actions.extend(self.alias_actions("add", *kind, number));
        }
        let body = json!({"actions": actions});
        let (status, answer) = call(&self.transport, Method::Post, "/_aliases", Some(body)).await?;
        accepted(format!("the aliases of generation {number}"), status, &answer)?;
        tracing::info!(generation = number, "a generation serves");
        for kind in comes {
            self.describe(kind, number, State::Complete, None).await?;
        }
        Ok(())
    }

    /// The read and live aliases of both sides.
    fn alias_actions(&self, verb: &str, kind: Kind, generation: u32) -> Vec<Value> {
        let sides = pairs().filter(|(one, _)| *one == kind);
        let indices = sides.map(|(kind, side)| Index { kind, side, generation });
        let action = |index: Index, (alias, mut properties): (String, Value)| {
            if verb == "remove" {
                properties = json!({"must_exist": true});
            }
            properties["index"] = json!(self.names.index(index));
            properties["alias"] = json!(alias);
            json!({verb: properties})
        };
        let aliases = |index| self.aliases(index).into_iter().skip(1).map(move |alias| (index, alias));
        indices
            .flat_map(aliases)
            .map(|(index, alias)| action(index, alias))
            .collect()
    }

    /// Writes what the indices of a kind and generation say of themselves; what they were made with stays.
    async fn describe(
        &self,
        kind: Kind,
        generation: u32,
        state: State,
        followed_to: Option<u64>,
    ) -> Result<(), IndexError> {
        for (name, described) in self.described().await? {
            let ours = self
                .names
                .parse_index(&name)
                .filter(|i| i.kind == kind && i.generation == generation);
            let (Some(_), Some(meta)) = (ours, described.mappings.meta) else {
                continue;
            };
            let meta = serde_json::from_value::<Meta>(meta).unwrap_or_else(|_| Meta::new(kind, state, ""));
            let meta = Meta {
                state,
                followed_to,
                ..meta
            };
            let body = json!({"_meta": meta});
            let (status, answer) = call(&self.transport, Method::Put, &format!("/{name}/_mapping"), Some(body)).await?;
            accepted(format!("the description of {name}"), status, &answer)?;
        }
        Ok(())
    }

    /// Deletes a generation that readers do not see.
    ///
    /// # Errors
    /// [`IndexError`], also for a live one.
    pub async fn drop_generation(&self, number: u32) -> Result<(), IndexError> {
        let generations = self.generations().await?;
        let gone = generations.iter().filter(|one| one.number == number);
        if gone.clone().any(|one| one.live) {
            return Err(IndexError::Serves(number));
        }
        for one in gone {
            for (kind, side) in pairs().filter(|(kind, _)| *kind == one.kind) {
                let generation = number;
                let name = self.names.index(Index { kind, side, generation });
                let (status, answer) = call(&self.transport, Method::Delete, &format!("/{name}"), None).await?;
                if status != 404 {
                    accepted(format!("to delete {name}"), status, &answer)?;
                }
            }
        }
        Ok(())
    }

    /// The names of the indices of a generation.
    async fn indices_of(&self, number: u32) -> Result<Vec<String>, IndexError> {
        let of_it = |name: &String| {
            self.names
                .parse_index(name)
                .is_some_and(|index| index.generation == number)
        };
        let names: Vec<String> = self.described().await?.into_keys().filter(of_it).collect();
        if names.is_empty() {
            return Err(IndexError::NoGeneration(number));
        }
        Ok(names)
    }

    /// Numbers of the issues that a generation has only a mark of, because their objects are lost; at most a thousand.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn holes(&self, number: u32) -> Result<Vec<String>, IndexError> {
        let names = self.indices_of(number).await?.join(",");
        let body = json!({
            "size": 1000,
            "_source": ["bugstream.repository", "bug_number"],
            "query": {"term": {"bugstream.error": crate::hole::LOST}},
        });
        let path = format!("/{names}/_search?filter_path=hits.hits._source");
        let (status, answer) = call(&self.transport, Method::Post, &path, Some(body)).await?;
        accepted(format!("holes of generation {number}"), status, &answer)?;
        let hits = answer["hits"]["hits"].as_array().into_iter().flatten();
        let issue = |hit: &Value| {
            let source = &hit["_source"];
            let repository = source["bugstream"]["repository"].as_str().unwrap_or_default();
            format!("{repository}#{}", source["bug_number"])
        };
        let mut issues: Vec<String> = hits.map(issue).collect();
        issues.sort();
        issues.dedup();
        Ok(issues)
    }
}
