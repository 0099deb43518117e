//! The sections that several services read. Each is checked when it is read; a service's own section is its own.

use std::path::PathBuf;

use bugstream_proto::{IssueId, RepoName};
use serde::Deserialize;
use url::Url;

use super::github::{App, Credentials, Github, one_or_many};
use super::{ConfigError, Settings};
use crate::secret::Secret;

/// `[nats]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// Servers, comma-separated.
    pub url: String,
    /// Path of a credentials file.
    pub credentials: Option<PathBuf>,
    /// Replicas of every stream that is created, 1 to 5.
    pub replicas: usize,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: None,
            replicas: 1,
        }
    }
}

impl Nats {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let nats: Self = settings.section("nats")?;
        for url in nats.url.split(',') {
            let good = Url::parse(url.trim()).is_ok_and(|url| {
                matches!(url.scheme(), "nats" | "tls" | "ws" | "wss")
                    && url.host_str().is_some_and(|host| !host.is_empty())
            });
            if !good {
                let found = super::without_password(url);
                return Err(settings.wrong("nats.url", "is not a NATS URL", Some(&found), "write nats://host:4222"));
            }
        }
        if !(1..=5).contains(&nats.replicas) {
            let found = nats.replicas.to_string();
            return Err(settings.wrong(
                "nats.replicas",
                "is not between 1 and 5",
                Some(&found),
                "write 1, 3 or 5",
            ));
        }
        Ok(nats)
    }
}

/// How objects are stored. Both are readable at any time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Plain JSON.
    #[default]
    None,
    /// Zstandard.
    Zstd,
}

/// `[object_store]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectStoreSection {
    url: Option<String>,
    #[serde(default)]
    compression: Compression,
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
}

/// `[object_store]`, checked.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    /// `file://` or `s3://`.
    pub url: Url,
    /// For new objects.
    pub compression: Compression,
    /// How a bucket is reached; a directory needs none of it.
    pub s3: S3,
}

/// How an S3 bucket is reached. What is missing here is looked for where every AWS client looks: further `AWS_…`
/// variables, the identity of a container or a machine.
#[derive(Debug, Clone, Default)]
pub struct S3 {
    /// URL of a server that is not Amazon's.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// Always together with [`Self::secret_access_key`].
    pub access_key_id: Option<String>,
    /// Always together with [`Self::access_key_id`].
    pub secret_access_key: Option<Secret>,
}

impl ObjectStore {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: ObjectStoreSection = settings.section("object_store")?;
        let example = "write a directory, file:///var/lib/bugstream/objects or s3://bucket/prefix";
        let Some(text) = section.url else {
            return Err(settings.wrong("object_store.url", "is missing", None, example));
        };
        let url = store_url(&text)
            .ok_or_else(|| settings.wrong("object_store.url", "names no object store", Some(&text), example))?;
        let s3 = S3 {
            endpoint: section.endpoint,
            region: section.region,
            access_key_id: section.access_key_id,
            secret_access_key: section.secret_access_key,
        };
        s3.check(settings)?;
        Ok(Self {
            url,
            compression: section.compression,
            s3,
        })
    }
}

impl S3 {
    fn check(&self, settings: &Settings) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.endpoint {
            check_http(settings, "object_store.endpoint", endpoint, "http://127.0.0.1:9000")?;
        }
        let lonely = match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), None) => "object_store.access_key_id",
            (None, Some(_)) => "object_store.secret_access_key",
            _ => return Ok(()),
        };
        let write = "set both access_key_id and secret_access_key, or neither";
        Err(settings.wrong(lonely, "is one half of a key", None, write))
    }
}

fn store_url(text: &str) -> Option<Url> {
    if !text.contains("://") {
        let path = std::path::absolute(text).ok()?;
        return Url::from_directory_path(path).ok();
    }
    let url = Url::parse(text).ok()?;
    let good = match url.scheme() {
        "file" => url.to_file_path().is_ok(),
        "s3" => url.host_str().is_some_and(|bucket| !bucket.is_empty()),
        _ => false,
    };
    good.then_some(url)
}

/// `[elasticsearch]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ElasticsearchSection {
    node: Option<String>,
    nodes: Vec<String>,
    ca_path: Option<PathBuf>,
    api_key: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    prefix: String,
}

/// `[elasticsearch]`, checked.
#[derive(Debug, Clone)]
pub struct Elasticsearch {
    /// URLs of nodes of one cluster, separated by commas; any of them may be away.
    pub node: String,
    /// Certificates (PEM, one or several) that sign the nodes' own, besides those that every browser knows.
    pub ca_path: Option<PathBuf>,
    /// An API key: encoded (base64 of `id:key`), or `id:key` as it is.
    pub api_key: Option<Secret>,
    /// For basic authentication.
    pub username: Option<String>,
    /// For basic authentication.
    pub password: Option<Secret>,
    /// Put before every index, alias and template name.
    pub prefix: String,
}

