//! The differences between kernels that ARCHITECTURE.md lists: each is looked for on
//! the kernel that runs, printed, and held against what is expected of its release.
//!
//! Here, and nowhere else, requests are made that ctnl never sends: they delete
//! more than they name. Each test has a table of its own.

use std::fs;

use ctnl::model::{Flow, Status, Tuple};
use ctnl::netlink::{Connection, Error};
use ctnl::wire::uapi::{cta, cta_filter, cta_ip, cta_proto, cta_tuple, ipctnl_msg_ct, nfnl_subsys};
use ctnl::wire::{AttributeWriter, Header, Message};

use crate::host;
use ctnl_test_support::harness::{World, entry, tests, udp};

tests![
    dumps_are_filtered_by_what_the_kernel_knows,
    filtered_flushes_delete_everything_where_the_kernel_knows_no_filter,
    a_fixed_timeout_can_be_changed_on_old_kernels_only,
    defaults_and_statistics,
];

type Fill = fn(&mut AttributeWriter<'_>);

/// A filter by IPv6 addresses lets through all the others before this, or a stable
/// update that has its correction (6.12.117 has).
const V6_ADDRESSES: (u32, u32) = (7, 3);
const ASSURED: u32 = 1 << 2;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

fn by_mark(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::MARK, &7u32.to_be_bytes());
    writer.put(cta::MARK_MASK, &u32::MAX.to_be_bytes());
}

fn by_status(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::STATUS, &ASSURED.to_be_bytes());
    writer.put(cta::STATUS_MASK, &ASSURED.to_be_bytes());
}

fn by_zone(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::ZONE, &5u16.to_be_bytes());
}

fn by_port(writer: &mut AttributeWriter<'_>) {
    let flags = cta_filter::PROTO_NUM | cta_filter::DST_PORT;
    writer.nest(cta::FILTER, |filter| filter.put(cta_filter::ORIG_FLAGS, &flags.to_ne_bytes()));
    writer.nest(cta::TUPLE_ORIG, |tuple| {
        tuple.nest(cta_tuple::PROTO, |proto| {
            proto.put(cta_proto::NUM, &[17]);
            proto.put(cta_proto::DST_PORT, &54u16.to_be_bytes());
        });
    });
}

fn by_ipv6_source(writer: &mut AttributeWriter<'_>) {
    writer.nest(cta::FILTER, |filter| filter.put(cta_filter::ORIG_FLAGS, &cta_filter::IP_SRC.to_ne_bytes()));
    writer.nest(cta::TUPLE_ORIG, |tuple| {
        tuple.nest(cta_tuple::IP, |ip| ip.put(cta_ip::V6_SRC, &v6(1).octets()));
    });
}

fn v6(low: u16) -> std::net::Ipv6Addr {
    std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low)
}

/// One entry for each of the filters above, and one beside it.
fn entries() -> Vec<Flow> {
    let ipv6 = |low| entry(Tuple { src: v6(low).into(), dst: v6(99).into(), ..udp(5, 53).orig });
    vec![
        udp(1, 53),
        Flow { mark: Some(7), ..udp(2, 53) },
        Flow { zone_both: Some(5), ..udp(3, 53) },
        Flow { status: Status::Confirmed | Status::SeenReply | Status::Assured, ..udp(4, 54) },
        ipv6(1),
        ipv6(2),
        ipv6(3),
    ]
}

fn header(command: u8, family: u8) -> Header {
    Header { subsystem: nfnl_subsys::CTNETLINK, command, flags: 0, family: family.into(), sequence: 0 }
}

/// How many entries the kernel lets through.
fn let_through(world: &World, family: u8, fill: Fill) -> usize {
    let (mut connection, mut count) = (world.connection(), 0);
    let mut dump = connection.dump("dump", header(ipctnl_msg_ct::GET, family), fill).unwrap();
    let mut each = |_: &Message<'_>| {
        count += 1;
        Ok(())
    };
    while dump.next_datagram(&mut each).unwrap() {}
    count
}

