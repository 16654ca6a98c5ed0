//! Address families.

use super::uapi::nfproto;

/// The address family of a message (`nfgen_family` of `struct nfgenmsg`).
#[doc(alias = "nfgen_family")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    #[doc(alias = "NFPROTO_IPV4")]
    V4,
    /// IPv6.
    #[doc(alias = "NFPROTO_IPV6")]
    V6,
    /// Another number.
    Other(u8),
}

impl Family {
    /// Any family.
    #[doc(alias = "NFPROTO_UNSPEC")]
    pub const UNSPEC: Family = Family::Other(nfproto::UNSPEC);
    /// IPv4 and IPv6 alike, in objects of nf_tables.
    #[doc(alias = "NFPROTO_INET")]
    pub const INET: Family = Family::Other(nfproto::INET);

    /// The kernel's number (`NFPROTO_*`).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Family::V4 => nfproto::IPV4,
            Family::V6 => nfproto::IPV6,
            Family::Other(number) => number,
        }
    }

    /// `ipv4` or `ipv6`; `None` for another family.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Family::V4 => Some("ipv4"),
            Family::V6 => Some("ipv6"),
            Family::Other(_) => None,
        }
    }
}

/// The family of each number. A load, since comparisons are mispredicted in a dump that alternates
/// between both families.
const FAMILIES: [Family; 256] = families();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: out of bounds does not compile")]
const fn families() -> [Family; 256] {
    let mut families = [Family::UNSPEC; 256];
    let mut number = u8::MAX;
    while number > 0 {
        families[number as usize] = Family::Other(number);
        number -= 1;
    }
    families[nfproto::IPV4 as usize] = Family::V4;
    families[nfproto::IPV6 as usize] = Family::V6;
    families
}

impl From<u8> for Family {
    #[inline]
    fn from(number: u8) -> Self {
        FAMILIES.get(usize::from(number)).copied().unwrap_or(Family::Other(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_carried() {
        for number in 0..=u8::MAX {
            assert_eq!(Family::from(number).number(), number);
        }
        assert_eq!((Family::from(2), Family::from(10), Family::from(7)), (Family::V4, Family::V6, Family::Other(7)));
    }
}