impl Default for Elasticsearch {
    fn default() -> Self {
        let node = "http://127.0.0.1:9200".to_owned();
        Self {
            node,
            ca_path: None,
            api_key: None,
            username: None,
            password: None,
            prefix: String::new(),
        }
    }
}

impl Elasticsearch {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: ElasticsearchSection = settings.section("elasticsearch")?;
        let read = Self {
            node: section.node_list(settings)?,
            ca_path: section.ca_path,
            api_key: section.api_key,
            username: section.username,
            password: section.password,
            prefix: section.prefix,
        };
        for node in read.nodes() {
            check_http(settings, "elasticsearch.node", node, "http://localhost:9200")?;
        }
        read.check_prefix(settings)?;
        read.check_credentials(settings)?;
        read.check_ca(settings)?;
        Ok(read)
    }

    /// The URL of each node.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.node.split(',').map(str::trim)
    }

    fn check_prefix(&self, settings: &Settings) -> Result<(), ConfigError> {
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.prefix.chars().all(lower) && !self.prefix.starts_with(['-', '_']) {
            return Ok(());
        }
        let found = Some(self.prefix.as_str());
        let write = "write lower-case letters, digits, '-' and '_', beginning with a letter";
        Err(settings.wrong("elasticsearch.prefix", "can begin no index name", found, write))
    }

    fn check_credentials(&self, settings: &Settings) -> Result<(), ConfigError> {
        let wrong = |path, what, write| Err(settings.wrong(path, what, None, write));
        if self.username.is_some() != self.password.is_some() {
            let write = "set both username and password, or neither";
            return wrong("elasticsearch.username", "needs its password", write);
        }
        if self.username.is_some() && self.api_key.is_some() {
            let write = "set an API key, or username and password";
            return wrong("elasticsearch.api_key", "is set beside a username", write);
        }
        // They become a header.
        let printable = |key: &Secret| key.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if !self.api_key.as_ref().is_none_or(printable) {
            let write = "write the field encoded that Elasticsearch answered when the key was made";
            return wrong("elasticsearch.api_key", "has characters that no key has", write);
        }
        Ok(())
    }

    fn check_ca(&self, settings: &Settings) -> Result<(), ConfigError> {
        let Some(path) = &self.ca_path else { return Ok(()) };
        let text = path.display().to_string();
        let wrong = |what: &str| {
            let write = "write the path of the CA's certificates, a .pem or .crt file";
            Err(settings.wrong("elasticsearch.ca_path", what, Some(&text), write))
        };
        match std::fs::read(path) {
            Err(error) => wrong(&format!("cannot be read ({error})")),
            Ok(bytes) if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) => wrong("has no PEM certificate"),
            Ok(_) => Ok(()),
        }
    }
}

/// How a certificate begins.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

impl ElasticsearchSection {
    /// `node` or `nodes`; a variable or a flag beats both.
    fn node_list(&self, settings: &Settings) -> Result<String, ConfigError> {
        match &self.node {
            _ if self.nodes.is_empty() => Ok(self.node.clone().unwrap_or_else(|| Elasticsearch::default().node)),
            Some(node) if settings.is_overridden("elasticsearch.node") => Ok(node.clone()),
            Some(_) => Err(settings.wrong(
                "elasticsearch.node",
                "is set beside nodes",
                None,
                "write node = \"https://a:9200\", or nodes = [\"https://a:9200\", \"https://b:9200\"]",
            )),
            None => Ok(self.nodes.join(",")),
        }
    }
}

/// One mirrored repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The repository that is mirrored.
    pub name: RepoName,
    /// Where reports wait for moderation, if anywhere.
    pub private: Option<RepoName>,
    /// Repositories that are known to be public, so that what names them may be shown.
    pub public: Vec<RepoName>,
    /// Who asks for this repository, where that is not who asks for the others.
    pub credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositorySection {
    name: String,
    private: Option<String>,
    #[serde(default)]
    public: Vec<String>,
    token: Option<Secret>,
    #[serde(default, deserialize_with = "one_or_many")]
    tokens: Vec<Secret>,
    app: Option<App>,
}

/// `[[repositories]]`; the old system's flat names describe the first.
#[derive(Debug, Clone, Default)]
pub struct Repositories(pub Vec<Repository>);

