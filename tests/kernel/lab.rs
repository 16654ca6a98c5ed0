//! The lab and what it fills in.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ctnl::age::TimeoutContext;
use ctnl::host::Host;
use ctnl::model::{Flow, Status, Timeouts, Timer};
use ctnl::table;

use ctnl_test_support::harness::{Run, World, assert_same_entries, by_key, key, tests};
use ctnl_test_support::population::Population;

tests![
    the_kernel_keeps_every_entry_of_a_population_as_it_was_made,
    the_timeouts_of_a_new_namespace_are_those_that_idle_times_count_down_from,
    the_lab_makes_as_many_entries_as_asked_for_and_says_so,
    the_lab_is_another_namespace_and_leaves_ours_alone,
    the_lab_passes_on_exit_code_and_signal,
    the_lab_counts_and_notes_times_where_asked_to,
    a_command_that_does_not_exist_ends_with_127_and_one_that_cannot_be_executed_with_126,
    the_lab_changes_neither_settings_nor_host_name_nor_files_of_the_host,
    every_process_of_the_lab_ends_with_its_command,
    a_signal_to_the_lab_reaches_the_command_and_one_that_the_parent_ignores_does_not,
    what_the_lab_sets_in_its_own_namespace_is_its_own_setting,
    a_program_in_a_folder_with_a_colon_makes_a_lab_and_says_that_it_is_not_in_path,
    notes_under_run_are_the_lab_s_own,
    a_lab_creates_no_folder_on_the_host,
    a_lab_in_a_lab_is_refused_with_the_reason,
];

fn the_kernel_keeps_every_entry_of_a_population_as_it_was_made(world: &World) {
    let made = world.fill(11, 5_000);
    let dumped = world.dump();
    assert_same_entries(&dumped, &made);
    let dumped = by_key(&dumped);
    for flow in &made {
        let found = dumped[&key(flow)];
        assert_eq!(comparable(found), comparable(flow));
        let (found, made) = (found.timeout.unwrap(), flow.timeout.unwrap());
        assert!(found <= made && made - found < 60, "{found} of {made} s left");
    }
}

/// What does not tick, and is not the kernel's own.
fn comparable(flow: &Flow) -> Flow {
    let kernels_own = Flow { timeout: None, id: None, use_count: None, synproxy: None, secctx: None, ..flow.clone() };
    // Whether NAT has been decided is said of NATed entries only; that holds for both.
    assert!(!flow.status.contains(Status::SrcNat) || flow.status.contains(Status::SrcNatDone), "{flow:?}");
    kernels_own
}

fn the_timeouts_of_a_new_namespace_are_those_that_idle_times_count_down_from(world: &World) {
    let host = Host::system();
    let mut connection = world.connection();
    let context = TimeoutContext::read(&mut connection, &host.netfilter(), &host.kernel(), Vec::new()).unwrap();
    let defaults = Timeouts::kernel_defaults();
    for timer in [Timer::TcpEstablished, Timer::Udp, Timer::UdpStream, Timer::Generic] {
        assert_eq!(context.timeouts.get(timer), defaults.get(timer), "{timer:?}");
    }
}

fn the_lab_makes_as_many_entries_as_asked_for_and_says_so(world: &World) {
    // Seconds pass between fill and count on a busy machine: nothing may expire.
    let count = "/proc/sys/net/netfilter/nf_conntrack_count";
    let run = world.ctnl(&["lab", "--entries", "3000", "--keep", "600", "--", "cat", count]).exits_with(0);
    assert_eq!(run.stdout().trim(), "3000");
    run.says("3000 entries in a private namespace");
}

fn the_lab_is_another_namespace_and_leaves_ours_alone(world: &World) {
    let run = world.ctnl(&["lab", "-n", "10", "--", "sh", "-c", "readlink /proc/self/ns/net; echo $CTNL_LAB"]);
    let inside = run.exits_with(0).stdout();
    let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let (namespace, flag) = inside.split_once('\n').unwrap();
    assert_ne!(namespace, ours.to_str().unwrap());
    assert_eq!(flag.trim(), "1");
    assert_eq!(table::count(&mut world.connection()).unwrap().entries, 0);
}

