//! Every key that has an environment variable or a flag, as data. The flat names are the old system's where it had one.

use toml::Value;

/// Every top-level name that the file may have.
pub const SECTIONS: &[&str] = &[
    "nats",
    "object_store",
    "elasticsearch",
    "github",
    "repositories",
    "webhook_receiver",
    "downloader",
    "indexer",
    "retention",
    "telemetry",
];

/// What a key's text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number from 0 up.
    Number,
    /// `true` or `false`.
    Switch,
    /// Texts separated by commas.
    List,
}

impl Kind {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a whole number from 0 up",
            Self::Switch => "true or false",
            Self::List => "a list",
        }
    }

    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Text => "write a text",
            Self::Number => "write digits only, for example 300",
            Self::Switch => "write true or false",
            Self::List => "separate the values by commas",
        }
    }
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// Its environment variable.
    pub env: Option<&'static str>,
    /// What its text must be.
    pub kind: Kind,
    /// Whether its value must never be printed.
    pub secret: bool,
    /// One line for `--help`, with the default.
    pub help: &'static str,
}

impl Key {
    /// The flag's name, without dashes before it.
    #[must_use]
    pub fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    pub(super) fn parse(&self, text: &str) -> Option<Value> {
        match self.kind {
            Kind::Text => Some(Value::String(text.to_owned())),
            Kind::Number => text
                .trim()
                .parse::<u32>()
                .ok()
                .map(|number| Value::Integer(number.into())),
            Kind::Switch => text.trim().parse::<bool>().ok().map(Value::Boolean),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
        }
    }
}

const fn key(path: &'static str, env: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        path,
        env: Some(env),
        kind,
        secret: false,
        help,
    }
}

const fn secret(path: &'static str, env: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        path,
        env: Some(env),
        kind,
        secret: true,
        help,
    }
}

/// Every key that has an environment variable or a flag.
pub const KEYS: &[Key] = &[
    key(
        "nats.url",
        "NATS_URL",
        Kind::Text,
        "NATS servers, comma-separated [default: nats://127.0.0.1:4222]",
    ),
    key(
        "nats.credentials",
        "NATS_CREDENTIALS",
        Kind::Text,
        "path of a NATS credentials file",
    ),
    key(
        "object_store.url",
        "OBJECT_STORE_URL",
        Kind::Text,
        "a directory, file:///path or s3://bucket/prefix",
    ),
    key(
        "object_store.compression",
        "OBJECT_STORE_COMPRESSION",
        Kind::Text,
        "none or zstd [default: none]",
    ),
    key(
        "object_store.endpoint",
        "AWS_ENDPOINT_URL",
        Kind::Text,
        "URL of an S3 server that is not Amazon's",
    ),
    key("object_store.region", "AWS_REGION", Kind::Text, "the bucket's region"),
    key(
        "object_store.access_key_id",
        "AWS_ACCESS_KEY_ID",
        Kind::Text,
        "name of an access key for the bucket",
    ),
    secret(
        "object_store.secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
        Kind::Text,
        "that access key",
    ),
    key(
        "elasticsearch.node",
        "ELASTIC_NODE",
        Kind::Text,
        "Elasticsearch's nodes, comma-separated [default: http://127.0.0.1:9200]",
    ),
    key(
        "elasticsearch.ca_path",
        "ELASTIC_CA_PATH",
        Kind::Text,
        "path of the certificates (PEM) of a private CA that signed the nodes'",
    ),
    secret(
        "elasticsearch.api_key",
        "ELASTIC_API_KEY",
        Kind::Text,
        "an API key, encoded or as id:key",
    ),
    key(
        "elasticsearch.username",
        "ELASTIC_USERNAME",
        Kind::Text,
        "user for basic authentication",
    ),
    secret(
        "elasticsearch.password",
        "ELASTIC_PASSWORD",
        Kind::Text,
        "password for basic authentication",
    ),
    key(
        "elasticsearch.prefix",
        "ELASTIC_PREFIX",
        Kind::Text,
        "put before every index and alias name [default: none]",
    ),
    key(
        "github.api_url",
        "GITHUB_API_URL",
        Kind::Text,
        "GitHub's REST API [default: https://api.github.com]",
    ),
    secret(
        "github.token",
        "GITHUB_PERSONAL_ACCESS_TOKEN",
        Kind::Text,
        "personal access tokens, comma-separated: each adds its own quota",
    ),
    key("github.app.id", "GITHUB_APP_ID", Kind::Number, "id of a GitHub App"),
    key(
        "github.app.installation_id",
        "GITHUB_APP_INSTALLATION_ID",
        Kind::Number,
        "its installation [default: the one on the repository's owner]",
    ),
    key(
        "github.app.private_key_path",
        "GITHUB_APP_PRIVATE_KEY_PATH",
        Kind::Text,
        "path of the App's private key, a .pem file",
    ),
    key("github.org", "GITHUB_ORG", Kind::Text, "owner of the first repository"),
    key(
        "github.repo_public",
        "GITHUB_REPO_PUBLIC",
        Kind::Text,
        "the first repository: its name, or owner/name",
    ),
    key(
        "github.repo_private",
        "GITHUB_REPO_PRIVATE",
        Kind::Text,
        "its private partner, where reports wait for moderation",
    ),
    secret(
        "webhook_receiver.secrets",
        "GITHUB_WEBHOOK_SECRET",
        Kind::List,
        "the webhook's secrets, comma-separated, all of them valid while one is rotated",
    ),
    key(
        "webhook_receiver.listen",
        "WEBHOOK_LISTEN",
        Kind::Text,
        "address to listen on [default: 127.0.0.1:8080]",
    ),
    key(
        "webhook_receiver.inactivity_delay_s",
        "BUG_INACTIVITY_DELAY",
        Kind::Number,
        "quiet seconds before an issue is downloaded [default: 300]",
    ),
    key(
        "webhook_receiver.longest_wait_s",
        "BUG_LONGEST_WAIT",
        Kind::Number,
        "seconds after which an issue is downloaded even if it never falls quiet [default: 1800]",
    ),
    key(
        "webhook_receiver.pull_requests",
        "WEBHOOK_PULL_REQUESTS",
        Kind::Switch,
        "whether pull-request events queue a download [default: true]",
    ),
    key(
        "downloader.health_listen",
        "DOWNLOADER_HEALTH_LISTEN",
        Kind::Text,
        "address of /livez and /readyz",
    ),
    key(
        "indexer.health_listen",
        "INDEXER_HEALTH_LISTEN",
        Kind::Text,
        "address of /livez and /readyz",
    ),
    key(
        "telemetry.otlp_endpoint",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        Kind::Text,
        "OTLP over HTTP, for example http://127.0.0.1:4318",
    ),
    key(
        "telemetry.log_format",
        "LOG_FORMAT",
        Kind::Text,
        "text or json [default: text]",
    ),
    key(
        "telemetry.log_filter",
        "RUST_LOG",
        Kind::Text,
        "which log lines to print [default: info]",
    ),
];
