//! logrotate(8) with the packaged file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Folder, Running, account, finished, udp_flows};
use ctnl_test_support::harness::{Run, TestNetns, tests};
use ctnl_test_support::net::PATH;

tests![logrotate_with_the_packaged_file_loses_no_line_under_load,];

const PACKAGED: &str = include_str!("../../../packaging/ctnl-events.logrotate");
const ROTATIONS: u16 = 6;

/// The packaged file for `log`, which signals the process instead of a service.
fn configure(folder: &Folder, log: &Path, process: u32) -> PathBuf {
    let logs = PACKAGED.lines().find(|line| line.ends_with('{')).expect("the paths").trim_end_matches(" {");
    let reload = PACKAGED.lines().find(|line| line.trim().starts_with("systemctl ")).expect("the command").trim();
    let text = PACKAGED
        .replace(logs, log.to_str().expect("UTF-8"))
        .replace(reload, &format!("kill -HUP {process}"))
        .replace("rotate 7", "rotate 1000");
    let path = folder.path("logrotate.conf");
    fs::write(&path, text).expect("its configuration");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
    path
}

fn packed(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.gz", path.display()))
}

/// The lines of a file, which may be compressed.
fn lines_of(path: &Path) -> Vec<String> {
    let packed = packed(path);
    if !packed.exists() {
        return finished(path);
    }
    let unpacked = Run::of(Command::new("gzip").arg("-dc").arg(packed).env("PATH", PATH)).exits_with(0).stdout();
    unpacked.lines().map(str::to_owned).collect()
}

fn logrotate_with_the_packaged_file_loses_no_line_under_load(netns: &TestNetns) {
    let folder = Folder::new();
    let (log, file) = (folder.path("log"), folder.spec("file", "log"));
    let running = Running::start(netns, &["--no-seed", "--on-gap", "continue", "--to", &file]);
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let configuration = configure(&folder, &log, running.child.id());
    let state = folder.path("state");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROTATIONS {
                let mut logrotate = Command::new("/usr/sbin/logrotate");
                logrotate.arg("--force").arg("--state").arg(&state).arg(&configuration).env("PATH", PATH);
                Run::of(&mut logrotate).exits_with(0);
                thread::sleep(std::time::Duration::from_millis(200));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut port = 0;
        while !is_over.load(Ordering::Relaxed) && port < 60_000 {
            netns.create(&udp_flows(1000 + port, 200));
            port += 200;
            thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    running.stop();
    let rotated = |number: u16| PathBuf::from(format!("{}.{number}", log.display()));
    // An empty file is not rotated.
    let compressed = |number| packed(&rotated(number)).exists();
    let count = (1..=ROTATIONS).take_while(|number| rotated(*number).exists() || compressed(*number)).count() as u16;
    assert!(count > 2 && (1..=count).all(|number| compressed(number) == (number > 1)), "{count}, delayed by one");
    let mut written: Vec<String> = (1..=count).rev().flat_map(|number| lines_of(&rotated(number))).collect();
    written.extend(finished(&log));
    let (received, _) = account(&written);
    assert!(received > 1000, "{received}");
}
