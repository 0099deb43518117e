//! Bounds the memory of what is read ahead, whatever the sizes of issues are.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What issues on their way may take together.
const TOTAL: u64 = 256 << 20;

/// In pieces of this size, since a semaphore counts no further than 2^29.
const PIECE: u64 = 1 << 12;

/// Memory to be shared.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(pieces(TOTAL) as usize)))
    }
}

impl Budget {
    /// Waits for so many bytes. Who asked first gets them first; what is larger than everything gets everything.
    pub(crate) async fn share(&self, bytes: u64) -> Share {
        let permit = Arc::clone(&self.0).acquire_many_owned(pieces(bytes.min(TOTAL))).await;
        Share(permit.expect("nobody closes it"))
    }
}

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).expect("at most that of the total")
}
