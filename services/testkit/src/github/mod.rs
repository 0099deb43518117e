//! A GitHub in one process: the part of its REST API that Bugstream reads, with webhooks, limits and faults on command.
//!
//! It exists because tests and the local stack need a GitHub that can be edited, counted and made to fail. Its shapes are
//! those of the published API description (tests hold them against it); recorded payloads are served byte for byte.
//! It is not a mirror of GitHub's behaviour in general: what the services do not use is not here.
//!
//! Everything lives in one [`World`] behind a mutex that is never held across an await.

mod answer;
mod app;
mod connection;
mod control;
mod credentials;
mod dice;
mod edit;
mod history;
mod hooks;
mod invent;
mod jwt;
mod limits;
mod page;
mod pull;
mod repositories;
mod requests;
mod seed;
mod sending;
mod shapes;
mod state;
mod storm;
mod walk;
mod webhook;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use app::App;
pub use control::{EditRequest, OpenOrClosed};
pub use credentials::{Standing, Token};
pub use edit::Which;
pub use history::Change;
pub use invent::{Invented, invent};
pub use limits::{Fault, FaultRule};
pub use requests::{Request, Requests, Route};
pub use storm::{FaultKind, Storm, WebhookRates};
pub use walk::Meanwhile;
pub use webhook::{Delivery, Webhook, sign};

use answer::Lacking;
use connection::{CuttableListener, Switch};
use credentials::Credentials;
use hooks::Ledger;
use limits::{Faults, Quotas, Waits};
use shapes::RepoRef;
use state::State;
use storm::{Kept, Raging};
use walk::Turn;

/// The title of an issue that waits for a moderator.
pub const MODERATION_TITLE: &str = shapes::MODERATION_TITLE;

/// How a simulator starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The tracker, `owner/name`.
    pub repository: String,
    /// Its private partner.
    pub private_repository: String,
    /// How many invented issues it begins with.
    pub issues: u64,
    /// Which ones.
    pub seed: u64,
    /// Where the state is kept over restarts.
    pub state_file: Option<PathBuf>,
    /// The receiver of webhooks.
    pub webhook: Option<Webhook>,
    /// The tokens that are good; if there are none, everybody may do everything. [`Simulator::set_token`] changes it.
    pub tokens: Vec<String>,
    /// Requests an hour for each credential.
    pub rate_limit: u64,
    /// A GitHub App, if there is one.
    pub app: Option<App>,
    /// The path below which the API lies: `/api/v3` makes it a GitHub Enterprise Server.
    pub base_path: String,
    /// Faults by chance from the start.
    pub storm: Option<Storm>,
}

impl Default for Options {
    /// A free port, twenty issues of `bugstream-demo/web-bugs`, no webhook, 5,000 requests an hour.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            repository: "bugstream-demo/web-bugs".to_owned(),
            private_repository: "bugstream-demo/web-bugs-private".to_owned(),
            issues: 20,
            seed: 1,
            state_file: None,
            webhook: None,
            tokens: Vec::new(),
            rate_limit: 5_000,
            app: None,
            base_path: String::new(),
            storm: None,
        }
    }
}

/// Everything that can change.
struct World {
    state: State,
    main: RepoRef,
    partner: RepoRef,
    faults: Faults,
    storm: Option<Raging>,
    /// How many faults of each kind have met somebody.
    met: BTreeMap<&'static str, u64>,
    kept: Kept,
    quotas: Quotas,
    waits: Waits,
    requests: Requests,
    /// Whether a 304 carries the `Link` that a 200 would.
    links_on_304: bool,
    /// Rows of lists that are no whole issues.
    lacking: Option<Lacking>,
    credentials: Credentials,
    /// Repositories that nobody sees.
    hidden: HashSet<u64>,
    /// What is to happen to timelines while they are walked.
    turns: Vec<Turn>,
    ledger: Ledger,
    base_path: String,
    webhook: Option<Webhook>,
    muted: bool,
    /// Where the simulator's clock stands, if it was told to.
    stands_at: Option<OffsetDateTime>,
    /// How far the simulator's clock is ahead.
    ahead: Duration,
}

struct Inner {
    world: Mutex<World>,
    client: reqwest::Client,
}

impl Inner {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// GitHub's time.
    fn now(&self) -> OffsetDateTime {
        self.stands_at.unwrap_or_else(machine_now) + self.ahead
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator plays another machine: its clock is not the services' clock"
)]
fn machine_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A running simulator. Clones are handles to the same one; the server ends with the last of them.
#[derive(Clone)]
pub struct Simulator {
    inner: Arc<Inner>,
    address: SocketAddr,
    /// Serves; aborted when the last handle that a user holds is dropped.
    _server: Option<Arc<Mutex<JoinSet<()>>>>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Simulator({})", self.url())
    }
}

