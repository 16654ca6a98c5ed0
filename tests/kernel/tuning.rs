//! `ctnl tune` on the real kernel, in a private namespace: timeouts, acct, timestamp and events are its own, sizes are not.
//! /var/lib, /etc and /run are private, too.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status, TcpInfo, TcpState};
use ctnl_test_support::harness::{TestNetns, flow, program, tests, udp};
use ctnl_test_support::running::until;
use nix::pty::openpty;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

tests![
    a_private_namespace_sets_its_own_settings_and_a_revert_puts_them_back,
    an_operation_of_which_everything_is_as_before_already_does_not_hide_the_one_before_it,
    sizes_are_named_with_the_place_where_they_are_set,
    a_value_that_the_kernel_refuses_rolls_back_those_before_it,
    existing_entries_are_lowered_to_the_new_timeout_and_never_raised,
    existing_entries_are_lowered_at_the_confirmation_in_the_namespace_of_the_operation,
    another_namespace_is_tuned_by_its_name_and_its_operation_is_not_reverted_elsewhere,
    what_nobody_confirms_is_rolled_back_without_a_terminal,
    a_confirmation_from_another_session_keeps_the_values_and_writes_the_files,
    a_yes_on_the_terminal_confirms_and_no_rolls_back_and_an_empty_line_does_neither,
    a_terminal_that_is_closed_confirms_nothing_and_the_values_are_rolled_back,
    a_killed_foreground_process_does_not_keep_the_values,
    the_process_that_watches_rolls_back_at_once_when_it_is_terminated,
    a_killed_watch_leaves_an_operation_that_every_command_names,
    a_boot_that_another_file_decides_is_refused_and_named,
    show_has_what_is_now_at_boot_and_recommended,
];

const ESTABLISHED: &str = "netfilter/nf_conntrack_tcp_timeout_established";
const GENERIC: &str = "netfilter/nf_conntrack_generic_timeout";

/// Gives the calling thread, and what it starts, folders of its own in place of those that are written to.
fn private_folders() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(&["--make-rprivate", "/"]);
    for folder in ["/var/lib", "/etc", "/run"] {
        mount(&["-t", "tmpfs", "none", folder]);
    }
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
}

