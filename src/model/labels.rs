//! Connection labels: 128 bits, set by rules (`ct label set`).

/// The labels of an entry.
#[doc(alias = "nf_conn_labels")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Labels(u128);

impl Labels {
    /// Labels from the value of `CTA_LABELS`: 32-bit words in host order, lowest first. Bytes
    /// beyond 16 are ignored; a shorter value is padded with zeroes.
    #[doc(alias = "CTA_LABELS")]
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.as_chunks::<4>().0.iter().take(4).map(|word| u32::from_ne_bytes(*word));
        Labels(words.enumerate().fold(0, |bits, (i, word)| bits | u128::from(word) << (32 * i)))
    }

    /// The value of `CTA_LABELS`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        if cfg!(target_endian = "little") {
            return self.0.to_le_bytes();
        }
        let mut bytes = self.0.to_le_bytes();
        bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        bytes
    }

    /// Labels with these numbers set; numbers of 128 and above are ignored.
    #[must_use]
    pub fn from_numbers(numbers: impl IntoIterator<Item = u8>) -> Self {
        Labels(numbers.into_iter().filter(|n| *n < 128).fold(0, |bits, n| bits | 1 << n))
    }

    /// Whether the label `number` is set.
    #[must_use]
    pub fn contains(self, number: u8) -> bool {
        number < 128 && self.0 >> number & 1 == 1
    }

    /// The numbers of the labels that are set, lowest first.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..128).filter(move |n| self.contains(*n))
    }

    /// Whether no label is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Labels from all 128 bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Labels(bits)
    }

    /// All 128 bits.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }
}

impl std::ops::BitOr for Labels {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Labels(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_a_round_trip_through_bytes() {
        let labels = Labels::from_numbers([0, 31, 32, 77, 127]);
        assert_eq!(Labels::from_bytes(&labels.to_bytes()), labels);
        assert_eq!(labels.numbers().collect::<Vec<_>>(), [0, 31, 32, 77, 127]);
    }

    #[test]
    fn a_number_beyond_the_last_label_is_not_set() {
        assert!(!Labels(u128::MAX).contains(128));
        assert!(Labels::from_numbers([200]).is_empty());
    }
}
