//! What of an issue's past may go: events that were superseded long ago, the objects that only they name, and objects that
//! no event names. [`garbage`] decides, as a pure function; [`Collector`] lists, asks it, and removes.
//!
//! Invariants:
//! - The newest event of an issue stays, and with it the objects that it names. Which one is the newest the log says,
//!   never a listing.
//! - An event goes before the objects that only it named, so that no event of the log ever names what was collected. A
//!   collector that was killed in between leaves orphans, which the next one collects.
//! - An object that no event names may belong to a download, an import or a restore under way: it stays for
//!   [`Rules::orphans`] after it was stored, by the store's clock and by its revision, whichever says the shorter time.
//!   Whatever an event will name later that is older, the newest event names already: it is handed on from event to event.
//! - Objects are listed before the log is read.
//! - What is no object key of ours is left alone and counted, and nothing outside `issues/` is looked at.
//! - A log that was lost or set back makes orphans of everything that came after it. So where very many files are newer
//!   than what the log knows, nothing is collected until a person says so ([`CollectError::TooMany`]).
//!
//! Any number of collectors may run at once, and be killed at any time.

mod collector;
mod garbage;
#[cfg(test)]
mod simulation;

use std::time::Duration;

use serde::Deserialize;

use crate::config::{ConfigError, Settings};

pub use collector::{CollectError, Collected, Collector, Manner, Step};
pub use garbage::{Garbage, garbage};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The section `[retention]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// What goes.
    pub rules: Rules,
    /// Between two collections; `None` is off.
    pub interval: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    revisions_days: u32,
    collect_interval_s: u32,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            revisions_days: 30,
            collect_interval_s: 24 * 60 * 60,
        }
    }
}

impl Retention {
    /// Reads the section. 0 days keep every revision for ever; an interval of 0 collects only by hand.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let section: Section = settings.section("retention")?;
        let unless_zero = |number: u32, unit: Duration| (number > 0).then_some(unit * number);
        Ok(Self {
            rules: Rules {
                revisions: unless_zero(section.revisions_days, DAY),
                orphans: DAY,
            },
            interval: unless_zero(section.collect_interval_s, Duration::from_secs(1)),
        })
    }
}

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// An old revision, from when it was superseded; `None` for ever.
    pub revisions: Option<Duration>,
    /// An object that no event names, from when it was stored.
    pub orphans: Duration,
}