impl Repositories {
    /// Reads and checks the list, with `GITHUB_ORG`, `GITHUB_REPO_PUBLIC` and `GITHUB_REPO_PRIVATE` over its first.
    ///
    /// # Errors
    /// [`ConfigError`]; also where no repository is configured at all.
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let value = settings
            .root
            .get("repositories")
            .cloned()
            .unwrap_or_else(|| toml::Value::Array(Vec::new()));
        let mut sections: Vec<RepositorySection> = value.try_into().map_err(|error: toml::de::Error| ConfigError {
            problem: format!(
                "[[repositories]] in {}: {}",
                settings.file_name(),
                super::one_line(error.message())
            ),
            fix: "write [[repositories]], name = \"owner/name\" and, if there is one, private = \"owner/name\"".into(),
        })?;
        if let Some(first) = flat(settings)? {
            let own = sections.first().cloned().unwrap_or_default();
            let first = RepositorySection {
                token: own.token,
                tokens: own.tokens,
                app: own.app,
                ..first
            };
            sections.splice(..sections.len().min(1), [first]);
        }
        if sections.is_empty() {
            return Err(ConfigError {
                problem: "no repository is configured".to_owned(),
                fix: "write [[repositories]] name = \"owner/name\" in bugstream.toml, or set GITHUB_ORG and \
                      GITHUB_REPO_PUBLIC"
                    .to_owned(),
            });
        }
        sections
            .into_iter()
            .map(RepositorySection::check)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The first repository: the default of every command.
    ///
    /// # Panics
    /// Never for a list made by [`Self::read`], which refuses an empty one.
    #[must_use]
    pub fn first(&self) -> &Repository {
        self.0.first().expect("a checked list has a first repository")
    }

    /// The repository of that name, if it is mirrored.
    #[must_use]
    pub fn find(&self, name: &RepoName) -> Option<&Repository> {
        self.0.iter().find(|repository| &repository.name == name)
    }

    /// The repository of an issue, if it is mirrored.
    #[must_use]
    pub fn of(&self, issue: &IssueId) -> Option<&Repository> {
        self.find(issue.repo())
    }
}

impl RepositorySection {
    fn check(self) -> Result<Repository, ConfigError> {
        let parse = |text: &str| {
            text.parse::<RepoName>().map_err(|error| ConfigError {
                problem: format!("[[repositories]]: {error}"),
                fix: "write owner/name as GitHub shows it".to_owned(),
            })
        };
        let name = parse(&self.name)?;
        let private = self.private.as_deref().map(parse).transpose()?;
        if private.as_ref() == Some(&name) {
            return Err(ConfigError {
                problem: format!("[[repositories]]: {name} cannot be its own private partner"),
                fix: "name the repository where reports wait for moderation, or leave private out".to_owned(),
            });
        }
        let credentials = Credentials::new(self.token.as_ref(), &self.tokens, self.app.as_ref());
        check_own(&name, &credentials)?;
        Ok(Repository {
            name,
            private,
            public: self.public.iter().map(|text| parse(text)).collect::<Result<_, _>>()?,
            credentials: Some(credentials).filter(|credentials| !credentials.is_empty()),
        })
    }
}

/// The list has no keys that a variable or a flag could set, so the repository's name says where the mistake is.
fn check_own(name: &RepoName, credentials: &Credentials) -> Result<(), ConfigError> {
    let wrong = |what: &str, fix: &str| {
        Err(ConfigError {
            problem: format!("[[repositories]] {name}: {what}"),
            fix: fix.to_owned(),
        })
    };
    match &credentials.app {
        _ if !credentials.tokens_are_printable() => wrong("a token has characters that no token has", "copy it again"),
        Some(app) if app.id == 0 => wrong(
            "app has no id",
            "write app = { id = 12345, private_key_path = \"/etc/bugstream/app.pem\" }",
        ),
        Some(app) if app.private_key_path.as_os_str().is_empty() => wrong(
            "app has no private_key_path",
            "write the path of the App's private key, a .pem file",
        ),
        _ => Ok(()),
    }
}

fn flat(settings: &Settings) -> Result<Option<RepositorySection>, ConfigError> {
    let github: Github = settings.section("github")?;
    let Some(public) = github.repo_public else {
        return Ok(None);
    };
    let full = |name: String| match (&github.org, name.contains('/')) {
        (_, true) => Ok(name),
        (Some(org), false) => Ok(format!("{org}/{name}")),
        (None, false) => Err(settings.wrong("github.org", "is missing", None, "write the owner of the repository")),
    };
    Ok(Some(RepositorySection {
        name: full(public)?,
        private: github.repo_private.map(full).transpose()?,
        ..RepositorySection::default()
    }))
}

/// `[telemetry]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// OTLP over HTTP; none sends nothing.
    pub otlp_endpoint: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<String>,
    /// As `RUST_LOG`.
    pub log_filter: Option<String>,
}

impl Telemetry {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: Self = settings.section("telemetry")?;
        if let Some(endpoint) = &section.otlp_endpoint {
            check_http(settings, "telemetry.otlp_endpoint", endpoint, "http://127.0.0.1:4318")?;
        }
        if let Some(format) = section.log_format.as_deref().filter(|f| !matches!(*f, "text" | "json")) {
            return Err(settings.wrong(
                "telemetry.log_format",
                "is neither text nor json",
                Some(format),
                "write text",
            ));
        }
        Ok(section)
    }
}

pub(super) fn check_http(
    settings: &Settings,
    path: &'static str,
    text: &str,
    example: &str,
) -> Result<(), ConfigError> {
    let good = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if good {
        return Ok(());
    }
    Err(settings.wrong(
        path,
        "is not a URL",
        Some(&super::without_password(text)),
        &format!("write {example}"),
    ))
}
