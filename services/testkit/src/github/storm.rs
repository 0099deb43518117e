//! Faults by chance: so many of all answers, of these kinds, drawn from a seed.
//!
//! What befalls a request depends on the seed, on what it asks for, and on how often that was asked before: the same
//! requests in the same order meet the same faults, and requests that overtake each other change nothing for others.
//! A 404 that is not meant never meets the same question twice running: it is transient, as GitHub's are.

use std::collections::HashMap;

use anyhow::ensure;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::limits::Fault;
use super::requests::Route;
use super::webhook::Delivery;

/// How much goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storm {
    /// The share of answers that are hit, 0 to 1; 304 and errors as well as any other.
    pub rate: f64,
    /// Which ones, and how.
    pub seed: u64,
    /// In which ways; each is as likely as the others that fit a request.
    pub kinds: Vec<FaultKind>,
    /// How often one issue is hit at most by each route.
    pub each_issue: u64,
    /// What befalls webhooks.
    pub webhooks: WebhookRates,
}

/// The shares (0 to 1, together no more than 1) of deliveries that do not arrive once and in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookRates {
    /// Never sent.
    pub lost: f64,
    /// Sent twice, under one id.
    pub duplicated: f64,
    /// Kept until a later one was sent (or until [`release_webhooks`](super::Simulator::release_webhooks)).
    pub reordered: f64,
}

/// A kind of [`Fault`]; the numbers in it are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// [`Fault::Status`]: 500, 502, 503 or 504
    ServerError,
    /// [`Fault::NoAnswer`]
    NoAnswer,
    /// [`Fault::Truncated`]
    Truncated,
    /// [`Fault::Slow`], up to 1.5 s
    Slow,
    /// [`Fault::SlowBody`], up to 1.5 s
    SlowBody,
    /// [`Fault::HalfBody`]
    HalfBody,
    /// [`Fault::Html`]
    Html,
    /// [`Fault::HtmlAsJson`]
    HtmlAsJson,
    /// [`Fault::WrongType`]
    WrongType,
    /// [`Fault::SecondaryLimit`] with `retry-after`, 1 to 3 s
    SecondaryLimit,
    /// [`Fault::SecondaryLimit`] without `retry-after`: GitHub then wants a minute at least
    SilentSecondaryLimit,
    /// [`Fault::PrimaryLimit`] until 1 to 3 s later
    PrimaryLimit,
    /// [`Fault::IssuesDisabled`]
    IssuesDisabled,
    /// [`Fault::NotFound`]
    NotFound,
    /// [`Fault::EmptyList`], for lists only
    EmptyList,
}

impl Default for Storm {
    /// Calm; all kinds, should there be a rate.
    fn default() -> Self {
        Self {
            rate: 0.0,
            seed: 1,
            kinds: FaultKind::value_variants().to_vec(),
            each_issue: u64::MAX,
            webhooks: WebhookRates::default(),
        }
    }
}

impl Storm {
    /// Hits this share of all answers, in every way.
    #[must_use]
    pub fn new(rate: f64, seed: u64) -> Self {
        Self {
            rate,
            seed,
            ..Self::default()
        }
    }

    /// Only in these ways.
    #[must_use]
    pub fn of(self, kinds: impl IntoIterator<Item = FaultKind>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            ..self
        }
    }

    /// In every way but these: [`FaultKind::SilentSecondaryLimit`] alone costs a client a minute.
    #[must_use]
    pub fn without(mut self, kinds: &[FaultKind]) -> Self {
        self.kinds.retain(|kind| !kinds.contains(kind));
        self
    }

    /// One issue is hit so often at most by each route: a client that waits twice as long each time otherwise waits for
    /// the unluckiest of hundreds.
    #[must_use]
    pub fn each_issue_at_most(self, each_issue: u64) -> Self {
        Self { each_issue, ..self }
    }

    /// This befalls webhooks.
    #[must_use]
    pub fn webhooks(self, webhooks: WebhookRates) -> Self {
        Self { webhooks, ..self }
    }

    fn check(&self) -> anyhow::Result<()> {
        let WebhookRates {
            lost,
            duplicated,
            reordered,
        } = self.webhooks;
        for rate in [self.rate, lost, duplicated, reordered, lost + duplicated + reordered] {
            ensure!((0.0..=1.0).contains(&rate), "a rate is 0 to 1, not {rate}");
        }
        ensure!(
            self.rate == 0.0 || !self.kinds.is_empty(),
            "a rate of {} of no kind of fault",
            self.rate
        );
        Ok(())
    }
}

impl FaultKind {
    fn fits(self, route: Route) -> bool {
        let issues = matches!(route, Route::Issue | Route::Timeline | Route::List);
        match self {
            Self::EmptyList => route == Route::List,
            Self::IssuesDisabled => issues,
            // GitHub answers how much is left whatever that is.
            Self::SecondaryLimit | Self::SilentSecondaryLimit | Self::PrimaryLimit | Self::NotFound => {
                route != Route::RateLimit
            }
            _ => true,
        }
    }