/// The operations of the log.
fn operations(netns: &TestNetns) -> Vec<Value> {
    let log = netns.ctnl(&["tune", "log", "--json", "-q"]).exits_with(0).stdout();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn state(netns: &TestNetns, op: usize) -> String {
    operations(netns)[op - 1]["state"].as_str().unwrap().to_owned()
}

fn a_private_namespace_sets_its_own_settings_and_a_revert_puts_them_back(netns: &TestNetns) {
    private_folders();
    let names = ["tcp_timeout_established", "udp_timeout_stream", "acct", "timestamp", "events"];
    let values = || names.map(|name| netns.sysctl(&format!("netfilter/nf_conntrack_{name}")));
    let before = values();
    let set = ["tune", "set", "--established-timeout", "2h30m", "--udp-stream-timeout", "90", "--acct", "on"];
    let set = [&set[..], &["--timestamp", "on", "--events", "off", "--dry-run"]].concat();
    let preview = netns.ctnl(&set).exits_with(0).stdout();
    assert!(preview.contains("tcp.established  5d") && preview.contains("2h30m"), "{preview}");
    assert_eq!((values(), operations(netns).len()), (before.clone(), 0));
    netns.ctnl(&set[..set.len() - 1]).exits_with(0).stderr_contains("operation 1: applied and verified: 5 changes");
    assert_eq!(values(), ["9000", "90", "1", "1", "0"]);
    netns.ctnl(&["tune", "revert"]).exits_with(0).stderr_contains("operation 2: applied");
    assert_eq!(values(), before);
    netns.ctnl(&["tune", "revert"]).exits_with(0);
    assert_eq!(values(), ["9000", "90", "1", "1", "0"]);
    assert_eq!([1, 2, 3].map(|op| state(netns, op)), ["applied", "reverted", "applied"]);
    // Of somebody else.
    netns.set_sysctl(ESTABLISHED, 5000);
    netns
        .ctnl(&["tune", "revert", "1"])
        .exits_with(2)
        .stderr_contains("tcp.established: 2h30m -> 1h23m20s (changed since)");
    assert_eq!(values(), ["5000", "90", "1", "1", "0"]);
    netns.ctnl(&["tune", "revert", "1", "--force"]).exits_with(0);
    assert_eq!(values(), before);
}

fn sizes_are_named_with_the_place_where_they_are_set(netns: &TestNetns) {
    private_folders();
    let before = netns.sysctl(GENERIC);
    let sizes = ["max", "buckets", "expect-max"];
    for size in sizes {
        let run = netns.ctnl(&["tune", "set", &format!("--{size}"), "100k", "--generic-timeout", "100"]);
        let name = size.replace('-', "_");
        run.exits_with(2).stderr_contains(&format!("{name}: read-only here")).stderr_contains("for the whole host");
    }
    assert_eq!((netns.sysctl(GENERIC), operations(netns).len()), (before, 0));
    let shown = netns.ctnl(&["tune", "show", "--json"]).exits_with(0).stdout();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    let writable = |name: &str| settings.iter().find(|row| row["setting"] == name).unwrap()["writable"].clone();
    assert_eq!(["max", "buckets", "expect_max", "acct", "generic"].map(writable), [false, false, false, true, true]);
}

fn a_value_that_the_kernel_refuses_rolls_back_those_before_it(netns: &TestNetns) {
    private_folders();
    let stream = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";
    // A sysctl that takes 0 and 1 alone, in the place of one that is written after another.
    mount(&["--bind", "/proc/sys/net/netfilter/nf_conntrack_tcp_loose", stream]);
    let set = ["tune", "set", "--generic-timeout", "100", "--udp-stream-timeout", "90", "--json"];
    let run = netns.ctnl(&set).exits_with(1).stderr_contains(&format!("write 1m30s to {stream}: EINVAL"));
    let run = run.stderr_contains("rolled back: everything is as before");
    let done: Value = serde_json::from_str(&run.stdout()).unwrap();
    assert_eq!((&done["state"], &done["not_undone"]), (&"rolled_back".into(), &Value::Array(vec![])));
    assert_eq!(
        (netns.sysctl(GENERIC), netns.sysctl("netfilter/nf_conntrack_udp_timeout_stream")),
        ("600".into(), "1".into())
    );
    assert!(operations(netns)[0]["why"].as_str().unwrap().contains("EINVAL"));
    netns.ctnl(&["tune", "revert"]).exits_with(1).stderr_contains("no operation is in force");
}

fn established(port: u16, timeout: u32) -> Flow {
    let state = ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, ..TcpInfo::default() });
    let status = Status::Confirmed | Status::SeenReply | Status::Assured;
    Flow { protoinfo: state, status, timeout: Some(timeout), ..flow(Protocol::Tcp, L4::Ports { src: port, dst: 21 }) }
}

