//! The filter of a request, as a filter of ctnl: there is one evaluator.

use std::io;
use std::net::IpAddr;

use anyhow::Result;
use ctnl::filter::{Context, Filter};
use ctnl::host::Host;
use ctnl::model::{Family, Protocol, Status};

use super::Labels;
use super::message;
use crate::conntrack_syntax::{Command, NatArgument, PortPair, Request, StatusArgument};
use crate::term::exit::usage;

/// Ranges that a mask with holes may have.
const MOST_RANGES: u32 = 1 << 16;

/// What no entry matches.
const NOTHING: &str = "(ipv4 and ipv6)";

/// The entries that a request is about. What `-U` sets is no part of its filter.
///
/// # Errors
/// A label without a number, or what ctnl cannot filter by and conntrack(8) ignores, where entries would be
/// deleted or changed that were not meant.
pub fn filter(request: &Request, host: &Host) -> Result<Filter> {
    let (mut terms, mut sets) = (Terms(Vec::new()), Sets::default());
    terms.add_tuples(request, &mut sets)?;
    terms.add_protocol(request)?;
    terms.add_identity(request);
    for (side, nat) in [(Side::Src, request.src_nat), (Side::Dst, request.dst_nat)] {
        terms.0.extend(nat.map(|nat| nat_term(side, nat)));
    }
    if let Some(nat) = request.any_nat {
        terms.0.push(format!("({} or {})", nat_term(Side::Src, nat), nat_term(Side::Dst, nat)));
    }
    for label in Labels::of(request, host).numbers(&request.labels)?.numbers() {
        terms.0.push(format!("label {label}"));
    }
    if request.command != Command::Update {
        terms.add_state(request);
    }
    let read_file = |name: &str| sets.get(name);
    let context = Context { read_file: &read_file, ..Context::default() };
    Filter::parse(&terms.0.join(" and "), &context).map_err(|error| usage(error.render()))
}

