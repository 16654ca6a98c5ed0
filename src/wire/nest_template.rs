//! Nests whose attributes are at fixed offsets.
//!
//! Justified by a measurement: a dumped entry has some thirty attributes, most of them in nests
//! that the kernel always writes alike. Comparing the headers of such a nest in one loop and
//! reading the values at their offsets takes a tenth of the time of iterating over its attributes
//! (part of 55 → 20 ns per entry in a replayed dump, ARCHITECTURE.md). A nest that does not match is
//! decoded attribute by attribute.

use super::header_template::HeaderTemplate;

/// A nest of `N` bytes whose attributes are at fixed offsets.
#[derive(Debug)]
pub struct NestTemplate<const N: usize> {
    headers: [u8; N],
    /// 0xff for each byte of a header.
    mask: [u8; N],
}

impl<const N: usize> NestTemplate<N> {
    /// The template of a nest of these attributes: offset, number with `NLA_F_*` flags, and
    /// length including the header.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time: out of bounds does not compile")]
    pub const fn new<const A: usize>(attributes: [(usize, u16, u16); A]) -> Self {
        let (mut headers, mut mask) = ([0; N], [0; N]);
        let mut number = 0;
        while number < A {
            let (offset, kind, length) = attributes[number];
            let ([l0, l1], [k0, k1]) = (length.to_ne_bytes(), kind.to_ne_bytes());
            let header = [l0, l1, k0, k1];
            let mut byte_index = 0;
            while byte_index < header.len() {
                headers[offset + byte_index] = header[byte_index];
                mask[offset + byte_index] = 0xff;
                byte_index += 1;
            }
            number += 1;
        }
        NestTemplate { headers, mask }
    }

    /// The values of `nest`, if it matches the template.
    #[inline]
    #[must_use]
    pub fn values<'a>(&self, nest: &'a [u8]) -> Option<NestValues<'a, N>> {
        let bytes: &[u8; N] = nest.try_into().ok()?;
        let triples = bytes.iter().zip(&self.headers).zip(&self.mask);
        let difference = triples.fold(0, |difference, ((byte, header), mask)| difference | ((byte ^ header) & mask));
        (difference == 0).then_some(NestValues { bytes })
    }

    /// Fixes the headers of `nest`, which is at `offset` of a message, in the template of that
    /// message, and returns `offset`. `None` where the nest does not match.
    pub fn compile(&self, nest: &[u8], offset: usize, template: &mut HeaderTemplate) -> Option<usize> {
        self.values(nest)?;
        let mut headers = (offset..).zip(&self.mask).filter(|(_, mask)| **mask != 0);
        headers.try_for_each(|(offset, _)| template.fix(offset))?;
        Some(offset)
    }
}

/// The bytes of a nest that matches its template.
#[derive(Debug, Clone, Copy)]
pub struct NestValues<'a, const N: usize> {
    bytes: &'a [u8; N],
}

impl<'a, const N: usize> NestValues<'a, N> {
    /// The values of the nest at `offset` of a message that matches the template for which
    /// [`NestTemplate::compile`] returned the offset. `None` where the message is too short.
    #[inline]
    #[must_use]
    pub fn at_offset(message: &'a [u8], offset: usize) -> Option<Self> {
        message.get(offset..)?.first_chunk().map(|bytes| NestValues { bytes })
    }

    /// The `M` bytes at `offset` of the nest; zeroes beyond its end.
    #[inline]
    #[must_use]
    pub fn at<const M: usize>(&self, offset: usize) -> [u8; M] {
        self.bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; M])
    }
}
