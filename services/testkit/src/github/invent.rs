//! Invented issues as a downloader stores them, without a simulator: benches want more than one could hold.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::seed::{self, Seeded};
use super::shapes::{self, MODERATION_TITLE, RepoRef};

/// An issue as GitHub would answer it, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invented {
    /// Its number.
    pub number: u64,
    /// The answer of `GET issue`.
    pub issue: Vec<u8>,
    /// All of its timeline, each event as GitHub would answer it.
    pub timeline: Vec<Vec<u8>>,
    /// Whether it waits for a moderator, so that all of it is private.
    pub is_private: bool,
    /// Positions of the events that nobody but members may see, in a public issue too.
    pub private_events: Vec<u32>,
}

/// Issues of these numbers: the same for the same seed. They refer to each other, so ask for hundreds at a time.
#[must_use]
pub fn invent(repository: &str, private: &str, numbers: RangeInclusive<u64>, seed: u64) -> Vec<Invented> {
    let about = |full_name: &str, private| RepoRef {
        id: shapes::id_of(full_name),
        full_name: full_name.to_owned(),
        private,
        has_issues: true,
    };
    let mut next_id = 17_000_000_000 + 1_000 * numbers.start();
    let made = seed::issues(
        &about(repository, false),
        &about(private, true),
        numbers,
        seed,
        &mut next_id,
    );
    made.into_iter().map(|seeded| invented(seeded, private)).collect()
}

fn invented(seeded: Seeded, private: &str) -> Invented {
    let Seeded { number, draft, .. } = seeded;
    let timeline: Vec<String> = draft.timeline.iter().map(Value::to_string).collect();
    // The seed names the private partner nowhere but in events that come from there.
    let positions = (0..).zip(&timeline).filter(|(_, event)| event.contains(private));
    let private_events: Vec<u32> = positions.map(|(position, _)| position).collect();
    Invented {
        number,
        is_private: draft.issue["title"] == MODERATION_TITLE && !private_events.is_empty(),
        private_events,
        issue: Value::Object(draft.issue).to_string().into_bytes(),
        timeline: timeline.into_iter().map(String::into_bytes).collect(),
    }
}
