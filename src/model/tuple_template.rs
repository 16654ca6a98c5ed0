//! Tuples of two addresses and two ports, decoded by fixed offsets.
//!
//! Justified by a measurement: two tuples are half of the attributes of a dumped entry, and this
//! is part of 55 → 20 ns per entry in a replayed dump (ARCHITECTURE.md).

use netlink_packet_core::NLA_F_NESTED;

use super::protocol::Protocol;
use super::tuple::{L4, Tuple};
use crate::wire::uapi::{cta_ip, cta_proto, cta_tuple};
use crate::wire::{HeaderTemplate, NestTemplate, NestValues};

/// TCP, UDP and other protocols with ports over IPv4, as `ctnetlink_dump_tuples` in
/// net/netfilter/nf_conntrack_netlink.c writes them.
const V4_PORTS: NestTemplate<48> = NestTemplate::new([
    (0, cta_tuple::IP | NLA_F_NESTED, 20),
    (4, cta_ip::V4_SRC, 8),
    (12, cta_ip::V4_DST, 8),
    (20, cta_tuple::PROTO | NLA_F_NESTED, 28),
    (24, cta_proto::NUM, 5),
    (32, cta_proto::SRC_PORT, 6),
    (40, cta_proto::DST_PORT, 6),
]);

/// The same over IPv6.
const V6_PORTS: NestTemplate<72> = NestTemplate::new([
    (0, cta_tuple::IP | NLA_F_NESTED, 44),
    (4, cta_ip::V6_SRC, 20),
    (24, cta_ip::V6_DST, 20),
    (44, cta_tuple::PROTO | NLA_F_NESTED, 28),
    (48, cta_proto::NUM, 5),
    (56, cta_proto::SRC_PORT, 6),
    (64, cta_proto::DST_PORT, 6),
]);

/// The offset of a tuple of two addresses and two ports in the messages of a template.
#[derive(Debug, Clone, Copy)]
pub(super) enum TupleOffset {
    V4(usize),
    V6(usize),
}

impl TupleOffset {
    /// Fixes the headers of `nest`, which is at `offset` of a message, in the template of that
    /// message. `None` for another kind of tuple.
    pub(super) fn compile(nest: &[u8], offset: usize, template: &mut HeaderTemplate) -> Option<Self> {
        let v4 = V4_PORTS.compile(nest, offset, template).map(TupleOffset::V4);
        v4.or_else(|| V6_PORTS.compile(nest, offset, template).map(TupleOffset::V6))
    }

    /// Decodes the tuple at this offset of `message` into `tuple`, which has to be of this kind:
    /// zone and unknown parts are not reset.
    #[inline]
    pub(super) fn read(self, message: &[u8], tuple: &mut Tuple) -> Option<()> {
        match self {
            TupleOffset::V4(offset) => tuple.read_v4(&NestValues::at_offset(message, offset)?),
            TupleOffset::V6(offset) => tuple.read_v6(&NestValues::at_offset(message, offset)?),
        }
        Some(())
    }
}

impl Tuple {
    /// Decodes a nest of two addresses and two ports; false for another kind of nest.
    #[inline]
    pub(super) fn decode_ports_nest(&mut self, nest: &[u8]) -> bool {
        if let Some(values) = V4_PORTS.values(nest) {
            self.read_v4(&values);
        } else if let Some(values) = V6_PORTS.values(nest) {
            self.read_v6(&values);
        } else {
            return false;
        }
        (self.zone, self.has_unknown_part) = (None, false);
        true
    }

    #[inline]
    fn read_v4(&mut self, values: &NestValues<'_, 48>) {
        (self.src, self.dst) = (values.at::<4>(8).into(), values.at::<4>(16).into());
        self.read_ports(values.at(28), [values.at(36), values.at(44)]);
    }

    #[inline]
    fn read_v6(&mut self, values: &NestValues<'_, 72>) {
        (self.src, self.dst) = (values.at::<16>(8).into(), values.at::<16>(28).into());
        self.read_ports(values.at(52), [values.at(60), values.at(68)]);
    }

    #[inline]
    fn read_ports(&mut self, protocol: [u8; 1], [sport, dport]: [[u8; 2]; 2]) {
        self.protocol = Protocol::from(u8::from_ne_bytes(protocol));
        self.l4 = L4::Ports { src: u16::from_be_bytes(sport), dst: u16::from_be_bytes(dport) };
    }
}
