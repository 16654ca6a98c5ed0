//! The lab and what it fills in.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ctnl::age::TimeoutContext;
use ctnl::host::Host;
use ctnl::model::{Flow, Status, Timeouts, Timer};
use ctnl::table;

use nix::sched::{CloneFlags, unshare};

use ctnl_test_support::harness::{Run, TestNetns, assert_same_entries, by_key, key, tests};
use ctnl_test_support::population::Population;

tests![
    the_kernel_stores_every_entry_of_a_population_unchanged,
    idle_times_of_a_new_namespace_start_from_the_default_timeouts,
    the_lab_creates_and_reports_the_requested_number_of_entries,
    the_lab_uses_another_namespace_and_leaves_the_callers_table_unchanged,
    the_lab_passes_on_exit_code_and_signal,
    the_lab_enables_accounting_and_timestamps_on_request,
    a_command_that_does_not_exist_ends_with_127_and_one_that_cannot_be_executed_with_126,
    the_lab_changes_neither_settings_nor_host_name_nor_files_of_the_host,
    every_process_of_the_lab_ends_with_its_command,
    the_lab_forwards_signals_except_those_that_its_parent_ignores,
    a_sysctl_set_in_the_lab_applies_to_the_lab_only,
    a_lab_started_from_a_path_with_a_colon_reports_that_ctnl_is_not_in_path,
    the_lab_has_a_private_run_ctnl_directory,
    a_lab_creates_no_folder_on_the_host,
    a_lab_in_a_lab_is_refused_with_the_reason,
];

fn the_kernel_stores_every_entry_of_a_population_unchanged(netns: &TestNetns) {
    let start = Instant::now();
    let made = netns.fill(11, 5_000);
    let dumped = netns.dump();
    let elapsed = u32::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert_same_entries(&dumped, &made);
    let dumped = by_key(&dumped);
    for flow in &made {
        let found = dumped[&key(flow)];
        assert_eq!(comparable(found), comparable(flow));
        let (found, made) = (found.timeout.unwrap(), flow.timeout.unwrap());
        assert!(found <= made && made - found <= elapsed, "{found} of {made} s left");
    }
}

/// What does not tick, and is not the kernel's own.
fn comparable(flow: &Flow) -> Flow {
    let kernels_own = Flow { timeout: None, id: None, use_count: None, synproxy: None, secctx: None, ..flow.clone() };
    // Whether NAT has been decided is output of NATed entries only; that holds for both.
    assert!(!flow.status.contains(Status::SrcNat) || flow.status.contains(Status::SrcNatDone), "{flow:?}");
    kernels_own
}

fn idle_times_of_a_new_namespace_start_from_the_default_timeouts(netns: &TestNetns) {
    let host = Host::system();
    let mut connection = netns.connection();
    let context = TimeoutContext::read(&mut connection, &host.netfilter(), &host.kernel(), Vec::new()).unwrap();
    let defaults = Timeouts::kernel_defaults();
    for timer in [Timer::TcpEstablished, Timer::Udp, Timer::UdpStream, Timer::Generic] {
        assert_eq!(context.timeouts.get(timer), defaults.get(timer), "{timer:?}");
    }
}

fn the_lab_creates_and_reports_the_requested_number_of_entries(netns: &TestNetns) {
    // Seconds pass between fill and count on a busy machine: nothing may expire.
    let count = "/proc/sys/net/netfilter/nf_conntrack_count";
    let run = netns.ctnl(&["lab", "--entries", "3000", "--keep", "600", "--", "cat", count]).exits_with(0);
    assert_eq!(run.stdout().trim(), "3000");
    run.stderr_contains("3000 entries in a private namespace");
}

fn the_lab_uses_another_namespace_and_leaves_the_callers_table_unchanged(netns: &TestNetns) {
    let run = netns.ctnl(&["lab", "-n", "10", "--", "sh", "-c", "readlink /proc/self/ns/net; echo $CTNL_LAB"]);
    let inside = run.exits_with(0).stdout();
    let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let (namespace, flag) = inside.split_once('\n').unwrap();
    assert_ne!(namespace, ours.to_str().unwrap());
    assert_eq!(flag.trim(), "1");
    assert_eq!(table::count(&mut netns.connection()).unwrap().entries, 0);
}

