//! Where an indexer writes: the indices that readers see, or one generation that they do not see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bugstream_archive::Side;
use bugstream_archive::names::{Index, Kind, Names};

/// Which indices are written. Clones agree on whether they are read.
#[derive(Debug, Clone)]
pub struct Target {
    place: Place,
    /// For the public and the private side of each kind, in the order of [`Kind::ALL`].
    aliases: Arc<[[String; 2]; 2]>,
    only: Option<Kind>,
    is_read: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Live,
    Generation(u32),
    Past(u32),
}

impl Target {
    /// Whatever generation is live at the moment of a write.
    #[must_use]
    pub fn live(names: Names) -> Self {
        Self::new(&names, Place::Live, None, true)
    }

    /// One generation, or of it the indices of one kind.
    #[must_use]
    pub fn generation(names: Names, generation: u32, only: Option<Kind>) -> Self {
        Self::new(&names, Place::Generation(generation), only, true)
    }

    /// The same of a generation that is filled, so that nobody reads it before [`Target::will_be_read`].
    #[must_use]
    pub fn filled(names: Names, generation: u32, only: Option<Kind>) -> Self {
        Self::new(&names, Place::Generation(generation), only, false)
    }

    /// The generation that shows a past time, or of it the index of one kind. Both sides of the privacy wall lie in one
    /// index there.
    #[must_use]
    pub fn past(names: Names, generation: u32, only: Option<Kind>) -> Self {
        Self::new(&names, Place::Past(generation), only, false)
    }

    fn new(names: &Names, place: Place, only: Option<Kind>, is_read: bool) -> Self {
        let alias = |kind, side| match place {
            Place::Live => names.live_alias(kind, side),
            Place::Generation(generation) => names.generation_write_alias(Index { kind, side, generation }),
            Place::Past(generation) => names.past_write_alias(kind, generation),
        };
        Self {
            place,
            aliases: Arc::new(Kind::ALL.map(|kind| Side::ALL.map(|side| alias(kind, side)))),
            only,
            is_read: Arc::new(is_read.into()),
        }
    }

    /// Whether someone may read this between two writes, now or soon: then the order of writes matters.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_read.load(Ordering::SeqCst)
    }

    /// From now on someone may; whatever began to be written before must be done first.
    pub fn will_be_read(&self) {
        self.is_read.store(true, Ordering::SeqCst);
    }

    /// Whether readers see what is written.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.place, Place::Live)
    }

    /// Whether documents of that kind are written at all.
    #[must_use]
    pub fn takes(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// The alias through which documents of a kind and side are written.
    #[must_use]
    pub fn alias(&self, kind: Kind, side: Side) -> &str {
        let [issues, timelines] = &*self.aliases;
        let [public, private] = match kind {
            Kind::Issues => issues,
            Kind::Timelines => timelines,
        };
        match side {
            Side::Public => public,
            Side::Private => private,
        }
    }
}
