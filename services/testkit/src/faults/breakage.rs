//! What breaks, every few seconds: a connection, a process and at times GitHub's patience, for a moment or longer, then
//! mended.

use std::time::Duration;

use anyhow::Context as _;
use bugstream_stack::process::Identity;
use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::Book;
use crate::github::{Fault, FaultRule};
use crate::proxy::Mode;
use crate::rig::{Link, Node, Rig, Role};
use crate::wait;

/// Longer than a lease of the active downloader and than a message is left to a silent worker.
const STALL: Duration = Duration::from_secs(35);

/// How long a busy Elasticsearch may take to change a setting.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    Killed(Role),
    Frozen(Role),
    Stalled(Role),
    Stopped(Role),
    NatsKilled,
    NatsFrozen,
    ElasticKilled,
    ElasticFrozen,
    /// As Elasticsearch does to every index when its disk is full.
    ElasticReadOnly,
}

impl Broken {
    fn random(chance: &mut StdRng, left: Duration) -> Self {
        let role = Role::ALL[chance.random_range(0..Role::ALL.len())];
        match chance.random_range(0..100) {
            0..=29 => Self::Killed(role),
            30..=44 => Self::Frozen(role),
            45..=51 => Self::Stopped(role),
            52..=54 if left > STALL * 2 => Self::Stalled(role),
            55..=64 => Self::NatsKilled,
            65..=69 => Self::NatsFrozen,
            70..=73 => Self::ElasticKilled,
            74..=78 => Self::ElasticFrozen,
            79..=86 => Self::ElasticReadOnly,
            _ => Self::Nothing,
        }
    }

    /// Whether everybody has long gone on when it is mended.
    fn heals_soon(self) -> bool {
        !matches!(
            self,
            Self::Stalled(_) | Self::NatsKilled | Self::ElasticKilled | Self::ElasticFrozen
        )
    }

    fn needs_elastic(self) -> bool {
        matches!(self, Self::ElasticKilled | Self::ElasticFrozen | Self::ElasticReadOnly)
    }

    fn name(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::Killed(role) => format!("{} killed", role.program()),
            Self::Frozen(role) => format!("{} frozen", role.program()),
            Self::Stalled(role) => format!("{} stalled", role.program()),
            Self::Stopped(role) => format!("{} stopped", role.program()),
            Self::NatsKilled => "nats killed".to_owned(),
            Self::NatsFrozen => "nats frozen".to_owned(),
            Self::ElasticKilled => "elasticsearch killed".to_owned(),
            Self::ElasticFrozen => "elasticsearch frozen".to_owned(),
            Self::ElasticReadOnly => "elasticsearch read-only".to_owned(),
        })
    }
}

/// Breaks and mends until `end`; everything works when it returns. Without an Elasticsearch of its own only what heals
/// soon is broken.
pub(super) async fn break_until(
    rig: &mut Rig,
    mut node: Option<&mut Node>,
    end: Instant,
    chance: &mut StdRng,
    book: &Book,
) -> anyhow::Result<()> {
    while Instant::now() < end {
        let calm = Duration::from_millis(chance.random_range(300..2_000));
        let hold = Duration::from_millis(chance.random_range(100..4_000));
        let mut broken = Broken::random(chance, end.saturating_duration_since(Instant::now()));
        if !is_possible(broken, node.as_deref_mut()).await? {
            broken = Broken::Nothing;
        }
        let link = Link::ALL[chance.random_range(0..Link::ALL.len())];
        let mode = if chance.random_range(0..3) == 0 {
            Mode::Pass
        } else {
            Mode::random(chance)
        };
        let limit = limit(chance);
        tokio::time::sleep(calm).await;
        note_the_dead(rig, book).await?;
        if let Some(limit) = limit {
            rig.github.fault(FaultRule::next(1, limit));
        }
        disturb(rig, link, mode, chance.random_range(0..3) == 0, book);
        begin(rig, node.as_deref_mut(), broken, book).await?;
        tokio::time::sleep(if matches!(broken, Broken::Stalled(_)) {
            STALL
        } else {
            hold
        })
        .await;
        rig.link(link).set(Mode::Pass);
        mend(rig, node.as_deref_mut(), broken).await?;
    }
    match node {
        Some(node) => node.ready().await,
        None => Ok(()),
    }
}

