//! Two hosts and a router between them that tracks their connections. The router is the test's own
//! namespace: its table is the one under test.
//!
//!     inside 10.1.0.2 ── 10.1.0.1 router 10.2.0.1 ── 10.2.0.2 outside
//!            fd00:1::2   fd00:1::1       fd00:2::1   fd00:2::2

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use crate::harness::{Run, TestNetns};

pub const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub const ROUTER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
pub const INSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
pub const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2);

/// A network namespace, kept alive by an open file.
pub struct Namespace(File);

impl Namespace {
    /// A new namespace.
    #[allow(clippy::new_without_default, reason = "it makes something in the kernel")]
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            File::open("/proc/thread-self/ns/net").expect("its file")
        });
        Namespace(made.join().expect("a thread"))
    }

    /// Runs `work` in the namespace. Its sockets stay in this namespace, in whatever thread they are used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A path that other processes can open.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Both hosts; the router is the calling thread's namespace.
pub struct Net<'a> {
    pub netns: &'a TestNetns,
    pub inside: Namespace,
    pub outside: Namespace,
    /// No packet was sent before this time.
    pub since: Instant,
}

const FORWARDED: &str = "table inet track {
    chain forward {
        type filter hook forward priority 0;
        ct state invalid counter
    }
}";

impl<'a> Net<'a> {
    /// Connects two hosts through the router, which counts packets. Duplicate address detection is
    /// off: its end, seconds later, removes IPv6 flows from a flowtable.
    pub fn new(netns: &'a TestNetns) -> Self {
        let net = Net { netns, inside: Namespace::new(), outside: Namespace::new(), since: Instant::now() };
        for name in ["ipv6/conf/all/accept_dad", "ipv6/conf/default/accept_dad"] {
            netns.set_sysctl(name, 0);
        }
        let (inside, outside) = (net.inside.path(), net.outside.path());
        ip(&format!(
            "link set lo up
             link add in0 type veth peer name eth0 netns {inside}
             link add out0 type veth peer name eth0 netns {outside}
             addr add 10.1.0.1/24 dev in0
             addr add fd00:1::1/64 dev in0 nodad
             addr add 10.2.0.1/24 dev out0
             addr add fd00:2::1/64 dev out0 nodad
             link set in0 up
             link set out0 up"
        ));
        net.inside.run(|| ip(&host(1)));
        net.outside.run(|| ip(&host(2)));
        for name in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "netfilter/nf_conntrack_acct"] {
            netns.set_sysctl(name, 1);
        }
        net.wait_until_connected();
        nft(FORWARDED);
        net
    }

    /// Packets on a new link are dropped until its carrier is up.
    fn wait_until_connected(&self) {
        const NOBODY: u16 = 9;
        for address in [IpAddr::from(OUTSIDE), OUTSIDE6.into()] {
            let target = SocketAddr::new(address, NOBODY);
            let attempt = || TcpStream::connect_timeout(&target, Duration::from_secs(1)).map_err(|error| error.kind());
            let refused = || self.inside.run(attempt).err() == Some(ErrorKind::ConnectionRefused);
            while !refused() {
                assert!(self.since.elapsed() < Duration::from_secs(60), "{address} cannot be reached");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Drops the packets of `outside` that match `what`, or all of them if it is empty.
    pub fn drop_output(&self, what: &str) {
        let chain = "type filter hook output priority 0; policy accept;";
        self.outside.run(|| nft(&format!("table inet silence {{\nchain output {{\n{chain}\n{what} drop\n}}\n}}")));
    }

    /// Ends [`Net::drop_output`].
    pub fn stop_dropping(&self) {
        self.outside.run(|| nft("delete table inet silence"));
    }

    /// Sets the router's `nf_conntrack_NAME`.
    pub fn set_timeout(&self, name: &str, seconds: u32) {
        self.netns.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), seconds);
    }
}

fn host(number: u8) -> String {
    format!(
        "link set lo up
         addr add 10.{number}.0.2/24 dev eth0
         addr add fd00:{number}::2/64 dev eth0 nodad
         link set eth0 up
         route add default via 10.{number}.0.1
         route add default via fd00:{number}::1"
    )
}

/// Runs lines of ip(8) in the calling thread's namespace.
pub fn ip(lines: &str) {
    let lines: Vec<&str> = lines.lines().map(str::trim).collect();
    feed(Command::new("ip").args(["-batch", "-"]), &lines.join("\n"));
}

/// Runs an nft(8) script in the calling thread's namespace.
pub fn nft(script: &str) {
    feed(Command::new("nft").args(["-f", "-"]), script);
}

/// Runs `command` with `input`; it must succeed.
fn feed(command: &mut Command, input: &str) {
    let command = command.env("PATH", PATH).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(format!("{input}\n").as_bytes()).expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{input}", output.status);
}

pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs conntrack(8) in the calling thread's namespace; it must succeed.
pub fn conntrack(arguments: &[&str]) -> String {
    let mut command = Command::new("conntrack");
    let run = Run::of(command.args(arguments).env_clear().env("PATH", PATH)).exits_with(0);
    run.stdout()
}
