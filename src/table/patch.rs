//! What is changed of an entry that exists.

use super::kernel_filter::Masked;
use super::target::{NotDeletable, Target};
use crate::model::{Flow, Labels, ProtoInfo, Protocol, SctpState, Status, TcpState};
use crate::wire::AttributeWriter;
use crate::wire::uapi::{cta, cta_help, cta_protoinfo};

/// A change of an entry that exists: only what the kernel lets one change
/// (`ctnetlink_change_conntrack` in net/netfilter/nf_conntrack_netlink.c). Tuples, zone, NAT and master
/// cannot be changed, a helper can only be removed, and a status bit can only be added.
///
/// The kernel applies the parts of a request one after the other and keeps the earlier ones where a later one is
/// refused. So a patch is sent in [steps](Patch::steps), and each request is applied as a whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// The remaining timeout in seconds. 0 expires the entry. The kernel lowers it to `INT_MAX` jiffies, which
    /// are 2,147,483 s at 1000 Hz.
    #[doc(alias = "CTA_TIMEOUT")]
    pub timeout: Option<u32>,
    /// The bits of the packet mark within a mask. Bits of the value outside of the mask are not used.
    #[doc(alias = "CTA_MARK")]
    #[doc(alias = "CTA_MARK_MASK")]
    pub mark: Option<Masked>,
    /// Status bits to add: those in [`Patch::ADDABLE`].
    #[doc(alias = "CTA_STATUS")]
    pub add_status: Status,
    /// The state of the TCP tracker.
    #[doc(alias = "CTA_PROTOINFO")]
    pub tcp: TcpPatch,
    /// The state of the SCTP tracker.
    #[doc(alias = "CTA_PROTOINFO_SCTP")]
    pub sctp: Option<SctpPatch>,
    /// Labels to set.
    #[doc(alias = "CTA_LABELS")]
    pub add_labels: Labels,
    /// Labels to clear. A label in both is set.
    #[doc(alias = "CTA_LABELS_MASK")]
    pub remove_labels: Labels,
    /// Whether to remove the helper, with its expectations. A kernel since Linux 7.3 refuses it (`EOPNOTSUPP`).
    #[doc(alias = "CTA_HELP")]
    pub remove_helper: bool,
}

/// A change of the state of the TCP tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpPatch {
    /// The state.
    #[doc(alias = "CTA_PROTOINFO_TCP_STATE")]
    pub state: Option<TcpState>,
    /// Bits of [`tcp_flag`](crate::model::tcp_flag) of the original side, and which of them to change.
    #[doc(alias = "CTA_PROTOINFO_TCP_FLAGS_ORIGINAL")]
    pub flags_orig: Option<(u8, u8)>,
    /// The same of the reply side.
    #[doc(alias = "CTA_PROTOINFO_TCP_FLAGS_REPLY")]
    pub flags_reply: Option<(u8, u8)>,
}

/// A change of the state of the SCTP tracker. The kernel takes no state without both verification tags, and sets them, too: they
/// should be those of the entry (`nlattr_to_sctp` in net/netfilter/nf_conntrack_proto_sctp.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpPatch {
    /// The state.
    #[doc(alias = "CTA_PROTOINFO_SCTP_STATE")]
    pub state: SctpState,
    /// Verification tag of the original side.
    #[doc(alias = "CTA_PROTOINFO_SCTP_VTAG_ORIGINAL")]
    pub vtag_orig: u32,
    /// Verification tag of the reply side.
    #[doc(alias = "CTA_PROTOINFO_SCTP_VTAG_REPLY")]
    pub vtag_reply: u32,
}

/// Why an entry cannot get a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum NotUpdatable {
    /// No target can be made from it.
    #[error(transparent)]
    NoTarget(#[from] NotDeletable),
    /// The timeout of an entry with `IPS_FIXED_TIMEOUT` cannot be changed (`EPERM` since Linux 6.1).
    #[error("fixed timeout")]
    FixedTimeout,
    /// The flowtable keeps timeout and state of the entry, and would overwrite what is set.
    #[error("in a flowtable")]
    Offloaded,
    /// A state of TCP for an entry of another protocol: the kernel ignores it without an error.
    #[error("not a TCP entry")]
    NotTcp,
    /// A state of SCTP for an entry of another protocol.
    #[error("not an SCTP entry")]
    NotSctp,
    /// A number without a state, which the kernel refuses for TCP, and stores for SCTP.
    #[error("unknown state")]
    UnknownState,
    /// A status bit that cannot be added: the kernel ignores it without an error.
    #[error("status bit that cannot be added")]
    Status,
    /// A kernel without `CONFIG_NF_CONNTRACK_MARK`: it ignores the mark without an error.
    #[error("the kernel has no marks")]
    NoMarks,
    /// The helper of an expected flow cannot be removed (`EBUSY`).
    #[error("helper of an expected flow")]
    ExpectedFlow,
}

