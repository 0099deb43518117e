//! A whole pipeline whose services are processes and whose connections go through proxies, so that anything can break.
//!
//! Every service sees each part through a proxy of its own; the observer (counts, comparison) goes straight. GitHub is
//! the simulator in this process. Elasticsearch is the caller's: a test that kills it brings a [`Node`] of its own.
//! Nothing is restarted by itself; who kills also starts again, as an operator's supervisor would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use bugstream_proto::{topology, v1};
use bugstream_stack::provision::{self, Cache};
use bugstream_stack::{ports, server};
use futures_util::StreamExt as _;
use prost::Message as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::elastic::Elastic;
use crate::faults::Editor;
use crate::github::{Delivery, Options, Simulator, Webhook};
use crate::nats::Nats;
use crate::process::{Launch, Service, program};
use crate::proxy::Proxy;
use crate::queues::Queues;

/// The webhook's secret.
pub const SECRET: &str = "it is a secret to everybody";

/// How long the observer waits for one answer of a broker that may be dying, or may stand still on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Takes webhooks.
    Receiver,
    /// Asks GitHub.
    Downloader,
    /// Writes documents.
    Indexer,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Receiver, Self::Downloader, Self::Indexer];

    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Receiver => "webhook-receiver",
            Self::Downloader => "downloader",
            Self::Indexer => "indexer",
        }
    }

    fn listen(self) -> &'static str {
        match self {
            Self::Receiver => "WEBHOOK_LISTEN",
            Self::Downloader => "DOWNLOADER_HEALTH_LISTEN",
            Self::Indexer => "INDEXER_HEALTH_LISTEN",
        }
    }
}

/// A connection between two parts, named by who connects and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Webhooks.
    GithubReceiver,
    /// A service and the broker.
    Nats(Role),
    /// Downloads.
    DownloaderGithub,
    /// Bulks.
    IndexerElastic,
}

impl Link {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::GithubReceiver,
        Self::Nats(Role::Receiver),
        Self::Nats(Role::Downloader),
        Self::Nats(Role::Indexer),
        Self::DownloaderGithub,
        Self::IndexerElastic,
    ];
}

/// How a rig differs from the usual one.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Invented issues.
    pub issues: u64,
    /// Which ones.
    pub seed: u64,
    /// Whether GitHub is an Enterprise Server: one that counts no requests a minute, for a test that makes thousands.
    pub enterprise: bool,
    /// Lines for `[downloader]`, besides the addresses.
    pub downloader: String,
    /// Lines for `[indexer]`, of services and rebuilds alike.
    pub indexer: String,
    /// Lines for `[github]`: the credentials.
    pub github: String,
    /// Where the broker keeps its data, instead of a folder of its own.
    pub nats_folder: Option<PathBuf>,
    /// Where objects are kept, instead of a folder of its own.
    pub objects: Option<PathBuf>,
}

impl Default for Plan {
    /// Twenty issues; a second look at a deletion after a second.
    fn default() -> Self {
        Self {
            issues: 20,
            seed: 1,
            enterprise: false,
            downloader: "confirm_delay_s = 1\n".to_owned(),
            indexer: String::new(),
            github: "token = 'a-token'\n".to_owned(),
            nats_folder: None,
            objects: None,
        }
    }
}

/// A running pipeline. Dropping it kills everything.
#[derive(Debug)]
pub struct Rig {
    /// GitHub.
    pub github: Simulator,
    /// The search engine, as the observer sees it.
    pub elastic: Elastic,
    services: BTreeMap<Role, Service>,
    links: BTreeMap<Link, Proxy>,
    /// The broker.
    pub nats: Nats,
    jetstream: jetstream::Context,
    queues: Queues,
    config: PathBuf,
    repository: String,
    dir: tempfile::TempDir,
}

