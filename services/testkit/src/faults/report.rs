//! What a run came to, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How long it was disturbed, in seconds.
    pub seconds: u64,
    /// Edits at GitHub, by kind.
    pub edits: BTreeMap<&'static str, u64>,
    /// Faults, by kind; GitHub's begin with its name.
    pub faults: BTreeMap<String, u64>,
    /// Messages that were published to become dead letters.
    pub planted: usize,
    /// Dead letters, each subject once.
    pub letters: usize,
    /// Subjects of dead letters that were not planted.
    pub unplanted: Vec<String>,
    /// Subjects that were planted and did not become dead letters.
    pub missing: Vec<String>,
    /// Services that ended although nobody ended them.
    pub ended: BTreeSet<&'static str>,
    /// How long it took until nothing waited any more; none if that never happened.
    pub catch_up: Option<Duration>,
    /// What waited for ever.
    pub stuck: Option<String>,
    /// Where the mirror differs from the truth, a line each.
    pub differences: Vec<String>,
    /// The most memory that each service had resident, in bytes.
    pub memory: BTreeMap<&'static str, u64>,
    /// The folder of all logs, kept where something is wrong.
    pub logs: Option<PathBuf>,
}

impl Report {
    /// Nothing is wrong, and something was tried.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let nothing_wrong = self.differences.is_empty() && self.unplanted.is_empty() && self.missing.is_empty();
        nothing_wrong
            && self.ended.is_empty()
            && self.catch_up.is_some()
            && self.edited() > 0
            && !self.faults.is_empty()
    }

    /// How many edits there were.
    #[must_use]
    pub fn edited(&self) -> u64 {
        self.edits.values().sum()
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "seed": self.seed,
            "seconds": self.seconds,
            "good": self.is_good(),
            "edits": self.edits,
            "faults": self.faults,
            "dead_letters": {
                "planted": self.planted,
                "found": self.letters,
                "unplanted": self.unplanted,
                "missing": self.missing,
            },
            "ended_by_themselves": self.ended,
            "catch_up_s": self.catch_up.map(|time| time.as_secs_f64()),
            "stuck": self.stuck,
            "differences": self.differences,
            "memory_high_water_bytes": self.memory,
            "logs": self.logs,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}, {} s of faults", self.seed, self.seconds)?;
        writeln!(f, "  edits         {}", sum(&self.edits))?;
        writeln!(f, "  faults        {}", sum(&self.faults))?;
        writeln!(f, "  dead letters  {} found, {} planted", self.letters, self.planted)?;
        for (what, subjects) in [("not planted", &self.unplanted), ("planted, not found", &self.missing)] {
            for subject in subjects {
                writeln!(f, "    {what}: {subject}")?;
            }
        }
        for name in &self.ended {
            writeln!(f, "  ended         {name} ended by itself")?;
        }
        match (&self.catch_up, &self.stuck) {
            (Some(time), _) => writeln!(f, "  caught up     after {:.1} s", time.as_secs_f64())?,
            (None, stuck) => writeln!(
                f,
                "  caught up     never; there waits\n{}",
                stuck.as_deref().unwrap_or("?")
            )?,
        }
        let memory = self
            .memory
            .iter()
            .map(|(name, bytes)| format!("{name} {} MB", bytes >> 20));
        writeln!(f, "  memory        {}", memory.collect::<Vec<_>>().join(", "))?;
        write!(f, "  differences   {}", self.differences.len())?;
        for difference in self.differences.iter().take(50) {
            write!(f, "\n    {difference}")?;
        }
        if let Some(folder) = &self.logs {
            write!(f, "\n  logs          {}", folder.display())?;
        }
        Ok(())
    }
}

/// `<sum>: <count> <kind>, …`
fn sum<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    let each: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("{}: {}", counts.values().sum::<u64>(), each.join(", "))
}
