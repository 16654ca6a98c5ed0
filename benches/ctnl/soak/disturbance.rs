//! Disturbances during a flush.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ctnl_test_support::harness::TestNetns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A kind of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    None,
    /// SIGSTOP, then SIGCONT: as by Ctrl-Z, a debugger, or a suspended container.
    Stopped {
        after_ms: u64,
        for_ms: u64,
    },
    /// Limits the program to a share of one processor.
    Quota {
        percent: u32,
    },
    /// Changes a timeout.
    Sysctl {
        after_ms: u64,
        name: &'static str,
        seconds: u32,
    },
}

/// The timeouts between two flushes: the kernel's defaults.
pub const TIMEOUTS: [(&str, u32); 2] =
    [("nf_conntrack_tcp_timeout_established", 432_000), ("nf_conntrack_udp_timeout_stream", 120)];
/// The values that they are changed to.
pub const CHANGED: [(&str, u32); 4] = [
    ("nf_conntrack_tcp_timeout_established", 600),
    ("nf_conntrack_udp_timeout_stream", 60),
    ("nf_conntrack_tcp_timeout_established", 500_000),
    ("nf_conntrack_udp_timeout_stream", 180),
];

impl Disturbance {
    /// The disturbance of the flush with this number: all kinds in turn, at different times.
    pub fn nth(number: u64) -> Self {
        // A multiple of an odd number visits every millisecond of the range.
        let after_ms = number.wrapping_mul(37) % 300;
        match number % 5 {
            0 => Disturbance::None,
            1 => Disturbance::Stopped { after_ms, for_ms: 300 + number.wrapping_mul(131) % 1700 },
            2 => Disturbance::Quota { percent: 5 + u32::try_from(number % 6).unwrap_or(0) },
            _ => {
                let nth = usize::try_from(number / 5 * 2 + number % 5 - 3).unwrap_or(0) % CHANGED.len();
                let (name, seconds) = CHANGED.get(nth).copied().unwrap_or(("nf_conntrack_udp_timeout_stream", 60));
                Disturbance::Sysctl { after_ms, name, seconds }
            }
        }
    }

    /// Disturbs `child`, or its network namespace.
    pub fn apply(self, netns: &TestNetns, child: &Child) -> Result<()> {
        let wait = |ms| thread::sleep(Duration::from_millis(ms));
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        match self {
            Disturbance::None => {}
            Disturbance::Stopped { after_ms, for_ms } => {
                wait(after_ms);
                // The program may have exited.
                let _ = kill(pid, Signal::SIGSTOP);
                wait(for_ms);
                let _ = kill(pid, Signal::SIGCONT);
            }
            Disturbance::Quota { percent } => limit(pid, percent)?,
            Disturbance::Sysctl { after_ms, name, seconds } => {
                if is_raised(name, seconds) {
                    wait_for_walk(child.id());
                }
                wait(after_ms);
                netns.set_sysctl(&format!("netfilter/{name}"), seconds);
            }
        }
        Ok(())
    }

    /// Restores the timeouts. Returns whether one was changed.
    pub fn restore(self, netns: &TestNetns) -> bool {
        let Disturbance::Sysctl { .. } = self else { return false };
        for (name, seconds) in TIMEOUTS {
            netns.set_sysctl(&format!("netfilter/{name}"), seconds);
        }
        true
    }
}

/// Whether the timeout is raised. One that was raised before the program reads it cannot be noticed, as its
/// documentation says: see `a_raised_timeout_overstates_idle_times_as_documented` in tests/peers/changed.rs.
fn is_raised(name: &str, seconds: u32) -> bool {
    TIMEOUTS.iter().any(|(row, usual)| *row == name && seconds > *usual)
}

/// Waits until the program has read its settings and deletes, or has ended.
fn wait_for_walk(process: u32) {
    let tasks = PathBuf::from(format!("/proc/{process}/task"));
    let is_deleting = |task: fs::DirEntry| fs::read(task.path().join("comm")).is_ok_and(|name| name == b"delete\n");
    while let Ok(mut threads) = fs::read_dir(&tasks)
        && !threads.any(|thread| thread.is_ok_and(is_deleting))
        // A zombie has its first thread only.
        && fs::read_to_string(tasks.join(format!("{process}/stat"))).is_ok_and(|stat| !stat.contains(") Z "))
    {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Limits a process to `percent` of one processor, in periods of a tenth of a second, with a control
/// group of version 1 or 2.
fn limit(pid: Pid, percent: u32) -> Result<()> {
    let quota = 1000 * percent;
    let (group, settings) = control_group(quota).context("no control group with the cpu controller: run as root")?;
    fs::create_dir_all(&group).with_context(|| format!("make {}", group.display()))?;
    for (file, value) in settings {
        fs::write(group.join(file), value).with_context(|| format!("write {file} in {}", group.display()))?;
    }
    // The program may have exited.
    let _ = fs::write(group.join("cgroup.procs"), pid.to_string());
    Ok(())
}

fn control_group(quota: u32) -> Option<(PathBuf, Vec<(&'static str, String)>)> {
    let first = Path::new("/sys/fs/cgroup/cpu");
    if first.join("cpu.cfs_quota_us").exists() || first.join("cgroup.procs").exists() {
        let settings = vec![("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", quota.to_string())];
        return Some((first.join("ctnl-soak"), settings));
    }
    let second = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(second.join("cgroup.subtree_control")).ok()?;
    let has_cpu = controllers.split_whitespace().any(|name| name == "cpu");
    has_cpu.then(|| (second.join("ctnl-soak"), vec![("cpu.max", format!("{quota} 100000"))]))
}
