//! The differences between kernels that ARCHITECTURE.md lists: `ctnl doctor --kernel` probes them, and has to
//! find what the release is known for.

use std::fs;

use serde_json::Value;

use crate::host;
use ctnl_test_support::harness::{TestNetns, tests, udp};

tests![
    dumps_are_filtered_by_the_attributes_that_the_kernel_supports,
    filtered_flushes_delete_everything_where_the_kernel_supports_no_filter,
    a_fixed_timeout_can_be_changed_on_old_kernels_only,
    defaults_and_statistics_are_those_of_the_release,
    entries_have_what_debian_s_kernels_are_built_with,
    a_maximum_of_zero_is_refused_since_7_3,
];

/// Before this release, a filter by IPv6 addresses selects all other entries, except in stable updates
/// with the correction (6.12.117).
const V6_ADDRESSES: (u32, u32) = (7, 3);

/// The answer of `ctnl doctor --kernel --json`.
struct Facts(Vec<Value>);

impl Facts {
    /// Probed from a namespace whose entry has to survive it.
    fn probe(netns: &TestNetns) -> Self {
        netns.create(&[udp(1, 53)]);
        let run = netns.ctnl(&["doctor", "--kernel", "--json"]).exits_with(0);
        assert_eq!(netns.dump().len(), 1, "the probes go to a namespace of their own");
        let report: Value = serde_json::from_str(&run.stdout()).unwrap();
        Facts(report["facts"].as_array().unwrap().clone())
    }

    /// The value of a fact; of a refusal its error.
    fn of(&self, name: &str) -> String {
        let fact = self.0.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("no fact {name}"));
        match (&fact["errno"], &fact["value"]) {
            (Value::String(errno), _) => errno.clone(),
            (_, Value::String(word)) => word.clone(),
            (_, value) => value.to_string(),
        }
    }
}

fn since(release: (u32, u32), then: &'static str, before: &'static str) -> &'static str {
    if host::release() >= release { then } else { before }
}

/// The IPv6 filter may be wrong in old releases: both are known then.
fn assert_ipv6(value: &str, wrong: &str) {
    let may_be_wrong = host::release() < V6_ADDRESSES;
    assert!(value == "honoured" || (may_be_wrong && value == wrong), "{value}");
}

fn dumps_are_filtered_by_the_attributes_that_the_kernel_supports(netns: &TestNetns) {
    let facts = Facts::probe(netns);
    let [mark, status, zone, port, sctp, address] = ["mark", "status", "zone", "port", "sctp_port", "ipv6_address"]
        .map(|by| facts.of(&format!("dump_filter_{by}")));
    println!(
        "note: a dump's filter by mark is {mark}, by status {status}, by zone {zone}, by port {port}, by SCTP port \
         {sctp}, by IPv6 address {address}"
    );
    assert_eq!([&*mark, &*port], ["honoured"; 2]);
    assert_eq!(status, since((5, 15), "honoured", "ignored"));
    assert_eq!(zone, since((6, 8), "honoured", "ignored"));
    assert_eq!(sctp, "ignored");
    assert_ipv6(&address, "inverted");
}

fn filtered_flushes_delete_everything_where_the_kernel_supports_no_filter(netns: &TestNetns) {
    const EVERYTHING: &str = "deletes_everything";
    let facts = Facts::probe(netns);
    let [mark, status, zone, port, address, id] =
        ["mark", "status", "zone", "port", "ipv6_address", "id"].map(|by| facts.of(&format!("flush_by_{by}")));
    println!(
        "note: a flush by mark: {mark}, by status: {status}, by zone: {zone}, by port: {port}, by IPv6 address: \
         {address}, by id alone: {id}"
    );
    assert_eq!(mark, "honoured");
    assert_eq!(status, since((5, 15), "honoured", EVERYTHING));
    assert_eq!(zone, since((6, 8), "honoured", EVERYTHING));
    assert_eq!(port, since((6, 12), "honoured", "EINVAL"));
    assert_eq!(id, EVERYTHING);
    if host::release() >= (6, 12) {
        assert_ipv6(&address, "deletes_all_others");
    } else {
        assert_eq!(address, "EINVAL");
    }
}

fn a_fixed_timeout_can_be_changed_on_old_kernels_only(netns: &TestNetns) {
    let result = Facts::probe(netns).of("fixed_timeout_update");
    println!("note: a fixed timeout's update: {result}");
    assert_eq!(result, since((6, 0), "EPERM", "applied"));
}

fn defaults_and_statistics_are_those_of_the_release(netns: &TestNetns) {
    let release = host::release();
    let facts = Facts::probe(netns);
    let [sctp, events, dccp, udplite, chains] =
        ["sctp_established_timeout", "events_default", "dccp_tracked", "udplite_tracked", "chain_toolong"]
            .map(|name| facts.of(name));
    println!(
        "note: SCTP established {sctp} s, DCCP tracked: {dccp}, UDP-lite tracked: {udplite}, events {events}, \
         chain_toolong {chains}"
    );
    assert_eq!(sctp, "210");
    assert_eq!(sctp, netns.sysctl("netfilter/nf_conntrack_sctp_timeout_established"));
    assert_eq!(events, since((5, 19), "2", "1"));
    assert_eq!(events, netns.sysctl("netfilter/nf_conntrack_events"));
    assert_eq!(dccp, since((6, 16), "no", "yes"));
    assert_eq!(fs::exists("/proc/sys/net/netfilter/nf_conntrack_dccp_timeout_open").unwrap(), release < (6, 16));
    assert_eq!(udplite, since((7, 0), "no", "yes"));
    assert_eq!(ctnl_test_support::population::has_udp_lite(), release < (7, 0));
    assert_eq!(chains, since((5, 15), "counted", "not_counted"));
}

fn entries_have_what_debian_s_kernels_are_built_with(netns: &TestNetns) {
    let facts = Facts::probe(netns);
    for name in ["counters", "timestamps", "marks", "zones", "labels", "sctp_tracked", "procfs_file"] {
        assert_eq!(facts.of(name), "yes", "{name}");
    }
    assert_eq!(facts.of("helpers_loaded"), r#"["ftp","sip"]"#);
    assert_eq!(facts.of("automatic_helpers"), since((6, 0), "removed", "0"));
    assert_eq!(facts.of("max_scope"), "all_namespaces");
}

/// `ctnl doctor --kernel` does not try it: the maximum is the host's.
fn a_maximum_of_zero_is_refused_since_7_3(_: &TestNetns) {
    const PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
    let accepted = host::in_first_namespace(|| {
        let before = fs::read_to_string(PATH).unwrap();
        let accepted = fs::write(PATH, "0").is_ok();
        assert_eq!(fs::read_to_string(PATH).unwrap().trim() == "0", accepted);
        fs::write(PATH, before.trim()).unwrap();
        accepted
    });
    println!("note: a maximum of 0 is {}", if accepted { "accepted" } else { "refused" });
    assert_eq!(accepted, host::release() < (7, 3));
}
