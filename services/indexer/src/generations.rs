//! Generations of indices: a rebuild makes one, fills it, and lets it serve in place of the one before.
//!
//! Invariants:
//! - Only one generation of a kind is live; readers move from one to the next in a single change of all aliases.
//! - What a generation is (still being filled, placed by which rules, followed up to where) stands in its mappings'
//!   `_meta`, so that it cannot be told apart from its indices and survives whoever made it.
//! - A live generation is never dropped.
//! - One that shows a past time has other names and never serves.

use std::collections::BTreeMap;
use std::fmt;

use bugstream_archive::Side;
use bugstream_archive::names::{Index, Kind};
use elasticsearch::http::Method;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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

/// What a generation is filled for: whoever goes on with an unfinished one must want the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// One kind of documents; all without it.
    #[serde(default, with = "word", skip_serializing_if = "Option::is_none")]
    pub only: Option<Kind>,
    /// A past time that it shows; without it, it is to serve.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub as_of: Option<OffsetDateTime>,
}

impl Purpose {
    fn takes(self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }
}

/// The command that has this purpose.
impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue-cli rebuild")?;
        if let Some(only) = self.only {
            write!(f, " --only {only}")?;
        }
        if let Some(at) = self.as_of {
            write!(f, " --as-of {}", at.format(&Rfc3339).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// A kind of documents as it stands in names.
mod word {
    use bugstream_archive::names::Kind;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's shape")]
    pub(super) fn serialize<S: Serializer>(kind: &Option<Kind>, to: S) -> Result<S::Ok, S::Error> {
        match kind {
            Some(kind) => to.serialize_some(kind.as_str()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Kind>, D::Error> {
        let word = Option::<String>::deserialize(from)?;
        Ok(word.and_then(|word| Kind::ALL.into_iter().find(|kind| kind.as_str() == word)))
    }
}

/// The generation that a rebuild is to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToFill {
    /// Its number.
    pub number: u32,
    /// What for.
    pub purpose: Purpose,
    /// Whether an index of it is missing, so that it must be filled from the beginning.
    pub is_new: bool,
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
    #[serde(flatten)]
    purpose: Purpose,
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
            purpose: Purpose::default(),
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
    /// What it was filled for.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// The alias by which readers find what it shows of a past time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
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
            let Some((kind, number)) = self.parse(&name) else {
                continue;
            };
            let found = self.generation_of(kind, number, &described);
            let (documents, bytes) = sizes.get(&name).copied().unwrap_or_default();
            let generation = generations.entry((number, kind)).or_insert(found);
            generation.documents += documents;
            generation.bytes += bytes;
        }
        Ok(generations.into_values().collect())
    }

    /// Kind and number of an index of ours, whether it could serve or shows a past time.
    fn parse(&self, name: &str) -> Option<(Kind, u32)> {
        let serves = self.names.parse_index(name).map(|index| (index.kind, index.generation));
        serves.or_else(|| self.names.parse_past_index(name))
    }

    fn generation_of(&self, kind: Kind, number: u32, described: &Described) -> Generation {
        let meta = described.mappings.meta.clone().unwrap_or(Value::Null);
        let meta = serde_json::from_value::<Meta>(meta).ok();
        let is = |test: &dyn Fn(&Meta) -> bool| meta.as_ref().is_some_and(test);
        let lives_at = |side| described.aliases.contains_key(&self.names.live_alias(kind, side));
        let live = Side::ALL.into_iter().any(lives_at);
        let purpose = meta.as_ref().map(|meta| meta.purpose).unwrap_or_default();
        Generation {
            kind,
            number,
            live,
            state: meta
                .as_ref()
                .filter(|_| !live)
                .map_or(State::Complete, |meta| meta.state),
            mapping_is_current: is(&|meta| meta.mapping_version >= mapping_version(kind)),
            privacy_is_current: is(&|meta| meta.privacy == self.privacy),
            followed_to: meta.as_ref().and_then(|meta| meta.followed_to),
            purpose,
            alias: purpose.as_of.map(|at| self.names.past_alias(kind, at)),
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
        let target = |one: Generation| match one.purpose.as_of {
            None => Target::generation(self.names.clone(), one.number, Some(one.kind)),
            Some(_) => Target::past(self.names.clone(), one.number, Some(one.kind)),
        };
        Ok(kept.map(target).collect())
    }

    /// The generation that a rebuild fills: the one that an earlier rebuild left unfinished, or a new one. Nothing is
    /// made yet.
    ///
    /// # Errors
    /// [`IndexError`]; [`IndexError::Unfinished`] if an earlier rebuild had another purpose.
    pub async fn to_fill(&self, purpose: Purpose) -> Result<ToFill, IndexError> {
        let generations = self.generations().await?;
        let unfinished = generations.iter().filter(|one| one.state == State::Building);
        let Some(unfinished) = unfinished.max_by_key(|one| one.number) else {
            let number = generations.iter().map(|one| one.number).max().unwrap_or(0) + 1;
            let is_new = true;
            return Ok(ToFill {
                number,
                purpose,
                is_new,
            });
        };
        let (number, is_for) = (unfinished.number, unfinished.purpose);
        if is_for != purpose {
            return Err(IndexError::Unfinished {
                number,
                purpose: is_for,
            });
        }
        let there = self.indices_of(number).await?;
        let is_new = self
            .wanted(number, purpose)
            .iter()
            .any(|(name, ..)| !there.contains(name));
        Ok(ToFill {
            number,
            purpose,
            is_new,
        })
    }

    /// The indices of a generation, each with its write alias.
    fn wanted(&self, number: u32, purpose: Purpose) -> Vec<(String, (String, Value), Kind)> {
        if purpose.as_of.is_some() {
            let kinds = Kind::ALL.into_iter().filter(|kind| purpose.takes(*kind));
            let write = |kind| (self.names.past_write_alias(kind, number), self.hidden());
            return kinds
                .map(|kind| (self.names.past_index(kind, number), write(kind), kind))
                .collect();
        }
        let pairs = pairs().filter(|(kind, _)| purpose.takes(*kind));
        let indices = pairs.map(|(kind, side)| Index {
            kind,
            side,
            generation: number,
        });
        let wanted = |index: Index| {
            let [write, ..] = self.aliases(index);
            (self.names.index(index), write, index.kind)
        };
        indices.map(wanted).collect()
    }

    /// Makes the indices of a generation that are missing.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn begin(&self, to_fill: ToFill) -> Result<(), IndexError> {
        self.put_templates().await?;
        let wanted = self.wanted(to_fill.number, to_fill.purpose).into_iter();
        let made = wanted.map(|(name, write_alias, kind)| {
            let meta = Meta {
                purpose: to_fill.purpose,
                ..Meta::new(kind, State::Building, &self.privacy)
            };
            self.create_unseen(name, write_alias, meta)
        });
        // All at once: Elasticsearch takes a moment for each change of what there is, and does several in one.
        try_join_all(made).await.map(drop)
    }

    /// An index that nobody reads yet: without refreshes and replicas, which cost while it is filled.
    async fn create_unseen(&self, name: String, write_alias: (String, Value), meta: Meta) -> Result<(), IndexError> {
        let body = json!({
            "settings": {
                "index.refresh_interval": "-1",
                "index.auto_expand_replicas": false,
                "index.number_of_replicas": 0,
            },
            "aliases": serde_json::Map::from_iter([write_alias]),
            "mappings": {"_meta": meta},
        });
        let (status, answer) = call(&self.transport, Method::Put, &format!("/{name}"), Some(body)).await?;
        if crate::elastic::error_type(&answer) == "resource_already_exists_exception" {
            return Ok(());
        }
        accepted(format!("the index {name}"), status, &answer)
    }

    /// Lets those who may see private documents read a generation that shows a past time.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn show_past(&self, number: u32) -> Result<(), IndexError> {
        let generations = self.generations().await?;
        let of_it = || generations.iter().filter(|one| one.number == number);
        let add = |one: &Generation| {
            let mut properties = self.hidden();
            properties["index"] = json!(self.names.past_index(one.kind, number));
            properties["alias"] = json!(one.alias);
            json!({"add": properties})
        };
        let body = json!({"actions": of_it().map(add).collect::<Vec<_>>()});
        let (status, answer) = call(&self.transport, Method::Post, "/_aliases", Some(body)).await?;
        accepted(format!("the aliases of generation {number}"), status, &answer)?;
        self.note_complete(number).await
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
        let note = |gone: &Generation| self.describe(gone.kind, gone.number, State::Complete, Some(followed_to));
        try_join_all(goes.clone().map(note)).await?;
        let mut actions = Vec::new();
        for gone in goes {
            actions.extend(self.alias_actions("remove", gone.kind, gone.number));
        }
        for kind in &comes {
            actions.extend(self.alias_actions("add", *kind, number));
        }
        let body = json!({"actions": actions});
        let (status, answer) = call(&self.transport, Method::Post, "/_aliases", Some(body)).await?;
        accepted(format!("the aliases of generation {number}"), status, &answer)?;
        tracing::info!(generation = number, "a generation serves");
        Ok(())
    }

    /// Notes of a generation that it has everything, which goes without saying while it serves.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn note_complete(&self, number: u32) -> Result<(), IndexError> {
        let generations = self.generations().await?;
        let of_it = generations.iter().filter(|one| one.number == number);
        let note = |one: &Generation| self.describe(one.kind, number, State::Complete, None);
        try_join_all(of_it.map(note)).await.map(drop)
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
        let described = self.described().await?.into_iter();
        let of_it = described.filter(|(name, _)| self.parse(name) == Some((kind, generation)));
        let noted = of_it.filter_map(|(name, described)| {
            let meta = serde_json::from_value::<Meta>(described.mappings.meta?);
            let meta = Meta {
                state,
                followed_to,
                ..meta.unwrap_or_else(|_| Meta::new(kind, state, ""))
            };
            Some(self.note(name, meta))
        });
        try_join_all(noted).await.map(drop)
    }

    async fn note(&self, name: String, meta: Meta) -> Result<(), IndexError> {
        let body = json!({"_meta": meta});
        let (status, answer) = call(&self.transport, Method::Put, &format!("/{name}/_mapping"), Some(body)).await?;
        accepted(format!("the description of {name}"), status, &answer)
    }

    /// Deletes a generation that readers do not see.
    ///
    /// # Errors
    /// [`IndexError`], also for a live one.
    pub async fn drop_generation(&self, number: u32) -> Result<(), IndexError> {
        let generations = self.generations().await?;
        if generations.iter().any(|one| one.number == number && one.live) {
            return Err(IndexError::Serves(number));
        }
        for name in self.indices_of(number).await? {
            let (status, answer) = call(&self.transport, Method::Delete, &format!("/{name}"), None).await?;
            if status != 404 {
                accepted(format!("to delete {name}"), status, &answer)?;
            }
        }
        Ok(())
    }

    /// The names of the indices of a generation.
    async fn indices_of(&self, number: u32) -> Result<Vec<String>, IndexError> {
        let of_it = |name: &String| self.parse(name).is_some_and(|(_, generation)| generation == number);
        let names: Vec<String> = self.described().await?.into_keys().filter(of_it).collect();
        if names.is_empty() {
            return Err(IndexError::NoGeneration(number));
        }
        Ok(names)
    }

    /// How many issues a generation has something of, stubs included.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn issues_of(&self, number: u32) -> Result<u64, IndexError> {
        let of_issues = |name: &String| self.parse(name) == Some((Kind::Issues, number));
        let names: Vec<String> = self.indices_of(number).await?.into_iter().filter(of_issues).collect();
        let path = format!("/{}/_count", names.join(","));
        let (status, answer) = call(&self.transport, Method::Get, &path, None).await?;
        accepted(format!("the count of generation {number}"), status, &answer)?;
        Ok(answer["count"].as_u64().unwrap_or(0))
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
