use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::model::Timer;
use ctnl::netlink::Netns;
use tempfile::TempDir;

use super::super::change::{FILES, sort_safely};
use super::super::places::HostPlaces;
use super::super::setting::Setting;
use super::*;

/// How a write goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// An error, and nothing is written.
    Error,
    /// An error after it was written.
    ErrorAfterWrite,
    /// No error, and nothing is written.
    Ignored,
}

/// A temporary root of which the `at`th write goes wrong.
struct Faulty {
    places: HostPlaces,
    writes: usize,
    at: Option<usize>,
    fault: Fault,
}

impl Places for Faulty {
    fn read(&mut self, place: Place) -> io::Result<Option<String>> {
        self.places.read(place)
    }

    fn write(&mut self, place: Place, content: Option<&str>) -> io::Result<()> {
        let is_faulty = self.at == Some(self.writes);
        self.writes += 1;
        if !is_faulty {
            return self.places.write(place, content);
        }
        match self.fault {
            Fault::Error => Err(io::Error::from_raw_os_error(22)),
            Fault::ErrorAfterWrite => {
                self.places.write(place, content)?;
                Err(io::Error::from_raw_os_error(5))
            }
            Fault::Ignored => Ok(()),
        }
    }
}

fn root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let values = [("max", "1000"), ("buckets", "512"), ("acct", "0"), ("tcp_timeout_established", "432000")];
    let folder = root.path().join("proc/sys/net/netfilter");
    fs::create_dir_all(&folder).unwrap();
    for (name, value) in values {
        fs::write(folder.join(format!("nf_conntrack_{name}")), format!("{value}\n")).unwrap();
    }
    fs::create_dir_all(root.path().join("etc/sysctl.d")).unwrap();
    fs::create_dir_all(root.path().join("etc/modprobe.d")).unwrap();
    fs::create_dir_all(root.path().join("etc/modules-load.d")).unwrap();
    fs::write(root.path().join("etc/sysctl.d/90-ctnl.conf"), "# mine\n").unwrap();
    root
}

fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

fn changes() -> Vec<Change> {
    let mut changes = vec![
        Change::of_setting(Setting::Max, 1000, 4096),
        Change::of_setting(Setting::Buckets, 512, 1024),
        Change::of_setting(Setting::Acct, 0, 1),
        Change::of_setting(Setting::Timeout(Timer::TcpEstablished), 432_000, 3600),
        Change::of_file(FILES[0], Some("# mine\n".into()), Some("# mine\nx = 1\n".into())),
        Change::of_file(FILES[1], None, Some("options\n".into())),
        Change::of_file(FILES[2], None, Some("nf_conntrack\n".into())),
    ];
    sort_safely(&mut changes);
    changes
}

fn faulty(root: &Path, at: Option<usize>, fault: Fault) -> Faulty {
    let places = HostPlaces::new(&Host::at(root, Clock::system()), Netns::Current);
    Faulty { places, writes: 0, at, fault }
}

#[test]
fn a_fault_at_each_position_in_turn_leaves_everything_as_before() {
    for fault in [Fault::Error, Fault::ErrorAfterWrite, Fault::Ignored] {
        for position in 0..changes().len() {
            let root = root();
            let before = files(root.path());
            let mut places = faulty(root.path(), Some(position), fault);
            let failure = apply(&mut places, &mut changes(), &|| None).unwrap_err();
            assert_eq!(failure.not_undone, [], "{position}");
            assert!(failure.why.contains(&changes()[position].path), "{}", failure.why);
            assert_eq!(files(root.path()), before, "{position}");
        }
    }
}

#[test]
fn without_a_fault_everything_is_applied_and_undone() {
    let root = root();
    let before = files(root.path());
    let mut places = faulty(root.path(), None, Fault::Error);
    let mut changes = changes();
    apply(&mut places, &mut changes, &|| None).unwrap();
    assert_eq!(places.read(Place::Sysctl(Setting::Max)).unwrap().as_deref(), Some("4096"));
    assert_eq!(places.read(Place::File(FILES[2])).unwrap().as_deref(), Some("nf_conntrack\n"));
    assert_eq!(undo(&mut places, &changes), []);
    assert_eq!(files(root.path()), before);
}

#[test]
fn a_signal_between_two_changes_leaves_everything_as_before() {
    for position in 0..=changes().len() {
        let root = root();
        let before = files(root.path());
        let calls = std::cell::Cell::new(0);
        let interrupted = || {
            calls.set(calls.get() + 1);
            (calls.get() > position).then_some("SIGTERM")
        };
        let mut places = faulty(root.path(), None, Fault::Error);
        let failure = apply(&mut places, &mut changes(), &interrupted).unwrap_err();
        assert_eq!((failure.why.as_str(), failure.not_undone), ("ended by SIGTERM", vec![]));
        assert_eq!(files(root.path()), before, "{position}");
    }
}

#[test]
fn what_cannot_be_undone_is_named_and_the_rest_is_undone() {
    let root = root();
    // The third write is the first of the undoing: of buckets, max fails.
    let mut places = faulty(root.path(), Some(2), Fault::Error);
    let mut two = vec![Change::of_setting(Setting::Buckets, 512, 1024), Change::of_setting(Setting::Max, 1000, 4096)];
    let calls = std::cell::Cell::new(0);
    let interrupted = || {
        calls.set(calls.get() + 1);
        (calls.get() > 2).then_some("SIGHUP")
    };
    let failure = apply(&mut places, &mut two, &interrupted).unwrap_err();
    let names: Vec<_> = failure.not_undone.iter().map(|left| (left.name.as_str(), left.wanted.as_str())).collect();
    assert_eq!(names, [("max", "1000")]);
    assert!(failure.not_undone[0].why.contains("EINVAL"), "{failure:?}");
    assert_eq!(places.read(Place::Sysctl(Setting::Buckets)).unwrap().as_deref(), Some("512"));
}

#[test]
fn a_value_that_somebody_else_changed_since_is_left_and_named_where_the_rest_is_undone() {
    let root = root();
    let mut places = faulty(root.path(), None, Fault::Error);
    let mut changes = changes();
    apply(&mut places, &mut changes, &|| None).unwrap();
    places.write(Place::Sysctl(Setting::Max), Some("7777")).unwrap();
    let left = undo(&mut places, &changes);
    assert_eq!(left.iter().map(|left| left.name.as_str()).collect::<Vec<_>>(), ["max"]);
    assert!(left[0].why.contains("somebody else changed it since, from 4096 to 7777"), "{left:?}");
    assert_eq!(places.read(Place::Sysctl(Setting::Max)).unwrap().as_deref(), Some("7777"));
    assert_eq!(places.read(Place::Sysctl(Setting::Acct)).unwrap().as_deref(), Some("0"));
}

#[test]
fn a_value_that_somebody_else_changed_since_the_plan_is_not_overwritten() {
    let root = root();
    let path = root.path().join("proc/sys/net/netfilter/nf_conntrack_acct");
    fs::write(&path, "1\n").unwrap();
    let before = files(root.path());
    let failure = apply(&mut faulty(root.path(), None, Fault::Error), &mut changes(), &|| None).unwrap_err();
    assert!(failure.why.contains("acct was changed by somebody else"), "{}", failure.why);
    assert_eq!(files(root.path()), before);
}
