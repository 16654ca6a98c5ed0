//! A full table: the kernel drops new connections, and ctnl frees it.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};

use crate::host::{self, Maximum};
use crate::traffic::Traffic;
use ctnl_test_support::connections::Tcp;
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{Net, OUTSIDE, nft};
use ctnl_test_support::summary::Summary;

tests![flushing_a_full_table_lets_new_connections_in_and_active_ones_lose_no_byte];

/// The same with little free memory.
pub mod small {
    use super::*;

    /// KiB of memory: the connections that the test holds need some of it.
    const LEFT: u64 = 14 * 1024;

    tests![a_full_table_can_be_flushed_when_memory_is_scarce];

    fn a_full_table_can_be_flushed_when_memory_is_scarce(netns: &TestNetns) {
        emergency(netns, || Some(Ballast::load(LEFT)));
    }
}

const ENTRIES: u32 = 1500;
const IN_USE: usize = 12;
const OLDER: Duration = Duration::from_secs(5);

fn flushing_a_full_table_lets_new_connections_in_and_active_ones_lose_no_byte(netns: &TestNetns) {
    emergency(netns, || None);
}

/// From the first dropped connection to the first new one, with the `burden` on the machine in between.
fn emergency(netns: &TestNetns, burden: impl FnOnce() -> Option<Ballast>) {
    setrlimit(Resource::RLIMIT_NOFILE, 16_384, 16_384).unwrap();
    let net = Net::new(netns);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    let traffic = Traffic::start(&net, IN_USE);
    let _maximum = Maximum::set(ENTRIES);

    let stale = fill(&net, ENTRIES);
    assert!(host::log().contains("table full"), "the kernel's log says so");
    assert!(refused(&net), "new connections fail");
    let _burden = burden();
    let full = netns.ctnl(&["count"]).exits_with(0).stderr_contains(&format!("{ENTRIES}"));
    let held: u32 = full.stdout().trim().parse().unwrap();
    assert!(held >= ENTRIES - 2, "{held} of {ENTRIES}");
    netns.ctnl(&["count", "--by", "state"]).exits_with(0);

    let silence = wait_until_idle(&traffic);
    let run = netns
        .ctnl(&[
            "flush",
            "--state",
            "established",
            "--trust-netlink-timeouts",
            "--older",
            &format!("{}s", OLDER.as_secs()),
            "--json",
        ])
        .exits_with(0);
    let summary = Summary::read(&run.stdout());
    let expected = stale..=stale + traffic.silent_for(OLDER);
    assert!(expected.contains(&summary.deleted), "all stale entries, and no others: {expected:?}, {summary:?}");
    assert!(netns.dump().len() < IN_USE + 20, "{}", netns.dump().len());

    let mut new = Tcp::open(&net);
    new.exchange();
    let bytes = traffic.finish(netns, OLDER);
    assert!(bytes > 10_000, "{bytes}");
    println!("note: {stale} stale entries; {bytes} bytes were echoed, the longest silence {} ms", silence.as_millis());
}

/// Waits until the stale connections are idle for 8 s and all others have traffic. Returns the longest
/// silence.
fn wait_until_idle(traffic: &Traffic) -> Duration {
    const ACTIVE: Duration = Duration::from_secs(1);
    let (since, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let silence = traffic.silence();
        longest = longest.max(silence);
        if since.elapsed() >= Duration::from_secs(8) && silence < ACTIVE {
            return longest;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "connections in use are silent: {silence:?}");
    }
}

/// Opens idle connections until new ones fail, and drops all further packets of them. Returns their
/// number.
pub fn fill(net: &Net<'_>, entries: u32) -> u64 {
    let listener = net.outside.run(|| TcpListener::bind((OUTSIDE, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    let mut open = Vec::new();
    while let Some(connection) = attempt(net, &listener, target) {
        open.push(connection);
        assert!(open.len() <= entries as usize, "the table takes more than its maximum");
    }
    drop_packets(net, target.port());
    open.len() as u64
}

fn attempt(net: &Net<'_>, listener: &TcpListener, target: SocketAddr) -> Option<Tcp> {
    let client = net.inside.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(2))).ok()?;
    let (server, _) = listener.accept().unwrap();
    Some(Tcp { client, server })
}

/// Drops all packets of connections to `port` on both hosts.
fn drop_packets(net: &Net<'_>, port: u16) {
    let rule = |what| {
        format!(
            "table inet forget {{\nchain output {{\ntype filter hook output priority 0;\ntcp {what} {port} drop\n}}\n}}"
        )
    };
    net.inside.run(|| nft(&rule("dport")));
    net.outside.run(|| nft(&rule("sport")));
}

fn refused(net: &Net<'_>) -> bool {
    let listener = net.outside.run(|| TcpListener::bind((OUTSIDE, 0)).unwrap());
    attempt(net, &listener, listener.local_addr().unwrap()).is_none()
}

/// Allocated memory, freed when this is dropped.
struct Ballast;

impl Ballast {
    const PATH: &str = "/run/ballast";

    /// Leaves about so many KiB.
    fn load(leave: u64) -> Self {
        let mut file = File::create(Self::PATH).unwrap();
        let since = Instant::now();
        while available() > leave && since.elapsed() < Duration::from_secs(60) {
            file.write_all(&[1; 256 * 1024]).unwrap();
        }
        assert!(available() < 2 * leave, "{} KiB of memory are left", available());
        Ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(Self::PATH);
    }
}

/// KiB.
fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