impl NotUpdatable {
    /// The reason as one word, for summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NotUpdatable::NoTarget(reason) => reason.name(),
            NotUpdatable::FixedTimeout => "fixed-timeout",
            NotUpdatable::Offloaded => "offloaded",
            NotUpdatable::NotTcp => "not-tcp",
            NotUpdatable::NotSctp => "not-sctp",
            NotUpdatable::UnknownState => "unknown-state",
            NotUpdatable::Status => "status",
            NotUpdatable::NoMarks => "no-marks",
            NotUpdatable::ExpectedFlow => "expected-flow",
        }
    }
}

impl Default for Patch {
    fn default() -> Self {
        Patch {
            timeout: None,
            mark: None,
            add_status: Status::empty(),
            tcp: TcpPatch::default(),
            sctp: None,
            add_labels: Labels::default(),
            remove_labels: Labels::default(),
            remove_helper: false,
        }
    }
}

impl Patch {
    /// The status bits that can be added (`nf_ct_change_status_common` in net/netfilter/nf_conntrack_core.c).
    /// None of them can be cleared.
    pub const ADDABLE: Status =
        Status::SeenReply.union(Status::Assured).union(Status::FixedTimeout).union(Status::Helper);

    /// A patch that sets the remaining timeout to `seconds`.
    #[must_use]
    pub fn timeout(seconds: u32) -> Self {
        Patch { timeout: Some(seconds), ..Patch::default() }
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Patch::default()
    }

    /// The target of `flow`, if `flow` can get this patch.
    ///
    /// # Errors
    /// Why not. What depends on more than a dump shows, the kernel refuses: labels on an entry that was created
    /// while no rule had labels are `ENOSPC`, and status bits of which the entry got others meanwhile `EBUSY`.
    pub fn target_of(&self, flow: &Flow) -> Result<Target, NotUpdatable> {
        let target = Target::of(flow)?;
        self.check_timeout_and_state(flow)?;
        if !(self.add_status - Patch::ADDABLE).is_empty() {
            return Err(NotUpdatable::Status);
        }
        if self.mark.is_some() && flow.mark.is_none() {
            return Err(NotUpdatable::NoMarks);
        }
        if self.remove_helper && flow.master.is_some() {
            return Err(NotUpdatable::ExpectedFlow);
        }
        Ok(target)
    }

    fn check_timeout_and_state(&self, flow: &Flow) -> Result<(), NotUpdatable> {
        let has_tcp = self.tcp != TcpPatch::default();
        if self.timeout.is_some() && flow.status.contains(Status::FixedTimeout) {
            return Err(NotUpdatable::FixedTimeout);
        }
        if (self.timeout.is_some() || has_tcp || self.sctp.is_some()) && flow.is_offloaded() {
            return Err(NotUpdatable::Offloaded);
        }
        if has_tcp && u8::from(flow.orig.protocol) != u8::from(Protocol::Tcp) {
            return Err(NotUpdatable::NotTcp);
        }
        if self.sctp.is_some() && u8::from(flow.orig.protocol) != u8::from(Protocol::Sctp) {
            return Err(NotUpdatable::NotSctp);
        }
        let sctp_state = self.sctp.map(|sctp| sctp.state);
        if matches!(self.tcp.state, Some(TcpState::Unknown(_))) || matches!(sctp_state, Some(SctpState::Unknown(_))) {
            return Err(NotUpdatable::UnknownState);
        }
        Ok(())
    }

    /// Whether `flow` is already as the patch makes it, so that nothing has to be sent.
    #[must_use]
    pub fn is_met_by(&self, flow: &Flow) -> bool {
        let labels = flow.labels.unwrap_or_default();
        self.timeout.is_none_or(|seconds| flow.timeout == Some(seconds))
            && self.mark.is_none_or(|mark| flow.mark.is_some_and(|bits| bits & mark.mask == mark.value & mark.mask))
            && flow.status.contains(self.add_status)
            && self.tcp.is_met_by(&flow.protoinfo)
            && self.sctp.is_none_or(|sctp| sctp.is_met_by(&flow.protoinfo))
            && labels.bits() & self.add_labels.bits() == self.add_labels.bits()
            && labels.bits() & self.remove_labels.bits() & !self.add_labels.bits() == 0
            && !(self.remove_helper && flow.helper.is_some())
    }

