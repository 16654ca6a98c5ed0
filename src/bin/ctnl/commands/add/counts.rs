//! What became of the entries that were added, and what the kernel's answers mean.

use ctnl::table::Outcome;
use nix::errno::Errno;

use super::args::Args;
use crate::term::console::Console;
use crate::term::exit::Exit;

/// The numbers of entries.
#[derive(Debug, Default)]
pub struct Counts {
    pub created: Outcome,
    pub updated: Outcome,
    /// Entries that were created, and did not get their labels.
    pub unlabelled: u64,
    /// Entries that exist and cannot be changed to what was given, by reason.
    pub refused: Vec<(String, u64)>,
}

/// Adds the counts of `one` to `sum`.
pub fn add_outcome(sum: &mut Outcome, one: &Outcome) {
    sum.done += one.done;
    sum.gone += one.gone;
    sum.unanswered += one.unanswered;
    for (errno, count) in &one.failed {
        *sum.failed.entry(*errno).or_default() += count;
    }
}

impl Counts {
    /// Entries that were created or changed.
    pub fn done(&self) -> u64 {
        self.created.done + self.updated.done + self.updated.partly
    }

    /// Whether nothing has changed for certain.
    pub fn is_untouched(&self) -> bool {
        self.done() + self.created.unanswered + self.updated.unanswered == 0
    }

    fn not_done(&self) -> u64 {
        let refused: u64 = self.refused.iter().map(|(_, count)| count).sum();
        let of = |outcome: &Outcome| outcome.failures() + outcome.gone;
        of(&self.created) + of(&self.updated) + refused + self.unlabelled
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match (self.not_done(), self.is_untouched()) {
            (0, _) => Exit::Done,
            (_, true) => Exit::Failed,
            (_, false) => Exit::Partly,
        }
    }

    /// Prints them.
    pub fn summarize(&self, args: &Args, console: &mut Console) {
        let mut text = format!("{} added", self.created.done);
        if args.replace {
            text.push_str(&format!(", {} that existed have what was given", self.updated.done));
        }
        if self.updated.partly > 0 {
            text.push_str(&format!(", {} of those changed in part", self.updated.partly));
        }
        console.note(&text);
        for (errno, count) in self.created.failed.iter().chain(&self.updated.failed) {
            console.warn(&format!("{count} failed: {}", explain(Errno::from_raw(*errno), args)));
        }
        if self.unlabelled > 0 {
            console.warn(&format!(
                "{} without the labels: the kernel stores them only while a rule of nftables or iptables uses labels",
                self.unlabelled
            ));
        }
        for (why, count) in &self.refused {
            console.warn(&format!("{count} refused: {why}"));
        }
        if self.created.gone + self.updated.gone > 0 {
            console.warn("an entry that existed has ended meanwhile: run it again");
        }
    }
}

/// What the kernel's answer means (`ctnetlink_create_conntrack` in net/netfilter/nf_conntrack_netlink.c).
fn explain(errno: Errno, args: &Args) -> String {
    let hint = match errno {
        Errno::EEXIST if args.replace => {
            "an entry with this tuple was created meanwhile, or one with its reply tuple exists"
        }
        Errno::EEXIST => {
            "an entry with this tuple exists, in either direction\n  hint: `ctnl get` prints it; --replace changes it"
        }
        Errno::ENOMEM => {
            "the table is full\n  hint: `ctnl stats` shows the maximum; raise net.netfilter.nf_conntrack_max, or flush"
        }
        Errno::ENOSPC if args.label.is_some() => "the hash chain is too long, or the entry has no room for labels",
        Errno::ENOSPC => "the hash chain is too long\n  hint: raise net.netfilter.nf_conntrack_buckets",
        Errno::EOPNOTSUPP if args.helper.is_some() => {
            "the kernel has no such helper for this protocol\n  hint: load its module, e.g. modprobe nf_conntrack_ftp"
        }
        Errno::EOPNOTSUPP => "the kernel is built without what was asked for: zones, NAT or labels",
        Errno::EINVAL => "the kernel does not accept the tuple, e.g. a type of ICMP that it does not track",
        Errno::EBUSY => "the status of the entry changed meanwhile: run it again",
        _ => "",
    };
    format!("{errno:?}: {}", if hint.is_empty() { errno.desc() } else { hint })
}
