//! systemd-analyze on the unit in `packaging/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ctnl_test_support::harness::{Run, TestNetns, tests};

tests![systemd_analyze_finds_no_fault_in_the_unit];

/// Exposure by `systemd-analyze security`, in tenths: 18 as it is.
const MOST_EXPOSED: &str = "20";

/// A folder with the unit, its program being the one that is tested.
fn unit() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/ctnl-events.service");
    let text = fs::read_to_string(source).unwrap().replace("/usr/bin/ctnl", env!("CARGO_BIN_EXE_ctnl"));
    let path = folder.path().join("ctnl-events.service");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn systemd_analyze_finds_no_fault_in_the_unit(_: &TestNetns) {
    let (_folder, path) = unit();
    let analyze =
        |arguments: &[&str]| Run::of(Command::new("systemd-analyze").args(arguments).arg(&path)).exits_with(0);
    let output = analyze(&["verify", "--man=no"]).stderr();
    // It may not find a manual page of its own units either.
    assert!(!output.contains("ctnl-events"), "{output}");
    analyze(&["security", "--offline=true", "--no-pager", "--threshold", MOST_EXPOSED]);
}
