//! The harness of tests on the real kernel: a private network namespace, runs of the program in it,
//! and comparisons of tables.

use std::any::Any;
use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;

use ctnl::model::{Flow, L4, Protocol, Status, Tuple};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, DumpRequest, Outcome, Target};
use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{getegid, geteuid};

use crate::population::{Population, has_udp_lite};

/// One test. The name is a sentence.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn(&TestNetns),
}

/// Lists functions as tests; the function's name is the test's name.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::harness::Test] =
            &[$($crate::harness::Test { name: concat!(module_path!(), "::", stringify!($name)), run: $name }),*];
    };
}
pub use tests;

static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// Sets the program under test: `env!("CARGO_BIN_EXE_ctnl")`, which Cargo gives to integration tests
/// alone. To be called by `main`, once.
pub fn set_program(path: &'static str) {
    PROGRAM.set(path).expect("the program is set once");
}

/// The path of the program under test.
pub fn program() -> &'static str {
    PROGRAM.get().expect("main has called set_program")
}

/// Raises the limit of open files as far as possible: many tests with many sockets run at a time.
pub fn raise_open_files() {
    const ENOUGH: u64 = 16_384;
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if setrlimit(Resource::RLIMIT_NOFILE, hard.max(ENOUGH), hard.max(ENOUGH)).is_err() {
        // Only a privileged process may raise the hard limit.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Makes the process root of a private user namespace. Must be called before a second thread is
/// started.
pub fn enter_user_namespace() -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
        // Root needs no user namespace.
        return unshare(CloneFlags::CLONE_NEWNET).map_err(|_| namespaces_not_permitted(errno));
    }
    let maps = [("setgroups", "deny".into()), ("uid_map", format!("0 {uid} 1")), ("gid_map", format!("0 {gid} 1"))];
    for (file, line) in maps {
        fs::write(format!("/proc/self/{file}"), line).map_err(|error| format!("cannot write {file}: {error}"))?;
    }
    Ok(())
}

fn namespaces_not_permitted(errno: Errno) -> String {
    format!(
        "the kernel tests need a private user and network namespace, and this host does not permit them: {errno}\n\
         Allow it for ordinary users with one of these, as root:\n\
         \u{20} sysctl -w user.max_user_namespaces=10000\n\
         \u{20} sysctl -w kernel.unprivileged_userns_clone=1\n\
         \u{20} sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n\
         or, in a container, start it with --privileged. 'cargo test --lib --bins --test layers --test bytes'\n\
         runs the tests that need no kernel."
    )
}

/// The test, run on a new thread in a new network namespace.
pub fn trial(test: Test) -> Trial {
    let name = test.name.split_once("::").map_or(test.name, |(_binary, name)| name);
    Trial::test(name, move || run(test))
}

fn run(test: Test) -> Result<(), Failed> {
    let outcome = thread::spawn(move || {
        let netns = TestNetns::new();
        catch_unwind(AssertUnwindSafe(|| (test.run)(&netns)))
    });
    outcome.join().and_then(|run| run).map_err(|panic| Failed::from(panic_message(&*panic)))
}

/// Whether `nf_conntrack_events` supports 2 (automatic), the default of a new namespace since Linux
/// 5.19. Destroy events of older kernels have no remaining timeout.
pub fn has_automatic_events() -> bool {
    let default = thread::spawn(|| TestNetns::new().sysctl("netfilter/nf_conntrack_events"));
    default.join().expect("a namespace") == "2"
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".into())
}

/// A network namespace with a conntrack table, that of the calling thread.
#[derive(Debug)]
pub struct TestNetns(());

impl Default for TestNetns {
    fn default() -> Self {
        TestNetns::new()
    }
}

