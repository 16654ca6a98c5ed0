//! The headers of a message, learned from one: the kernel writes the next one mostly alike.
//!
//! To compare all headers of a message at once takes a quarter of the time of walking from
//! one to the next. What has the same ones has its values at the same places.

/// Attributes begin at multiples of it.
const WORD: usize = 4;
/// A message of 384 bytes is the longest that is learned: IPv6 and TCP with all that the
/// kernel keeps of every entry take some 350.
const WORDS: usize = 96;

/// The bytes that make a message one of its kind, and where they stand.
#[derive(Debug)]
pub struct HeaderTemplate {
    length: usize,
    bytes: [[u8; WORD]; WORDS],
    /// 0xff where a byte must be the same.
    mask: [[u8; WORD]; WORDS],
}

impl HeaderTemplate {
    /// The template of all messages that are as long as `payload`, until something is
    /// [fixed](HeaderTemplate::fix). None where it is longer than what is learned, or ends within a word.
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        if payload.len() > WORDS * WORD || !payload.len().is_multiple_of(WORD) {
            return None;
        }
        let mut template =
            HeaderTemplate { length: payload.len(), bytes: [[0; WORD]; WORDS], mask: [[0; WORD]; WORDS] };
        let places = template.bytes.as_flattened_mut().iter_mut();
        places.zip(payload).for_each(|(place, byte)| *place = *byte);
        Some(template)
    }

    /// From now on, the byte at `offset` must be what it is here. None where there is no such
    /// byte, so that the message must not be taken for known.
    #[must_use]
    pub fn fix(&mut self, offset: usize) -> Option<()> {
        let place = self.mask.as_flattened_mut().get_mut(..self.length)?.get_mut(offset)?;
        *place = 0xff;
        Some(())
    }

    /// Whether `payload` is as long, and has the same bytes wherever that is asked for.
    #[inline]
    #[must_use]
    pub fn matches(&self, payload: &[u8]) -> bool {
        if payload.len() != self.length {
            return false;
        }
        let (words, _) = payload.as_chunks();
        let difference = words.iter().zip(&self.bytes).zip(&self.mask).fold(0, |difference, ((word, bytes), mask)| {
            let [word, bytes, mask] = [word, bytes, mask].map(|word| u32::from_ne_bytes(*word));
            difference | (word ^ bytes) & mask
        });
        difference == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_that_is_fixed_must_be_the_same_and_no_other() {
        for length in (0..=WORDS * WORD).step_by(WORD) {
            let payload: Vec<u8> = (0..length).map(|number| number as u8).collect();
            for fixed in 0..length {
                let mut template = HeaderTemplate::of(&payload).unwrap();
                template.fix(fixed).unwrap();
                assert!(template.matches(&payload) && template.fix(length).is_none());
                for changed in (0..length).filter(|place| place.abs_diff(fixed) < 20) {
                    let mut other = payload.clone();
                    other[changed] ^= 1;
                    assert_eq!(template.matches(&other), changed != fixed, "{length} {fixed} {changed}");
                }
            }
        }
    }

    #[test]
    fn a_message_of_another_length_has_another_shape() {
        let payload = [0; 64];
        let template = HeaderTemplate::of(&payload).unwrap();
        assert!(!template.matches(&payload[..60]) && !template.matches(&[0; 68]) && !template.matches(&[]));
        assert!(HeaderTemplate::of(&[0; WORDS * WORD + WORD]).is_none());
        assert!(HeaderTemplate::of(&[0; 61]).is_none());
    }
}
