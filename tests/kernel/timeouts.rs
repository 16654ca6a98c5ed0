//! Timeouts and policies as the kernel reports them, and the idle times computed from them.

use ctnl::age::{Idle, IdleEstimator, PreviousTimeout, TimeoutContext};
use ctnl::model::{Flow, L4, NOT_IN_NETLINK, Protocol, TIMERS, Timeouts, Timer, Undecided};
use ctnl::netlink::Netns;
use ctnl::sysctl::Sysctl;
use ctnl::table;

use ctnl_test_support::harness::{Run, TestNetns, flow, tests, udp};

tests![
    two_samples_confirm_nothing_where_a_packet_could_have_set_the_remaining_timeout,
    a_new_namespace_has_the_kernels_defaults,
    every_timeout_set_by_sysctl_is_read_back_over_netlink,
    a_namespace_without_policies_has_none,
    a_lowered_timeout_leaves_older_entries_undecided_unless_its_previous_value_is_given,
    an_entry_created_over_netlink_has_no_idle_time_unless_its_timeout_is_trusted,
    a_gre_entry_is_undecided_also_where_its_timeouts_are_trusted,
    no_entry_is_idle_for_longer_than_it_exists,
    the_cookie_of_a_lab_is_trusted_in_its_own_namespace_only,
];

fn context(netns: &TestNetns, previous_timeouts: Vec<PreviousTimeout>) -> TimeoutContext {
    let kernel = Sysctl::at(Sysctl::KERNEL);
    TimeoutContext::read(&mut netns.connection(), &Sysctl::at(Sysctl::NETFILTER), &kernel, previous_timeouts)
        .expect("timeouts")
}

/// The entries of these tests are created over netlink.
fn trusting(netns: &TestNetns, previous_timeouts: Vec<PreviousTimeout>) -> TimeoutContext {
    TimeoutContext { trust_netlink_timeouts: true, ..context(netns, previous_timeouts) }
}

/// Timers that this kernel has a sysctl for and sends over netlink.
fn netlink_timers() -> impl Iterator<Item = (Timer, &'static str)> {
    let files = TIMERS.iter().filter(|row| row.protocol != NOT_IN_NETLINK);
    let files = files.filter_map(|row| row.sysctl.map(|name| (row.timer, name)));
    files.filter(|(_, name)| Sysctl::at(Sysctl::NETFILTER).read(name).is_ok())
}

fn a_new_namespace_has_the_kernels_defaults(netns: &TestNetns) {
    let (read, defaults) = (context(netns, Vec::new()).timeouts, Timeouts::kernel_defaults());
    for timer in [Timer::TcpEstablished, Timer::TcpUnacknowledged, Timer::TcpMaxRetrans, Timer::Udp, Timer::Generic] {
        assert_eq!(read.get(timer), defaults.get(timer), "{}", timer.name());
    }
}

fn every_timeout_set_by_sysctl_is_read_back_over_netlink(netns: &TestNetns) {
    let mut expected = Vec::new();
    for (seconds, (timer, name)) in (1001..).zip(netlink_timers()) {
        netns.set_sysctl(&format!("netfilter/{name}"), seconds);
        expected.push((timer, Some(seconds)));
    }
    let read = table::timeouts(&mut netns.connection()).expect("timeouts");
    assert!(expected.len() > 20);
    for (timer, seconds) in expected {
        assert_eq!(read.get(timer), seconds, "{}", timer.name());
    }
}

fn a_namespace_without_policies_has_none(netns: &TestNetns) {
    let policies = table::policies(&mut netns.connection()).expect("policies");
    assert!(policies.is_empty() && !policies.flowtables, "{policies:?}");
}