impl Rig {
    /// Starts everything over this Elasticsearch; all services are ready when it returns.
    ///
    /// # Errors
    /// Something does not start, with the end of its log.
    pub async fn start(plan: Plan, elastic: Elastic) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let nats = match &plan.nats_folder {
            Some(folder) => Nats::start_in(folder).await,
            None => Nats::start().await,
        };
        let github = Simulator::start(Options {
            issues: plan.issues,
            seed: plan.seed,
            rate_limit: 1_000_000,
            base_path: if plan.enterprise { "/api/v3" } else { "" }.to_owned(),
            ..Options::default()
        })
        .await?;
        let config = dir.path().join("bugstream.toml");
        let objects = plan.objects.clone().unwrap_or_else(|| dir.path().join("objects"));
        std::fs::write(&config, configuration(&plan, &nats, &elastic, &github, &objects))?;
        let jetstream = nats.jetstream().await;
        let mut rig = Self {
            repository: github.repository(),
            github,
            elastic,
            services: BTreeMap::new(),
            links: BTreeMap::new(),
            nats,
            queues: Queues::new(jetstream.clone()),
            jetstream,
            config,
            dir,
        };
        rig.start_services().await?;
        Ok(rig)
    }

    async fn start_services(&mut self) -> anyhow::Result<()> {
        let receiver = ports::free()?;
        for link in Link::ALL {
            let target = match link {
                Link::GithubReceiver => SocketAddr::from(([127, 0, 0, 1], receiver)),
                Link::Nats(_) => address(&self.nats.url())?,
                Link::DownloaderGithub => address(&self.github.root())?,
                Link::IndexerElastic => address(self.elastic.node())?,
            };
            self.links.insert(link, Proxy::start(target).await?);
        }
        for role in Role::ALL {
            let port = if role == Role::Receiver {
                receiver
            } else {
                ports::free()?
            };
            self.services.insert(role, Service::start(self.launch(role, port))?);
        }
        for service in self.services.values_mut() {
            service.ready().await?;
        }
        let url = format!("http://{}/github/receive", self.link(Link::GithubReceiver).address());
        let secret = SECRET.to_owned();
        self.github.set_webhook(Some(Webhook { url, secret }));
        Ok(())
    }

    fn launch(&self, role: Role, port: u16) -> Launch {
        let through = |link| self.link(link).address();
        let mut environment = BTreeMap::from([
            ("BUGSTREAM_CONFIG".to_owned(), self.config.display().to_string()),
            (role.listen().to_owned(), format!("127.0.0.1:{port}")),
            ("NATS_URL".to_owned(), format!("nats://{}", through(Link::Nats(role)))),
            ("RUST_LOG".to_owned(), "info".to_owned()),
            ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        ]);
        match role {
            Role::Receiver => {}
            Role::Downloader => {
                let proxy = format!("http://{}", through(Link::DownloaderGithub));
                let url = self.github.url().replace(&self.github.root(), &proxy);
                environment.insert("GITHUB_API_URL".to_owned(), url);
            }
            Role::Indexer => {
                let url = format!("http://{}", through(Link::IndexerElastic));
                environment.insert("ELASTIC_NODE".to_owned(), url);
            }
        }
        Launch {
            name: role.program(),
            environment,
            health_port: port,
            log: self.dir.path().join(format!("{}.log", role.program())),
        }
    }

    /// The proxy of a connection.
    ///
    /// # Panics
    /// Never: every link has one.
    #[must_use]
    pub fn link(&self, link: Link) -> &Proxy {
        self.links.get(&link).expect("every link has a proxy from the start")
    }

    /// A service, to be killed or measured.
    ///
    /// # Panics
    /// Never: every role has one.
    pub fn service(&mut self, role: Role) -> &mut Service {
        self.services
            .get_mut(&role)
            .expect("every role has a service from the start")
    }

    /// The mirrored repository, `owner/name`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What waits, for an observer of its own.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// As [`Queues::waiting`].
    pub async fn waiting(&self) -> Option<u64> {
        self.queues.waiting().await
    }

    /// As [`Queues::in_words`].
    pub async fn waiting_in_words(&self) -> String {
        self.queues.in_words().await
    }

    /// As [`Queues::consumer`].
    pub async fn consumer(&self, spec: topology::ConsumerSpec) -> Option<jetstream::consumer::Info> {
        self.queues.consumer(spec).await
    }

    /// How many issues have an event in the log; none if the broker does not say.
    pub async fn logged(&self) -> Option<u64> {
        let look = async {
            let stream = self.jetstream.get_stream(topology::ISSUES).await.ok()?;
            Some(stream.cached_info().state.subjects_count)
        };
        tokio::time::timeout(PATIENCE, look).await.ok().flatten()
    }

    /// How many events the log has; none if the broker does not say.
    pub async fn events(&self) -> Option<u64> {
        let look = async {
            let stream = self.jetstream.get_stream(topology::ISSUES).await.ok()?;
            Some(stream.cached_info().state.messages)
        };
        tokio::time::timeout(PATIENCE, look).await.ok().flatten()
    }

    /// Publishes an empty message by hand and waits until the broker has it.
    ///
    /// # Errors
    /// The broker does not take it.
    pub async fn publish(&self, subject: &str) -> anyhow::Result<()> {
        self.jetstream.publish(subject.to_owned(), "".into()).await?.await?;
        Ok(())
    }

    /// Every dead letter.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<v1::DeadLetter>> {
        let mut stream = self.jetstream.get_stream(topology::DEAD_LETTERS).await?;
        let count = usize::try_from(stream.info().await?.state.messages)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let consumer = stream
            .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
            .await?;
        let messages = consumer.messages().await?.take(count);
        let letters = messages.map(|message| anyhow::Ok(v1::DeadLetter::decode(message?.payload.clone())?));
        let letters: Vec<_> = tokio::time::timeout(PATIENCE, letters.collect()).await?;
        letters.into_iter().collect()
    }

    /// Presses GitHub's redelivery button until the receiver has taken it; false if it does not within `patience`.
    pub async fn deliver(&self, delivery: &Delivery, patience: Duration) -> bool {
        deliver(&self.github, delivery, patience).await
    }

    /// Runs queue-cli, connected to everything directly.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn queue_cli(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let output = self.queue_cli_command(arguments).output().await;
        output.context("cannot run queue-cli")
    }

    /// queue-cli, connected to everything directly, to be started by whoever wants to kill it. Dropping it kills it.
    #[must_use]
    pub fn queue_cli_command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program("queue-cli"));
        command.arg("--config").arg(&self.config).args(arguments).env_clear();
        command.kill_on_drop(true);
        command
    }

    /// One more indexer, beside the usual one and through the same connections; it may not be ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn another_indexer(&self) -> anyhow::Result<Service> {
        Service::start(self.launch(Role::Indexer, ports::free()?))
    }

    /// Every difference that `queue-cli verify --against-github` finds, a line each.
    ///
    /// # Errors
    /// It could not ask a part.
    pub async fn verify(&self) -> anyhow::Result<Vec<String>> {
        let output = self
            .queue_cli(&["verify", "--against-github", "--output", "json"])
            .await?;
        let findings: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("verify says {}", String::from_utf8_lossy(&output.stderr)))?;
        let differences = findings["differences"].as_array().context("verify lists differences")?;
        Ok(differences.iter().map(Value::to_string).collect())
    }

    /// Leaves the logs of all services where they are; answers the folder.
    pub fn keep_logs(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    /// Who edits GitHub and asks the broker by hand.
    pub(crate) async fn editor(&self) -> anyhow::Result<Editor> {
        Ok(Editor {
            github: self.github.clone(),
            jetstream: jetstream::new(async_nats::connect(self.nats.url()).await?),
            repository: self.repository.clone(),
        })
    }
}

