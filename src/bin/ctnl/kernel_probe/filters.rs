//! Which filters a dump honours (`ctnetlink_filter_match` in net/netfilter/nf_conntrack_netlink.c). ctnl
//! checks every entry again, so none of this decides what it matches.

use ctnl::model::Protocol;
use ctnl::wire::Family;

use super::fact::REFUSED;
use super::made::Made;
use super::probes::{Part, Request};
use super::requests::{by_ipv6_source, by_mark, by_sctp_port, by_status, by_udp_port, by_zone};
use super::row::Row;

const HONOURED: &str = "honoured";
const IGNORED: &str = "ignored";
const INVERTED: &str = "inverted";
const PARTLY: &str = "partly";
const NOTHING: &str = "matches_nothing";

fn word(part: Part) -> &'static str {
    match part {
        Part::Match => HONOURED,
        Part::Others => INVERTED,
        Part::Protocol | Part::Family | Part::Table => IGNORED,
        Part::Some => PARTLY,
        Part::Nothing => NOTHING,
    }
}

const NO_GAIN: (&str, &str) =
    (IGNORED, "--kernel-filter gains nothing by it: the kernel sends all entries, and ctnl filters");
const NOT_SUPPORTED: (&str, &str) = (REFUSED, "--kernel-filter dumps without it, and ctnl filters");
const WRONG: (&str, &str) =
    ("", "entries that match may be missing: do not use --kernel-filter or --jobs 2 on this kernel");

pub const ROWS: &[Row] = &[
    Row {
        name: "dump_filter_mark",
        title: "by mark",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, Some(Made::Marked));
            probes.dump(Request { family, protocol: None, describes, fill: by_mark }, word)
        },
        meanings: &[
            (HONOURED, "--kernel-filter lets the kernel leave out other marks; ctnl checks each entry again"),
            NO_GAIN,
            NOT_SUPPORTED,
            WRONG,
        ],
    },
    Row {
        name: "dump_filter_status",
        title: "by status",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, Some(Made::Assured));
            probes.dump(Request { family, protocol: None, describes, fill: by_status }, word)
        },
        meanings: &[
            (HONOURED, "--kernel-filter lets the kernel leave out other states, and --jobs 2 halves the table by them"),
            (IGNORED, "--jobs 2 reads the whole table twice and leaves out repetitions; --kernel-filter gains nothing"),
            (REFUSED, "--jobs 2 and --kernel-filter gain nothing"),
            WRONG,
        ],
    },
    Row {
        name: "dump_filter_zone",
        title: "by zone",
        probe: |probes| {
            let (family, describes) = (Family::UNSPEC, Some(Made::Zoned));
            probes.dump(Request { family, protocol: None, describes, fill: by_zone }, word)
        },
        meanings: &[
            (HONOURED, "--kernel-filter lets the kernel leave out other zones; ctnl checks each entry again"),
            NO_GAIN,
            NOT_SUPPORTED,
            WRONG,
        ],
    },
    Row {
        name: "dump_filter_port",
        title: "by UDP port",
        probe: |probes| {
            let (protocol, describes) = (Some(Protocol::Udp), Some(Made::Assured));
            probes.dump(Request { family: Family::V4, protocol, describes, fill: by_udp_port }, word)
        },
        meanings: &[
            (
                HONOURED,
                "--kernel-filter lets the kernel leave out other ports of TCP and UDP; ctnl checks each entry again",
            ),
            NO_GAIN,
            NOT_SUPPORTED,
            WRONG,
        ],
    },
    Row {
        name: "dump_filter_sctp_port",
        title: "by SCTP port",
        probe: |probes| {
            let (protocol, describes) = (Some(Protocol::Sctp), Some(Made::Sctp));
            probes.dump(Request { family: Family::V4, protocol, describes, fill: by_sctp_port }, word)
        },
        meanings: &[
            (HONOURED, "ctnl filters ports of SCTP itself in any case: other kernels ignore them"),
            ("", "ctnl filters ports of SCTP itself"),
        ],
    },
    Row {
        name: "dump_filter_ipv6_address",
        title: "by IPv6 address",
        probe: |probes| {
            let (family, describes) = (Family::V6, Some(Made::V6));
            probes.dump(Request { family, protocol: None, describes, fill: by_ipv6_source }, word)
        },
        meanings: &[
            (HONOURED, "ctnl filters IPv6 addresses itself in any case: other kernels return all other addresses"),
            (INVERTED, "a dump by an IPv6 address has all other addresses: ctnl filters IPv6 addresses itself"),
            ("", "ctnl filters IPv6 addresses itself"),
        ],
    },
];