fn existing_entries_are_lowered_to_the_new_timeout_and_never_raised(netns: &TestNetns) {
    private_folders();
    netns.create(&[established(1, 400_000), established(2, 400_000), established(3, 900), udp(4, 53)]);
    let set = ["tune", "set", "--established-timeout", "1h", "--existing", "--json"];
    let preview = netns.ctnl(&[&set[..], &["--dry-run"]].concat()).exits_with(0).stdout();
    let preview: Value = serde_json::from_str(&preview).unwrap();
    assert_eq!(preview["existing"][0]["summary"]["updated"], 2, "{preview}");
    assert!(netns.dumped(&established(1, 0).orig).unwrap().timeout > Some(300_000));
    let done: Value = serde_json::from_str(&netns.ctnl(&set).exits_with(0).stdout()).unwrap();
    let summary = &done["existing"][0]["summary"];
    assert_eq!((&summary["updated"], &summary["unchanged"], &summary["matched"]), (&2.into(), &1.into(), &3.into()));
    let left = |flow: Flow| netns.dumped(&flow.orig).unwrap().timeout.unwrap();
    assert!((3500..=3600).contains(&left(established(1, 0))) && (3500..=3600).contains(&left(established(2, 0))));
    assert!(left(established(3, 0)) <= 900 && left(established(3, 0)) > 800);
    assert!(left(udp(4, 53)) > 500 && netns.sysctl(ESTABLISHED) == "3600");
    // The setting is as wanted already, and an entry is not.
    netns.create(&[established(5, 400_000)]);
    let again: Value = serde_json::from_str(&netns.ctnl(&set).exits_with(0).stdout()).unwrap();
    assert_eq!(
        (&again["state"], &again["existing"][0]["summary"]["updated"]),
        (&"applied".into(), &1.into()),
        "{again}"
    );
    // That is an operation, too, with nothing to put back.
    let operations = operations(netns);
    let lowered = |op: usize| (&operations[op]["lowered"][0]["lowered"], &operations[op]["lowered"][0]["matched"]);
    assert_eq!((operations.len(), lowered(0), lowered(1)), (2, (&2.into(), &3.into()), (&1.into(), &4.into())));
    let log = netns.ctnl(&["tune", "log"]).exits_with(0).stdout();
    assert!(log.contains("existing entries of tcp.established: 1 of 4 lowered to 1h"), "{log}");
    netns.ctnl(&["tune", "revert", "2", "--yes"]).exits_with(1).stderr_contains("there is nothing to put back");
    netns.ctnl(&["tune", "revert", "--yes"]).exits_with(0);
    assert_eq!(netns.sysctl(ESTABLISHED), "432000");
}

fn existing_entries_are_lowered_at_the_confirmation_in_the_namespace_of_the_operation(netns: &TestNetns) {
    private_folders();
    netns.create(&[established(1, 400_000)]);
    let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
    // The entry has the same tuple in another namespace, from which everything is called.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let other = TestNetns::new();
            other.create(&[established(1, 400_000)]);
            let set = ["tune", "set", "--established-timeout", "1h", "--existing", "--confirm-within", "20s"];
            other.ctnl(&[&set[..], &["--netns", &path, "--yes"]].concat()).exits_with(0);
            let left = netns_left(&path);
            assert!(left > 300_000, "{left}");
            other.ctnl(&["tune", "confirm"]).exits_with(0).stderr_contains("1 of 1 lowered to 3600 s");
            assert!(netns_left(&path) <= 3600);
            other.dumped(&established(1, 0).orig).unwrap().timeout.unwrap()
        });
        let left = other.join().unwrap();
        assert!(left > 300_000, "that of the other namespace: {left}");
    });
}

/// What is left of the timeout of the one entry of a namespace.
fn netns_left(path: &str) -> u32 {
    let netns = ctnl::netlink::Netns::Path(path.into());
    let mut connection = ctnl::netlink::Connection::open(&netns).unwrap();
    let mut left = None;
    let keep = |flow: &Flow| {
        left = flow.timeout;
        std::ops::ControlFlow::Continue(())
    };
    ctnl::table::dump(&mut connection, ctnl::table::DumpRequest::default(), keep).unwrap();
    left.unwrap()
}

fn another_namespace_is_tuned_by_its_name_and_its_operation_is_not_reverted_elsewhere(netns: &TestNetns) {
    private_folders();
    let before = netns.sysctl(GENERIC);
    // A process in a namespace of its own stands for a container.
    let mut other = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
    let path = format!("/proc/{}/ns/net", other.id());
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    until(|| fs::read_link(&path).is_ok_and(|found| found != own), || "no namespace".to_owned());
    let pid = other.id().to_string();
    let value = || {
        let run = Command::new("nsenter")
            .args([&format!("--net={path}"), "cat", "/proc/sys/net/netfilter/nf_conntrack_generic_timeout"])
            .output();
        String::from_utf8(run.unwrap().stdout).unwrap().trim().to_owned()
    };
    netns.ctnl(&["tune", "set", "--generic-timeout", "77", "--netns", &pid]).exits_with(0);
    assert_eq!((value(), netns.sysctl(GENERIC)), ("77".to_owned(), before.clone()));
    netns.ctnl(&["tune", "set", "--persist", "--generic-timeout", "78", "--netns", &pid]).exits_with(2);
    // The log has the namespace.
    netns.ctnl(&["tune", "revert"]).exits_with(0);
    assert_eq!((value(), netns.sysctl(GENERIC)), (before.clone(), before.clone()));
    netns.ctnl(&["tune", "revert"]).exits_with(0);
    assert_eq!(value(), "77");
    other.kill().unwrap();
    other.wait().unwrap();
    netns.ctnl(&["tune", "revert"]).exits_with(1).stderr_contains("another network namespace");
    assert_eq!(netns.sysctl(GENERIC), before);
}