fn the_lab_passes_on_exit_code_and_signal(netns: &TestNetns) {
    netns.ctnl(&["lab", "-n", "10", "--", "sh", "-c", "exit 7"]).exits_with(7);
    let killed = netns.ctnl(&["lab", "-n", "10", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.signal(), Some(9));
}

fn the_lab_enables_accounting_and_timestamps_on_request(netns: &TestNetns) {
    let arguments =
        ["lab", "-n", "50", "--keep", "60", "--acct", "--timestamp", "--", "ctnl", "list", "-o", "conntrack"];
    let lines = netns.ctnl(&arguments).exits_with(0).stdout();
    assert!(lines.lines().all(|line| line.contains("packets=0") && line.contains("delta-time=")), "{lines}");
    let population = Population::new(1, 50);
    assert_eq!(lines.lines().count(), population.flows().count());
}

fn a_command_that_does_not_exist_ends_with_127_and_one_that_cannot_be_executed_with_126(netns: &TestNetns) {
    netns
        .ctnl(&["lab", "-n", "1", "--", "no-such-command"])
        .exits_with(127)
        .stderr_contains("cannot run no-such-command");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    netns.ctnl(&["lab", "-n", "1", "--", path]).exits_with(126).stderr_contains(&format!("cannot run {path}"));
}

/// The output of a shell script in a lab.
fn in_a_lab(netns: &TestNetns, script: &str) -> String {
    netns.ctnl(&["lab", "-q", "-n", "1", "--", "sh", "-c", script]).stdout()
}

fn the_lab_changes_neither_settings_nor_host_name_nor_files_of_the_host(netns: &TestNetns) {
    let swappiness = || fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    let name = || nix::sys::utsname::uname().unwrap().nodename().to_owned();
    let (before, name_before) = (swappiness(), name());
    let files = ["/etc/ctnl-lab-test", "/dev/ctnl-lab-test", "/dev/shm/ctnl-lab-test"].map(Path::new);
    let script = "echo 7 > /proc/sys/vm/swappiness; hostname ctnl-lab-test && hostname; echo x > /etc/ctnl-lab-test; \
                  echo x > /dev/ctnl-lab-test; echo x > /dev/shm/ctnl-lab-test; echo x > /dev/null || echo no /dev/null; \
                  echo x > /proc/sysrq-trigger || echo refused";
    let output = in_a_lab(netns, script);
    let (was_set, wrote) = (swappiness() != before, files.iter().find(|file| file.exists()));
    files.iter().for_each(|file| drop(fs::remove_file(file)));
    let _ = fs::write("/proc/sys/vm/swappiness", before);
    assert!(!was_set, "vm.swappiness was set");
    assert_eq!(wrote, None, "a file of the host was written");
    assert_eq!(name(), name_before);
    assert_eq!(output, "ctnl-lab-test\nrefused\n");
}

fn every_process_of_the_lab_ends_with_its_command(netns: &TestNetns) {
    // A command line that no other process on the host has.
    let sleep = format!("sleep 600.{}", std::process::id());
    let script = format!("{sleep} >/dev/null 2>&1 & setsid {sleep} >/dev/null 2>&1 & ls -d /proc/[0-9]* | head -n 1");
    assert_eq!(in_a_lab(netns, &script), "/proc/1\n");
    let command_line = sleep.replace(' ', "\0") + "\0";
    let left: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read(path.join("cmdline")).is_ok_and(|found| found == command_line.as_bytes()))
        .collect();
    assert_eq!(left, [] as [&Path; 0], "processes that outlived the command");
}

fn the_lab_forwards_signals_except_those_that_its_parent_ignores(netns: &TestNetns) {
    let script = "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let mut lab = netns.ctnl_command(&["lab", "-q", "-n", "1", "--", "sh", "-c", script]);
    let mut lab = lab.env("PATH", "/usr/bin:/bin").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let process = nix::unistd::Pid::from_raw(lab.id().try_into().unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got");
    assert_eq!(lab.wait().unwrap().code(), Some(4));
    // As under nohup.
    let script = format!("trap '' HUP; '{}' lab -q -n 1 -- sh -c 'kill -HUP $$; exit 6'", env!("CARGO_BIN_EXE_ctnl"));
    let ignored = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert_eq!(ignored.code(), Some(6));
}

fn a_sysctl_set_in_the_lab_applies_to_the_lab_only(netns: &TestNetns) {
    let script = "cd /proc/sys/net/netfilter; echo 1 > nf_conntrack_acct; cat nf_conntrack_acct";
    assert_eq!(in_a_lab(netns, script), "1\n");
    assert_eq!(netns.sysctl("netfilter/nf_conntrack_acct"), "0");
}

fn a_lab_started_from_a_path_with_a_colon_reports_that_ctnl_is_not_in_path(_: &TestNetns) {
    let folder = tempfile::Builder::new().prefix("a:b").tempdir().unwrap();
    let program = folder.path().join("ctnl");
    // By another process: a thread of this one that starts a program at this moment would inherit the
    // file open for writing, and then it cannot be executed (ETXTBSY).
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_ctnl")).arg(&program).status().unwrap().success());
    let mut lab = Command::new(&program);
    let run = Run::of(lab.args(["lab", "-n", "1", "--", "sh", "-c", "exit 9"])).exits_with(9);
    run.stderr_contains("cannot be in PATH");
}

fn the_lab_has_a_private_run_ctnl_directory(netns: &TestNetns) {
    // The test's own /run, in which it may create the directory.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    for arguments in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "none", "/run"]] {
        assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
    }
    fs::create_dir("/run/ctnl").unwrap();
    fs::write("/run/ctnl/of-the-host", "").unwrap();
    assert_eq!(in_a_lab(netns, "touch /run/ctnl/of-the-lab; ls /run/ctnl"), "of-the-lab\n");
    let files: Vec<_> = fs::read_dir("/run/ctnl").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["of-the-host"]);
}

/// On a host of which /run is empty.
fn a_lab_creates_no_folder_on_the_host(_: &TestNetns) {
    let ctnl = env!("CARGO_BIN_EXE_ctnl");
    let script = format!("mount -t tmpfs none /run && '{ctnl}' lab -q -n 1 -- true && ls /run");
    let mut command = Command::new("unshare");
    let run = Run::of(command.args(["--mount", "sh", "-c", &script])).exits_with(0);
    assert_eq!(run.stdout(), "");
}

fn a_lab_in_a_lab_is_refused_with_the_reason(netns: &TestNetns) {
    let run = netns.ctnl(&["lab", "-n", "1", "--", "sh", "-c", "ctnl lab -n 1 -- true"]).exits_with(1);
    run.stderr_contains("this shell is in a lab already");
}
