//! How the kernel compares a field, in a dump request and in events.

use std::net::Ipv4Addr;

use crate::netlink::Size;
use crate::table::{DumpRequest, Masked};

/// How a dump request leaves out entries by an exact value of a field
/// (`ctnetlink_filter_match` in net/netfilter/nf_conntrack_netlink.c).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum DumpFilter {
    /// One number. A number that the kernel does not compare is not added to the request.
    Number(fn(&mut DumpRequest, u64)),
    /// One IPv4 address.
    Ipv4(fn(&mut DumpRequest, Ipv4Addr)),
    /// A number under a mask. The last one in the request is compared.
    Masked(fn(&mut DumpRequest, Masked)),
    /// Single bits that are set or not set.
    Bits(fn(&mut DumpRequest, Masked)),
}

/// Where the value of a field is in a message of an event.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum EventFilter {
    /// A number in the attribute at the end of `path`; without a path, `nfgen_family` of the
    /// header.
    Number {
        /// Attribute numbers, outermost first.
        path: &'static [u16],
        /// Its size.
        size: Size,
    },
    /// An address, whose family is that of the header.
    Address {
        /// Attribute numbers of the IPv4 address, outermost first.
        v4: &'static [u16],
        /// Those of the IPv6 address.
        v6: &'static [u16],
    },
}