fn what_nobody_confirms_is_rolled_back_without_a_terminal(netns: &TestNetns) {
    private_folders();
    let before = netns.sysctl(GENERIC);
    let set = ["tune", "set", "--generic-timeout", "100", "--confirm-within", "5s"];
    netns.ctnl(&set).exits_with(0).stderr_contains("rolled back in 5 s unless it is confirmed");
    assert_eq!((netns.sysctl(GENERIC), state(netns, 1)), ("100".to_owned(), "waiting_for_confirmation".to_owned()));
    // Nothing else begins meanwhile, and everything names it.
    netns.ctnl(&["tune", "set", "--acct", "on"]).exits_with(1).stderr_contains("ctnl tune confirm 1");
    netns
        .ctnl(&["tune", "show"])
        .exits_with(0)
        .stderr_contains("operation 1 (generic: 10m -> 1m40s) is rolled back in");
    until(|| state(netns, 1) == "rolled_back", || "it is not rolled back".to_owned());
    assert_eq!(netns.sysctl(GENERIC), before);
    assert_eq!(operations(netns)[0]["why"], "not confirmed within 5 s");
    netns.ctnl(&["tune", "confirm"]).exits_with(1).stderr_contains("rolled back");
}

fn a_confirmation_from_another_session_keeps_the_values_and_writes_the_files(netns: &TestNetns) {
    private_folders();
    let conf = Path::new("/etc/sysctl.d/90-ctnl.conf");
    let set = ["tune", "set", "--generic-timeout", "100", "--persist", "--confirm-within", "5s"];
    netns.ctnl(&set).exits_with(0);
    assert!(!conf.exists() && netns.sysctl(GENERIC) == "100");
    netns.ctnl(&["tune", "confirm"]).exits_with(0).stderr_contains("confirmed");
    let text = fs::read_to_string(conf).unwrap();
    assert!(text.contains("net.netfilter.nf_conntrack_generic_timeout = 100\n"), "{text}");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!((netns.sysctl(GENERIC), state(netns, 1)), ("100".to_owned(), "confirmed".to_owned()));
    netns.ctnl(&["tune", "revert"]).exits_with(0);
    assert!(!conf.exists() && netns.sysctl(GENERIC) == "600");
}

