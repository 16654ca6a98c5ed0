//! Tables of other network namespaces.

use std::fs;
use std::process::{Child, Command};

use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use ctnl_test_support::harness::{World, tests, udp};

tests![
    a_namespace_is_reached_by_process_and_by_path,
    a_connection_stays_in_its_namespace,
    a_namespace_that_does_not_exist_is_an_error_that_names_it,
    a_file_that_is_no_namespace_is_an_error_that_names_it,
];

/// A process that stays in this thread's namespace until dropped.
pub struct Resident(Child);

impl Resident {
    pub fn new() -> Self {
        Resident(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }
}

impl Resident {
    pub fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn entries(netns: &Netns) -> u32 {
    table::count(&mut Connection::open(netns).expect("a connection")).expect("count").entries
}

fn a_namespace_is_reached_by_process_and_by_path(world: &World) {
    world.create(&[udp(1, 2), udp(3, 4)]);
    let resident = Resident::new();
    let process = resident.process();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert_eq!(entries(&Netns::Current), 0);
    assert_eq!(entries(&Netns::parse(&process.to_string())), 2);
    assert_eq!(entries(&Netns::parse(&format!("/proc/{process}/ns/net"))), 2);
    assert_eq!(entries(&Netns::Current), 0, "the thread itself has stayed where it was");
}

fn a_connection_stays_in_its_namespace(world: &World) {
    world.create(&[udp(1, 2)]);
    let mut connection = world.connection();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert_eq!(table::count(&mut connection).unwrap().entries, 1);
}

fn a_namespace_that_does_not_exist_is_an_error_that_names_it(_: &World) {
    for (word, path) in [
        ("no-such-name", "/run/netns/no-such-name"),
        ("999999999", "/proc/999999999/ns/net"),
        ("/nowhere/net", "/nowhere/net"),
    ] {
        let error = Connection::open(&Netns::parse(word)).expect_err("no such namespace");
        assert!(matches!(&error, Error::Netns { .. }), "{error:?}");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(error.to_string().contains(path), "{error}");
    }
}

fn a_file_that_is_no_namespace_is_an_error_that_names_it(_: &World) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "no namespace").unwrap();
    let path = file.path().to_str().unwrap();
    let error = Connection::open(&Netns::parse(path)).expect_err("not a namespace");
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    assert!(error.to_string().contains(path), "{error}");
}
