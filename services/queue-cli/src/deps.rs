//! What commands use, opened when they use it: a command demands no more than that.

use async_nats::ConnectError;
use bugstream_github::{Client, Clients};
use bugstream_kit::broker::Broker;
use bugstream_kit::config::{Github, Nats, Repositories, Repository, Settings};
use bugstream_kit::service::Context;
use bugstream_proto::RepoName;

use crate::failure::Failure;

/// The configuration of one command and what comes with it.
#[derive(Debug)]
pub struct Deps {
    settings: Settings,
    named: Option<RepoName>,
    context: Context,
}

impl Deps {
    /// `named` is the repository that the command line names.
    #[must_use]
    pub fn new(settings: Settings, named: Option<RepoName>, context: Context) -> Self {
        Self {
            settings,
            named,
            context,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The repository that the command line names, configured or not.
    pub(crate) fn spelled(&self) -> Option<&RepoName> {
        self.named.as_ref()
    }

    /// The repository that the command line names, checked like [`Self::repository`]; `None` means all.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn named(&self) -> Result<Option<RepoName>, Failure> {
        self.named.as_ref().map(|_| self.repository()).transpose()
    }

    /// The repository meant: the named one, else the first that is configured. A named one that is not among the
    /// configured ones is refused, since its requests would end as dead letters; where none is configured, it is taken.
    ///
    /// # Errors
    /// [`Failure`] with the configured names, or with how to configure one.
    pub(crate) fn repository(&self) -> Result<RepoName, Failure> {
        let configured = Repositories::read(&self.settings);
        let Some(named) = &self.named else {
            let fix = "or name one with --repository owner/name";
            return configured
                .map(|all| all.first().name.clone())
                .map_err(|error| Failure::usage(error.problem, format!("{}; {fix}", error.fix)));
        };
        match configured {
            Ok(all) if all.find(named).is_none() => {
                let names: Vec<_> = all.0.iter().map(|repository| repository.name.to_string()).collect();
                let fix = format!("configured: {}", names.join(", "));
                Err(Failure::usage(format!("{named} is not a configured repository"), fix))
            }
            _ => Ok(named.clone()),
        }
    }

    /// The configured repositories, or the named one of them. One that is not configured is refused: what is private in
    /// it is not known.
    ///
    /// # Errors
    /// [`Failure`] as for [`Self::repository`].
    pub(crate) fn configured(&self) -> Result<Vec<Repository>, Failure> {
        let named = self.named()?;
        let all = Repositories::read(&self.settings)?.0;
        Ok(all
            .into_iter()
            .filter(|one| named.as_ref().is_none_or(|name| *name == one.name))
            .collect())
    }

    /// NATS, with its streams in line with the contract.
    ///
    /// # Errors
    /// [`Failure`], which names the server that was tried and how to name another.
    pub(crate) async fn broker(&self) -> Result<Broker, Failure> {
        let nats = Nats::read(&self.settings)?;
        let connected = Broker::connect_once(&nats, self.context.service).await;
        connected.map_err(|error| self.no_broker(&nats, &error))
    }

    fn no_broker(&self, nats: &Nats, error: &anyhow::Error) -> Failure {
        if error.downcast_ref::<ConnectError>().is_none() {
            return Failure::failed(format!("{error:#}"));
        }
        let (what, write) = (
            "names no server that answers",
            "start it, or write another as nats://host:4222",
        );
        let found = without_password(&nats.url);
        let wrong = self.settings.wrong("nats.url", what, Some(&found), write);
        Failure::failed(format!("{} ({})", wrong.problem, error.root_cause())).with_fix(wrong.fix)
    }

    /// Percent of GitHub's quota that is kept for live work.
    ///
    /// # Errors
    /// [`Failure`] for a configuration that cannot be used.
    pub(crate) fn reserve_percent(&self) -> Result<u64, Failure> {
        Ok(Github::read(&self.settings)?.reserve_percent.into())
    }

    /// GitHub with the credentials of a repository; nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure`] for a configuration that makes no client.
    pub(crate) fn github(&self, repository: &RepoName) -> Result<Client, Failure> {
        Ok(self.clients()?.of(repository).clone())
    }

    /// GitHub with the credentials of every repository; nothing is sent yet.
    ///
    /// # Errors
    /// As [`Self::github`].
    pub(crate) fn clients(&self) -> Result<Clients, Failure> {
        let section = Github::read(&self.settings)?;
        // A repository that only the command line names has none of its own.
        let repositories = Repositories::read(&self.settings).unwrap_or_default();
        let clients = bugstream_github::Config::try_from(&section)
            .and_then(|config| Clients::new(&config, &repositories, self.context.clock.clone()));
        clients.map_err(|error| {
            let wrong = self
                .settings
                .wrong(key_of(&error), "cannot be used", None, &error.to_string());
            Failure::from(wrong)
        })
    }
}

/// The key to correct.
fn key_of(error: &bugstream_github::ConfigError) -> &'static str {
    use bugstream_github::ConfigError;
    match error {
        ConfigError::Url | ConfigError::Http(_) => "github.api_url",
        ConfigError::Token => "github.token",
        ConfigError::Concurrency(_) => "github.concurrency",
        ConfigError::Key(_) => "github.app.private_key_path",
        ConfigError::Installation => "github.app.installation_id",
    }
}

/// A list of URLs as it may be shown.
fn without_password(urls: &str) -> String {
    let shown = urls.split(',').map(|url| match url.split_once("//") {
        Some((scheme, rest)) => format!("{scheme}//{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => url.to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deps(file: &str, named: Option<&str>) -> Deps {
        let environment = |name: &str| (name == "GITHUB_REPO_PUBLIC" && !file.is_empty()).then(|| file.to_owned());
        let settings = Settings::load(None, environment, &[]).expect("well-formed");
        let named = named.map(|name| name.parse().expect("a repository"));
        Deps::new(settings, named, Context::new("queue-cli"))
    }

    #[test]
    fn the_repository_is_the_named_one_or_the_first() {
        let meant = |configured, named| deps(configured, named).repository().map(|name| name.to_string());
        assert_eq!(meant("a/b", None).as_deref(), Ok("a/b"));
        assert_eq!(meant("a/b", Some("A/B")).as_deref(), Ok("a/b"));
        assert_eq!(meant("", Some("c/d")).as_deref(), Ok("c/d"));
        insta::assert_snapshot!(meant("a/b", Some("c/d")).expect_err("not configured"), @r#"
        error: c/d is not a configured repository
          configured: a/b
        "#);
        insta::assert_snapshot!(meant("", None).expect_err("none configured"), @r#"
        error: no repository is configured
          write [[repositories]] name = "owner/name" in bugstream.toml, or set GITHUB_ORG and GITHUB_REPO_PUBLIC; or name one with --repository owner/name
        "#);
    }

    #[test]
    fn passwords_in_urls_are_not_shown() {
        assert_eq!(
            without_password("nats://user:secret@a:4222,nats://b:4222"),
            "nats://a:4222,nats://b:4222"
        );
    }
}
