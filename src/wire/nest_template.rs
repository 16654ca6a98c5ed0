//! Nests that the kernel always writes in the same way.
//!
//! A dumped entry has some thirty attributes, most of them in nests of one
//! template. To compare the headers of such a nest all at once, and then to read
//! its values where they must be, takes a tenth of the time of walking it. What
//! does not have the template is walked.

use super::header_template::HeaderTemplate;

/// The headers of a nest of `N` bytes, and where they stand.
#[derive(Debug)]
pub struct NestTemplate<const N: usize> {
    headers: [u8; N],
    /// 0xff where a header stands.
    mask: [u8; N],
}

impl<const N: usize> NestTemplate<N> {
    /// A nest_template of attributes, each as its offset, its number with its
    /// `NLA_F_*` flags, and its length with its header.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "constants are made of it: out of bounds does not compile")]
    pub const fn new<const A: usize>(attributes: [(usize, u16, u16); A]) -> Self {
        let (mut headers, mut mask) = ([0; N], [0; N]);
        let mut number = 0;
        while number < A {
            let (offset, kind, length) = attributes[number];
            let ([l0, l1], [k0, k1]) = (length.to_ne_bytes(), kind.to_ne_bytes());
            let header = [l0, l1, k0, k1];
            let mut place = 0;
            while place < header.len() {
                headers[offset + place] = header[place];
                mask[offset + place] = 0xff;
                place += 1;
            }
            number += 1;
        }
        NestTemplate { headers, mask }
    }

    /// The values of a nest that has this nest_template.
    #[inline]
    #[must_use]
    pub fn of<'a>(&self, nest: &'a [u8]) -> Option<Values<'a, N>> {
        let bytes: &[u8; N] = nest.try_into().ok()?;
        let places = bytes.iter().zip(&self.headers).zip(&self.mask);
        let difference = places.fold(0, |difference, ((byte, header), mask)| difference | ((byte ^ header) & mask));
        (difference == 0).then_some(Values { bytes })
    }

    /// `offset`, where a message has `nest`, with its headers made part of the message's template.
    /// None where it has not this nest_template.
    pub fn compile(&self, nest: &[u8], offset: usize, template: &mut HeaderTemplate) -> Option<usize> {
        self.of(nest)?;
        let mut headers = (offset..).zip(&self.mask).filter(|(_, mask)| **mask != 0);
        headers.try_for_each(|(place, _)| template.fix(place))?;
        Some(offset)
    }
}

/// The bytes of a nest whose nest_template is known.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a, const N: usize> {
    bytes: &'a [u8; N],
}

impl<'a, const N: usize> Values<'a, N> {
    /// The values of the nest at `offset` of a message whose template says that there is one with
    /// this nest_template. None where the message ends before it.
    #[inline]
    #[must_use]
    pub fn known(message: &'a [u8], offset: usize) -> Option<Self> {
        message.get(offset..)?.first_chunk().map(|bytes| Values { bytes })
    }

    /// The `M` bytes at `offset`, or zeroes outside of the nest.
    #[inline]
    #[must_use]
    pub fn at<const M: usize>(&self, offset: usize) -> [u8; M] {
        self.bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; M])
    }
}