/// A test that fails leaves the logs of all services for whoever looks into it.
impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let folder = self.keep_logs().display().to_string();
            tracing::error!(folder, "the logs of the services are kept");
        }
    }
}

/// As [`Rig::deliver`].
pub async fn deliver(github: &Simulator, delivery: &Delivery, patience: Duration) -> bool {
    let again = async {
        while github
            .redeliver(delivery)
            .await
            .is_none_or(|answered| answered.status != Some(202))
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(patience, again).await.is_ok()
}

/// Presses GitHub's redelivery button for each that the receiver did not take, until it has: it answers 503 while the
/// broker is away, and GitHub gives up after ten seconds, where the machine stands still.
///
/// # Panics
/// If one was answered in another way, or is not taken within `patience`.
pub async fn taken(github: &Simulator, deliveries: &[Delivery], patience: Duration) {
    for delivery in deliveries {
        let (status, what) = (delivery.status, (&delivery.event, &delivery.action));
        assert!(matches!(status, Some(202 | 503) | None), "{what:?}: {status:?}");
        let taken = status == Some(202) || deliver(github, delivery, patience).await;
        assert!(taken, "{what:?} is never taken");
    }
}

/// Host and port of a URL of this machine.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let (_, address) = url.split_once("://").context("a URL with a scheme")?;
    address
        .trim_end_matches('/')
        .replace("localhost", "127.0.0.1")
        .parse()
        .with_context(|| format!("no address: {url}"))
}

