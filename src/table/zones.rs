//! The zones that have an entry with one tuple.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use nix::errno::Errno;

use super::batch::BATCH;
use super::count::count;
use super::dump::{DumpRequest, dump};
use super::get::get_in_zones;
use crate::model::{Flow, L4, Protocol, Tuple};
use crate::netlink::{Connection, Error};

/// The largest table that is dumped. A lookup in each of the 65,536 zones takes 0.1 s in the kernel, whatever
/// the size of the table; a dump takes some 2 µs for each entry.
const MAX_DUMPED: u32 = 32_768;

/// The zones that have an entry with `tuple` in either direction, in ascending order.
///
/// # Errors
/// As [`get`](super::get()) and [`dump`](super::dump()).
#[doc(alias = "nf_conntrack_zone")]
pub fn zones_of(connection: &mut Connection, tuple: &Tuple) -> Result<Vec<u16>, Error> {
    if count(connection)?.entries <= MAX_DUMPED { dump_zones(connection, tuple) } else { get_zones(connection, tuple) }
}

fn dump_zones(connection: &mut Connection, tuple: &Tuple) -> Result<Vec<u16>, Error> {
    let mut zones = BTreeSet::new();
    dump(connection, DumpRequest { family: Some(tuple.family()), ..DumpRequest::default() }, |flow| {
        zones.extend(zone_of(flow, tuple));
        ControlFlow::Continue(())
    })?;
    Ok(zones.into_iter().collect())
}

/// The zone in which a lookup of `tuple` finds `flow`.
fn zone_of(flow: &Flow, tuple: &Tuple) -> Option<u16> {
    // A kernel that does not track a protocol ignores the ports of a lookup.
    let has_no_ports =
        |found: &Tuple| found.l4 == L4::None && matches!(found.protocol, Protocol::Dccp | Protocol::UdpLite);
    let is_found = |found: &Tuple| {
        (found.src, found.dst, found.protocol) == (tuple.src, tuple.dst, tuple.protocol)
            && (found.l4 == tuple.l4 || has_no_ports(found))
    };
    let zone = flow.zone();
    if is_found(&flow.orig) { Some(zone.orig()) } else { is_found(&flow.reply).then(|| zone.reply()) }
}

fn get_zones(connection: &mut Connection, tuple: &Tuple) -> Result<Vec<u16>, Error> {
    let mut zones = Vec::new();
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for part in all.chunks(BATCH) {
        for (zone, found) in part.iter().zip(get_in_zones(connection, tuple, part)?) {
            match found {
                Ok(_) => zones.push(*zone),
                Err(errno) if errno.get() == Errno::ENOENT as i32 => {}
                // A kernel without zones (`ctnetlink_parse_zone` in net/netfilter/nf_conntrack_netlink.c,
                // CONFIG_NF_CONNTRACK_ZONES) refuses every one but 0; all refuse what they do not track.
                Err(_) => return Ok(zones),
            }
        }
    }
    Ok(zones)
}