/// Whether there is something to break. Starting Elasticsearch takes a while, in which everything else goes on breaking.
async fn is_possible(broken: Broken, node: Option<&mut Node>) -> anyhow::Result<bool> {
    match node {
        None => Ok(broken.heals_soon()),
        Some(node) if node.is_restarting() => Ok(!broken.needs_elastic()),
        Some(node) => node.ready().await.map(|()| true),
    }
}

/// GitHub asks to wait, in every third round.
fn limit(chance: &mut StdRng) -> Option<Fault> {
    let seconds = chance.random_range(1..4);
    match chance.random_range(0..6) {
        0 => Some(Fault::PrimaryLimit { resets_in_s: seconds }),
        1 => Some(Fault::SecondaryLimit {
            status: if seconds == 1 { 403 } else { 429 },
            retry_after_s: Some(seconds),
        }),
        _ => None,
    }
}

/// A service that gave up is a finding; it is started again as a supervisor would.
async fn note_the_dead(rig: &mut Rig, book: &Book) -> anyhow::Result<()> {
    for role in Role::ALL {
        if rig.service(role).has_ended() {
            book.open().ended.insert(role.program());
            rig.service(role).restart().await?;
        }
    }
    Ok(())
}

fn disturb(rig: &Rig, link: Link, mode: Mode, cut: bool, book: &Book) {
    if cut {
        rig.link(link).cut();
        book.fault("connections cut");
    }
    rig.link(link).set(mode);
    match mode {
        Mode::Pass => {}
        Mode::Refuse => book.fault("connections refused"),
        Mode::Blackhole | Mode::Ration(_) | Mode::HoldAt(_) => book.fault("connections silent"),
        Mode::Delay(_) => book.fault("connections slow"),
        Mode::Halve(_) => book.fault("streams halved"),
    }
}

async fn begin(rig: &mut Rig, node: Option<&mut Node>, broken: Broken, book: &Book) -> anyhow::Result<()> {
    if let Some(name) = broken.name() {
        book.fault(name);
    }
    match broken {
        Broken::Nothing => {}
        Broken::Killed(role) => rig.service(role).kill9().await,
        Broken::Frozen(role) | Broken::Stalled(role) => rig.service(role).freeze(),
        Broken::Stopped(role) => {
            let status = rig.service(role).stop().await?;
            anyhow::ensure!(status.success(), "the {} stopped with {status}", role.program());
        }
        Broken::NatsKilled => rig.nats.kill9(),
        Broken::NatsFrozen => signal(rig.nats.pid(), Signal::STOP),
        Broken::ElasticKilled => own(node)?.kill9().await?,
        Broken::ElasticFrozen => signal(own(node)?.pid()?, Signal::STOP),
        Broken::ElasticReadOnly => read_only(rig, true).await,
    }
    Ok(())
}

async fn mend(rig: &mut Rig, node: Option<&mut Node>, broken: Broken) -> anyhow::Result<()> {
    match broken {
        Broken::Nothing => {}
        Broken::Killed(role) | Broken::Stopped(role) => rig.service(role).restart().await?,
        Broken::Frozen(role) | Broken::Stalled(role) => rig.service(role).thaw(),
        Broken::NatsKilled => rig.nats.restart().await,
        Broken::NatsFrozen => signal(rig.nats.pid(), Signal::CONT),
        Broken::ElasticKilled => own(node)?.begin_restart()?,
        Broken::ElasticFrozen => signal(own(node)?.pid()?, Signal::CONT),
        Broken::ElasticReadOnly => read_only(rig, false).await,
    }
    Ok(())
}

fn own(node: Option<&mut Node>) -> anyhow::Result<&mut Node> {
    node.context("only an Elasticsearch of its own is broken")
}

fn signal(pid: u32, signal: Signal) {
    if let Some(identity) = Identity::of(pid) {
        identity.signal(signal);
    }
}

/// Sets or lifts the block that Elasticsearch puts on indices at its flood stage. One that it was too busy to lift would
/// stay for ever.
async fn read_only(rig: &Rig, blocked: bool) {
    let path = format!("/{}*/_settings?expand_wildcards=all", rig.elastic.prefix());
    let value = if blocked { json!(true) } else { json!(null) };
    let body = json!({"index.blocks.read_only_allow_delete": value});
    let what = "Elasticsearch takes the setting, or has no index yet";
    wait::until_true(what, PATIENCE, async || {
        let (status, _) = rig.elastic.call(http::Method::PUT, &path, Some(&body)).await;
        matches!(status, 200 | 404)
    })
    .await;
}
