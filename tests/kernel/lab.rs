//! The lab and what it fills in.

use std::fs;

use ctnl::age::TimeoutContext;
use ctnl::host::Host;
use ctnl::model::{Flow, Status, Timeouts, Timer};
use ctnl::table;

use ctnl_test_support::harness::{World, assert_same_entries, by_key, key, tests};
use ctnl_test_support::population::Population;

tests![
    the_kernel_keeps_every_entry_of_a_population_as_it_was_made,
    the_timeouts_of_a_new_namespace_are_those_that_idle_times_count_down_from,
    the_lab_makes_as_many_entries_as_asked_for_and_says_so,
    the_lab_is_another_namespace_and_leaves_ours_alone,
    the_lab_passes_on_exit_code_and_signal,
    the_lab_counts_and_notes_times_where_asked_to,
    a_command_that_does_not_exist_is_named,
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

fn a_command_that_does_not_exist_is_named(world: &World) {
    world.ctnl(&["lab", "-n", "1", "--", "no-such-command"]).exits_with(1).says("cannot run no-such-command");
}
