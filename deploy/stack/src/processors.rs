//! Which processors a server may use, so that a bench can give one some of its own.
//!
//! Threads and programs inherit what the thread may use that starts them; Java makes its pools as large as that.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Some of this machine's processors.
#[derive(Debug, Clone, Copy)]
pub struct Processors(CpuSet);

impl Processors {
    /// Those that this thread may use.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ours() -> Result<Self> {
        sched_getaffinity(None).map(Self).context("which processors are ours")
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.count()
    }

    /// In two: the first half, which has one more if they are odd, and the rest. `None` if there is but one.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let (mut first, mut rest) = (CpuSet::new(), CpuSet::new());
        let all = (0..CpuSet::MAX_CPU).filter(|processor| self.0.is_set(*processor));
        for (place, processor) in all.enumerate() {
            let half = if place < self.count().div_ceil(2) as usize {
                &mut first
            } else {
                &mut rest
            };
            half.set(processor);
        }
        (rest.count() > 0).then_some((Self(first), Self(rest)))
    }

    /// From now on this thread, and whatever it starts, uses these alone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep_to(&self) -> Result<()> {
        sched_setaffinity(None, &self.0).context("cannot choose processors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(processors: &[usize]) -> Processors {
        let mut set = CpuSet::new();
        processors.iter().for_each(|processor| set.set(*processor));
        Processors(set)
    }

    fn halves(processors: &[usize]) -> Option<(CpuSet, CpuSet)> {
        set(processors).halves().map(|(first, rest)| (first.0, rest.0))
    }

    #[test]
    fn every_processor_is_in_one_half_and_one_alone_has_none() {
        assert_eq!(halves(&[0, 1]), Some((set(&[0]).0, set(&[1]).0)));
        assert_eq!(halves(&[2, 5, 7]), Some((set(&[2, 5]).0, set(&[7]).0)));
        assert_eq!(halves(&[3]), None);
    }

    #[test]
    fn a_thread_and_what_it_starts_keep_to_them() {
        let ours = Processors::ours().expect("the system tells");
        let Some((_, rest)) = ours.halves() else { return };
        let started = std::thread::spawn(move || {
            rest.keep_to().expect("they are ours");
            let inside = std::thread::spawn(|| Processors::ours().expect("the system tells").count());
            inside.join().expect("it does not panic")
        });
        assert_eq!(started.join().expect("it does not panic"), rest.count());
        let still = Processors::ours().expect("the system tells");
        assert_eq!(still.count(), ours.count(), "another thread's are as before");
    }
}
