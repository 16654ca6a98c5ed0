//! Random numbers that are the same everywhere: integers only, each entry drawn
//! from the seed and its own number.

/// A row of random numbers (splitmix64).
pub struct Sampler(u64);

impl Sampler {
    pub fn new(seed: u64, index: u64) -> Self {
        // Two rounds, so that neighbouring seeds and numbers share nothing.
        let mut draw = Sampler(seed);
        Sampler(draw.bits() ^ Sampler(index).bits())
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Evenly in `0..limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        let high = self.bits() >> 32;
        ((high * u64::from(limit)) >> 32) as u32
    }

    /// In `0..limit`, each power of two as likely as the next: a few low numbers
    /// come often, most come rarely.
    pub fn skewed(&mut self, limit: u32) -> u32 {
        let magnitudes = limit.checked_ilog2().unwrap_or(0) + 1;
        let shift = self.below(magnitudes);
        self.below(limit) >> shift
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, share: u32) -> bool {
        self.below(1000) < share
    }

    /// One of `others`, each in so many of a thousand cases, or else `usual`.
    pub fn weighted<T: Copy>(&mut self, usual: T, others: &[(u32, T)]) -> T {
        let mut at = self.below(1000);
        for (share, value) in others {
            if at < *share {
                return *value;
            }
            at -= share;
        }
        usual
    }
}
