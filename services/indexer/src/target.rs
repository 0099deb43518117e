//! Where an indexer writes: the indices that readers see, or one generation that they do not see.

use bugstream_archive::Side;
use bugstream_archive::names::{Index, Kind, Names};

/// Which indices are written.
#[derive(Debug, Clone)]
pub struct Target {
    names: Names,
    generation: Option<u32>,
    only: Option<Kind>,
}

impl Target {
    /// Whatever generation is live at the moment of a write.
    #[must_use]
    pub fn live(names: Names) -> Self {
        Self {
            names,
            generation: None,
            only: None,
        }
    }

    /// One generation, or of it the indices of one kind.
    #[must_use]
    pub fn generation(names: Names, generation: u32, only: Option<Kind>) -> Self {
        Self {
            names,
            generation: Some(generation),
            only,
        }
    }

    /// Whether readers see what is written.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.generation.is_none()
    }

    /// Whether documents of that kind are written at all.
    #[must_use]
    pub fn takes(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// The alias through which documents of a kind and side are written.
    #[must_use]
    pub fn alias(&self, kind: Kind, side: Side) -> String {
        match self.generation {
            None => self.names.live_alias(kind, side),
            Some(generation) => self.names.generation_write_alias(Index { kind, side, generation }),
        }
    }
}
