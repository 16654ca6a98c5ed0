//! README's first command on a table of half a million entries.

use std::time::{Duration, Instant};

use ctnl::table;

use crate::tcp;
use crate::traffic::Traffic;
use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{Net, conntrack};
use ctnl_test_support::summary::Summary;

tests![the_stale_half_of_half_a_million_entries_is_deleted_under_traffic];

const ENTRIES: u32 = 500_000;
/// Entries created at a time: their values need memory, too.
const AT_ONCE: u32 = 20_000;
const FULL: u32 = 432_000;
const STALE: u32 = FULL - 13 * 3600;
const FRESH: u32 = FULL - 3600;
const IN_USE: usize = 12;

fn the_stale_half_of_half_a_million_entries_is_deleted_under_traffic(netns: &TestNetns) {
    let net = Net::new(netns);
    let left = |number: u32| if number.is_multiple_of(2) { STALE } else { FRESH };
    for start in (0..ENTRIES).step_by(AT_ONCE as usize) {
        let flows: Vec<_> = (start..start + AT_ONCE).map(|number| tcp::established(number, left(number))).collect();
        netns.create(&flows);
    }
    // Not before: the idle time of an entry whose age is known is not longer than that.
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    let traffic = Traffic::start(&net, IN_USE);
    let (mut quiet, udp) = (Tcp::open(&net), Udp::open(&net));
    quiet.exchange();
    udp.exchange();
    let before = table::count(&mut netns.connection()).unwrap().entries;

    let began = Instant::now();
    let run = netns
        .ctnl(&["flush", "--state", "established", "--trust-netlink-timeouts", "--older", "12h", "--json"])
        .exits_with(0);
    let seconds = began.elapsed().as_secs_f64();
    let summary = Summary::read(&run.stdout());
    assert_eq!((summary.matched, summary.deleted), (u64::from(ENTRIES / 2), u64::from(ENTRIES / 2)), "{summary:?}");

    let expected = before - ENTRIES / 2;
    let after = table::count(&mut netns.connection()).unwrap().entries;
    assert!(after.abs_diff(expected) <= 2, "{after} instead of {expected}");
    assert_eq!(netns.ctnl(&["count", "--trust-netlink-timeouts", "--older", "12h"]).exits_with(0).stdout().trim(), "0");
    let fresh = netns.ctnl(&["count", "dst 198.51.100.7"]).exits_with(0).stdout();
    assert_eq!(fresh.trim(), (ENTRIES / 2).to_string(), "no fresh entry is gone");
    let counted: u32 = conntrack(&["-C"]).trim().parse().unwrap();
    assert!(counted.abs_diff(after) <= 2, "{counted} by conntrack(8), {after} by ctnl");

    quiet.exchange();
    udp.exchange();
    let bytes = traffic.finish(netns, Duration::from_secs(12 * 3600));
    assert!(bytes > 100_000, "only {bytes} bytes were echoed");
    println!("note: {} entries deleted in {seconds:.1} s; {bytes} bytes were echoed", summary.deleted);
}