fn a_lowered_timeout_leaves_older_entries_undecided_unless_its_previous_value_is_given(netns: &TestNetns) {
    let flows = netns.fill(1, 300);
    netns.set_sysctl("netfilter/nf_conntrack_tcp_timeout_established", 60);
    let earlier = PreviousTimeout { timer: Timer::TcpEstablished, seconds: 432_000 };
    let plain = IdleEstimator::new(&trusting(netns, Vec::new()), 0);
    let given = IdleEstimator::new(&trusting(netns, vec![earlier]), 0);
    let mut decided = 0;
    for flow in &flows {
        let (plain, given) = (plain.idle(flow), given.idle(flow));
        if plain == Idle::Unknown(Undecided::LongerThanSysctl) && given.at_least().is_some() {
            decided += 1;
        }
    }
    assert!(decided > 50, "{decided} of {}", flows.len());
}

fn an_entry_created_over_netlink_has_no_idle_time_unless_its_timeout_is_trusted(netns: &TestNetns) {
    netns.fill(1, 300);
    let flows = netns.dump();
    let plain = IdleEstimator::new(&context(netns, Vec::new()), 0);
    let trusting = IdleEstimator::new(&trusting(netns, Vec::new()), 0);
    assert!(flows.iter().all(|flow| plain.idle(flow).at_least().is_none()));
    let marked = flows.iter().filter(|flow| plain.idle(flow) == Idle::Unknown(Undecided::MadeOverNetlink)).count();
    let decided = flows.iter().filter(|flow| trusting.idle(flow).at_least().is_some()).count();
    assert!(marked >= decided && decided > 50, "{marked} marked, {decided} decided of {}", flows.len());
}

fn a_gre_entry_is_undecided_also_where_its_timeouts_are_trusted(netns: &TestNetns) {
    netns.create(&[flow(Protocol::Gre, L4::Ports { src: 1, dst: 2 })]);
    let entries = netns.dump();
    let estimator = IdleEstimator::new(&trusting(netns, Vec::new()), 0);
    let idle: Vec<Idle> = entries.iter().map(|entry| estimator.idle(entry)).collect();
    assert_eq!(idle, [Idle::Unknown(Undecided::CopiedAtCreation)]);
}

fn no_entry_is_idle_for_longer_than_it_exists(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    netns.set_sysctl("netfilter/nf_conntrack_udp_timeout", 432_000);
    netns.create(&[Flow { timeout: Some(600), ..udp(1, 1) }, Flow { timeout: Some(432_000), ..udp(2, 2) }]);
    let run = netns.ctnl(&["flush", "--older", "1h", "--trust-netlink-timeouts", "--json"]).exits_with(0);
    run.stderr_contains("undecided: 1 longer-than-age");
    assert_eq!(netns.dump().len(), 2);
}

fn the_cookie_of_a_lab_is_trusted_in_its_own_namespace_only(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_udp_timeout", 432_000);
    netns.create(&[udp(1, 1)]);
    let counted = |cookie: u64| {
        let mut command = netns.ctnl_command(&["count", "-q", "--older", "1h"]);
        Run::of(command.env("CTNL_LAB_NETNS", cookie.to_string())).exits_with(0).stdout()
    };
    match Netns::current_cookie().unwrap() {
        Some(cookie) => assert_eq!((counted(cookie).trim(), counted(cookie + 1).trim()), ("1", "0")),
        None => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            assert!(release.starts_with("5.1") && !release.starts_with("5.14."), "{release} has cookies");
            assert_eq!((counted(0).trim(), counted(1).trim()), ("0", "0"), "none is trusted");
        }
    }
}

fn two_samples_confirm_nothing_where_a_packet_could_have_set_the_remaining_timeout(netns: &TestNetns) {
    netns.create(&[Flow { timeout: Some(100), ..udp(1, 1) }]);
    // Less than the entry has at the first sample, and more than at the second, 5 s later.
    for (timeout, deleted) in [(97, 0), (200, 1)] {
        netns.set_sysctl("netfilter/nf_conntrack_udp_timeout", timeout);
        let run = netns.ctnl(&["flush", "udp", "--confirm-idle", "2", "--yes", "--json"]).exits_with(0);
        let summary: serde_json::Value = serde_json::from_str(&run.stdout()).unwrap();
        assert_eq!(
            (&summary["deleted"], &summary["unconfirmed"]),
            (&deleted.into(), &(1 - deleted).into()),
            "{summary}"
        );
    }
}