    /// The patches that are sent one after the other. Each has at most one part that the kernel may refuse, and
    /// applies that one first, so that a refused request has changed nothing. An entry of which one is refused gets
    /// no further one.
    #[must_use]
    pub fn steps(&self) -> Vec<Patch> {
        let (none, mut steps) = (Patch::default(), Vec::new());
        let labels = Patch { add_labels: self.add_labels, remove_labels: self.remove_labels, ..none };
        let refusable = [
            labels,
            Patch { remove_helper: self.remove_helper, ..none },
            Patch { timeout: self.timeout, ..none },
            // Last, since it may fix the timeout.
            Patch { add_status: self.add_status, ..none },
        ];
        steps.extend(refusable.into_iter().filter(|step| !step.is_empty()));
        let (mark, tcp, sctp) = (self.mark, self.tcp, self.sctp);
        let rest = Patch { mark, tcp, sctp, ..none };
        if rest.is_empty() {
            return steps;
        }
        match steps.last_mut() {
            // The kernel applies labels after state and mark, and all others before.
            Some(last) if *last != labels => (last.mark, last.tcp, last.sctp) = (mark, tcp, sctp),
            _ => steps.push(rest),
        }
        steps
    }

    /// Writes the attributes. `status` is that of the entry, which a request has to repeat.
    pub(super) fn emit(&self, writer: &mut AttributeWriter<'_>, status: Status) {
        if self.remove_helper {
            writer.nest(cta::HELP, |nest| nest.put(cta_help::NAME, &[0]));
        }
        if let Some(seconds) = self.timeout {
            writer.put(cta::TIMEOUT, &seconds.to_be_bytes());
        }
        if !self.add_status.is_empty() {
            writer.put(cta::STATUS, &(status | self.add_status).bits().to_be_bytes());
        }
        self.tcp.emit(writer);
        if let Some(sctp) = self.sctp {
            sctp.emit(writer);
        }
        if let Some(mark) = self.mark {
            // Bits outside of the mask would be inverted (`ctnetlink_change_mark`).
            writer.put(cta::MARK, &(mark.value & mark.mask).to_be_bytes());
            writer.put(cta::MARK_MASK, &mark.mask.to_be_bytes());
        }
        let mask = self.add_labels | self.remove_labels;
        if !mask.is_empty() {
            writer.put(cta::LABELS, &self.add_labels.to_bytes());
            writer.put(cta::LABELS_MASK, &mask.to_bytes());
        }
    }
}

impl TcpPatch {
    fn is_met_by(&self, protoinfo: &ProtoInfo) -> bool {
        let ProtoInfo::Tcp(tcp) = protoinfo else { return *self == TcpPatch::default() };
        let flags = |wanted: Option<(u8, u8)>, found: Option<u8>| {
            wanted.is_none_or(|(value, mask)| found.is_some_and(|found| found & mask == value & mask))
        };
        self.state.is_none_or(|state| state == tcp.state)
            && flags(self.flags_orig, tcp.flags_orig)
            && flags(self.flags_reply, tcp.flags_reply)
    }

    fn emit(&self, writer: &mut AttributeWriter<'_>) {
        if *self == TcpPatch::default() {
            return;
        }
        writer.nest(cta::PROTOINFO, |info| {
            info.nest(cta_protoinfo::TCP, |nest| {
                if let Some(state) = self.state {
                    nest.put(cta_protoinfo::TCP_STATE, &[state.number()]);
                }
                for (kind, flags) in [
                    (cta_protoinfo::TCP_FLAGS_ORIG, self.flags_orig),
                    (cta_protoinfo::TCP_FLAGS_REPLY, self.flags_reply),
                ] {
                    flags.into_iter().for_each(|(value, mask)| nest.put(kind, &[value & mask, mask]));
                }
            });
        });
    }
}

impl SctpPatch {
    fn is_met_by(&self, protoinfo: &ProtoInfo) -> bool {
        let ProtoInfo::Sctp(sctp) = protoinfo else { return false };
        (sctp.state, sctp.vtag_orig, sctp.vtag_reply) == (self.state, Some(self.vtag_orig), Some(self.vtag_reply))
    }

    fn emit(&self, writer: &mut AttributeWriter<'_>) {
        writer.nest(cta::PROTOINFO, |info| {
            info.nest(cta_protoinfo::SCTP, |nest| {
                nest.put(cta_protoinfo::SCTP_STATE, &[self.state.number()]);
                nest.put(cta_protoinfo::SCTP_VTAG_ORIG, &self.vtag_orig.to_be_bytes());
                nest.put(cta_protoinfo::SCTP_VTAG_REPLY, &self.vtag_reply.to_be_bytes());
            });
        });
    }
}