fn configuration(plan: &Plan, nats: &Nats, elastic: &Elastic, github: &Simulator, objects: &Path) -> String {
    let (nats, node, prefix) = (nats.url(), elastic.node(), elastic.prefix());
    let (repository, api, objects) = (github.repository(), github.url(), objects.display());
    let (downloader, indexer, credentials) = (&plan.downloader, &plan.indexer, &plan.github);
    format!(
        "[nats]\nurl = '{nats}'\n[object_store]\nurl = '{objects}'\n[elasticsearch]\nnode = '{node}'\nprefix = '{prefix}'\n\
         [github]\napi_url = '{api}'\n{credentials}timeout_s = 5\n\
         [[repositories]]\nname = '{repository}'\nprivate = '{repository}-private'\n\
         [webhook_receiver]\nsecrets = ['{SECRET}']\ninactivity_delay_s = 1\nlongest_wait_s = 20\n\
         [indexer]\nreplicas = 0\n{indexer}[downloader]\n{downloader}"
    )
}

/// An Elasticsearch of this program's own, which may be killed. Those who want one at the same time take turns with it:
/// starting costs ten seconds and half a gigabyte.
#[derive(Debug)]
pub struct Node {
    // Taken out only while a blocking call has it.
    server: Option<server::Elasticsearch>,
    restarting: Option<JoinHandle<(server::Elasticsearch, anyhow::Result<()>)>>,
    url: String,
    _folder: tempfile::TempDir,
}

/// A node and the right to wait for a turn with it.
pub type Turns = Arc<tokio::sync::Mutex<Option<Node>>>;

/// The node of whoever else has it now.
static NODE: Mutex<Weak<tokio::sync::Mutex<Option<Node>>>> = Mutex::new(Weak::new());

impl Node {
    /// The one that others have, or a new one; the last who lets go of it ends it.
    #[must_use]
    pub fn shared() -> Turns {
        let mut shared = NODE.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let fresh = Turns::default();
            *shared = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// Starts one with a small heap.
    ///
    /// # Errors
    /// It cannot be obtained or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_owned();
        let server = blocking(move || {
            let distribution = provision::elasticsearch(&Cache::open()?)?;
            server::Elasticsearch::start(server::ElasticsearchOptions::new(distribution, path))
        })
        .await?;
        Ok(Self {
            url: server.url(),
            server: Some(server),
            restarting: None,
            _folder: folder,
        })
    }

    /// Its address; the same over restarts.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Process id of the server.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.server.as_ref().context("it is being restarted")?.pid()
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill9(&mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("it is being restarted")?;
        let (server, killed) = blocking(move || {
            let killed = server.kill9();
            Ok((server, killed))
        })
        .await?;
        self.server = Some(server);
        killed
    }

    /// Starts it again on the same port and data, and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.begin_restart()?;
        self.ready().await
    }

    /// Starts it again without waiting; meanwhile it counts as not running.
    ///
    /// # Errors
    /// It is being restarted already.
    pub fn begin_restart(&mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("it is being restarted")?;
        self.restarting = Some(tokio::task::spawn_blocking(move || {
            let restarted = server.restart();
            (server, restarted)
        }));
        Ok(())
    }

    /// Whether somebody waits for it to get ready.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        self.restarting
            .as_ref()
            .is_some_and(|restarting| !restarting.is_finished())
    }

    /// Waits until it is ready if it is being restarted.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let Some(restarting) = self.restarting.take() else {
            return Ok(());
        };
        let (server, restarted) = restarting.await.context("the blocking thread panicked")?;
        self.server = Some(server);
        restarted
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the blocking thread panicked")?
}
