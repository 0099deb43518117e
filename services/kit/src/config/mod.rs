//! One `bugstream.toml` for all services, environment variables over it, flags over both.
//!
//! The values of all three are laid over each other in one table before any type is read from it, and each value
//! remembers where it came from, so that an error names the variable, flag or file to correct. A service reads only the
//! sections it uses; a section or key that no service knows is refused.

mod github;
mod keys;
mod sections;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use github::{App, Credentials, Github};
pub use keys::{KEYS, Key, SECTIONS};
pub use sections::{Compression, Elasticsearch, Nats, ObjectStore, Repositories, Repository, S3, Telemetry};

/// Why the configuration cannot be used: which key, what is wrong with it, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, one line. Never shows a secret.
    pub problem: String,
    /// What to do about it, one line.
    pub fix: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  {}", self.problem, self.fix)
    }
}

impl std::error::Error for ConfigError {}

/// Where a value that is not from the file came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Environment(&'static str),
    Flag(String),
}

/// The merged configuration, not yet typed.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    root: Table,
    origins: BTreeMap<&'static str, Origin>,
    file: Option<PathBuf>,
}

impl Settings {
    /// Lays `file`, environment and flags over each other. `flags` are pairs of a key's path and its text.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that cannot be read or parsed, an unknown section, or a value of the wrong kind.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&'static str, String)],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self {
            root: file.map_or_else(|| Ok(Table::new()), read_file)?,
            ..Self::default()
        };
        settings.file = file.map(Path::to_owned);
        settings.refuse_unknown_sections()?;
        for key in KEYS {
            if let Some(text) = key.env.and_then(&environment).filter(|text| !text.is_empty()) {
                settings.set(key, &text, Origin::Environment(key.env.expect("it was just read")))?;
            }
            if let Some((_, text)) = flags.iter().rev().find(|(path, _)| *path == key.path) {
                settings.set(key, text, Origin::Flag(key.flag()))?;
            }
        }
        Ok(settings)
    }

    /// Reads one section; a missing one is read as empty, so that its defaults apply.
    ///
    /// # Errors
    /// [`ConfigError`] naming the unknown key or the value of the wrong type.
    pub fn section<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, ConfigError> {
        let value = self
            .root
            .get(name)
            .cloned()
            .unwrap_or_else(|| Value::Table(Table::new()));
        value.try_into().map_err(|error: toml::de::Error| ConfigError {
            problem: format!("[{name}] in {}: {}", self.file_name(), one_line(error.message())),
            fix: format!("correct or remove that key in section [{name}]"),
        })
    }

    /// An error about the value of one key, which names every way to set it. Give `found` only if it is no secret.
    #[must_use]
    pub fn wrong(&self, path: &'static str, what: &str, found: Option<&str>, write: &str) -> ConfigError {
        let name = match self.origins.get(path) {
            Some(Origin::Environment(name)) => (*name).to_owned(),
            Some(Origin::Flag(flag)) => format!("--{flag}"),
            None => default_name(path),
        };
        let found = found.map_or_else(String::new, |found| format!(": {found:?}"));
        ConfigError {
            problem: format!("{name} {what}{found}"),
            fix: format!("{write} ({})", ways_to_set(path)),
        }
    }

    /// The configuration in force as one line of TOML, secrets masked.
    #[must_use]
    pub fn redacted(&self) -> String {
        let mut root = self.root.clone();
        for key in KEYS.iter().filter(|key| key.secret) {
            mask(&mut root, key.path);
        }
        mask(&mut root, "github.tokens");
        for repository in root
            .get_mut("repositories")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let table = repository.as_table_mut().into_iter();
            table.for_each(|table| ["token", "tokens"].into_iter().for_each(|name| mask(table, name)));
        }
        for path in [
            "nats.url",
            "elasticsearch.node",
            "object_store.url",
            "object_store.endpoint",
            "github.api_url",
        ] {
            if let Some(Value::String(text)) = slot(&mut root, path) {
                *text = without_password(text);
            }
        }
        let nodes = slot(&mut root, "elasticsearch.nodes").and_then(Value::as_array_mut);
        for node in nodes.into_iter().flatten() {
            if let Value::String(text) = node {
                *text = without_password(text);
            }
        }
        Value::Table(root).to_string()
    }

    fn set(&mut self, key: &Key, text: &str, origin: Origin) -> Result<(), ConfigError> {
        self.origins.insert(key.path, origin);
        let value = key.parse(text).ok_or_else(|| {
            self.wrong(
                key.path,
                &format!("is not {}", key.kind.noun()),
                (!key.secret).then_some(text),
                key.kind.example(),
            )
        })?;
        put(&mut self.root, key.path, value);
        Ok(())
    }

    /// Whether a variable or a flag gives this key's value, whatever the file says.
    fn is_overridden(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    fn refuse_unknown_sections(&self) -> Result<(), ConfigError> {
        let unknown = self.root.keys().find(|name| !SECTIONS.contains(&name.as_str()));
        unknown.map_or(Ok(()), |name| {
            Err(ConfigError {
                problem: format!(
                    "{} has a section or key that no service knows: {name:?}",
                    self.file_name()
                ),
                fix: format!("known sections are {}", SECTIONS.join(", ")),
            })
        })
    }

    fn file_name(&self) -> String {
        self.file
            .as_ref()
            .map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string())
    }
}

fn read_file(file: &Path) -> Result<Table, ConfigError> {
    let error = |problem: String| ConfigError {
        problem: format!("{}: {problem}", file.display()),
        fix: "--config or BUGSTREAM_CONFIG names the configuration file (TOML)".to_owned(),
    };
    let text = std::fs::read_to_string(file).map_err(|e| error(e.to_string()))?;
    text.parse().map_err(|e: toml::de::Error| {
        let line = e
            .span()
            .map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        error(format!("line {line}: {}", one_line(e.message())))
    })
}

fn mask(root: &mut Table, path: &str) {
    if let Some(value) = slot(root, path) {
        *value = Value::String("***".to_owned());
    }
}

fn slot<'a>(root: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    match path.split_once('.') {
        Some((section, rest)) => slot(root.get_mut(section)?.as_table_mut()?, rest),
        None => root.get_mut(path),
    }
}

/// Makes the tables on the way; what is no table stays, and is refused when its section is read.
fn put(root: &mut Table, path: &str, value: Value) {
    let Some((section, rest)) = path.split_once('.') else {
        root.insert(path.to_owned(), value);
        return;
    };
    let below = root.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(table) = below {
        put(table, rest, value);
    }
}

fn default_name(path: &str) -> String {
    path.rsplit_once('.')
        .map_or_else(|| path.to_owned(), |(section, name)| format!("[{section}] {name}"))
}

fn ways_to_set(path: &str) -> String {
    let in_file = format!("{} in bugstream.toml", default_name(path));
    match KEYS.iter().find(|key| key.path == path).and_then(|key| key.env) {
        Some(env) => format!("environment variable {env}, or {in_file}"),
        None => in_file,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_password(text: &str) -> String {
    let hide = |one: &str| match url::Url::parse(one) {
        Ok(mut url) if url.password().is_some() || !url.username().is_empty() => {
            let _ = url.set_password(None);
            let _ = url.set_username("***");
            url.to_string()
        }
        _ => one.to_owned(),
    };
    text.split(',').map(hide).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
