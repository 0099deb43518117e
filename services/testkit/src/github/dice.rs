//! Chance that a seed repeats, for invented issues and for faults.

/// SplitMix64: eight lines that never change, so that a seed means the same for ever, whatever a library does.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// The dice of a text (FNV-1a): the same for the same text.
    pub(super) fn of(text: &str) -> Self {
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.roll() % (to - from + 1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    /// A number from 0 to less than 1.
    pub(super) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a f64 holds exactly")]
        let unit = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    /// True in this share (0 to 1) of all rolls.
    pub(super) fn share(&mut self, rate: f64) -> bool {
        self.unit() < rate
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.roll() % from.len() as u64).expect("smaller than the length of a slice")]
    }
}
