//! The table of a router is full of dead connections, new ones fail, and there is a console: `ctnl doctor`
//! alone says what is wrong, and its commands end it.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, setrlimit};

use crate::full::fill;
use crate::host::{self, Maximum};
use ctnl_test_support::connections::Tcp;
use ctnl_test_support::harness::{Run, TestNetns, program, tests};
use ctnl_test_support::net::{INSIDE, Net, OUTSIDE, PATH};

tests![a_full_table_is_explained_on_the_console_and_freed_by_the_commands_that_it_prints];

const ENTRIES: u32 = 1500;
/// Columns of the serial console.
const WIDTH: usize = 80;
const CRITICAL: i32 = 5;
/// The log names the namespace since this release.
const NAMES_NAMESPACE: (u32, u32) = (7, 0);

fn a_full_table_is_explained_on_the_console_and_freed_by_the_commands_that_it_prints(netns: &TestNetns) {
    setrlimit(Resource::RLIMIT_NOFILE, 16_384, 16_384).unwrap();
    let net = Net::new(netns);
    let name = Name::of_this_namespace("router");
    let maximum = Maximum::set(ENTRIES);
    // Raised once they are dead: then they look as idle as after five days.
    net.set_timeout("tcp_timeout_established", 3600);
    let stale = fill(&net, ENTRIES);
    net.set_timeout("tcp_timeout_established", 432_000);
    let knocking = Knocking::start(&net);

    // The console is one of the host, and the full table that of a namespace.
    let host = Report::of(&on_the_console("ctnl doctor").exits_with(CRITICAL));
    let full = host.finding("(fullness)");
    assert!(full.contains("critical") && full.contains("router") && full.contains("full"), "{full}");
    let report = Report::of(&on_the_console(&host.command(&full, "ctnl doctor")).exits_with(CRITICAL));
    report.names_the_cause(netns, stale);

    let full = report.finding("(fullness)");
    let (flush, tune) = (report.command(&full, "ctnl flush"), report.command(&full, "ctnl tune"));
    on_the_console(&flush).exits_with(0);
    knocking.stop();
    Tcp::open(&net).exchange();
    let freed = Report::of(&on_the_console("ctnl doctor --netns router"));
    assert!(!freed.has("critical", "(fullness)"), "{}", freed.0);

    on_the_console(&format!("{tune} --yes")).exits_with(0);
    let raised = host::in_first_namespace(|| fs::read_to_string(Maximum::PATH).unwrap());
    assert!(raised.trim().parse::<u32>().unwrap() > ENTRIES, "{tune}: {raised}");
    let healthy = Report::of(&on_the_console("ctnl doctor"));
    assert!(!healthy.has("critical", "(fullness)") && !healthy.has("warning", "(fullness)"), "{}", healthy.0);
    on_the_console("ctnl tune revert --yes").exits_with(0);
    drop((maximum, name));
    println!("note: {stale} dead connections; freed by '{flush}', then '{tune}'");
}

/// Runs a command line in the first network namespace.
fn on_the_console(line: &str) -> Run {
    let line = line.strip_prefix("ctnl ").map(|rest| format!("{} {rest}", program())).unwrap();
    host::in_first_namespace(|| {
        Run::of(Command::new("sh").args(["-c", &line]).env_clear().env("PATH", PATH).env("TERM", "vt220"))
    })
}

/// What was printed.
struct Report(String);

impl Report {
    /// Fails unless it fits on the console: only command lines may be longer.
    fn of(run: &Run) -> Self {
        let text = run.stdout();
        let is_wide = |line: &&str| line.chars().count() > WIDTH && !line.trim_start().starts_with('$');
        assert_eq!(text.lines().find(is_wide), None, "{text}");
        Report(text)
    }

    /// The first finding of a check, with its lines.
    fn finding(&self, check: &str) -> String {
        let blocks: Vec<&str> = self.0.split("\n\n").filter(|block| has_check(block, check)).collect();
        blocks.first().unwrap_or_else(|| panic!("no finding of {check}:\n{}", self.0)).to_string()
    }

    fn has(&self, severity: &str, check: &str) -> bool {
        self.0.split("\n\n").any(|block| block.starts_with(severity) && has_check(block, check))
    }

    /// The command line of a finding that begins with `words`.
    fn command(&self, finding: &str, words: &str) -> String {
        let mut commands = finding.lines().filter_map(|line| line.trim_start().strip_prefix("$ "));
        commands.find(|line| line.starts_with(words)).unwrap_or_else(|| panic!("no {words}:\n{finding}")).to_owned()
    }

    fn names_the_cause(&self, netns: &TestNetns, stale: u64) {
        let full = self.finding("(fullness)");
        assert!(full.starts_with("critical: the table is full"), "{full}");
        let drops = self.finding("(counters)");
        assert!(drops.starts_with("critical") && drops.contains("drop"), "{drops}");
        let entries = self.finding("(entries)");
        assert!(entries.contains(&INSIDE.to_string()) && entries.contains(&OUTSIDE.to_string()), "{entries}");
        assert!(entries.contains("ESTABLISHED") || entries.contains("established"), "{entries}");
        let log = flat(&self.finding("(kernel-log)"));
        assert!(log.starts_with("critical") && log.contains("dev/kmsg"), "{log}");
        if host::release() >= NAMES_NAMESPACE {
            let inode = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
            assert!(host::log().contains(&format!("table full in netns {inode}, dropping packet")));
            assert!(log.contains("this network namespace"), "{log}");
        } else {
            assert!(host::log().contains("nf_conntrack: table full, dropping packet"));
        }
        let left = netns.dump().len() as u64;
        assert!(left >= stale, "doctor deletes nothing: {left} of {stale}");
    }
}

/// In one line: a phrase may be wrapped.
fn flat(finding: &str) -> String {
    finding.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the first sentence of a finding ends with the name of the check; it may be wrapped.
fn has_check(block: &str, check: &str) -> bool {
    block.lines().take(3).any(|line| line.trim_end().ends_with(check))
}

/// A name of `ip netns` for the calling thread's namespace.
struct Name(String);

impl Name {
    fn of_this_namespace(name: &str) -> Self {
        let path = format!("/run/netns/{name}");
        fs::create_dir_all("/run/netns").unwrap();
        fs::write(&path, "").unwrap();
        let source = Some("/proc/thread-self/ns/net");
        mount(source, path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        Name(path)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = umount2(self.0.as_str(), MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.0);
    }
}

/// New connections all the time, some twenty a second.
struct Knocking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Knocking {
    fn start(net: &Net<'_>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        // Each from another port.
        let sockets: Vec<UdpSocket> =
            net.inside.run(|| (0..2000).map(|_| UdpSocket::bind((INSIDE, 0)).unwrap()).collect());
        let thread = thread::spawn(move || {
            for socket in sockets.iter().cycle() {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                let _ = socket.send_to(b"knock", (OUTSIDE, 9));
                thread::sleep(Duration::from_millis(50));
            }
        });
        Knocking { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
