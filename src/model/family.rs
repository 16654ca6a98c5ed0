//! Address families.

use crate::wire::uapi::nfproto;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Its number in `nfgenmsg`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => nfproto::IPV4,
            Family::V6 => nfproto::IPV6,
        }
    }
}