fn dumps_are_filtered_by_what_the_kernel_knows(world: &World) {
    world.create(&entries());
    let mark = let_through(world, 0, by_mark);
    let status = let_through(world, 0, by_status);
    let zone = let_through(world, 0, by_zone);
    let port = let_through(world, IPV4, by_port);
    let address = let_through(world, IPV6, by_ipv6_source);
    println!(
        "note: of {} entries a dump by mark has {mark}, by status {status}, by zone {zone}, by port {port}, by one of \
         three IPv6 addresses {address}",
        entries().len()
    );
    assert_eq!((mark, port), (1, 1));
    assert_eq!(status, if host::release() >= (5, 15) { 1 } else { entries().len() });
    assert_eq!(zone, if host::release() >= (6, 8) { 1 } else { entries().len() });
    let may_be_wrong = host::release() < V6_ADDRESSES;
    assert!(address == 1 || (may_be_wrong && address == 2), "{address}: the one that is named, or all the others");
}

/// How many entries are left by a flush, or what the kernel says.
fn left_by_flush(world: &World, family: u8, fill: Fill) -> String {
    world.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
    world.create(&entries());
    let mut connection: Connection = world.connection();
    match connection.request("flush", header(ipctnl_msg_ct::DELETE, family), fill, |_| Ok(())) {
        Ok(()) => world.dump().len().to_string(),
        Err(error) => name(&error),
    }
}

fn name(error: &Error) -> String {
    error.errno().map_or_else(|| error.to_string(), |errno| format!("{errno:?}"))
}

fn filtered_flushes_delete_everything_where_the_kernel_knows_no_filter(world: &World) {
    let all_but_one = (entries().len() - 1).to_string();
    let mark = left_by_flush(world, 0, by_mark);
    let status = left_by_flush(world, 0, by_status);
    let zone = left_by_flush(world, 0, by_zone);
    let port = left_by_flush(world, IPV4, by_port);
    println!("note: a flush leaves, by mark {mark}, by status {status}, by zone {zone}, by port {port}");
    let known = |since: (u32, u32), unknown: &str| {
        if host::release() >= since { all_but_one.clone() } else { unknown.to_owned() }
    };
    assert_eq!(mark, all_but_one);
    assert_eq!(status, known((5, 15), "0"));
    assert_eq!(zone, known((6, 8), "0"));
    assert_eq!(port, known((6, 12), "EINVAL"));
}

fn a_fixed_timeout_can_be_changed_on_old_kernels_only(world: &World) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 53) };
    world.create(std::slice::from_ref(&fixed));
    let fill = |writer: &mut AttributeWriter<'_>| {
        fixed.orig.emit(writer, cta::TUPLE_ORIG);
        writer.put(cta::TIMEOUT, &50u32.to_be_bytes());
    };
    let answer = world.connection().request("update", header(ipctnl_msg_ct::NEW, IPV4), fill, |_| Ok(()));
    let said = answer.as_ref().map_or_else(name, |()| "applied".to_owned());
    println!("note: a fixed timeout's update: {said}");
    assert_eq!(said, if host::release() < (6, 0) { "applied" } else { "EPERM" });
}

fn defaults_and_statistics(world: &World) {
    let release = host::release();
    let sctp = world.sysctl("netfilter/nf_conntrack_sctp_timeout_established");
    let dccp = fs::exists("/proc/sys/net/netfilter/nf_conntrack_dccp_timeout_open").unwrap();
    let events = world.sysctl("netfilter/nf_conntrack_events");
    let chains = counts_long_chains(world);
    println!("note: SCTP established {sctp} s, DCCP tracked: {dccp}, events {events}, chain_toolong counted: {chains}");
    assert_eq!(sctp, "210");
    assert_eq!(events, if release < (5, 19) { "1" } else { "2" });
    assert_eq!(dccp, release < (6, 16));
    assert_eq!(ctnl_test_support::population::has_udp_lite(), release < (7, 0));
    assert_eq!(chains, release >= (5, 15));
}

/// Whether the statistics of a processor have `chain_toolong`.
fn counts_long_chains(world: &World) -> bool {
    const GET_STATS_CPU: u8 = 4;
    const CHAIN_TOOLONG: u16 = 15;
    let (mut connection, mut found) = (world.connection(), false);
    let mut dump = connection.dump("statistics", header(GET_STATS_CPU, 0), |_| {}).unwrap();
    let mut look = |message: &Message<'_>| {
        found |= message.attributes().flatten().any(|attribute| attribute.kind == CHAIN_TOOLONG);
        Ok(())
    };
    while dump.next_datagram(&mut look).unwrap() {}
    found
}
