//! The machine and the versions that the figures belong to.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::netns::BenchNetns;

/// The machine and the versions.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub ctnl: String,
    /// `None` if it is not installed.
    pub conntrack: Option<String>,
    /// The load average of the last minute.
    pub load: f64,
    pub nf_conntrack_max: u64,
    pub nf_conntrack_buckets: u64,
}

impl Machine {
    pub fn inspect(netns: &BenchNetns) -> Self {
        let (max, buckets) = netns.limits();
        let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        Machine {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory.unwrap_or(0_u64) / (1024 * 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            ctnl: env!("CARGO_PKG_VERSION").to_owned(),
            conntrack: conntrack_version(),
            load: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok())
                .unwrap_or(0.0),
            nf_conntrack_max: max,
            nf_conntrack_buckets: buckets,
        }
    }

    /// One line for the report.
    pub fn line(&self) -> String {
        format!(
            "{} x {}, {} GiB, Linux {}, nf_conntrack_max {}, buckets {}; ctnl {}, {}",
            self.processors,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.nf_conntrack_max,
            self.nf_conntrack_buckets,
            self.ctnl,
            self.conntrack.as_deref().unwrap_or("conntrack(8) IS NOT INSTALLED: its columns are empty"),
        )
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

fn conntrack_version() -> Option<String> {
    let output = Command::new("conntrack").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