/// Sets of addresses that a term refers to as `@NAME`: an expression has a limit, a file of values a larger one.
#[derive(Default)]
struct Sets(Vec<(&'static str, String)>);

impl Sets {
    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, ranges)| ranges.as_bytes().to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The filter of `-F`: the family alone.
pub fn family_filter(family: Option<Family>) -> Result<Filter> {
    let text = family.map(family_term).unwrap_or_default();
    Filter::parse(&text, &Context::default()).map_err(|error| usage(error.render()))
}

fn family_term(family: Family) -> String {
    format!("family {}", family.number())
}

/// Terms that all have to match.
struct Terms(Vec<String>);

impl Terms {
    fn add_tuples(&mut self, request: &Request, sets: &mut Sets) -> Result<()> {
        self.0.extend(request.family.map(family_term));
        for (option, field, address, mask) in [
            ("src", "src", request.original.src, request.mask.src),
            ("dst", "dst", request.original.dst, request.mask.dst),
            ("reply-src", "reply-src", request.reply.src, None),
            ("reply-dst", "reply-dst", request.reply.dst, None),
        ] {
            match (address, mask) {
                (Some(address), Some(mask)) => self.0.push(network_term(field, address, mask, sets)?),
                (Some(address), None) => self.0.push(format!("{field} {address}")),
                (None, Some(_)) => return Err(usage(format!("--mask-{option} needs --{option}"))),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn add_protocol(&mut self, request: &Request) -> Result<()> {
        let Some(protocol) = request.protocol else { return Ok(()) };
        self.0.push(format!("proto {protocol}"));
        let arguments = &request.protocol_arguments;
        let is_gre = Protocol::from(protocol) == Protocol::Gre;
        let names = if is_gre { ["gre-srckey", "gre-dstkey"] } else { ["sport", "dport"] };
        self.add_ports(names, arguments.original);
        if is_gre {
            let reply = arguments.reply;
            self.refuse_ignored(request, "--reply-key-src and --reply-key-dst", reply.src.or(reply.dst).is_some())?;
        } else {
            self.add_ports(["reply-sport", "reply-dport"], arguments.reply);
        }
        self.add("icmp-type", arguments.icmp_type);
        self.add("icmp-code", arguments.icmp_code);
        self.add("icmp-id", arguments.icmp_id);
        let vtag = arguments.original_vtag.or(arguments.reply_vtag);
        self.refuse_ignored(request, "--orig-vtag and --reply-vtag", vtag.is_some())?;
        self.refuse_ignored(request, "--role", arguments.dccp_role.is_some())
    }

    fn add_ports(&mut self, [src, dst]: [&str; 2], ports: PortPair) {
        self.add(src, ports.src);
        self.add(dst, ports.dst);
    }

    fn add(&mut self, field: &str, value: Option<impl std::fmt::Display>) {
        self.0.extend(value.map(|value| format!("{field} {value}")));
    }

    /// conntrack(8) accepts these options and compares nothing: a list is complete then, and a delete would be too.
    fn refuse_ignored(&self, request: &Request, options: &str, is_given: bool) -> Result<()> {
        match request.command {
            _ if !is_given => Ok(()),
            Command::Delete(_) | Command::Update => {
                Err(usage(format!("{options}: entries cannot be selected by these, so nothing was changed")))
            }
            _ => {
                message::note(&format!("WARNING: {options}: no entry is left out by these"));
                Ok(())
            }
        }
    }

    fn add_identity(&mut self, request: &Request) {
        self.add("id", request.id);
        if let Some(zone) = request.zone {
            // CTA_ZONE is that of both directions; an entry with a zone of one direction has none.
            self.0.push(match zone {
                0 => "(orig-zone 0 or reply-zone 0)".to_owned(),
                zone => format!("orig-zone {zone} and reply-zone {zone}"),
            });
        }
        for (zone, own, other) in
            [(request.original_zone, "orig-zone", "reply-zone"), (request.reply_zone, "reply-zone", "orig-zone")]
        {
            // The zone of one direction: the zone of both is not one.
            self.0.extend(zone.map(|zone| match zone {
                0 => format!("({own} 0 or not {other} 0)"),
                zone => format!("{own} {zone} and {other} 0"),
            }));
        }
    }

    /// What `-U` sets and other commands select by.
    fn add_state(&mut self, request: &Request) {
        self.add("state", request.protocol_arguments.state);
        let timeout = request.timeout.map(u64::from);
        self.0.extend(timeout.map(|seconds| format!("timeout >= {seconds}s and timeout < {}s", seconds + 1)));
        if let Some(status) = request.status {
            self.add_status(status);
        }
        if let Some(mark) = request.mark {
            self.0.push(match mark.value & !mark.mask {
                0 => format!("mark {:#x}/{:#x}", mark.value, mark.mask),
                _ => NOTHING.to_owned(),
            });
        }
        if request.secmark.is_some() {
            message::note("WARNING: --secmark: the kernel does not show it, so no entry is left out by it");
        }
    }

    /// Each bit that is named is compared. The parser refuses a status that names none.
    fn add_status(&mut self, status: StatusArgument) {
        let numbers = |bits: Status| (0..u32::BITS).filter(move |number| bits.bits() >> number & 1 == 1);
        self.0.extend(numbers(status.set).map(|number| format!("status {number}")));
        self.0.extend(numbers(status.unset).map(|number| format!("not status {number}")));
    }
}

/// Which address NAT rewrites.
#[derive(Clone, Copy)]
enum Side {
    Src,
    Dst,
}

/// conntrack(8) compares what NAT has changed: an address that NAT left as it was is no match.
fn nat_term(side: Side, nat: NatArgument) -> String {
    let side = match side {
        Side::Src => ["nat src", "nat-src", "src", "nat-sport", "sport"],
        Side::Dst => ["nat dst", "nat-dst", "dst", "nat-dport", "dport"],
    };
    let [any, after, before, port_after, port_before] = side;
    let Some(address) = nat.address else { return any.to_owned() };
    let mut term = format!("{after} {address} and not {before} {address}");
    if let Some(port) = nat.port {
        term.push_str(&format!(" and {port_after} {port} and not {port_before} {port}"));
    }
    format!("({term})")
}

/// The addresses that are `address` under `mask`.
fn network_term(field: &'static str, address: IpAddr, mask: IpAddr, sets: &mut Sets) -> Result<String> {
    let (address, mask, width) = match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (address.to_bits().into(), mask.to_bits().into(), 32),
        (IpAddr::V6(address), IpAddr::V6(mask)) => (address.to_bits(), mask.to_bits(), 128),
        _ => return Ok(NOTHING.to_owned()),
    };
    let ranges = masked_ranges(address, mask, u128::MAX >> (128 - width)).ok_or_else(|| {
        usage(format!(
            "--mask-{field}: a mask with holes for more than {MOST_RANGES} ranges of addresses is not supported"
        ))
    })?;
    let text = |bits: u128| match u32::try_from(bits) {
        Ok(bits) if width == 32 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    };
    let lines: Vec<String> = ranges.iter().map(|(low, high)| format!("{}-{}", text(*low), text(*high))).collect();
    match &*lines {
        [range] => Ok(format!("{field} {range}")),
        _ => {
            sets.0.push((field, lines.join("\n")));
            Ok(format!("{field} @{field}"))
        }
    }
}

/// The ranges of numbers that are `value` under `mask`; `None` if there are too many. The free bits below the lowest
/// bit of the mask make a range, each other free bit doubles their number.
fn masked_ranges(value: u128, mask: u128, all: u128) -> Option<Vec<(u128, u128)>> {
    let free = !mask & all;
    let low = if mask & all == 0 { all } else { (1 << (mask & all).trailing_zeros()) - 1 };
    let holes: Vec<u128> = (0..u128::BITS).map(|bit| 1 << bit).filter(|bit| free & !low & bit != 0).collect();
    if holes.len() as u32 > MOST_RANGES.ilog2() {
        return None;
    }
    let mut starts = vec![value & mask & all];
    for hole in holes {
        starts.extend(starts.clone().into_iter().map(|start| start | hole));
    }
    Some(starts.into_iter().map(|start| (start, start | low)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_with_holes_is_a_range_for_each_way_to_fill_them() {
        let ranges = |value, mask| masked_ranges(value, mask, 0xff).unwrap();
        assert_eq!(ranges(0xab, 0xff), [(0xab, 0xab)]);
        assert_eq!(ranges(0xab, 0xf0), [(0xa0, 0xaf)]);
        assert_eq!(ranges(0xab, 0), [(0, 0xff)]);
        assert_eq!(ranges(0xab, 0xfc & !0x10), [(0xa8, 0xab), (0xb8, 0xbb)]);
        assert_eq!(masked_ranges(0, u128::MAX << 127 | 1, u128::MAX), None);
    }

    #[test]
    fn every_number_that_is_the_same_under_the_mask_is_in_a_range_and_no_other() {
        for (value, mask) in [(0x5a_u128, 0xf5_u128), (0x00, 0x81), (0xff, 0x7e), (0x33, 0x42)] {
            let ranges = masked_ranges(value, mask, 0xff).unwrap();
            for number in 0..=0xff_u128 {
                let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&number));
                assert_eq!(is_in, number & mask == value & mask, "{number:#x} {value:#x}/{mask:#x}");
            }
        }
    }
}