    fn draw(self, dice: &mut Dice) -> Fault {
        let limit = |retry_after_s, dice: &mut Dice| Fault::SecondaryLimit {
            status: *dice.pick(&[403, 429]),
            retry_after_s,
        };
        match self {
            Self::ServerError => Fault::Status(*dice.pick(&[500, 502, 503, 504])),
            Self::NoAnswer => Fault::NoAnswer,
            Self::Truncated => Fault::Truncated,
            Self::Slow => Fault::Slow(dice.between(100, 1500)),
            Self::SlowBody => Fault::SlowBody(dice.between(100, 1500)),
            Self::HalfBody => Fault::HalfBody,
            Self::Html => Fault::Html,
            Self::HtmlAsJson => Fault::HtmlAsJson,
            Self::WrongType => Fault::WrongType,
            Self::SecondaryLimit => limit(Some(dice.between(1, 3)), dice),
            Self::SilentSecondaryLimit => limit(None, dice),
            Self::PrimaryLimit => Fault::PrimaryLimit {
                resets_in_s: dice.between(1, 3),
            },
            Self::IssuesDisabled => Fault::IssuesDisabled,
            Self::NotFound => Fault::NotFound,
            Self::EmptyList => Fault::EmptyList,
        }
    }
}

/// A storm under way.
#[derive(Debug)]
pub(super) struct Raging {
    storm: Storm,
    asked: HashMap<(Route, Option<u64>), Asked>,
    deliveries: u64,
}

/// How often something was asked for and hit, and whether the last answer was a 404 that was not meant.
#[derive(Debug, Default)]
struct Asked {
    times: u64,
    hits: u64,
    denied: bool,
}

/// What befalls a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Lost,
    Duplicated,
    Kept,
}

impl Fate {
    /// What it counts as; nothing where all is well.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Sent => None,
            Self::Lost => Some("webhook_lost"),
            Self::Duplicated => Some("webhook_duplicated"),
            Self::Kept => Some("webhook_reordered"),
        }
    }
}

impl Raging {
    /// # Errors
    /// A rate that is none, or a rate of nothing.
    pub(super) fn new(storm: Storm) -> anyhow::Result<Self> {
        storm.check()?;
        Ok(Self {
            storm,
            asked: HashMap::new(),
            deliveries: 0,
        })
    }

    /// What befalls this request, if anything does.
    pub(super) fn take(&mut self, route: Route, issue: Option<u64>) -> Option<Fault> {
        let asked = self.asked.entry((route, issue)).or_default();
        let mut dice = Dice::of(&format!("{}/{route:?}/{issue:?}/{}", self.storm.seed, asked.times));
        asked.times += 1;
        let denied = std::mem::take(&mut asked.denied);
        let possible = |kind: &FaultKind| kind.fits(route) && !(denied && *kind == FaultKind::NotFound);
        let kinds: Vec<FaultKind> = self.storm.kinds.iter().copied().filter(possible).collect();
        let spared = issue.is_some() && asked.hits >= self.storm.each_issue;
        if !dice.share(self.storm.rate) || kinds.is_empty() || spared {
            return None;
        }
        asked.hits += 1;
        let fault = dice.pick(&kinds).draw(&mut dice);
        asked.denied = fault == Fault::NotFound;
        Some(fault)
    }

    /// What befalls the next delivery.
    pub(super) fn fate(&mut self) -> Fate {
        let mut dice = Dice::of(&format!("{}/delivery/{}", self.storm.seed, self.deliveries));
        self.deliveries += 1;
        let rates = self.storm.webhooks;
        let roll = dice.unit();
        if roll < rates.lost {
            Fate::Lost
        } else if roll < rates.lost + rates.duplicated {
            Fate::Duplicated
        } else if roll < rates.lost + rates.duplicated + rates.reordered {
            Fate::Kept
        } else {
            Fate::Sent
        }
    }
}

/// Deliveries that wait for a later one to overtake them.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<Delivery>);

impl Kept {
    /// What is to be sent now that this delivery came up, in this order.
    pub(super) fn due(&mut self, delivery: Delivery, fate: Fate) -> Vec<Delivery> {
        match fate {
            Fate::Lost => vec![],
            Fate::Kept => {
                self.0.push(delivery);
                vec![]
            }
            Fate::Duplicated => self.after(vec![delivery.clone(), delivery]),
            Fate::Sent => self.after(vec![delivery]),
        }
    }

    /// All that wait, the latest first.
    pub(super) fn release(&mut self) -> Vec<Delivery> {
        self.after(vec![])
    }

    fn after(&mut self, mut first: Vec<Delivery>) -> Vec<Delivery> {
        first.extend(self.0.drain(..).rev());
        first
    }
}
