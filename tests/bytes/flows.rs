//! Arbitrary entries, and what a kernel would send of them.

use std::net::IpAddr;

use ctnl::model::{Family, Flow, L4, Protocol, Status, Tuple};
use proptest::prelude::*;

use crate::netlink::{attribute, entry, nest};

/// Any entry, also one that no kernel would send: half a tuple, no id, a family
/// that does not fit its addresses.
pub fn any_flow() -> impl Strategy<Value = Flow> {
    let identity = (any_tuple(), any_tuple(), prop::option::weighted(0.3, any::<u16>()));
    let rest = (prop::option::weighted(0.9, any::<u32>()), any_family(), any::<u32>(), any::<Option<u32>>());
    (identity, rest).prop_map(|((orig, reply, zone_both), (id, family, status, timeout))| {
        let mut flow = Flow::new(orig, reply);
        flow.family = family.map_or(flow.family, Family::from);
        flow.status = Status::from_bits_retain(status);
        (flow.zone_both, flow.id, flow.timeout) = (zone_both, id, timeout);
        flow
    })
}

/// Mostly none, which is the one that fits.
fn any_family() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![8 => Just(None), 1 => any::<u8>().prop_map(Some), 1 => prop::sample::select(vec![0, 2, 10]).prop_map(Some)]
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    let addresses = prop_oneof![
        4 => (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        4 => (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        1 => (any::<IpAddr>(), any::<IpAddr>()),
    ];
    let zone = prop::option::weighted(0.2, any::<u16>());
    (addresses, any_protocol(), zone, prop::bool::weighted(0.1)).prop_map(
        |((src, dst), (protocol, l4), zone, has_unknown_part)| Tuple { src, dst, protocol, l4, zone, has_unknown_part },
    )
}

fn any_protocol() -> impl Strategy<Value = (Protocol, L4)> {
    let ports = (any::<u16>(), any::<u16>()).prop_map(|(src, dst)| L4::Ports { src, dst });
    let icmp = (any::<u8>(), any::<u8>(), any::<u16>()).prop_map(|(kind, code, id)| L4::Icmp { kind, code, id });
    let any_l4 = prop_oneof![Just(L4::None), ports.clone(), icmp.clone()];
    let with_ports = prop::sample::select(vec![6, 17, 136, 132, 33, 47]).prop_map(Protocol::from);
    let with_icmp = prop::sample::select(vec![1, 58]).prop_map(Protocol::from);
    prop_oneof![
        3 => (with_ports, ports),
        2 => (with_icmp, icmp),
        2 => (any::<u8>().prop_map(Protocol::from), any_l4.clone()),
        // The same number, spelled so that no comparison with a name finds it.
        1 => (any::<u8>().prop_map(Protocol::Other), any_l4.clone()),
        1 => (prop::sample::select(vec![1, 6, 17, 58]).prop_map(Protocol::Other), any_l4),
    ]
}

/// The bytes of a tuple nest.
pub fn tuple(kind: u16, tuple: &Tuple) -> Vec<u8> {
    let address = |v4: u16, v6: u16, address: IpAddr| match address {
        IpAddr::V4(address) => attribute(v4, &address.octets()),
        IpAddr::V6(address) => attribute(v6, &address.octets()),
    };
    let number = u8::from(tuple.protocol);
    let mut l4 = vec![attribute(1, &[number])];
    match tuple.l4 {
        L4::None => {}
        L4::Ports { src, dst } => {
            l4.extend([attribute(2, &src.to_be_bytes()), attribute(3, &dst.to_be_bytes())]);
        }
        L4::Icmp { kind, code, id } => {
            let first = if number == 58 { 7 } else { 4 };
            let [id_at, kind_at, code_at] = [first, first + 1, first + 2];
            l4.extend([attribute(id_at, &id.to_be_bytes()), attribute(kind_at, &[kind]), attribute(code_at, &[code])]);
        }
    }
    if tuple.has_unknown_part {
        l4.push(attribute(77, &[1, 2, 3]));
    }
    let mut parts = vec![nest(1, &[address(1, 3, tuple.src), address(2, 4, tuple.dst)]), nest(2, &l4)];
    parts.extend(tuple.zone.map(|zone| attribute(3, &zone.to_be_bytes())));
    nest(kind, &parts)
}

/// The message of a dump about `flow`.
pub fn dumped(sequence: u32, flow: &Flow) -> Vec<u8> {
    let mut attributes = vec![tuple(1, &flow.orig), tuple(2, &flow.reply)];
    attributes.push(attribute(3, &flow.status.bits().to_be_bytes()));
    attributes.extend(flow.timeout.map(|timeout| attribute(7, &timeout.to_be_bytes())));
    attributes.extend(flow.zone_both.map(|zone| attribute(18, &zone.to_be_bytes())));
    attributes.extend(flow.id.map(|id| attribute(12, &id.to_be_bytes())));
    entry(sequence, flow.family.number(), &attributes)
}
