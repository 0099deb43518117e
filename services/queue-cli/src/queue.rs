//! The two queues as a person names them, and the streams behind them.

use bugstream_proto::{Verb, topology};
use clap::ValueEnum;

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Queue {
    /// Issues to fetch from GitHub, whatever they wait for
    Download,
    /// Issues to index again from what the archive has
    Index,
}

impl Queue {
    /// Both, in the order in which they are printed.
    pub const ALL: [Self; 2] = [Self::Download, Self::Index];

    /// Its name on the command line and in the output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Index => "index",
        }
    }

    /// The stream that holds it, all its subject families together and nothing else.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Self::Download => topology::DOWNLOADS,
            Self::Index => topology::INDEXING,
        }
    }

    /// The verbs of its subjects.
    pub(crate) fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Download => topology::DOWNLOADS_VERBS,
            Self::Index => topology::INDEXING_VERBS,
        }
    }

    /// The first token of every subject in it.
    pub(crate) fn families(self) -> &'static [&'static str] {
        match self {
            Self::Download => &["debounce", "deadline", "retry", "download", "backfill"],
            Self::Index => &["retry", "index"],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn verbs_and_families_are_those_of_the_stream() {
        for queue in Queue::ALL {
            let streams = topology::streams();
            let stream = streams.iter().find(|stream| stream.name == queue.stream());
            let declared: BTreeSet<_> = stream
                .expect("the contract declares it")
                .subjects
                .iter()
                .cloned()
                .collect();
            let firsts: BTreeSet<_> = declared
                .iter()
                .filter_map(|subject| subject.split('.').next())
                .collect();
            assert_eq!(firsts, queue.families().iter().copied().collect());
            assert_eq!(declared, queue.verbs().iter().map(|verb| verb.wildcard()).collect());
        }
    }
}
