//! The program's memory does not grow with the table.
//!
//! The kernel's `ru_maxrss` of a child includes the resident memory of its parent at the fork. So the
//! program is started by a new process of this test binary, which uses less memory than the program.

use std::env;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Stdio};

use ctnl::model::Flow;
use ctnl::table;
use nix::sys::resource::{UsageWho, getrusage};

use ctnl_test_support::harness::{TestNetns, tests, udp};
use ctnl_test_support::summary::Summary;

tests![peak_memory_does_not_grow_with_the_table, a_dry_run_over_many_sources_uses_no_more_memory];

const SMALL: u64 = 20_000;
const LARGE: u64 = 200_000;
/// Kibibytes. More of a debug build's code is resident, which differs with the compiler's settings; the build of the
/// virtual machines, with its libraries in it and little optimisation, takes up to 9.9 MiB.
const MOST: i64 = if cfg!(debug_assertions) { 32 * 1024 } else { 12 * 1024 };
/// Kibibytes by which the peaks may differ: chunks of output that are only needed when the writer is
/// slower than the dump, or the at most 4096 sources that a dry run counts. It is 9 bytes for each
/// additional entry.
const NOISE: i64 = 1536;

/// Kibibytes of the tables of doctor, which have a fixed number of places and fill with the first tens of thousands of
/// entries.
const TALLIES: i64 = 5 * 1024;
const DOCTOR: &[&str] = &["doctor", "--watch", "0"];

const MEASURE: &str = "CTNL_TEST_MEASURE";

/// If this process is the parent of a measured program: runs it, and prints the largest resident size
/// in KiB as the last line on stderr.
pub fn measure_if_requested() -> Option<ExitCode> {
    env::var_os(MEASURE)?;
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let status = Command::new(env!("CARGO_BIN_EXE_ctnl")).args(arguments).env_remove(MEASURE).status();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
    eprintln!("{}", usage.max_rss());
    // 4: doctor has warnings.
    let is_success = status.is_ok_and(|status| matches!(status.code(), Some(0 | 4)));
    Some(if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Largest resident size of the program with these arguments, in KiB.
fn peak(arguments: &[&str]) -> i64 {
    let mut command = Command::new(env::current_exe().expect("this test"));
    command.args(arguments).env_clear().env(MEASURE, "1").stdout(Stdio::null());
    let output = command.output().expect("a copy of this test");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ctnl {arguments:?}: {stderr}");
    stderr.lines().last().and_then(|line| line.parse().ok()).expect("a size")
}

const COMMANDS: [&[&str]; 9] = [
    &["list", "-o", "table"],
    &["list", "-o", "conntrack"],
    &["list", "-o", "json"],
    &["list", "-o", "csv"],
    &["list", "-o", "xml"],
    &["count", "tcp and idle > 1h"],
    &["count", "--by", "state"],
    &["flush", "--all", "--dry-run"],
    &["flush", "--all", "--yes", "--soft=500"],
];
const FLUSH: &[&str] = &["flush", "--all", "--yes"];

fn peak_memory_does_not_grow_with_the_table(netns: &TestNetns) {
    let max = table::count(&mut netns.connection()).unwrap().max.unwrap_or(0);
    assert!(
        max == 0 || u64::from(max) >= LARGE,
        "net.netfilter.nf_conntrack_max is {max}; this test takes {LARGE} (as root: sysctl -w \
         net.netfilter.nf_conntrack_max=262144)"
    );
    netns.fill(81, SMALL);
    let mut small: Vec<i64> = COMMANDS.iter().map(|arguments| peak(arguments)).collect();
    // A sorted list keeps every entry: the measurement must show that it grows.
    let sorted = ["list", "--sort", "src"];
    let small_sorted = peak(&sorted);
    let small_doctor = peak(DOCTOR);
    small.push(peak(FLUSH));
    assert_eq!(table::count(&mut netns.connection()).unwrap().entries, 0);

    netns.fill(82, LARGE);
    let large_sorted = peak(&sorted);
    assert!(large_sorted > small_sorted + 20 * 1024, "{small_sorted} → {large_sorted} KiB");
    let large_doctor = peak(DOCTOR);
    let is_level = large_doctor <= MOST + TALLIES && large_doctor - small_doctor <= TALLIES;
    assert!(is_level, "ctnl doctor: {large_doctor} KiB at {LARGE} entries, {small_doctor} KiB at {SMALL}");
    for (arguments, small) in COMMANDS.iter().chain([&FLUSH]).zip(small) {
        let large = peak(arguments);
        assert!(
            large <= MOST && large - small <= NOISE,
            "ctnl {}: {large} KiB at {LARGE} entries, {small} KiB at {SMALL}; at most {MOST}",
            arguments.join(" ")
        );
        eprintln!("{large:>6} KiB  ctnl {}", arguments.join(" "));
    }
    assert_eq!(table::count(&mut netns.connection()).unwrap().entries, 0);
}

/// One entry for each address from 10.0.0.0 on.
fn flood(netns: &TestNetns, count: u32) {
    let flows: Vec<Flow> = (0..count)
        .map(|number| {
            let mut flow = udp(1024, 53);
            let source = Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            (flow.orig.src, flow.reply.dst) = (source, source);
            flow
        })
        .collect();
    netns.create(&flows);
}

fn a_dry_run_over_many_sources_uses_no_more_memory(netns: &TestNetns) {
    let dry_run = ["flush", "--all", "--dry-run"];
    flood(netns, 10_000);
    let small = peak(&dry_run);
    netns.ctnl(FLUSH).exits_with(0);
    flood(netns, 100_000);
    let large = peak(&dry_run);
    assert!(large - small <= NOISE / 2, "{large} KiB from 100000 sources, {small} KiB from 10000");
    let shown = netns.ctnl(&dry_run).exits_with(0);
    let beyond = "\n95904 more of sources that are not among the 4096 seen first";
    assert!(shown.stdout().contains(beyond), "{}", shown.stdout());
    let summary = Summary::read(&netns.ctnl(&["flush", "--all", "--dry-run", "--json"]).exits_with(0).stdout());
    assert_eq!((summary.deleted, summary.by_source_beyond, summary.by_source.len()), (100_000, 95_904, 10));
}
