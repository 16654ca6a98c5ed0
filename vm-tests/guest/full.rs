//! A full table: what the kernel does, and what ctnl makes of it.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};

use crate::host::{self, Maximum};
use crate::traffic::Traffic;
use ctnl_test_support::harness::{World, tests};
use ctnl_test_support::net::{Net, OUTSIDE, nft};
use ctnl_test_support::summary::Summary;
use ctnl_test_support::talk::Tcp;

tests![a_full_table_is_freed_and_connections_in_use_lose_no_byte];

/// The same, where memory is as scarce as room in the table.
pub mod small {
    use super::*;

    /// KiB of memory: the connections that the test holds need some of it.
    const LEFT: u64 = 14 * 1024;

    tests![a_full_table_is_freed_although_memory_is_scarce];

    fn a_full_table_is_freed_although_memory_is_scarce(world: &World) {
        emergency(world, || Some(Ballast::load(LEFT)));
    }
}

const ENTRIES: u32 = 1500;
const IN_USE: usize = 12;
const OLDER: Duration = Duration::from_secs(5);

fn a_full_table_is_freed_and_connections_in_use_lose_no_byte(world: &World) {
    emergency(world, || None);
}

/// From the first lost connection to the first new one, under what `burden` lays
/// upon the machine in between.
fn emergency(world: &World, burden: impl FnOnce() -> Option<Ballast>) {
    setrlimit(Resource::RLIMIT_NOFILE, 16_384, 16_384).unwrap();
    let net = Net::new(world);
    world.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    let traffic = Traffic::start(&net, IN_USE);
    let _maximum = Maximum::set(ENTRIES);

    let stale = fill(&net);
    assert!(host::log().contains("table full"), "the kernel's log says so");
    assert!(refused(&net), "no new connection comes through");
    let _burden = burden();
    let full = world.ctnl(&["count"]).exits_with(0).says(&format!("{ENTRIES}"));
    let held: u32 = full.stdout().trim().parse().unwrap();
    assert!(held >= ENTRIES - 2, "{held} of {ENTRIES}");
    world.ctnl(&["count", "--by", "state"]).exits_with(0);

    let silence = settle(&traffic);
    let run = world
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
    let may_go = stale..=stale + traffic.silent_for(OLDER);
    assert!(may_go.contains(&summary.deleted), "all that is stale, and nothing else: {may_go:?}, {summary:?}");
    assert!(world.dump().len() < IN_USE + 20, "{}", world.dump().len());

    let mut new = Tcp::open(&net);
    new.exchange();
    let bytes = traffic.finish(world, OLDER);
    assert!(bytes > 10_000, "{bytes}");
    println!("note: {stale} stale entries; {bytes} bytes came through, the longest silence {} ms", silence.as_millis());
}

/// Waits until what is stale has been so for 8 s, and until all that is in use talks. The
/// longest silence.
fn settle(traffic: &Traffic) -> Duration {
    const IN_TALK: Duration = Duration::from_secs(1);
    let (since, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let silence = traffic.silence();
        longest = longest.max(silence);
        if since.elapsed() >= Duration::from_secs(8) && silence < IN_TALK {
            return longest;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "connections in use are silent: {silence:?}");
    }
}

/// Opens connections that nobody uses until no more come through; their hosts
/// have forgotten them then. How many there are.
fn fill(net: &Net<'_>) -> u64 {
    let listener = net.outside.run(|| TcpListener::bind((OUTSIDE, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    let mut open = Vec::new();
    while let Some(connection) = attempt(net, &listener, target) {
        open.push(connection);
        assert!(open.len() <= ENTRIES as usize, "the table takes more than its maximum");
    }
    forget(net, target.port());
    open.len() as u64
}

fn attempt(net: &Net<'_>, listener: &TcpListener, target: SocketAddr) -> Option<Tcp> {
    let client = net.inside.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(2))).ok()?;
    let (server, _) = listener.accept().unwrap();
    Some(Tcp { client, server })
}

/// Neither host says anything more about connections to `port`.
fn forget(net: &Net<'_>, port: u16) {
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

/// Memory that is taken away, until dropped.
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