fn the_lab_passes_on_exit_code_and_signal(world: &World) {
    world.ctnl(&["lab", "-n", "10", "--", "sh", "-c", "exit 7"]).exits_with(7);
    let killed = world.ctnl(&["lab", "-n", "10", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.signal(), Some(9));
}

fn the_lab_counts_and_notes_times_where_asked_to(world: &World) {
    let arguments =
        ["lab", "-n", "50", "--keep", "60", "--acct", "--timestamp", "--", "ctnl", "list", "-o", "conntrack"];
    let lines = world.ctnl(&arguments).exits_with(0).stdout();
    assert!(lines.lines().all(|line| line.contains("packets=0") && line.contains("delta-time=")), "{lines}");
    let population = Population::new(1, 50);
    assert_eq!(lines.lines().count(), population.flows().count());
}

fn a_command_that_does_not_exist_ends_with_127_and_one_that_cannot_be_executed_with_126(world: &World) {
    world.ctnl(&["lab", "-n", "1", "--", "no-such-command"]).exits_with(127).says("cannot run no-such-command");
    world.ctnl(&["lab", "-n", "1", "--", "/etc/passwd"]).exits_with(126).says("cannot run /etc/passwd");
}

/// The output of a shell script in a lab.
fn in_a_lab(world: &World, script: &str) -> String {
    world.ctnl(&["lab", "-q", "-n", "1", "--", "sh", "-c", script]).stdout()
}

fn the_lab_changes_neither_settings_nor_host_name_nor_files_of_the_host(world: &World) {
    let swappiness = || fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    let name = || nix::sys::utsname::uname().unwrap().nodename().to_owned();
    let (before, name_before) = (swappiness(), name());
    let file = Path::new("/etc/ctnl-lab-test");
    let script = "echo 7 > /proc/sys/vm/swappiness; hostname ctnl-lab-test && hostname; echo x > /etc/ctnl-lab-test; \
                  echo x > /proc/sysrq-trigger || echo refused";
    let said = in_a_lab(world, script);
    let (was_set, wrote) = (swappiness() != before, file.exists());
    let _ = fs::remove_file(file);
    let _ = fs::write("/proc/sys/vm/swappiness", before);
    assert!(!was_set, "vm.swappiness was set");
    assert!(!wrote, "a file in /etc was written");
    assert_eq!(name(), name_before);
    assert_eq!(said, "ctnl-lab-test\nrefused\n");
}

fn every_process_of_the_lab_ends_with_its_command(world: &World) {
    // Its standard output would otherwise keep the pipe to this test open for a minute.
    let started = std::time::Instant::now();
    let said = in_a_lab(world, "sleep 60 & setsid sleep 60 & ls -d /proc/[0-9]* | head -n 1");
    assert_eq!(said, "/proc/1\n");
    assert!(started.elapsed().as_secs() < 30, "a process of the lab outlived its command");
}

fn a_signal_to_the_lab_reaches_the_command_and_one_that_the_parent_ignores_does_not(world: &World) {
    let script = "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let mut lab = world.ctnl_command(&["lab", "-q", "-n", "1", "--", "sh", "-c", script]);
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

fn what_the_lab_sets_in_its_own_namespace_is_its_own_setting(world: &World) {
    let script = "cd /proc/sys/net/netfilter; echo 1 > nf_conntrack_acct; cat nf_conntrack_acct";
    assert_eq!(in_a_lab(world, script), "1\n");
    assert_eq!(world.sysctl("netfilter/nf_conntrack_acct"), "0");
}

fn a_program_in_a_folder_with_a_colon_makes_a_lab_and_says_that_it_is_not_in_path(_: &World) {
    let folder = tempfile::Builder::new().prefix("a:b").tempdir().unwrap();
    let program = folder.path().join("ctnl");
    // By another process: a thread of this one that starts a program at this moment would inherit the
    // file open for writing, and then it cannot be executed (ETXTBSY).
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_ctnl")).arg(&program).status().unwrap().success());
    let mut lab = Command::new(&program);
    let run = Run::of(lab.args(["lab", "-n", "1", "--", "sh", "-c", "exit 9"])).exits_with(9);
    run.says("cannot be in PATH");
}

fn notes_under_run_are_the_lab_s_own(world: &World) {
    let script = "test -d /run/ctnl || exit 0; touch /run/ctnl/of-a-lab && ls /run/ctnl";
    let said = in_a_lab(world, script);
    // Where the host has no such folder, the lab has none.
    let expected = if Path::new("/run/ctnl").is_dir() { "of-a-lab\n" } else { "" };
    assert_eq!(said, expected);
    assert!(!Path::new("/run/ctnl/of-a-lab").exists());
}

/// On a host of which /run is empty.
fn a_lab_creates_no_folder_on_the_host(_: &World) {
    let ctnl = env!("CARGO_BIN_EXE_ctnl");
    let script = format!("mount -t tmpfs none /run && '{ctnl}' lab -q -n 1 -- true && ls /run");
    let mut command = Command::new("unshare");
    let run = Run::of(command.args(["--mount", "sh", "-c", &script])).exits_with(0);
    assert_eq!(run.stdout(), "");
}

fn a_lab_in_a_lab_is_refused_with_the_reason(world: &World) {
    let run = world.ctnl(&["lab", "-n", "1", "--", "sh", "-c", "ctnl lab -n 1 -- true"]).exits_with(1);
    run.says("this shell is in a lab already");
}
