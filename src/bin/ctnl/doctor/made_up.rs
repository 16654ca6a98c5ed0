//! Made-up hosts for the tests of the checks: a tree of files, and figures of a kernel as data.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ctnl::age::Idle;
use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status, TcpInfo, TcpState, Tuple, Undecided};
use ctnl::units::Seconds;
use tempfile::TempDir;

use super::check::Outcome;
use super::evidence::survey::SurveyedEntry;
use super::evidence::{Evidence, Source, Survey};
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

/// The survey of a table with so many TCP entries in each state, from `10.0.0.1` on a source for each state.
pub fn survey_of(states: &[(TcpState, u32)]) -> Survey {
    let mut survey = Survey::default();
    for (index, (state, entries)) in (1..).zip(states) {
        let l4 = L4::Ports { src: 40_000, dst: 443 };
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, index).into(), Ipv4Addr::new(192, 0, 2, 1).into());
        let orig = Tuple { src, dst, protocol: Protocol::Tcp, l4, ..Tuple::UNSPECIFIED };
        let protoinfo = ProtoInfo::Tcp(TcpInfo { state: *state, ..TcpInfo::default() });
        let flow = Flow { protoinfo, status: Status::SeenReply | Status::Assured, ..Flow::new(orig, orig.inverse()) };
        for entry in 0..*entries {
            survey.add(&SurveyedEntry { flow: &flow, idle: Idle::Exact { at_least: entry, at_most: entry } });
        }
    }
    survey
}

/// The findings of an outcome.
pub fn findings(outcome: Outcome) -> Vec<Finding> {
    match outcome {
        Outcome::Findings(findings) => findings,
        Outcome::CannotRun(why) => panic!("the check cannot run: {why}"),
    }
}

/// An entry without NAT, of which a reply was seen. The ends are an address and a port each.
pub fn flow(protocol: Protocol, src: &str, dst: &str) -> Flow {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let l4 = L4::Ports { src: src.port(), dst: dst.port() };
    let orig = Tuple { src: src.ip(), dst: dst.ip(), protocol, l4, ..Tuple::UNSPECIFIED };
    let status = Status::SeenReply | Status::Confirmed;
    Flow { status, ..Flow::new(orig, orig.inverse()) }
}

/// An entry whose source becomes `nat`.
pub fn source_nat(protocol: Protocol, src: &str, dst: &str, nat: &str) -> Flow {
    let mut entry = flow(protocol, src, dst);
    entry.reply = flow(protocol, nat, dst).reply;
    entry.status |= Status::SrcNat;
    entry
}

/// An entry whose destination becomes `target`.
pub fn destination_nat(protocol: Protocol, src: &str, dst: &str, target: &str) -> Flow {
    let mut entry = flow(protocol, src, dst);
    entry.reply = flow(protocol, src, target).reply;
    entry.status |= Status::DstNat;
    entry
}

/// Adds an entry to what a survey has counted.
pub fn count(survey: &mut Survey, flow: &Flow) {
    survey.add(&SurveyedEntry { flow, idle: Idle::Unknown(Undecided::NotSent) });
}
