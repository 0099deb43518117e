//! What the user brought along: servers of their own, a GitHub token, a repository.
//!
//! Read from the same environment variables as the services read, so that both agree. What is brought along is used
//! and never erased.

use anyhow::{Result, bail};

/// The repository of the simulator's seed.
const DEMO: (&str, &str) = ("bugstream-demo/web-bugs", "bugstream-demo/web-bugs-private");
/// The repository that is mirrored with a token when none is named.
const REAL: (&str, &str) = ("webcompat/web-bugs", "webcompat/web-bugs-private");

/// The environment, sorted out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// `NATS_URL`.
    pub(crate) nats: Option<String>,
    /// `ELASTIC_NODE`, without a slash at its end.
    pub(crate) elasticsearch: Option<String>,
    /// `OBJECT_STORE_URL`.
    pub(crate) object_store: Option<String>,
    /// The real GitHub's API; `None` is the simulator.
    pub(crate) github_api: Option<String>,
    /// `owner/name`.
    pub(crate) repository: String,
    /// Its private partner.
    pub(crate) private: Option<String>,
    /// `GITHUB_WEBHOOK_SECRET`, the first of them.
    pub(crate) webhook_secret: Option<String>,
}

impl Given {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// A repository without its owner.
    pub(crate) fn from_environment() -> Result<Self> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| environment(name).filter(|text| !text.is_empty());
        let api = get("GITHUB_API_URL");
        let real = get("GITHUB_PERSONAL_ACCESS_TOKEN").map(|_| "https://api.github.com".to_owned());
        let github_api = api.or(real).map(|url| url.trim_end_matches('/').to_owned());
        let (usual, usual_private) = if github_api.is_some() { REAL } else { DEMO };
        let (org, public) = (get("GITHUB_ORG"), get("GITHUB_REPO_PUBLIC"));
        let full = |name: String| match (&org, name.contains('/')) {
            (_, true) => Ok(name),
            (Some(org), false) => Ok(format!("{org}/{name}")),
            (None, false) => bail!("GITHUB_ORG is missing\n  set it to the owner of {name}, or write owner/{name}"),
        };
        let (repository, private) = match public {
            Some(public) => (full(public)?, get("GITHUB_REPO_PRIVATE").map(full).transpose()?),
            None => (usual.to_owned(), Some(usual_private.to_owned())),
        };
        let secrets = get("GITHUB_WEBHOOK_SECRET");
        Ok(Self {
            nats: get("NATS_URL"),
            elasticsearch: get("ELASTIC_NODE").map(|url| url.trim_end_matches('/').to_owned()),
            object_store: get("OBJECT_STORE_URL"),
            github_api,
            repository,
            private,
            webhook_secret: secrets.and_then(|all| all.split(',').next().map(|one| one.trim().to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Given> {
        Given::read(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_means_own_servers_and_the_simulator() {
        let given = read(&[("NATS_URL", "")]).expect("valid");
        assert_eq!((given.nats, given.github_api), (None, None));
        assert_eq!(given.repository, "bugstream-demo/web-bugs");
    }

    #[test]
    fn a_token_means_the_real_github() {
        let given = read(&[("GITHUB_PERSONAL_ACCESS_TOKEN", "t")]).expect("valid");
        assert_eq!(given.github_api.as_deref(), Some("https://api.github.com"));
        assert_eq!(given.repository, "webcompat/web-bugs");
    }

    #[test]
    fn a_repository_is_named_in_the_old_way_or_in_full() {
        let old = read(&[
            ("GITHUB_ORG", "o"),
            ("GITHUB_REPO_PUBLIC", "r"),
            ("GITHUB_REPO_PRIVATE", "p"),
        ])
        .expect("valid");
        assert_eq!((old.repository.as_str(), old.private.as_deref()), ("o/r", Some("o/p")));
        let full = read(&[("GITHUB_REPO_PUBLIC", "o/r")]).expect("valid");
        assert_eq!((full.repository.as_str(), full.private), ("o/r", None));
        let error = read(&[("GITHUB_REPO_PUBLIC", "r")]).expect_err("no owner");
        assert!(error.to_string().contains("GITHUB_ORG"), "{error}");
    }
}