impl Simulator {
    /// Starts one; it answers when this returns.
    ///
    /// # Errors
    /// If the address is taken, or the state file is none.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        crate::install_tls();
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let address = listener.local_addr()?;
        let inner = Inner {
            world: Mutex::new(World::new(options)?),
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .context("cannot set up the webhook client")?,
        };
        let handle = Self {
            inner: Arc::new(inner),
            address,
            _server: None,
        };
        let router = control::routes().fallback(answer::answer).with_state(handle.clone());
        let service = router.into_make_service_with_connect_info::<Switch>();
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = axum::serve(CuttableListener(listener), service).await {
                tracing::error!(%error, "the simulator stopped");
            }
        });
        Ok(Self {
            _server: Some(Arc::new(Mutex::new(task))),
            ..handle
        })
    }

    /// The base address of the API: `http://127.0.0.1:port` and the base path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.root(), self.inner.world().base_path)
    }

    /// Where `/_simulator` is, whatever the base path: `http://127.0.0.1:port`.
    #[must_use]
    pub fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The tracker's name, `owner/name`.
    #[must_use]
    pub fn repository(&self) -> String {
        self.inner.world().main.full_name.clone()
    }

    /// What it was asked so far.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.inner.world().requests.clone()
    }

    /// Counts from zero from now on.
    pub fn forget_requests(&self) {
        self.inner.world().requests = Requests::default();
    }

    /// Whether a 304 carries the `Link` that a 200 would carry now (it does at first). Both were observed of GitHub.
    pub fn links_on_304(&self, there: bool) {
        self.inner.world().links_on_304 = there;
    }

    /// Leaves a field out of the rows of lists whose number `every` divides (0: of none, 1: of all), as lists of GitHub
    /// leave out `closed_by`. At first every row is the whole issue.
    pub fn let_rows_lack(&self, field: &str, every: u64) {
        let field = field.to_owned();
        self.inner.world().lacking = Some(Lacking { field, every });
    }

    /// The issue as it is served now; none if it is deleted, hidden, moved or never was.
    #[must_use]
    pub fn issue(&self, number: u64) -> Option<Value> {
        let world = self.inner.world();
        let issue = world.state.live(world.main.id, number)?;
        serde_json::from_str(issue.json.get()).ok()
    }

    /// The whole timeline of an issue as it is served now.
    #[must_use]
    pub fn timeline(&self, number: u64) -> Option<Vec<Value>> {
        let world = self.inner.world();
        Some(world.state.live(world.main.id, number)?.draft().timeline)
    }

    /// The numbers of the issues that are there.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        let world = self.inner.world();
        let all = world
            .state
            .repositories
            .get(&world.main.id)
            .map(|repository| &repository.issues);
        all.into_iter()
            .flatten()
            .filter(|(_, entry)| matches!(entry, state::Entry::Live(_)))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Lets something go wrong.
    pub fn fault(&self, rule: FaultRule) {
        self.inner.world().faults.0.push(rule);
    }

    /// Lets things go wrong by chance from now on, in place of what did so far.
    ///
    /// # Errors
    /// A rate outside 0 to 1, or a rate of no kind.
    pub fn storm(&self, storm: Storm) -> anyhow::Result<()> {
        let raging = Raging::new(storm)?;
        self.inner.world().storm = Some(raging);
        Ok(())
    }

    /// Forgets the faults that wait, and ends a storm. Webhooks that it kept wait for the next one, or for
    /// [`Self::release_webhooks`].
    pub fn clear_faults(&self) {
        let mut world = self.inner.world();
        world.faults.0.clear();
        world.storm = None;
    }

    /// How many faults have met somebody so far, by kind: `status`, `no_answer`, …, `webhook_lost`, ….
    #[must_use]
    pub fn faults_met(&self) -> BTreeMap<&'static str, u64> {
        self.inner.world().met.clone()
    }

    /// Sets the hourly quota of every credential, and forgets what was used.
    pub fn set_rate_limit(&self, limit: u64) {
        self.inner.world().quotas.set_limit(limit);
    }

    /// Leaves a token (empty: anonymous) `remaining` requests for the next `seconds`.
    pub fn leave_quota(&self, token: &str, remaining: u64, seconds: i64) {
        let mut world = self.inner.world();
        let ends = world.now() + Duration::seconds(seconds);
        world.quotas.leave(token, remaining, ends);
    }

    /// Moves the simulator's clock on: quotas begin anew, edits are later.
    pub fn advance(&self, by: std::time::Duration) {
        self.inner.world().ahead += by;
    }

    /// Stops the simulator's clock: from now on only [`Self::advance`] moves it, however long a slow machine takes. For
    /// clients whose own clock goes on, limits then never end by themselves.
    pub fn stop_clock(&self) {
        self.inner.world().stands_at.get_or_insert_with(machine_now);
    }
}

impl World {
    /// What befalls a request: what was ordered for it, else what the storm brings.
    fn fault(&mut self, route: Route, issue: Option<u64>, page: usize) -> Option<Fault> {
        let by_chance = self.storm.as_mut().and_then(|storm| storm.take(route, issue));
        let fault = self.faults.take(route, issue, page).or(by_chance)?;
        *self.met.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    fn new(options: Options) -> anyhow::Result<Self> {
        let fresh = || {
            State::seeded(
                &options.repository,
                &options.private_repository,
                options.issues,
                options.seed,
            )
        };
        let mut state = match &options.state_file {
            Some(file) => State::load_or(file, fresh)?,
            None => fresh(),
        };
        let main = state.add_repository(&options.repository, false);
        let partner = state.add_repository(&options.private_repository, true);
        Ok(Self {
            state,
            main,
            partner,
            faults: Faults::default(),
            storm: options.storm.map(Raging::new).transpose()?,
            met: BTreeMap::new(),
            kept: Kept::default(),
            waits: Waits::default(),
            quotas: Quotas::new(options.rate_limit),
            requests: Requests::default(),
            links_on_304: true,
            lacking: None,
            credentials: Credentials::new(options.tokens, options.app),
            hidden: HashSet::new(),
            turns: Vec::new(),
            ledger: Ledger::default(),
            base_path: options.base_path,
            webhook: options.webhook,
            muted: false,
            stands_at: None,
            ahead: Duration::ZERO,
        })
    }
}
