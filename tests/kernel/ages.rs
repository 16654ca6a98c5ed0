//! Timeouts and policies as the kernel reports them, and the idle times computed from them.

use ctnl::age::{Idle, IdleEstimator, PreviousTimeout, TimeoutContext};
use ctnl::model::{Flow, L4, NOT_IN_NETLINK, Protocol, TIMERS, Timeouts, Timer, Undecided};
use ctnl::netlink::Netns;
use ctnl::sysctl::Sysctl;
use ctnl::table;

use ctnl_test_support::harness::{Run, World, flow, tests, udp};

tests![
    a_new_namespace_has_the_kernels_defaults,
    every_timeout_set_by_sysctl_is_read_back_over_netlink,
    a_namespace_without_policies_has_none,
    a_lowered_sysctl_leaves_older_entries_undecided_until_its_earlier_value_is_given,
    an_entry_made_over_netlink_has_no_idle_time_unless_it_is_trusted,
    a_gre_entry_is_undecided_also_where_its_timeouts_are_trusted,
    no_entry_is_idle_for_longer_than_it_exists,
    the_cookie_of_a_lab_is_trusted_in_its_own_namespace_only,
];

fn context(world: &World, previous_timeouts: Vec<PreviousTimeout>) -> TimeoutContext {
    let kernel = Sysctl::at(Sysctl::KERNEL);
    TimeoutContext::read(&mut world.connection(), &Sysctl::at(Sysctl::NETFILTER), &kernel, previous_timeouts)
        .expect("timeouts")
}

/// The entries of these tests are made over netlink.
fn trusting(world: &World, previous_timeouts: Vec<PreviousTimeout>) -> TimeoutContext {
    TimeoutContext { trust_netlink_timeouts: true, ..context(world, previous_timeouts) }
}

/// Timers that this kernel has a file for, and reports over netlink.
fn reported() -> impl Iterator<Item = (Timer, &'static str)> {
    let files = TIMERS.iter().filter(|row| row.protocol != NOT_IN_NETLINK);
    let files = files.filter_map(|row| row.sysctl.map(|name| (row.timer, name)));
    files.filter(|(_, name)| Sysctl::at(Sysctl::NETFILTER).read(name).is_ok())
}

fn a_new_namespace_has_the_kernels_defaults(world: &World) {
    let (read, defaults) = (context(world, Vec::new()).timeouts, Timeouts::kernel_defaults());
    for timer in [Timer::TcpEstablished, Timer::TcpUnacknowledged, Timer::TcpMaxRetrans, Timer::Udp, Timer::Generic] {
        assert_eq!(read.get(timer), defaults.get(timer), "{}", timer.name());
    }
}

fn every_timeout_set_by_sysctl_is_read_back_over_netlink(world: &World) {
    let mut expected = Vec::new();
    for (seconds, (timer, name)) in (1001..).zip(reported()) {
        world.set_sysctl(&format!("netfilter/{name}"), seconds);
        expected.push((timer, Some(seconds)));
    }
    let read = table::timeouts(&mut world.connection()).expect("timeouts");
    assert!(expected.len() > 20);
    for (timer, seconds) in expected {
        assert_eq!(read.get(timer), seconds, "{}", timer.name());
    }
}

fn a_namespace_without_policies_has_none(world: &World) {
    let policies = table::policies(&mut world.connection()).expect("policies");
    assert!(policies.is_empty() && !policies.flowtables, "{policies:?}");
}

fn a_lowered_sysctl_leaves_older_entries_undecided_until_its_earlier_value_is_given(world: &World) {
    let flows = world.fill(1, 300);
    world.set_sysctl("netfilter/nf_conntrack_tcp_timeout_established", 60);
    let earlier = PreviousTimeout { timer: Timer::TcpEstablished, seconds: 432_000 };
    let plain = IdleEstimator::new(&trusting(world, Vec::new()), 0);
    let given = IdleEstimator::new(&trusting(world, vec![earlier]), 0);
    let mut decided = 0;
    for flow in &flows {
        let (plain, given) = (plain.idle(flow), given.idle(flow));
        if plain == Idle::Unknown(Undecided::LongerThanSysctl) && given.at_least().is_some() {
            decided += 1;
        }
    }
    assert!(decided > 50, "{decided} of {}", flows.len());
}

fn an_entry_made_over_netlink_has_no_idle_time_unless_it_is_trusted(world: &World) {
    world.fill(1, 300);
    let flows = world.dump();
    let plain = IdleEstimator::new(&context(world, Vec::new()), 0);
    let trusting = IdleEstimator::new(&trusting(world, Vec::new()), 0);
    assert!(flows.iter().all(|flow| plain.idle(flow).at_least().is_none()));
    let marked = flows.iter().filter(|flow| plain.idle(flow) == Idle::Unknown(Undecided::MadeOverNetlink)).count();
    let decided = flows.iter().filter(|flow| trusting.idle(flow).at_least().is_some()).count();
    assert!(marked >= decided && decided > 50, "{marked} marked, {decided} decided of {}", flows.len());
}

fn a_gre_entry_is_undecided_also_where_its_timeouts_are_trusted(world: &World) {
    world.create(&[flow(Protocol::Gre, L4::Ports { src: 1, dst: 2 })]);
    let entries = world.dump();
    let estimator = IdleEstimator::new(&trusting(world, Vec::new()), 0);
    let idle: Vec<Idle> = entries.iter().map(|entry| estimator.idle(entry)).collect();
    assert_eq!(idle, [Idle::Unknown(Undecided::CopiedAtCreation)]);
}

fn no_entry_is_idle_for_longer_than_it_exists(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    world.set_sysctl("netfilter/nf_conntrack_udp_timeout", 432_000);
    world.create(&[Flow { timeout: Some(600), ..udp(1, 1) }, Flow { timeout: Some(432_000), ..udp(2, 2) }]);
    let run = world.ctnl(&["flush", "--older", "1h", "--trust-netlink-timeouts", "--json"]).exits_with(0);
    run.says("undecided: 1 longer-than-age");
    assert_eq!(world.dump().len(), 2);
}

fn the_cookie_of_a_lab_is_trusted_in_its_own_namespace_only(world: &World) {
    let Some(cookie) = Netns::current_cookie().unwrap() else { return };
    world.set_sysctl("netfilter/nf_conntrack_udp_timeout", 432_000);
    world.create(&[udp(1, 1)]);
    let counted = |cookie: u64| {
        let mut command = world.ctnl_command(&["count", "-q", "--older", "1h"]);
        Run::of(command.env("CTNL_LAB_NETNS", cookie.to_string())).exits_with(0).stdout()
    };
    assert_eq!((counted(cookie).trim(), counted(cookie + 1).trim()), ("1", "0"));
}
