//! Reproducible random numbers: integer arithmetic only, seeded per entry with the
//! population's seed and the entry's index.

/// A sequence of pseudo-random numbers (splitmix64).
pub struct Sampler(u64);

impl Sampler {
    pub fn new(seed: u64, index: u64) -> Self {
        // Both are mixed once, so that neighbouring seeds and indices give unrelated sequences.
        Sampler(Sampler(seed).bits() ^ Sampler(index).bits())
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in `0..limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        let high = self.bits() >> 32;
        ((high * u64::from(limit)) >> 32) as u32
    }

    /// In `0..limit`, log-uniform: each power of two is equally likely, so low numbers are
    /// frequent and high numbers rare.
    pub fn skewed(&mut self, limit: u32) -> u32 {
        let magnitudes = limit.checked_ilog2().unwrap_or(0) + 1;
        let shift = self.below(magnitudes);
        self.below(limit) >> shift
    }

    /// True with a probability of `share` in 1000.
    pub fn per_mille(&mut self, share: u32) -> bool {
        self.below(1000) < share
    }

    /// One of `others`, each with its probability in 1000, else `usual`.
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
