//! Many tables and one maximum.

use std::fs;
use std::io;
use std::process::Command;

use ctnl::model::{Flow, Status};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, Outcome};
use nix::errno::Errno;

use crate::host::Maximum;
use ctnl_test_support::harness::{TestNetns, tests, udp};

tests![
    each_namespace_has_its_own_count_and_is_opened_by_name,
    nf_conntrack_max_limits_each_namespace_separately,
    the_maximum_cannot_be_changed_from_within_a_namespace,
];

/// A namespace with a name, as ip(8) makes it, until dropped.
struct Named(&'static str);

impl Named {
    fn new(name: &'static str) -> Self {
        assert!(ip(&["netns", "add", name]));
        Named(name)
    }

    /// Entries that a full table does not evict for another one, as it does with those that
    /// have not been assured and happen to be in a chain nearby.
    fn create(&self, count: u16) -> Outcome {
        let assured = Status::Confirmed | Status::SeenReply | Status::Assured;
        let flows: Vec<_> = (1..=count).map(|port| Flow { status: assured, ..udp(port, 53) }).collect();
        let mut outcome = Outcome::default();
        table::create(&mut self.connection(), &flows, &mut outcome).unwrap();
        outcome
    }

    fn connection(&self) -> Connection {
        Connection::open(&Netns::named(self.0)).unwrap()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        ip(&["netns", "del", self.0]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().unwrap().success()
}

fn each_namespace_has_its_own_count_and_is_opened_by_name(netns: &TestNetns) {
    let (red, blue) = (Named::new("red"), Named::new("blue"));
    netns.create(&[udp(1, 53)]);
    assert_eq!([red.create(3).done, blue.create(5).done], [3, 5]);
    let count =
        |arguments: &[&str]| netns.ctnl(&[&["count"], arguments].concat()).exits_with(0).stdout().trim().to_owned();
    assert_eq!([count(&[]), count(&["--netns", "red"]), count(&["--netns", "blue"])], ["1", "3", "5"]);
    assert_eq!(count(&["--netns", "blue", "sport 1"]), "1");
    netns.ctnl(&["flush", "--netns", "red", "sport 1"]).exits_with(0).stderr_contains("1 matched, 1 deleted");
    assert_eq!([count(&[]), count(&["--netns", "red"]), count(&["--netns", "blue"])], ["1", "2", "5"]);
    netns.ctnl(&["count", "--netns", "green"]).exits_with(1).stderr_contains("green");
}

fn nf_conntrack_max_limits_each_namespace_separately(netns: &TestNetns) {
    let _maximum = Maximum::set(10);
    let (red, blue) = (Named::new("red"), Named::new("blue"));
    // Together they have more than there may be.
    assert_eq!([red.create(8).done, blue.create(10).done], [8, 10]);
    for (name, entries) in [("red", "8"), ("blue", "10")] {
        let count = netns.ctnl(&["count", "--netns", name]).exits_with(0);
        assert_eq!(count.stdout().trim(), entries);
        count.stderr_contains("of 10");
    }
    let over = blue.create(11);
    assert_eq!(over.failed.get(&(Errno::ENOMEM as i32)), Some(&1), "the eleventh: {over:?}");
    assert_eq!(red.create(10).done, 2);
}

fn the_maximum_cannot_be_changed_from_within_a_namespace(netns: &TestNetns) {
    let path = "/proc/sys/net/netfilter/nf_conntrack_max";
    let before = netns.sysctl("netfilter/nf_conntrack_max");
    let refused: io::Result<()> = fs::write(path, "7");
    assert!(refused.is_err(), "{before}");
    assert_eq!(netns.sysctl("netfilter/nf_conntrack_max"), before);
}