/// The program in a session of its own whose terminal it has, as over SSH.
struct Session {
    child: Child,
    master: Option<File>,
    shown: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Session {
    fn start(netns: &TestNetns, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let clone = |end: &OwnedFd| end.try_clone().unwrap();
        let ctnl = netns.ctnl_command(arguments);
        // Not the leader of a process group, so setsid does not fork: its process becomes the program.
        let mut command = Command::new("setsid");
        command.args(["-c", program()]).args(ctnl.get_args());
        command.stdin(clone(&pty.slave)).stderr(clone(&pty.slave)).stdout(Stdio::null());
        let child = command.spawn().expect("setsid");
        drop((command, pty.slave));
        let master = File::from(pty.master);
        let shown = std::sync::Arc::<std::sync::Mutex<String>>::default();
        let (mut reading, text) = (master.try_clone().unwrap(), std::sync::Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = std::io::Read::read(&mut reading, &mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Session { child, master: Some(master), shown }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let shown = || self.shown.lock().unwrap().clone();
        until(|| shown().contains(text), || format!("no '{text}' in: {}", shown()));
    }

    fn type_in(&mut self, text: &str) {
        std::io::Write::write_all(self.master.as_mut().unwrap(), text.as_bytes()).unwrap();
    }

    fn ctnl(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

const ON_TERMINAL: [&str; 6] = ["tune", "set", "--yes", "--generic-timeout=100", "--confirm-within", "5s"];

fn a_yes_on_the_terminal_confirms_and_no_rolls_back_and_an_empty_line_does_neither(netns: &TestNetns) {
    private_folders();
    for (answer, code, value, end) in
        [("n\n", 1, "600", "rolled_back"), ("\n", 1, "600", "rolled_back"), ("y\n", 0, "100", "confirmed")]
    {
        let mut session = Session::start(netns, &ON_TERMINAL);
        session.wait_for("type y");
        session.type_in(answer);
        assert_eq!(session.exit_code(), Some(code), "{answer:?}");
        let last = operations(netns).len();
        assert_eq!((netns.sysctl(GENERIC), state(netns, last)), (value.to_owned(), end.to_owned()));
    }
}

fn a_terminal_that_is_closed_confirms_nothing_and_the_values_are_rolled_back(netns: &TestNetns) {
    private_folders();
    let session = Session::start(netns, &ON_TERMINAL);
    session.wait_for("type y");
    assert_eq!(netns.sysctl(GENERIC), "100");
    // As when a terminal is closed: SIGHUP to all of its foreground process group, then its leader is killed.
    killpg(session.ctnl(), Signal::SIGHUP).unwrap();
    session.exit_code();
    assert_eq!((netns.sysctl(GENERIC), state(netns, 1)), ("100".to_owned(), "waiting_for_confirmation".to_owned()));
    until(|| netns.sysctl(GENERIC) == "600", || "it is not rolled back".to_owned());
    until(|| state(netns, 1) == "rolled_back", || "it is not in the log".to_owned());
}

fn a_killed_foreground_process_does_not_keep_the_values(netns: &TestNetns) {
    private_folders();
    let begun = Instant::now();
    let session = Session::start(netns, &ON_TERMINAL);
    session.wait_for("type y");
    kill(session.ctnl(), Signal::SIGKILL).unwrap();
    session.exit_code();
    assert_eq!(netns.sysctl(GENERIC), "100");
    until(|| netns.sysctl(GENERIC) == "600", || "it is not rolled back".to_owned());
    assert!(begun.elapsed() >= Duration::from_secs(5), "it may be confirmed elsewhere until then");
    until(|| state(netns, 1) == "rolled_back", || "it is not in the log".to_owned());
}

/// The process that watches operation `op`, of those in the mount namespace of this test.
fn watch(op: u64) -> Pid {
    let own = fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    let is_it = |pid: &str| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|found| found == own)
            && words.len() >= 4
            && words[1..4] == ["tune".to_owned(), "watch".to_owned(), op.to_string()]
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let found = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).find(|pid| is_it(pid));
    Pid::from_raw(found.expect("a process that watches").parse().unwrap())
}

fn wait_without_terminal(netns: &TestNetns) -> Pid {
    netns.ctnl(&["tune", "set", "--generic-timeout", "100", "--confirm-within", "6s"]).exits_with(0);
    assert_eq!(netns.sysctl(GENERIC), "100");
    watch(1)
}

fn the_process_that_watches_rolls_back_at_once_when_it_is_terminated(netns: &TestNetns) {
    private_folders();
    let watch = wait_without_terminal(netns);
    for ignored in [Signal::SIGHUP, Signal::SIGINT] {
        kill(watch, ignored).unwrap();
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(netns.sysctl(GENERIC), "100");
    let begun = Instant::now();
    kill(watch, Signal::SIGTERM).unwrap();
    until(|| state(netns, 1) == "rolled_back", || "it is not rolled back".to_owned());
    assert!(netns.sysctl(GENERIC) == "600" && begun.elapsed() < Duration::from_secs(4));
}

fn a_killed_watch_leaves_an_operation_that_every_command_names(netns: &TestNetns) {
    private_folders();
    kill(wait_without_terminal(netns), Signal::SIGKILL).unwrap();
    let overdue = "was not confirmed, and the process that rolls it back was killed: it is in force";
    until(|| netns.ctnl(&["tune", "log"]).stderr().contains(overdue), || "the log does not name it".to_owned());
    netns.ctnl(&["tune", "show"]).exits_with(0).stderr_contains(overdue);
    netns.ctnl(&["tune", "set", "--acct", "on"]).exits_with(1).stderr_contains("ctnl tune revert 1");
    assert_eq!(netns.sysctl(GENERIC), "100");
    netns.ctnl(&["tune", "revert"]).exits_with(0);
    assert_eq!((netns.sysctl(GENERIC), state(netns, 1)), ("600".to_owned(), "rolled_back".to_owned()));
    netns.ctnl(&["tune", "set", "--acct", "on"]).exits_with(0);
}

fn a_boot_that_another_file_decides_is_refused_and_named(netns: &TestNetns) {
    private_folders();
    fs::create_dir("/etc/sysctl.d").unwrap();
    let other = "/etc/sysctl.d/99-local.conf";
    fs::write(other, "# ours\nnet.netfilter.nf_conntrack_generic_timeout = 300\n").unwrap();
    let set = ["tune", "set", "--generic-timeout", "100", "--persist"];
    let run = netns.ctnl(&set).exits_with(2);
    run.stderr_contains("/etc/sysctl.d/99-local.conf:2").stderr_contains("nothing was changed");
    assert!(netns.sysctl(GENERIC) == "600" && !fs::exists("/etc/sysctl.d/90-ctnl.conf").unwrap());
    netns.ctnl(&[&set[..], &["--overridden"]].concat()).exits_with(3).stderr_contains("99-local.conf:2");
    assert!(netns.sysctl(GENERIC) == "100" && fs::exists("/etc/sysctl.d/90-ctnl.conf").unwrap());
    fs::remove_file(other).unwrap();
    netns.ctnl(&set).exits_with(0).stderr_contains("nothing to change");
}

fn show_has_what_is_now_at_boot_and_recommended(netns: &TestNetns) {
    private_folders();
    fs::create_dir("/etc/sysctl.d").unwrap();
    let conf = "/etc/sysctl.d/50-ours.conf";
    fs::write(conf, "net.netfilter.nf_conntrack_tcp_timeout_established = 7200\n").unwrap();
    netns.ctnl(&["tune", "set", "--generic-timeout", "100"]).exits_with(0);
    let text = netns.ctnl(&["tune", "show", "--peak", "5M"]).exits_with(0).stdout();
    assert!(text.contains("RAM / 16384 / (word bits / 32) = ") && text.contains("5000000 (--peak)"), "{text}");
    let shown: Value = serde_json::from_str(&netns.ctnl(&["tune", "show", "--json"]).exits_with(0).stdout()).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    let row = |name: &str| settings.iter().find(|row| row["setting"] == name).unwrap();
    assert_eq!((&row("generic")["now"], &row("tcp.established")["recommended"]), (&100.into(), &86_400.into()));
    assert_eq!(row("max")["now"].to_string(), netns.sysctl("netfilter/nf_conntrack_max"));
    let boot = &row("tcp.established")["at_boot"];
    assert_eq!((&boot["value"], &boot["file"], &boot["line"]), (&7200.into(), &conf.into(), &1.into()));
    assert!(shown["memory"]["bytes_per_entry"].as_u64().unwrap() > 200, "{shown}");
}

fn an_operation_of_which_everything_is_as_before_already_does_not_hide_the_one_before_it(netns: &TestNetns) {
    private_folders();
    netns.ctnl(&["tune", "set", "--established-timeout", "3h", "--yes"]).exits_with(0);
    netns.ctnl(&["tune", "set", "--acct", "on", "--yes"]).exits_with(0);
    netns.set_sysctl("netfilter/nf_conntrack_acct", 0);
    netns
        .ctnl(&["tune", "revert", "--yes"])
        .exits_with(0)
        .stderr_contains("operation 2: everything is as it was before");
    assert_eq!(netns.sysctl(ESTABLISHED), "432000");
}
