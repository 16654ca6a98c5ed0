//! What is synchronised to the disk, as strace(1) shows it.

use std::fs;
use std::process::{Command, Stdio};

use super::{Folder, Running, udp_flows, until};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::PATH;

tests![the_folder_of_a_spool_is_synchronised_after_each_segment_that_is_created_in_it,];

fn the_folder_of_a_spool_is_synchronised_after_each_segment_that_is_created_in_it(netns: &TestNetns) {
    let folder = Folder::new();
    let (unix, spool, trace) = (folder.spec("unix", "socket"), folder.text("spool"), folder.path("trace"));
    // A segment is an eighth of it.
    let spool = ["--spool", &spool, "--spool-max", "128KiB"];
    let running = Running::start(netns, &[&["--no-seed", "--to", &unix], &spool[..]].concat());
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-y", "-e", "trace=openat,fsync", "-o"])
        .arg(&trace)
        .arg("-p")
        .arg(running.child.id().to_string());
    let stderr = folder.path("strace");
    let mut strace = strace
        .env("PATH", PATH)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&stderr).expect("a file"))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run strace: {error} (tests/run installs what the tests need)"));
    until("strace", || fs::read_to_string(&stderr).unwrap_or_default().contains("attached"));
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let text = || fs::read_to_string(&trace).unwrap_or_default();
    let mut port = 1000;
    until("second segment", || {
        netns.create(&udp_flows(port, 20));
        port += 20;
        text().lines().filter(|line| line.contains(".seg") && line.contains("O_CREAT")).count() > 1
    });
    running.stop();
    strace.wait().expect("the end of strace");
    let is_creation = |line: &&str| line.contains(".seg") && line.contains("O_CREAT");
    // `fsync(7</…/spool/unix%3A…>)`: of the folder, and not of a file in it.
    let is_sync = |line: &&str| line.contains("fsync(") && line.contains("/spool/unix") && !line.contains(".seg");
    let text = text();
    let calls: Vec<&str> = text.lines().filter(|line| is_creation(line) || is_sync(line)).collect();
    let creations: Vec<usize> = (0..calls.len()).filter(|index| is_creation(&calls[*index])).collect();
    assert!(creations.len() > 1, "{text}");
    assert!(creations.iter().all(|index| calls.get(index + 1).is_some_and(is_sync)), "{calls:#?}");
}
