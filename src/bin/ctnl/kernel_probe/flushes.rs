//! What a delete without a tuple deletes (`ctnetlink_del_conntrack` in
//! net/netfilter/nf_conntrack_netlink.c). ctnl sends no such request anywhere else.

use ctnl::model::Protocol;
use ctnl::wire::Family;

use super::fact::REFUSED;
use super::made::Made;
use super::probes::{Part, Request};
use super::requests::{by_id, by_ipv6_source, by_mark, by_status, by_udp_port, by_zone};
use super::row::Row;

const HONOURED: &str = "honoured";
const EVERYTHING: &str = "deletes_everything";
const FAMILY: &str = "deletes_the_family";
const PROTOCOL: &str = "deletes_the_protocol";
const OTHERS: &str = "deletes_all_others";
const SOME: &str = "deletes_some";
const NOTHING: &str = "deletes_nothing";

fn word(part: Part) -> &'static str {
    match part {
        Part::Match => HONOURED,
        Part::Others => OTHERS,
        Part::Protocol => PROTOCOL,
        Part::Family => FAMILY,
        Part::Table => EVERYTHING,
        Part::Some => SOME,
        Part::Nothing => NOTHING,
    }
}

const MEANINGS: &[(&str, &str)] = &[
    (HONOURED, "a program that flushes by it deletes what it names"),
    (REFUSED, "a program that flushes by it gets an error; nothing is deleted"),
    (EVERYTHING, "a program that flushes by it empties the table of its namespace, without an error"),
    (NOTHING, "a program that flushes by it deletes nothing"),
    (OTHERS, "a program that flushes by it deletes every other entry of the family, without an error"),
    ("", "a program that flushes by it deletes more than it names, without an error"),
];

pub const ROWS: &[Row] = &[
    Row {
        name: "flush_by_mark",
        title: "by mark",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, Some(Made::Marked));
            probes.flush(Request { family, protocol: None, describes, fill: by_mark }, word)
        },
        meanings: MEANINGS,
    },
    Row {
        name: "flush_by_status",
        title: "by status",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, Some(Made::Assured));
            probes.flush(Request { family, protocol: None, describes, fill: by_status }, word)
        },
        meanings: MEANINGS,
    },
    Row {
        name: "flush_by_zone",
        title: "by zone",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, Some(Made::Zoned));
            probes.flush(Request { family, protocol: None, describes, fill: by_zone }, word)
        },
        meanings: MEANINGS,
    },
    Row {
        name: "flush_by_port",
        title: "by UDP port",
        probe: |probes| {
            let (protocol, describes) = (Some(Protocol::Udp), Some(Made::Assured));
            probes.flush(Request { family: Family::V4, protocol, describes, fill: by_udp_port }, word)
        },
        meanings: MEANINGS,
    },
    Row {
        name: "flush_by_ipv6_address",
        title: "by IPv6 address",
        probe: |probes| {
            let (family, describes) = (Family::V6, Some(Made::V6));
            probes.flush(Request { family, protocol: None, describes, fill: by_ipv6_source }, word)
        },
        meanings: MEANINGS,
    },
    Row {
        name: "flush_by_id",
        title: "by id alone",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, None);
            probes.flush(Request { family, protocol: None, describes, fill: by_id }, word)
        },
        meanings: MEANINGS,
    },
];