impl TestNetns {
    /// Moves the calling thread into a new network namespace.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a private network namespace");
        TestNetns(())
    }

    /// A connection to this namespace. It may be used from any thread.
    pub fn connection(&self) -> Connection {
        Connection::open(&Netns::Current).expect("a netlink connection")
    }

    /// Creates a population of which nothing expires for ten minutes, and returns it.
    pub fn fill(&self, seed: u64, count: u64) -> Vec<Flow> {
        let (ftp_helper, udp_lite) = (self.has_ftp_helper(), has_udp_lite());
        let population = Population { shortest: 600, ftp_helper, udp_lite, ..Population::new(seed, count) };
        let flows: Vec<Flow> = population.flows().collect();
        self.create(&flows);
        flows
    }

    /// Whether the kernel's FTP helper is loaded.
    pub fn has_ftp_helper(&self) -> bool {
        fs::exists("/sys/module/nf_conntrack_ftp").unwrap_or(false)
    }

    /// Fails where the kernel has no FTP helper, which expectations need.
    #[track_caller]
    pub fn require_ftp_helper(&self) {
        assert!(self.has_ftp_helper(), "this kernel has no FTP helper: modprobe nf_conntrack_ftp");
    }

    /// Creates `flows`; each must succeed.
    pub fn create(&self, flows: &[Flow]) {
        let mut outcome = Outcome::default();
        table::create(&mut self.connection(), flows, &mut outcome).expect("create");
        assert_eq!(outcome, Outcome { done: flows.len() as u64, ..Outcome::default() });
    }

    /// Every entry of the table.
    pub fn dump(&self) -> Vec<Flow> {
        let mut flows = Vec::new();
        let keep = |flow: &Flow| {
            flows.push(flow.clone());
            std::ops::ControlFlow::Continue(())
        };
        table::dump(&mut self.connection(), DumpRequest::default(), keep).expect("dump");
        flows
    }

    /// The entry of an original tuple, as dumped.
    pub fn dumped(&self, orig: &Tuple) -> Option<Flow> {
        self.dump().into_iter().find(|flow| flow.orig == *orig)
    }

    /// A target made of the kernel's entry of `flow`.
    pub fn target(&self, flow: &Flow) -> Target {
        let found = table::get(&mut self.connection(), &flow.orig, flow.zone_both.unwrap_or(0)).expect("get");
        Target::of(&found.expect("an entry in the table")).expect("a target")
    }

    /// Runs the program in this namespace, with an empty environment.
    pub fn ctnl(&self, arguments: &[&str]) -> Run {
        self.ctnl_with_path("/usr/sbin:/usr/bin:/sbin:/bin", arguments)
    }

    fn ctnl_with_path(&self, path: &str, arguments: &[&str]) -> Run {
        Run::of(self.ctnl_command(arguments).env("PATH", path))
    }

    /// The program with these arguments, to be run in this namespace.
    pub fn ctnl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().env("LC_ALL", "C.UTF-8");
        command
    }

    /// Writes `/proc/sys/net/NAME` of this namespace.
    pub fn set_sysctl(&self, name: &str, value: impl ToString) {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value.to_string()).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }

    /// Reads `/proc/sys/net/NAME` of this namespace.
    pub fn sysctl(&self, name: &str) -> String {
        let path = format!("/proc/sys/net/{name}");
        let value = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        value.trim().to_owned()
    }
}

/// A finished run of a program. A failed check shows its command line and output.
pub struct Run {
    command: String,
    output: Output,
}

impl Run {
    /// Runs `command` in the calling thread's namespace and waits for its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error} (tests/run installs what the tests need)"));
        Run::new(command, output)
    }

    /// The result of `command`.
    pub fn new(command: &Command, output: Output) -> Self {
        Run { command: format!("{command:?}"), output }
    }

    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert!(self.output.status.code() == Some(code), "expected exit code {code}\n{}", self.explain());
        self
    }

    /// Fails unless stderr has `text`.
    #[track_caller]
    pub fn stderr_contains(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "expected on stderr: {text}\n{}", self.explain());
        self
    }

    /// Its exit code; `None` if a signal killed it.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The signal that killed it.
    pub fn signal(&self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.output.status)
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn explain(&self) -> String {
        format!(
            "{}\n{}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.output.status,
            self.stdout(),
            self.stderr()
        )
    }
}

/// The identity of an entry: its original tuple and its zones.
pub type Key = (Tuple, ctnl::model::Zone);

pub fn key(flow: &Flow) -> Key {
    (flow.orig, flow.zone())
}

pub fn by_key(flows: &[Flow]) -> HashMap<Key, &Flow> {
    flows.iter().map(|flow| (key(flow), flow)).collect()
}

/// Fails unless both tables have the same entries.
#[track_caller]
pub fn assert_same_entries(found: &[Flow], expected: &[Flow]) {
    let (found_keys, expected_keys) = (by_key(found), by_key(expected));
    let missing: Vec<&Flow> = expected.iter().filter(|flow| !found_keys.contains_key(&key(flow))).collect();
    let extra: Vec<&Flow> = found.iter().filter(|flow| !expected_keys.contains_key(&key(flow))).collect();
    let first = |flows: &[&Flow]| flows.iter().take(3).map(|flow| format!("\n  {flow:?}")).collect::<String>();
    assert!(
        missing.is_empty() && extra.is_empty() && found.len() == expected.len(),
        "{} entries instead of {}\n{} missing:{}\n{} unexpected:{}",
        found.len(),
        expected.len(),
        missing.len(),
        first(&missing),
        extra.len(),
        first(&extra),
    );
}

/// A plain confirmed entry with ten minutes left.
pub fn flow(protocol: Protocol, l4: L4) -> Flow {
    entry(Tuple {
        src: Ipv4Addr::new(10, 0, 0, 1).into(),
        dst: Ipv4Addr::new(192, 0, 2, 1).into(),
        protocol,
        l4,
        zone: None,
        has_unknown_part: false,
    })
}

/// The entry of an original tuple, without NAT, with ten minutes left.
pub fn entry(orig: Tuple) -> Flow {
    let mut flow = Flow::new(orig, orig.inverse());
    flow.status = Status::Confirmed;
    flow.timeout = Some(600);
    flow.mark = Some(0);
    flow
}

pub fn udp(src: u16, dst: u16) -> Flow {
    flow(Protocol::Udp, L4::Ports { src, dst })
}
