//! What the simulated GitHub knows: repositories and their issues, as the bytes that it serves.
//!
//! Issues and events are kept as JSON *text*: what a test puts in raw is served byte for byte. The whole state is one
//! serialisable value; with a state file it is written after each change, to a file beside it that then takes its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::history::Draft;
use super::seed;
use super::shapes::{self, RepoRef};

/// Everything that survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<u64, Repository>,
    /// Lower-case names, those of before a rename too.
    pub(super) names: BTreeMap<String, u64>,
    pub(super) next_id: u64,
    #[serde(skip)]
    pub(super) file: Option<PathBuf>,
}

/// A repository and its issues.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Repository {
    pub(super) about: RepoRef,
    pub(super) issues: BTreeMap<u64, Entry>,
}

/// What became of an issue number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Live(Issue),
    /// Answers 410.
    Deleted,
    /// Answers 404, as where one may not see what became of it.
    Hidden,
    /// Answers 301: repository id and number of where it is now.
    Moved(u64, u64),
}

/// The bytes of an issue, and what a list needs to know of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Issue {
    pub(super) json: Box<RawValue>,
    pub(super) timeline: Vec<Box<RawValue>>,
    pub(super) row: Row,
}

/// What lists filter and sort by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) open: bool,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) comments: u64,
    pub(super) labels: Vec<String>,
}

impl Issue {
    /// Keeps a draft as text.
    pub(super) fn of(draft: &Draft) -> Self {
        let json = raw(&draft.issue);
        Self {
            row: Row::of(&json),
            json,
            timeline: draft.timeline.iter().map(raw).collect(),
        }
    }

    /// Takes texts as they are.
    ///
    /// # Errors
    /// Where one is not JSON, or the timeline is not an array.
    pub(super) fn from_raw(json: &str, timeline: &str) -> anyhow::Result<Self> {
        let json: Box<RawValue> = serde_json::from_str(json).context("the issue is not JSON")?;
        let timeline = serde_json::from_str(timeline).context("the timeline is not a JSON array")?;
        Ok(Self {
            row: Row::of(&json),
            json,
            timeline,
        })
    }

    /// Back to values, to change them.
    pub(super) fn draft(&self) -> Draft {
        let value = |text: &RawValue| -> Value { serde_json::from_str(text.get()).unwrap_or_default() };
        Draft {
            issue: shapes::map(value(&self.json)),
            timeline: self.timeline.iter().map(|event| value(event)).collect(),
        }
    }
}

impl Row {
    fn of(json: &RawValue) -> Self {
        let issue: Value = serde_json::from_str(json.get()).unwrap_or_default();
        let text = |key: &str| issue[key].as_str().unwrap_or_default().to_owned();
        let labels = issue["labels"].as_array().into_iter().flatten();
        Self {
            open: issue["state"] != "closed",
            created_at: text("created_at"),
            updated_at: text("updated_at"),
            comments: issue["comments"].as_u64().unwrap_or(0),
            labels: labels
                .filter_map(|label| label["name"].as_str())
                .map(str::to_lowercase)
                .collect(),
        }
    }
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value has string keys only")
}

impl State {
    /// A tracker of `issues` invented issues and its private partner.
    pub(super) fn seeded(public: &str, private: &str, issues: u64, seed: u64) -> Self {
        let mut state = Self {
            next_id: 17_000_000_000,
            ..Self::default()
        };
        let about = state.add_repository(public, false);
        let partner = state.add_repository(private, true);
        for seeded in seed::issues(&about, &partner, 1..=issues, seed, &mut state.next_id) {
            state.put(about.id, seeded.number, Issue::of(&seeded.draft));
            if let Some(draft) = seeded.partner {
                let number = draft.issue["number"].as_u64().unwrap_or(0);
                state.put(partner.id, number, Issue::of(&draft));
            }
        }
        state
    }

    /// What a state file holds, or `fresh` where there is none yet.
    ///
    /// # Errors
    /// A file that can not be read or is no state; one that can not be written.
    pub(super) fn load_or(file: &Path, fresh: impl FnOnce() -> Self) -> anyhow::Result<Self> {
        let mut state = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a simulator's state", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        state.file = Some(file.to_owned());
        state.save()?;
        Ok(state)
    }

    /// Writes the state file, if there is one, so that a reader sees the old or the new one, never a half.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let beside = file.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write {}", beside.display()))?;
        std::fs::rename(&beside, file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The repository of that name, made if it is new.
    pub(super) fn add_repository(&mut self, full_name: &str, private: bool) -> RepoRef {
        if let Some(known) = self.by_name(full_name) {
            return known.about.clone();
        }
        let about = RepoRef {
            id: shapes::id_of(&full_name.to_lowercase()),
            full_name: full_name.to_owned(),
            private,
            has_issues: true,
        };
        self.insert(about.clone());
        about
    }

    /// Sets what a repository is called and what its id is; its issues stay.
    pub(super) fn insert(&mut self, about: RepoRef) {
        let before = self
            .names
            .insert(about.full_name.to_lowercase(), about.id)
            .unwrap_or(about.id);
        let known = self
            .repositories
            .remove(&about.id)
            .or_else(|| self.repositories.remove(&before));
        let issues = known.map(|repository| repository.issues).unwrap_or_default();
        self.repositories.insert(about.id, Repository { about, issues });
    }

    pub(super) fn by_name(&self, full_name: &str) -> Option<&Repository> {
        self.repositories.get(self.names.get(&full_name.to_lowercase())?)
    }

    pub(super) fn put(&mut self, repository: u64, number: u64, issue: Issue) {
        self.set(repository, number, Entry::Live(issue));
    }

    pub(super) fn set(&mut self, repository: u64, number: u64, entry: Entry) {
        if let Some(repository) = self.repositories.get_mut(&repository) {
            repository.issues.insert(number, entry);
        }
    }

    pub(super) fn live(&self, repository: u64, number: u64) -> Option<&Issue> {
        match self.repositories.get(&repository)?.issues.get(&number)? {
            Entry::Live(issue) => Some(issue),
            _ => None,
        }
    }

    /// A number that no issue of the repository has had.
    pub(super) fn free_number(&self, repository: u64) -> u64 {
        self.repositories
            .get(&repository)
            .and_then(|r| r.issues.last_key_value())
            .map_or(1, |(last, _)| last + 1)
    }

    /// An id for an event and the one after it.
    pub(super) fn take_id(&mut self) -> u64 {
        self.next_id += 2;
        self.next_id - 2
    }
}
