//! Filters that the kernel applies to a dump (`ctnetlink_filter_match` in
//! net/netfilter/nf_conntrack_netlink.c), as far as they are correct.
//!
//! A kernel silently ignores attributes that it does not support, so the caller checks every entry
//! again. Filters that are wrong cannot be expressed here: IPv6 addresses (inverted), ports of
//! protocols other than TCP and UDP (ignored), fields of the reply direction (wrong before 5.12),
//! prefixes and ranges (not supported).
//!
//! A filter saves no kernel time: the kernel walks every bucket of every namespace, and with few matches
//! it does so in a single datagram, with bottom halves disabled.

use std::net::Ipv4Addr;

use nix::errno::Errno;

use crate::model::{Family, Protocol};
use crate::netlink::Error;
use crate::wire::AttributeWriter;
use crate::wire::uapi::{cta, cta_filter, cta_ip, cta_proto, cta_tuple};

/// Conditions that the kernel applies to the entries of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelFilter {
    /// Mark and mask (Linux 3.x).
    #[doc(alias = "CTA_MARK_MASK")]
    pub mark: Option<Masked>,
    /// Status bits and mask (Linux 5.15).
    #[doc(alias = "CTA_STATUS_MASK")]
    pub status: Option<Masked>,
    /// The zone of either direction, not 0 (Linux 6.8).
    #[doc(alias = "CTA_ZONE")]
    pub zone: Option<u16>,
    /// The original direction (Linux 5.8); takes the family in the request.
    #[doc(alias = "CTA_FILTER")]
    pub orig: OrigFilter,
}

/// A value and the mask of the bits that it is compared in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Masked {
    /// It has no bit outside of `mask`.
    pub value: u32,
    /// The bits that are compared.
    pub mask: u32,
}

impl Masked {
    /// Whether `bits` match.
    #[must_use]
    pub fn matches(self, bits: u32) -> bool {
        bits & self.mask == self.value
    }
}

/// Exact values of the original direction's tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrigFilter {
    /// IPv4 source address.
    pub src: Option<Ipv4Addr>,
    /// IPv4 destination address.
    pub dst: Option<Ipv4Addr>,
    /// Layer 4 protocol.
    pub protocol: Option<Protocol>,
    /// Source port; sent for TCP and UDP only.
    pub sport: Option<u16>,
    /// Destination port; sent for TCP and UDP only.
    pub dport: Option<u16>,
}

impl KernelFilter {
    /// Whether there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == KernelFilter::default()
    }

    /// Whether `error` is the answer of a kernel that does not support the filter.
    #[must_use]
    pub fn is_unknown_to(error: &Error) -> bool {
        matches!(error, Error::Refused(_)) && matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EINVAL))
    }

    /// Writes the filter. A value without its mask, or a mask without its value, has another meaning:
    /// always both.
    pub(super) fn emit(&self, writer: &mut AttributeWriter<'_>, family: Option<Family>) {
        for (masked, value, mask) in
            [(self.mark, cta::MARK, cta::MARK_MASK), (self.status, cta::STATUS, cta::STATUS_MASK)]
        {
            if let Some(masked) = masked {
                writer.put(value, &(masked.value & masked.mask).to_be_bytes());
                writer.put(mask, &masked.mask.to_be_bytes());
            }
        }
        if let Some(zone) = self.zone {
            writer.put(cta::ZONE, &zone.to_be_bytes());
        }
        // Without a family the kernel refuses the rest.
        if let Some(family) = family {
            self.orig.emit(writer, family);
        }
    }
}

impl OrigFilter {
    fn emit(&self, writer: &mut AttributeWriter<'_>, family: Family) {
        let v4 = |address: Option<Ipv4Addr>| address.filter(|_| family == Family::V4);
        let port = |port: Option<u16>| port.filter(|_| matches!(self.protocol, Some(Protocol::Tcp | Protocol::Udp)));
        let addresses =
            [(v4(self.src), cta_ip::V4_SRC, cta_filter::IP_SRC), (v4(self.dst), cta_ip::V4_DST, cta_filter::IP_DST)];
        let ports = [
            (port(self.sport), cta_proto::SRC_PORT, cta_filter::SRC_PORT),
            (port(self.dport), cta_proto::DST_PORT, cta_filter::DST_PORT),
        ];
        let mut flags = self.protocol.map_or(0, |_| cta_filter::PROTO_NUM);
        flags |= addresses.iter().filter(|row| row.0.is_some()).map(|row| row.2).sum::<u32>();
        flags |= ports.iter().filter(|row| row.0.is_some()).map(|row| row.2).sum::<u32>();
        if flags == 0 {
            return;
        }
        writer.nest(cta::FILTER, |filter| filter.put(cta_filter::ORIG_FLAGS, &flags.to_ne_bytes()));
        writer.nest(cta::TUPLE_ORIG, |tuple| {
            if addresses.iter().any(|row| row.0.is_some()) {
                tuple.nest(cta_tuple::IP, |ip| {
                    for (address, kind, _) in addresses {
                        address.into_iter().for_each(|address| ip.put(kind, &address.octets()));
                    }
                });
            }
            if let Some(protocol) = self.protocol {
                tuple.nest(cta_tuple::PROTO, |proto| {
                    proto.put(cta_proto::NUM, &[protocol.into()]);
                    for (port, kind, _) in ports {
                        port.into_iter().for_each(|port| proto.put(kind, &port.to_be_bytes()));
                    }
                });
            }
        });
    }
}
