//! Made-up hosts for the tests of the checks: a tree of files, and figures of a kernel as data.

use std::fs;
use std::sync::Arc;

use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::units::Seconds;
use tempfile::TempDir;

use super::check::Outcome;
use super::evidence::{Evidence, Source};
use super::finding::Finding;
use super::made_up_kernel::MadeUpKernel;
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;

/// A host in a temporary folder. A clone is a copy of its own.
#[derive(Debug)]
pub struct MadeUpHost {
    root: Arc<TempDir>,
    files: Vec<(String, String)>,
    kernel: Option<MadeUpKernel>,
}

impl Clone for MadeUpHost {
    fn clone(&self) -> Self {
        let mut copy = MadeUpHost { kernel: self.kernel.clone(), ..MadeUpHost::new() };
        for (path, content) in &self.files {
            copy.file(path, content);
        }
        copy
    }
}

impl MadeUpHost {
    /// A host without any file.
    pub fn new() -> Self {
        MadeUpHost { root: Arc::new(tempfile::tempdir().unwrap()), files: Vec::new(), kernel: None }
    }

    /// A host with systemd and 8 GiB, whose module is loaded early and whose maximum and buckets are written down.
    pub fn systemd() -> Self {
        let mut host = MadeUpHost::new();
        for (path, content) in [
            ("/usr/lib/systemd/systemd-sysctl", ""),
            ("/lib/modules/6.1.0/modules.builtin", "kernel/fs/ext4/ext4.ko\n"),
            ("/etc/modules-load.d/conntrack.conf", "nf_conntrack\n"),
            ("/etc/sysctl.d/50-conntrack.conf", "net.netfilter.nf_conntrack_max = 524288\n"),
            ("/etc/modprobe.d/conntrack.conf", "options nf_conntrack hashsize=131072\n"),
            ("/proc/meminfo", "MemTotal:        8388608 kB\n"),
        ] {
            host.file(path, content);
        }
        host.sysctl("nf_conntrack_max", 524_288).sysctl("nf_conntrack_buckets", 131_072);
        host.sysctl("nf_conntrack_tcp_timeout_established", 432_000).sysctl("nf_conntrack_acct", 0);
        host
    }

    /// Writes the file of the absolute `path`.
    pub fn file(&mut self, path: &str, content: &str) -> &mut Self {
        let full = self.host().path(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, content).unwrap();
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// Sets a sysctl of conntrack, such as `nf_conntrack_max`.
    pub fn sysctl(&mut self, name: &str, value: u64) -> &mut Self {
        self.file(&format!("/proc/sys/net/netfilter/{name}"), &format!("{value}\n"))
    }

    /// Its files.
    pub fn host(&self) -> Host {
        Host::at(self.root.path(), Clock::system())
    }

    /// Gives it a running kernel.
    pub fn running(&mut self, kernel: &MadeUpKernel) -> &mut Self {
        self.kernel = Some(kernel.clone());
        self
    }

    /// What is read of it; of a running kernel only what [`MadeUpHost::running`] gave it.
    pub fn evidence(&self) -> Evidence {
        let source = Source { host: self.host(), netns: None, netns_argument: None, window: Seconds(2) };
        let mut evidence = Evidence::gather(&source, &mut Console::new(true, false), &Interrupt::default());
        if let Some(kernel) = self.kernel.clone() {
            kernel.put_into(&mut evidence);
        }
        evidence
    }

    /// What the check `run` finds.
    pub fn findings(&self, run: fn(&Evidence) -> Outcome) -> Vec<Finding> {
        findings(run(&self.evidence()))
    }
}

/// The findings of an outcome.
pub fn findings(outcome: Outcome) -> Vec<Finding> {
    match outcome {
        Outcome::Findings(findings) => findings,
        Outcome::CannotRun(why) => panic!("the check cannot run: {why}"),
    }
}
